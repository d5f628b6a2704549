// fake_cuda.c: the driver's functions of runtime/cuda/driver.def but for those of code. A
// stream runs what is put on it at once, or, while it is captured, appends it to a graph.
#include "tests/runtime/fake_cuda.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/runtime/fake_stream.h"

enum { LOG_CAP = 1 << 16, ALLOCATIONS_MAX = 64, FILL_MAX = 1 << 16, SHARED_BYTES = 232448 };

typedef struct {
    CuAddress base;
    size_t bytes;
} Allocation;

// A library's state is the process's: there is one fake driver.
static struct {
    char log[LOG_CAP];
    size_t log_length;
    const char *fail_name;
    int fail_in, fail_error;  // calls until then; error 0: none
    int devices, major, minor, live;
    size_t memory;
    Allocation allocations[ALLOCATIONS_MAX];
    float clock;
} fake = {.devices = 1, .major = 9, .memory = (size_t)1 << 30};

const char *fake_cuda_log(void) { return fake.log; }
void fake_cuda_clear(void) { fake.log[fake.log_length = 0] = 0; }
int fake_cuda_live(void) { return fake.live; }
void fake_cuda_set_memory(size_t bytes) { fake.memory = bytes; }

void fake_cuda_fail(const char *function, int calls, int error) {
    fake.fail_name = function;
    fake.fail_in = calls;
    fake.fail_error = error;
}

void fake_cuda_set_device(int count, int major, int minor) {
    fake.devices = count;
    fake.major = major;
    fake.minor = minor;
}

int fake_error(const char *function) {
    if (!fake.fail_error || (fake.fail_name && strcmp(fake.fail_name, function) != 0)) return 0;
    if (fake.fail_in-- > 0) return 0;
    int error = fake.fail_error;
    fake.fail_error = 0;
    return error;
}

void fake_log(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    size_t room = LOG_CAP - fake.log_length;
    int n = vsnprintf(fake.log + fake.log_length, room, fmt, args);
    va_end(args);
    if (n > 0) fake.log_length += (size_t)n < room ? (size_t)n : room - 1;
}

void *fake_pointer(CuAddress address) {
    uintptr_t at = (uintptr_t)address;
    void *p;
    memcpy(&p, &at, sizeof p);
    return p;
}

static CuAddress address_of(const void *p) { return (CuAddress)(uintptr_t)p; }

size_t fake_room(CuAddress at) {
    for (int i = 0; i < ALLOCATIONS_MAX; i++) {
        const Allocation *a = &fake.allocations[i];
        if (a->base && at >= a->base && at - a->base <= a->bytes)
            return a->bytes - (at - a->base);
    }
    return 0;
}

static bool on_device(CuAddress at, size_t bytes) {
    return fake_room(at) && bytes <= fake_room(at);
}

// ---- devices

int cuInit(unsigned flags) {
    ENTER("cuInit");
    return flags ? INVALID_VALUE : 0;
}

int cuDriverGetVersion(int *version) {
    *version = 13000;
    return 0;
}

int cuGetErrorName(int error, const char **out) {
    *out = error == CU_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
    return 0;
}

int cuGetErrorString(int error, const char **out) {
    *out = error == CU_OUT_OF_MEMORY ? "out of memory" : "made to fail";
    return 0;
}

int cuDeviceGetCount(int *count) {
    ENTER("cuDeviceGetCount");
    *count = fake.devices;
    return fake.devices ? 0 : CU_NO_DEVICE;
}

int cuDeviceGetName(char *out, int bytes, int device) {
    ENTER("cuDeviceGetName");
    snprintf(out, (size_t)bytes, "Fake %d", device);
    return 0;
}

int cuDeviceGetAttribute(int *out, int attribute, int device) {
    ENTER("cuDeviceGetAttribute");
    if (device >= fake.devices) return INVALID_VALUE;
    *out = attribute == CU_DEVICE_MAJOR        ? fake.major
           : attribute == CU_DEVICE_MINOR      ? fake.minor
           : attribute == CU_DEVICE_PROCESSORS ? 132
                                               : SHARED_BYTES;
    return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    ENTER("cuDeviceTotalMem_v2");
    *bytes = fake.memory;
    return device >= fake.devices ? INVALID_VALUE : 0;
}

int cuDevicePrimaryCtxRetain(CuContext **out, int device) {
    ENTER("cuDevicePrimaryCtxRetain");
    *out = (CuContext *)&fake;
    fake.live++;
    return device >= fake.devices ? INVALID_VALUE : 0;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
    (void)device;
    fake.live--;
    return 0;
}

int cuCtxSetCurrent(CuContext *context) {
    ENTER("cuCtxSetCurrent");
    return context == (CuContext *)&fake ? 0 : INVALID_VALUE;
}

// ---- memory

int cuMemGetInfo_v2(size_t *free_bytes, size_t *bytes) {
    *free_bytes = *bytes = fake.memory;
    return 0;
}

int cuMemAlloc_v2(CuAddress *out, size_t bytes) {
    ENTER("cuMemAlloc_v2");
    fake_log("cuMemAlloc_v2 %zu\n", bytes);
    if (bytes > fake.memory) return CU_OUT_OF_MEMORY;
    for (int i = 0; i < ALLOCATIONS_MAX; i++) {
        if (fake.allocations[i].base) continue;
        void *data = aligned_alloc(256, (bytes + 255) / 256 * 256);
        if (!data) return CU_OUT_OF_MEMORY;
        // As on a device, nothing is zero by itself; of a workspace a part is enough.
        memset(data, 0x7e, bytes < FILL_MAX ? bytes : FILL_MAX);
        *out = address_of(data);
        fake.allocations[i] = (Allocation){*out, bytes};
        fake.live++;
        return 0;
    }
    return CU_OUT_OF_MEMORY;
}

