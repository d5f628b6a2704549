// driver.h: the CUDA driver, opened at run time: libcuda.so.1, or what STRATA_LIBCUDA names.
// Types and numbers are those of cuda.h, which is not needed for building.
#pragma once

#include "base/diag.h"

typedef struct CuContext CuContext;
typedef struct CuStream CuStream;
typedef struct CuEvent CuEvent;
typedef struct CuModule CuModule;
typedef struct CuFunction CuFunction;
typedef struct CuGraph CuGraph;
typedef struct CuGraphExec CuGraphExec;
typedef uint64_t CuAddress;  // of the GPU's memory

typedef struct {
    _Alignas(128) uint64_t words[16];
} CuTensorMap;

typedef struct {
    uint32_t id;  // CU_LAUNCH_CLUSTER
    uint32_t unused;
    uint64_t value[8];  // a union; of a cluster: 32-bit x, y, z
} CuLaunchAttribute;
typedef struct {
    uint32_t grid[3], block[3], shared_bytes;
    CuStream *stream;
    CuLaunchAttribute *attributes;
    uint32_t attribute_count;
} CuLaunchConfig;
_Static_assert(sizeof(CuLaunchAttribute) == 72 && sizeof(CuLaunchConfig) == 56,
               "CUlaunchAttribute and CUlaunchConfig of cuda.h");

enum {
    CU_OUT_OF_MEMORY = 2,  // CUresult
    CU_NO_DEVICE = 100,
    CU_DEVICE_PROCESSORS = 16,  // CUdevice_attribute
    CU_DEVICE_MAJOR = 75,
    CU_DEVICE_MINOR = 76,
    CU_DEVICE_SHARED_BYTES = 97,
    CU_FUNCTION_DYNAMIC_SHARED = 8,  // CUfunction_attribute
    CU_FUNCTION_CLUSTER_WIDTH = 11,
    CU_FUNCTION_LARGE_CLUSTERS = 14,
    CU_LAUNCH_CLUSTER = 4,         // CUlaunchAttributeID
    CU_STREAM_NON_BLOCKING = 1,    // CUstream_flags
    CU_CAPTURE_RELAXED = 2,        // CUstreamCaptureMode
    CU_EVENT_RECORD_EXTERNAL = 1,  // CUevent_record_flags: a node of its own in a graph
};

typedef struct {
#define DRIVER_FUNCTION(name, symbol, ...) int (*name)(__VA_ARGS__);
#include "runtime/cuda/driver.def"
#undef DRIVER_FUNCTION
} CudaDriver;

// NULL: there is no usable driver (FAIL_ENVIRONMENT; diag NULL: nothing is said). The same
// table for every caller, valid for ever.
const CudaDriver *cuda_driver(Diag *diag);

// Records "WHAT: CUDA_ERROR_OUT_OF_MEMORY (out of memory)" as FAIL_ENVIRONMENT.
bool cuda_fail(Diag *diag, const CudaDriver *cu, int error, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

typedef struct {
    int index;
    char name[128];
    int major, minor;  // compute capability: 9, 0
    int processors;
    int shared_bytes;  // that a block can have
    size_t memory_bytes;
} CudaDevice;

// Those that the process may see, arena-owned; none is no failure.
MUST_USE bool cuda_devices(Diag *diag, Arena *arena, const CudaDriver *cu, CudaDevice **out,
                           uint32_t *count);
// The architecture that is compiled for on this device, as in a plan's target: "sm_90a";
// "sm_75" and others that no kernel is compiled for are given as well.
Str cuda_device_arch(Arena *arena, const CudaDevice *device);
// Whether code for an architecture ("sm_90a") runs there.
bool cuda_device_runs(const CudaDevice *device, Str arch);
// "13.0": the newest CUDA that the driver knows.
Str cuda_driver_version(Arena *arena, const CudaDriver *cu);
