// emulated_code.c: code of the fake CUDA driver, in place of tests/runtime/fake_code.c: a
// module is the text of a kernel (tests/simt/nvrtc_text.c), and launching it runs the emulation
// of tests/simt. So whatever runs on a GPU runs without one, slowly.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/runtime/fake_stream.h"
#include "tests/simt/simt.h"

enum { PARAMS_MAX = 128, NO_BINARY_FOR_GPU = 209, SHARED_BYTES = 232448 };

// A launch as it was captured; it lives as long as its module.
typedef struct Recorded {
    struct Recorded *next;
    Launch launch;
    SimtArg args[PARAMS_MAX];
    Simt *simt;
} Recorded;

struct CuModule {
    Arena arena;
    Diag diag;
    Str text;
    uint32_t pointers, maps;  // parameters
    Recorded *recorded;
};

// What a CuTensorMap holds here.
typedef struct {
    CuAddress at;
    uint8_t rank, type, swizzle;
    uint32_t box[TENSOR_MAP_RANK];
    uint64_t extent[TENSOR_MAP_RANK], stride_bytes[TENSOR_MAP_RANK];
} EncodedMap;
_Static_assert(sizeof(EncodedMap) <= sizeof(CuTensorMap), "an encoded map is a tensor map");

// ---- modules

// Parameters up to the bracket that closes them: pointers, then maps.
static bool read_parameters(CuModule *m) {
    const char *at = strstr(m->text.ptr, " kernel(");
    if (!at) return false;
    for (bool more = true; more;) {
        size_t n = strcspn(at, ",)");
        Str parameter = {at, n};
        bool map = false;
        for (size_t i = 0; i < n; i++)
            map |= str_starts((Str){at + i, n - i}, STR("MAP_ARGUMENT"));
        m->pointers += !map && parameter.len;
        m->maps += map;
        more = at[n] == ',';
        at += n + more;
    }
    return m->pointers + m->maps <= PARAMS_MAX && m->maps <= LAUNCH_MAX_MAPS;
}

int cuModuleLoadData(CuModule **out, const void *image) {
    CuModule *m = calloc(1, sizeof *m);
    if (!m) return CU_OUT_OF_MEMORY;
    diag_init(&m->diag, &m->arena);
    m->text = str_copy(&m->arena, str_of(image));
    if (!read_parameters(m)) {
        cuModuleUnload(m);
        return NO_BINARY_FOR_GPU;
    }
    *out = m;
    return 0;
}

int cuModuleUnload(CuModule *module) {
    for (Recorded *r = module->recorded; r;) {
        Recorded *next = r->next;
        simt_close(r->simt);
        free(r);
        r = next;
    }
    arena_release(&module->arena);
    free(module);
    return 0;
}

int cuModuleGetFunction(CuFunction **out, CuModule *module, const char *name) {
    *out = (CuFunction *)module;
    return strcmp(name, "kernel") == 0 ? 0 : INVALID_VALUE;
}

static int compiled_cluster(const CuModule *m) {
    const char *at = strstr(m->text.ptr, " CLUSTER(");
    return at ? (int)strtol(at + strlen(" CLUSTER("), NULL, 10) : 0;
}

int cuFuncGetAttribute(int *out, int attribute, CuFunction *function) {
    *out = attribute == CU_FUNCTION_CLUSTER_WIDTH ? compiled_cluster((const CuModule *)function)
                                                  : SHARED_BYTES;
    return 0;
}

int cuFuncSetAttribute(CuFunction *function, int attribute, int value) {
    (void)function, (void)attribute, (void)value;
    return 0;
}

// ---- launches

static _Noreturn void give_up(const CuModule *m) {
    StrBuf text = {0};
    diag_render(&m->diag, &text);
    fprintf(stderr, "emulated GPU: %s\n%.*s\n", text.ptr ? text.ptr : "no reason",
            STR_ARG(m->text));
    abort();
}

typedef struct {
    CuModule *module;
    Recorded *recorded;
} Work;

static void run_recorded(const void *description) {
    Work work;
    memcpy(&work, description, sizeof work);
    CuModule *m = work.module;
    SimtArgs args = {work.recorded->args, m->pointers};
    if (!simt_launch(&m->diag, work.recorded->simt, 0, args, (SimtSchedule){0})) give_up(m);
}