int cuMemFree_v2(CuAddress address) {
    for (int i = 0; i < ALLOCATIONS_MAX; i++) {
        if (fake.allocations[i].base != address) continue;
        fake.allocations[i] = (Allocation){0};
        free(fake_pointer(address));
        fake.live--;
        return 0;
    }
    return INVALID_VALUE;
}

int cuMemHostAlloc(void **out, size_t bytes, unsigned flags) {
    ENTER("cuMemHostAlloc");
    if (flags) return INVALID_VALUE;
    *out = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!*out) return CU_OUT_OF_MEMORY;
    memset(*out, 0x7e, bytes);
    fake.live++;
    return 0;
}

int cuMemFreeHost(void *data) {
    free(data);
    fake.live--;
    return 0;
}

int cuMemcpyHtoDAsync_v2(CuAddress to, const void *from, size_t bytes, CuStream *stream) {
    ENTER("cuMemcpyHtoDAsync_v2");
    fake_log("upload %zu\n", bytes);
    if (!on_device(to, bytes) || fake_is_captured(stream)) return INVALID_VALUE;
    memcpy(fake_pointer(to), from, bytes);
    return 0;
}

int cuMemcpyDtoHAsync_v2(void *to, CuAddress from, size_t bytes, CuStream *stream) {
    ENTER("cuMemcpyDtoHAsync_v2");
    fake_log("download %zu\n", bytes);
    if (!on_device(from, bytes) || fake_is_captured(stream)) return INVALID_VALUE;
    memcpy(to, fake_pointer(from), bytes);
    return 0;
}

int cuMemcpyDtoDAsync_v2(CuAddress to, CuAddress from, size_t bytes, CuStream *stream) {
    ENTER("cuMemcpyDtoDAsync_v2");
    if (!on_device(to, bytes) || !on_device(from, bytes)) return INVALID_VALUE;
    fake_submit(stream, (FakeOp){.kind = FAKE_COPY, .to = to, .from = from, .bytes = bytes});
    return 0;
}

int cuMemsetD8Async(CuAddress to, unsigned char value, size_t bytes, CuStream *stream) {
    ENTER("cuMemsetD8Async");
    if (!on_device(to, bytes)) return INVALID_VALUE;
    fake_submit(stream, (FakeOp){.kind = FAKE_FILL, .to = to, .value = value, .bytes = bytes});
    return 0;
}

// ---- streams, events and graphs

void fake_object_count(int change) { fake.live += change; }

int cuStreamCreate(CuStream **out, unsigned flags) {
    ENTER("cuStreamCreate");
    *out = fake_stream_new();
    return flags == CU_STREAM_NON_BLOCKING ? 0 : INVALID_VALUE;
}

int cuStreamDestroy_v2(CuStream *stream) {
    fake_stream_free(stream);
    return 0;
}

int cuStreamSynchronize(CuStream *stream) {
    ENTER("cuStreamSynchronize");
    fake_log("wait\n");
    return fake_is_captured(stream) ? INVALID_VALUE : 0;
}

int cuEventCreate(CuEvent **out, unsigned flags) {
    ENTER("cuEventCreate");
    *out = calloc(1, sizeof **out);
    fake.live++;
    return flags || !*out ? INVALID_VALUE : 0;
}

int cuEventDestroy_v2(CuEvent *event) {
    free(event);
    fake.live--;
    return 0;
}

int cuEventRecordWithFlags(CuEvent *event, CuStream *stream, unsigned flags) {
    ENTER("cuEventRecordWithFlags");
    // Without a graph, the flag is an error.
    if (fake_is_captured(stream) != (flags == CU_EVENT_RECORD_EXTERNAL)) return INVALID_VALUE;
    fake_submit(stream, (FakeOp){.kind = FAKE_EVENT, .event = event});
    return 0;
}

int cuEventElapsedTime(float *ms, CuEvent *from, CuEvent *to) {
    ENTER("cuEventElapsedTime");
    *ms = to->time - from->time;
    return from->time > 0 ? 0 : INVALID_VALUE;
}

int cuStreamBeginCapture_v2(CuStream *stream, int mode) {
    ENTER("cuStreamBeginCapture_v2");
    fake_log("capture\n");
    if (mode != CU_CAPTURE_RELAXED || fake_is_captured(stream)) return INVALID_VALUE;
    fake_capture_begin(stream);
    return 0;
}

int cuStreamEndCapture(CuStream *stream, CuGraph **out) {
    int injected = fake_error("cuStreamEndCapture");
    fake_log("end of capture\n");
    *out = fake_capture_end(stream);
    if (injected) {
        fake_graph_free(*out);
        *out = NULL;
    }
    return injected;
}

int cuGraphDestroy(CuGraph *graph) {
    fake_graph_free(graph);
    return 0;
}

int cuGraphInstantiateWithFlags(CuGraphExec **out, CuGraph *graph, unsigned long long flags) {
    ENTER("cuGraphInstantiateWithFlags");
    *out = fake_graph_copy(graph);
    return flags ? INVALID_VALUE : 0;
}

int cuGraphLaunch(CuGraphExec *graph, CuStream *stream) {
    ENTER("cuGraphLaunch");
    fake_log("graph\n");
    if (fake_is_captured(stream)) return INVALID_VALUE;
    fake_graph_run(graph);
    return 0;
}

int cuGraphExecDestroy(CuGraphExec *graph) {
    fake_exec_free(graph);
    return 0;
}
