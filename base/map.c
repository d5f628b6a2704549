// map.c: open addressing with linear probing, at most three quarters full.
#include "base/map.h"

#include "base/check.h"
#include "base/hash.h"

struct MapSlot {
    Str key;
    uint64_t value;
    uint64_t hash;  // 0 marks a free slot
};

static uint64_t key_hash(Str key) {
    uint64_t h = hash_bytes(key.ptr, key.len).lo;
    return h ? h : 1;
}

// The slot that holds the key, or the free one where it belongs.
static struct MapSlot *slot_of(const Map *map, Str key, uint64_t hash) {
    uint32_t mask = map->cap - 1;
    for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
        struct MapSlot *slot = &map->slots[i];
        if (!slot->hash || (slot->hash == hash && str_eq(slot->key, key))) return slot;
    }
}

static void grow(Arena *arena, Map *map) {
    if (map->cap > UINT32_MAX / 2) BUG("a map of more than %u slots", map->cap);
    Map bigger = {.count = map->count, .cap = map->cap ? map->cap * 2 : 16};
    bigger.slots = arena_array(arena, struct MapSlot, bigger.cap);
    for (uint32_t i = 0; i < map->cap; i++) {
        const struct MapSlot *slot = &map->slots[i];
        if (slot->hash) *slot_of(&bigger, slot->key, slot->hash) = *slot;
    }
    *map = bigger;
}

void map_set(Arena *arena, Map *map, Str key, uint64_t value) {
    if (map->count >= map->cap - map->cap / 4) grow(arena, map);
    uint64_t hash = key_hash(key);
    struct MapSlot *slot = slot_of(map, key, hash);
    if (!slot->hash) map->count++;
    *slot = (struct MapSlot){.key = key, .value = value, .hash = hash};
}

bool map_get(const Map *map, Str key, uint64_t *value) {
    if (!map->cap) return false;
    const struct MapSlot *slot = slot_of(map, key, key_hash(key));
    if (slot->hash && value) *value = slot->value;
    return slot->hash != 0;
}
