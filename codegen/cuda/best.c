// best.c: insertion into a sorted list.
#include "codegen/cuda/best.h"

#include <string.h>

static void *item_at(const Best *b, uint32_t i) { return (char *)b->out + i * b->size; }

void best_add(Best *b, const void *item) {
    double cycles = b->cycles(b->shape, item);
    uint32_t at = b->count;
    while (at > 0 && b->cycles(b->shape, item_at(b, at - 1)) > cycles)
        at--;
    if (at == b->most) return;
    if (b->count < b->most) b->count++;
    memmove(item_at(b, at + 1), item_at(b, at), (b->count - 1 - at) * b->size);
    memcpy(item_at(b, at), item, b->size);
}
