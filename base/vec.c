// vec.c: the growing step of Vec.
#include "base/vec.h"

#include "base/check.h"

void *vec_grown(Arena *arena, const void *ptr, uint32_t len, uint32_t *cap, size_t size) {
    if (*cap > UINT32_MAX / 2) BUG("a vector of more than %u elements", *cap);
    *cap = *cap ? *cap * 2 : 8;
    void *grown = arena_alloc(arena, *cap, size);
    if (len) memcpy(grown, ptr, len * size);
    return grown;
}
