// plan_verify_launch.c: a launch stays inside the limits of the hardware and its tensor maps
// inside their buffers, so that neither the driver nor the copy engine meets a surprise.
#include "runtime/plan_verify.h"

enum {
    THREADS_MAX = 1024,
    CLUSTER_MAX = 16,
    REGISTERS_MAX = 255,
    SHARED_MAX = 232448,  // bytes of a block on sm_90 and sm_100
    BOX_MAX = 256,        // elements along an axis
    MAP_ALIGN = 16,       // bytes, of addresses, strides and rows of a box
};
#define BLOCKS_MAX  ((uint32_t)INT32_MAX)
#define STRIDE_MAX  ((int64_t)1 << 40)  // bytes
#define EXTENT_MAX  ((int64_t)1 << 32)
#define ELEMENT_MAX ((int64_t)1 << 46)

static const char *axis_wrong(const TensorMapSpec *map, uint32_t k) {
    int64_t bytes = (int64_t)dtype_bytes(map->type);
    if (map->extent[k] < 1 || map->extent[k] > EXTENT_MAX)
        return "an extent of a tensor map is out of range";
    if (map->box[k] < 1 || map->box[k] > BOX_MAX)
        return "the box of a tensor map is out of range";
    if (!k) return map->stride[0] == 1 ? NULL : "the rows of a tensor map are not dense";
    if (map->stride[k] < 0 || map->stride[k] >= STRIDE_MAX / bytes)
        return "a stride of a tensor map is out of range";
    if (map->stride[k] * bytes % MAP_ALIGN) return "a stride of a tensor map is not aligned";
    return NULL;
}

static const char *map_wrong(const TensorMapSpec *map) {
    if ((unsigned)map->type >= DTYPE_COUNT) return "the elements of a tensor map are unknown";
    if (map->rank < 2 || map->rank > TENSOR_MAP_RANK)
        return "the number of axes of a tensor map is out of range";
    for (uint32_t k = 0; k < map->rank; k++) {
        const char *what = axis_wrong(map, k);
        if (what) return what;
    }
    int64_t bytes = (int64_t)dtype_bytes(map->type);
    uint32_t row = map->box[0] * (uint32_t)bytes, swizzle = map->swizzle;
    if (map->offset < 0 || map->offset > ELEMENT_MAX || map->offset * bytes % MAP_ALIGN)
        return "the offset of a tensor map is out of range or not aligned";
    if (row % MAP_ALIGN) return "the rows of a tensor map's box are not aligned";
    if (swizzle != 0 && swizzle != 32 && swizzle != 64 && swizzle != 128)
        return "the swizzle of a tensor map is unknown";
    return swizzle && row > swizzle
               ? "the rows of a tensor map's box are wider than its swizzle"
               : NULL;
}

const char *launch_wrong(const Launch *l) {
    if (l->blocks < 1 || l->blocks > BLOCKS_MAX) return "its number of blocks is out of range";
    if (l->threads < 1 || l->threads > THREADS_MAX)
        return "its number of threads is out of range";
    if (l->cluster < 1 || l->cluster > CLUSTER_MAX || l->blocks % l->cluster)
        return "its blocks do not divide into clusters";
    if (l->shared_bytes > SHARED_MAX) return "its shared memory is out of range";
    if (l->registers > REGISTERS_MAX) return "its number of registers is out of range";
    if (l->map_count > LAUNCH_MAX_MAPS) return "it has too many tensor maps";
    for (uint32_t i = 0; i < l->map_count; i++) {
        const char *what = map_wrong(&l->maps[i]);
        if (what) return what;
    }
    return NULL;
}

// From the argument's first element to the one after the last.
static bool map_fits(const TensorMapSpec *map, const PlanBuffer *buffer) {
    int64_t end = map->offset + 1;
    for (uint32_t k = 0; k < map->rank; k++) {
        if (map->stride[k] && map->extent[k] - 1 > ELEMENT_MAX / map->stride[k]) return false;
        end += (map->extent[k] - 1) * map->stride[k];
    }
    return end <= buffer->bytes / (int64_t)dtype_bytes(map->type);
}

const char *launch_args_wrong(const Launch *launch, const PlanEntry *e, const PlanStep *step) {
    for (uint32_t i = 0; i < launch->map_count; i++) {
        const TensorMapSpec *map = &launch->maps[i];
        if (map->arg >= step->arg_count) return "a tensor map describes no argument";
        if (!map_fits(map, &e->buffers[step->args[map->arg]]))
            return "a tensor map reaches past its buffer";
    }
    return NULL;
}
