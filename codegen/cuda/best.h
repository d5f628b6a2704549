// best.h: the cheapest few of many choices, the cheapest first.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct {
    void *out;    // room for `most` items
    size_t size;  // of an item
    uint32_t count, most;
    double (*cycles)(const void *shape, const void *item);
    const void *shape;
} Best;

// Among equals the first stays first; what is dearer than `most` others is not kept.
void best_add(Best *b, const void *item);
