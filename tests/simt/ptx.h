// ptx.h: PTX, as asm statements of codegen/cuda/prelude.cuh and wgmma.cuh have it, run on the
// machine. ptx.c reads templates, finds rows of ptx.def and gives them operands; ptx_ops.c does
// what rows say.
#pragma once

#include "tests/simt/machine.h"

#define PTX_ARGS 144  // wgmma of 256 columns has 134

// A register that a template declares.
typedef struct {
    Str name;
    char kind;  // 'r': of 32 bits, 'p': a predicate
    bool set;
    uint64_t value;
    uint32_t block;  // whose shared memory an address is of; SIMT_OWN
} PtxRegister;

// An operand of one instruction: `operand`, `local`, or neither of both.
typedef struct {
    char kind;  // r, h, f, l: as constraints; i: a number, p: a predicate, s: special, _:
                // nothing
    uint64_t value;
    Str name;
    const SimtOperand *operand;
    PtxRegister *local;
} PtxArg;

typedef struct {
    Machine *m;
    const char *text, *at;
    const SimtOperand *operands;
    uint32_t operand_count;
    PtxRegister locals[4];
    uint32_t local_count, jumps;
    bool tried;            // a try_wait has been done
    bool cluster_arrived;  // and not waited
    // the instruction
    Str opcode;
    PtxArg args[PTX_ARGS];
    uint32_t arg_count;
    uint32_t number;           // in place of # in the opcode
    uint32_t variant;          // of its row
    char shape[2 * PTX_ARGS];  // kinds and brackets
} Ptx;

// ---- ptx.c
NORETURN void ptx_fail(const Ptx *p, const char *what);
// Of an operand of the asm statement that is written.
void *ptx_address(const PtxArg *arg);
// Operands that the row says are written, and that it says are floats.
void ptx_set(Ptx *p, uint32_t arg, uint64_t value);
void ptx_set_float(Ptx *p, uint32_t arg, float x);
float ptx_float(const Ptx *p, uint32_t arg);

// ---- ptx_ops.c
void ptx_execute(Ptx *p);
