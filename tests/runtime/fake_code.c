// fake_code.c: code of the fake CUDA driver: a module is its only function, an x86-64 object.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/object.h"
#include "tests/runtime/fake_cuda.h"
#include "tests/runtime/fake_stream.h"

enum { PARAMS_MAX = 32, DEFAULT_SHARED = 49152 };

struct CuModule {
    char params[PARAMS_MAX];
    int64_t tasks;
    int cluster, shared;
    Object object;
};

static CuAddress address_of(const void *p) { return (CuAddress)(uintptr_t)p; }
static bool on_device(CuAddress at) { return fake_room(at) > 0; }

int cuModuleLoadData(CuModule **out, const void *image) {
    enum { NO_BINARY_FOR_GPU = 209, PATH_CAP = 512 };
    ENTER("cuModuleLoadData");
    char path[PATH_CAP];
    CuModule *m = calloc(1, sizeof *m);
    long long tasks = 0;
    bool fits = m && sscanf(image, "fake-cubin %31s %lld %d %511s", m->params, &tasks,
                            &m->cluster, path) == 4;
    Arena arena = {0};
    Diag diag;
    Str object;
    diag_init(&diag, &arena);
    fits = fits && io_read(&diag, &arena, str_of(path), &object) &&
           object_load(&diag, STR("fake"), object, &m->object);
    arena_release(&arena);
    if (!fits) {
        free(m);
        return NO_BINARY_FOR_GPU;
    }
    m->tasks = tasks;
    m->shared = DEFAULT_SHARED;
    *out = m;
    fake_object_count(1);
    fake_log("module\n");
    return 0;
}

int cuModuleUnload(CuModule *module) {
    object_unload(&module->object);
    free(module);
    fake_object_count(-1);
    return 0;
}

int cuModuleGetFunction(CuFunction **out, CuModule *module, const char *name) {
    ENTER("cuModuleGetFunction");
    *out = (CuFunction *)module;
    return strcmp(name, "kernel") == 0 ? 0 : INVALID_VALUE;
}

int cuFuncGetAttribute(int *out, int attribute, CuFunction *function) {
    ENTER("cuFuncGetAttribute");
    const CuModule *m = (CuModule *)function;
    if (attribute != CU_FUNCTION_CLUSTER_WIDTH && attribute != CU_FUNCTION_DYNAMIC_SHARED)
        return INVALID_VALUE;
    *out = attribute == CU_FUNCTION_CLUSTER_WIDTH ? m->cluster : m->shared;
    return 0;
}

int cuFuncSetAttribute(CuFunction *function, int attribute, int value) {
    ENTER("cuFuncSetAttribute");
    CuModule *m = (CuModule *)function;
    fake_log("attribute %d = %d\n", attribute, value);
    if (attribute == CU_FUNCTION_LARGE_CLUSTERS) return 0;
    if (attribute != CU_FUNCTION_DYNAMIC_SHARED) return INVALID_VALUE;
    m->shared = value;
    return 0;
}

int cuLaunchKernelEx(const CuLaunchConfig *config, CuFunction *function, void **params,
                     void **extra) {
    ENTER("cuLaunchKernelEx");
    const CuModule *m = (CuModule *)function;
    uint32_t cluster[3] = {0};
    if (config->attribute_count) memcpy(cluster, config->attributes[0].value, sizeof cluster);
    fake_log("launch %u x %u shared %u cluster %u\n", config->grid[0], config->block[0],
             config->shared_bytes, cluster[0]);
    if (extra || config->attribute_count > 1 || (int)config->shared_bytes > m->shared)
        return INVALID_VALUE;
    FakeOp op = {.kind = FAKE_LAUNCH, .function = m->object.entry, .tasks = m->tasks};
    for (const char *p = m->params; *p && op.arg_count < FAKE_ARGS_MAX; p++) {
        // A pointer, or the first word of a map, which is where its tensor is.
        CuAddress at;
        memcpy(&at, params[op.arg_count], sizeof at);
        if (!on_device(at)) return INVALID_VALUE;
        op.args[op.arg_count++] = fake_pointer(at);
    }
    fake_submit(config->stream, op);
    return 0;
}

// NOLINTNEXTLINE(readability-function-size): the driver's parameters
int cuTensorMapEncodeTiled(CuTensorMap *out, int type, uint32_t rank, void *address,
                           const uint64_t *extents, const uint64_t *stride_bytes,
                           const uint32_t *box, const uint32_t *element_strides, int interleave,
                           int swizzle, int promotion, int fill) {
    ENTER("cuTensorMapEncodeTiled");
    fake_log("map type %d swizzle %d:", type, swizzle);
    for (uint32_t i = 0; i < rank; i++) {
        fake_log(" %llu", (unsigned long long)extents[i]);
        if (i) fake_log(" by %llu", (unsigned long long)stride_bytes[i - 1]);
        fake_log(" box %u", box[i]);
        if (element_strides[i] != 1) return INVALID_VALUE;
    }
    fake_log("\n");
    if (address_of(out) % 64 || address_of(address) % 16 || !on_device(address_of(address)))
        return INVALID_VALUE;
    memset(out, 0, sizeof *out);
    out->words[0] = address_of(address);
    return interleave || fill || promotion < 0 ? INVALID_VALUE : 0;
}
