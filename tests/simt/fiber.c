// fiber.c: a switch of some twenty instructions on x86-64; ucontext elsewhere, which asks the
// kernel for the signal mask each time and is ten times slower.
#include "tests/simt/fiber.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)

void fiber_switch_stack(void **from, void *to);
void fiber_first(void);

// Keeps what the calling convention says that a function keeps; MXCSR is the same everywhere.
__asm__(".text\n"
        ".globl fiber_switch_stack\n"
        ".type fiber_switch_stack,@function\n"
        "fiber_switch_stack:\n"
        "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n"
        "    pushq %r13\n    pushq %r14\n    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n    popq %r14\n    popq %r13\n"
        "    popq %r12\n    popq %rbx\n    popq %rbp\n"
        "    ret\n"
        ".size fiber_switch_stack,.-fiber_switch_stack\n"
        ".globl fiber_first\n"
        ".type fiber_first,@function\n"
        "fiber_first:\n"
        "    movq %r13, %rdi\n"
        "    callq *%r12\n"
        "    ud2\n"
        ".size fiber_first,.-fiber_first\n");

void fiber_init(Fiber *f, void *stack, size_t bytes, void (*run)(void *), void *argument) {
    // Downwards: the first return address, rbp, rbx, r12 (run), r13 (argument), r14, r15. After
    // the return the stack pointer is a multiple of 16, as `call` wants it.
    void **top = (void **)stack + (bytes - 56) / sizeof(void *);
    memset(top, 0, 56);
    void (*first)(void) = fiber_first;
    memcpy(&top[0], &first, sizeof first);
    memcpy(&top[-3], &run, sizeof run);
    top[-4] = argument;
    top[-1] = top[-2] = top[-5] = top[-6] = NULL;
    f->at = &top[-6];
}

void fiber_switch(Fiber *from, const Fiber *to) { fiber_switch_stack(&from->at, to->at); }

#else

// makecontext passes ints only.
static void fiber_first(unsigned run_high, unsigned run_low, unsigned high, unsigned low) {
    uintptr_t code = (uintptr_t)((uint64_t)run_high << 32 | run_low);
    void (*run)(void *);
    memcpy(&run, &code, sizeof run);
    run((void *)(uintptr_t)((uint64_t)high << 32 | low));
}

void fiber_init(Fiber *f, void *stack, size_t bytes, void (*run)(void *), void *argument) {
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = stack;
    f->context.uc_stack.ss_size = bytes;
    uintptr_t code;
    memcpy(&code, &run, sizeof code);
    uint64_t a = code, b = (uintptr_t)argument;
    makecontext(&f->context, (void (*)(void))fiber_first, 4, (unsigned)(a >> 32), (unsigned)a,
                (unsigned)(b >> 32), (unsigned)b);
}

void fiber_switch(Fiber *from, const Fiber *to) { swapcontext(&from->context, &to->context); }

#endif
