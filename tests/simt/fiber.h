// fiber.h: threads of control that run until they hand over, all in one thread of the system.
#pragma once

#include <stddef.h>

typedef struct {
    void *at;  // its stack pointer, or its ucontext_t, while another one runs
} Fiber;

// A fiber that will call run(argument) on this stack (of `bytes` bytes; its low end). `run`
// must not return.
void fiber_init(Fiber *f, void *stack, size_t bytes, void (*run)(void *), void *argument);
void fiber_switch(Fiber *from, const Fiber *to);
