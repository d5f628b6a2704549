// cublaslt.h: contractions on a GPU by cuBLASLt, opened at run time: libcublasLt.so, or what
// STRATA_CUBLASLT names.
#pragma once

#include "runtime/cuda/driver.h"
#include "runtime/plan.h"

enum { CUBLASLT_WORKSPACE = 32 << 20 };  // bytes that a contraction may use beside its operands

typedef struct Cublaslt Cublaslt;
typedef struct CublasltGemm CublasltGemm;

bool cublaslt_available(void);
// "13.0.2". False: there is no cuBLASLt (FAIL_ENVIRONMENT).
MUST_USE bool cublaslt_version(Diag *diag, Arena *arena, Str *out);
// Lives in the arena; close it. False: there is no cuBLASLt (FAIL_ENVIRONMENT), or it does not
// start. The GPU's context is in use.
MUST_USE bool cublaslt_open(Diag *diag, Arena *arena, Cublaslt **out);
void cublaslt_close(Cublaslt *lt);  // NULL is none

typedef struct {
    CuAddress a, b, c, workspace;
} CublasltOperands;
// Chooses how the contraction is computed on these operands. The result lives as long as lt.
MUST_USE bool cublaslt_prepare(Diag *diag, Cublaslt *lt, const PlanGemm *gemm,
                               CublasltOperands operands, CublasltGemm **out);
// Puts it on a stream. 0, or the library's error.
int cublaslt_run(const CublasltGemm *gemm, CuStream *stream);
