// fiber.h: threads of control that run until they hand over, all in one thread of the system.
#pragma once

#include <stddef.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

// While another one runs: its stack pointer, or all of it. It stays where it is.
typedef struct {
#if defined(__x86_64__)
    void *at;
#else
    ucontext_t context;
#endif
} Fiber;

// A fiber that will call run(argument) on this stack (of `bytes` bytes; its low end). `run`
// must not return.
void fiber_init(Fiber *f, void *stack, size_t bytes, void (*run)(void *), void *argument);
void fiber_switch(Fiber *from, const Fiber *to);
