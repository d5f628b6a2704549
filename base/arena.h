// arena.h: memory by lifetime. Objects are never freed one by one; an arena is rewound or
// released whole. Out of memory aborts here, so no caller checks for NULL.
#pragma once

#include <stddef.h>

#include "base/attr.h"

typedef struct ArenaBlock ArenaBlock;

typedef struct {
    ArenaBlock *block;  // newest block; NULL when empty, so a zeroed Arena is ready for use
    size_t used;        // bytes used in the newest block
    size_t total;       // bytes handed out since init or the last full rewind
} Arena;

typedef struct {
    ArenaBlock *block;
    size_t used, total;
} ArenaMark;

void arena_init(Arena *arena);
void arena_release(Arena *arena);

// Zeroed memory, 16-byte aligned. count * size is checked for overflow.
void *arena_alloc(Arena *arena, size_t count, size_t size);
#define arena_new(arena, T)      ((T *)arena_alloc((arena), 1, sizeof(T)))
#define arena_array(arena, T, n) ((T *)arena_alloc((arena), (size_t)(n), sizeof(T)))

// Everything allocated since the mark becomes invalid (and poisoned under AddressSanitizer).
ArenaMark arena_mark(const Arena *arena);
void arena_rewind(Arena *arena, ArenaMark mark);

// NUL-terminated copies.
char *arena_strndup(Arena *arena, const char *s, size_t n);
char *arena_printf(Arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
