// fuzz_mapping.c: any text either is a mapping or gives one error; a mapping either fits a
// small model, and then every tensor can be moved there and back, or gives errors.
#include <stdint.h>

#include "base/check.h"
#include "runtime/mapping.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t w_shape[] = {2, 3, 4}, v_shape[] = {2, 4};
static const Str w_axes[] = {{"a", 1}, {"b", 1}, {"c", 1}}, v_axes[] = {{"a", 1}, {"c", 1}};
static const PlanTensor ours[] = {
    {.name = {"l.0.w", 5}, .rank = 3, .shape = w_shape, .axes = w_axes},
    {.name = {"l.1.w", 5}, .rank = 3, .shape = w_shape, .axes = w_axes},
    {.name = {"v", 1}, .rank = 2, .shape = v_shape, .axes = v_axes},
};

static void move_all(Arena *arena, const MapPlan *plan) {
    static const unsigned char data[24];
    for (uint32_t i = 0; i < plan->theirs.len; i++) {
        const Theirs *t = &plan->theirs.ptr[i];
        for (uint32_t u = 0; u < t->uses.len; u++) {
            const MapUse *use = &t->uses.ptr[u];
            const Fill *fill = &plan->fills[use->ours];
            const unsigned char *moved = moves_back(arena, fill, use->part, 1, data);
            for (int64_t k = 0; k < shape_count(&t->shape); k++)
                ASSERT(moved[k] == 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    Mapping mapping;
    MapPlan plan = {.mapping = &mapping, .ours = ours, .our_count = 3};
    Str text = {(const char *)data, size};
    if (!mapping_parse(&diag, &arena, STR("input"), text, &mapping))
        ASSERT(diag.error_count == 1);
    else if (map_plan_make(&diag, &arena, &plan))
        move_all(&arena, &plan);
    else
        ASSERT(diag.error_count > 0);
    arena_release(&arena);
    return 0;
}
