// map.h: hash map from strings to 64-bit values. Arena-owned. Never iterate it into output:
// order is not meaning.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

typedef struct {
    struct MapSlot *slots;
    uint32_t count, cap;  // cap is 0 or a power of two; a zeroed Map is empty
} Map;

// Key bytes are not copied: they must live as long as the map.
void map_set(Arena *arena, Map *map, Str key, uint64_t value);
bool map_get(const Map *map, Str key, uint64_t *value);  // value may be NULL
