// fake_cuda.h: a CUDA driver and a cuBLASLt without a GPU, as a shared library that
// STRATA_LIBCUDA and STRATA_CUBLASLT name. "Device" memory is memory of its own on the host, so
// that a missing transfer shows; kernels are x86-64 objects; all calls are logged and any of
// them can be made to fail.
//
// A cubin for it is the text "fake-cubin PARAMS TASKS CLUSTER PATH": for each parameter `p` (a
// pointer) or `m` (a tensor map, which the kernel sees as a pointer to its tensor); the tasks;
// the size of clusters that is compiled in, or 0; the object with a function of type KernelFn.
#pragma once

#include "runtime/cuda/driver.h"

// The calls since the last clear, one a line: "cuMemAlloc_v2 512". Queries are not logged.
const char *fake_cuda_log(void);
void fake_cuda_clear(void);
// The call after `calls` more of this function answers `error` once; NULL: of any function.
// Functions that only describe errors or release something never fail.
void fake_cuda_fail(const char *function, int calls, int error);
void fake_cuda_set_device(int count, int major, int minor);
void fake_cuda_set_memory(size_t bytes);  // of the device
int fake_cuda_live(void);                 // what was made and not released
