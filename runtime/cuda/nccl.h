// nccl.h: which NCCL there is, the library for several GPUs: libnccl.so.2, or what STRATA_NCCL
// names. It is opened at run time.
#pragma once

#include "base/diag.h"

// "2.28.9". False: there is none, or one that lacks something (FAIL_ENVIRONMENT).
MUST_USE bool nccl_version(Diag *diag, Arena *arena, Str *out);