// An argument ends where another begins, or where its allocation ends.
static void set_arguments(const CuModule *m, Recorded *r, const CuAddress *at) {
    for (uint32_t i = 0; i < m->pointers; i++) {
        size_t bytes = fake_room(at[i]);
        for (uint32_t k = 0; k < m->pointers; k++)
            if (at[k] > at[i] && at[k] - at[i] < bytes) bytes = at[k] - at[i];
        r->args[i] = (SimtArg){"argument", fake_pointer(at[i]), bytes};
    }
}

static TensorMapSpec map_of(const CuModule *m, const EncodedMap *map, const CuAddress *at) {
    static const DType types[] = {
        [0] = DTYPE_U8,  [1] = DTYPE_U16, [3] = DTYPE_I32, [5] = DTYPE_I64,
        [6] = DTYPE_F16, [7] = DTYPE_F32, [8] = DTYPE_F64, [9] = DTYPE_BF16};
    TensorMapSpec spec = {.type = types[map->type],
                          .rank = map->rank,
                          .swizzle = map->swizzle ? 16U << map->swizzle : 0};
    for (uint32_t i = 0; i < m->pointers; i++)
        if (at[i] <= map->at && (at[spec.arg] > map->at || at[i] > at[spec.arg])) spec.arg = i;
    int64_t bytes = (int64_t)dtype_bytes(spec.type);
    spec.offset = (int64_t)(map->at - at[spec.arg]) / bytes;
    for (uint32_t i = 0; i < spec.rank; i++) {
        spec.box[i] = map->box[i];
        spec.extent[i] = (int64_t)map->extent[i];
        spec.stride[i] = i ? (int64_t)map->stride_bytes[i - 1] / bytes : 1;
    }
    return spec;
}

static void set_launch(const CuModule *m, Recorded *r, const CuLaunchConfig *config,
                       void *const *params) {
    CuAddress at[PARAMS_MAX] = {0};
    uint32_t cluster = (uint32_t)compiled_cluster(m);
    for (uint32_t i = 0; i < m->pointers; i++)
        memcpy(&at[i], params[i], sizeof at[i]);
    if (config->attribute_count) memcpy(&cluster, config->attributes[0].value, sizeof cluster);
    r->launch = (Launch){.blocks = config->grid[0],
                         .threads = config->block[0],
                         .cluster = cluster ? cluster : 1,
                         .shared_bytes = config->shared_bytes,
                         .map_count = m->maps};
    for (uint32_t i = 0; i < m->maps; i++) {
        EncodedMap map;
        memcpy(&map, params[m->pointers + i], sizeof map);
        r->launch.maps[i] = map_of(m, &map, at);
    }
    set_arguments(m, r, at);
}

int cuLaunchKernelEx(const CuLaunchConfig *config, CuFunction *function, void **params,
                     void **extra) {
    CuModule *m = (CuModule *)function;
    if (extra) return INVALID_VALUE;
    Recorded *r = calloc(1, sizeof *r);
    if (!r) return INVALID_VALUE;
    r->next = m->recorded;
    set_launch(m, r, config, params);
    const CudaKernel kernel = {.text = m->text, .launch = r->launch};
    CudaKernel *kept = arena_new(&m->arena, CudaKernel);
    *kept = kernel;
    if (!simt_build(&m->diag, &m->arena, kept, 1, &r->simt)) give_up(m);
    m->recorded = r;
    FakeOp op = {.kind = FAKE_CALL, .call = run_recorded};
    const Work work = {m, r};
    memcpy(op.description, &work, sizeof work);
    fake_submit(config->stream, op);
    return 0;
}

// NOLINTNEXTLINE(readability-function-size): the driver's parameters
int cuTensorMapEncodeTiled(CuTensorMap *out, int type, uint32_t rank, void *address,
                           const uint64_t *extents, const uint64_t *stride_bytes,
                           const uint32_t *box, const uint32_t *element_strides, int interleave,
                           int swizzle, int promotion, int fill) {
    (void)element_strides, (void)promotion;
    EncodedMap map = {.at = (CuAddress)(uintptr_t)address,
                      .rank = (uint8_t)rank,
                      .type = (uint8_t)type,
                      .swizzle = (uint8_t)swizzle};
    if (interleave || fill || rank > TENSOR_MAP_RANK) return INVALID_VALUE;
    for (uint32_t i = 0; i < rank; i++) {
        map.box[i] = box[i];
        map.extent[i] = extents[i];
        if (i) map.stride_bytes[i - 1] = stride_bytes[i - 1];
    }
    memcpy(out, &map, sizeof map);
    return 0;
}
