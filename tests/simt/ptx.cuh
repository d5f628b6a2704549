// ptx.cuh: what asm statements of codegen/cuda become on the CPU (ptx_text.h): calls of ptx().
#pragma once

#include "tests/simt/builtin.cuh"

#define __cvta_generic_to_shared(p) SIMT(shared_address, p)

template <class T> struct PtxType { static const bool is_float = false; };
template <> struct PtxType<float> { static const bool is_float = true; };

// Not inline: the operands of wgmma would take the compiler seconds. Nor are these accesses a kernel's.
#define PTX_CALL __attribute__((noinline, no_sanitize("thread")))
template <class T> PTX_CALL SimtOperand ptx_write(const char *constraint, T &x) {
    return {(u64)&x, constraint[0], constraint[1], sizeof x, PtxType<T>::is_float};
}
template <class T> PTX_CALL SimtOperand ptx_read(const char *constraint, T x) {
    SimtOperand operand = {0, 0, constraint[0], sizeof x, PtxType<T>::is_float};
    __builtin_memcpy(&operand.value, &x, sizeof x);
    return operand;
}
template <class... T> PTX_CALL void ptx(const char *text, T... operand) {
    const SimtOperand operands[sizeof...(operand) + 1] = {operand...};
    SIMT(ptx, text, operands, sizeof...(operand));
}
