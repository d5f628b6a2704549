// arena.c: a chain of blocks, newest first. Freed or unused bytes are poisoned under
// AddressSanitizer; with ARENA_EACH every object gets a block of its own, so that memory
// checkers see each object's bounds.
//
//     Arena.block -> [prev|cap| objects ... used | free] -> [prev|cap| objects ... ] -> NULL
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISON 1
#endif
#endif

#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>
static void poison(const void *p, size_t n) { __asan_poison_memory_region(p, n); }
static void unpoison(const void *p, size_t n) { __asan_unpoison_memory_region(p, n); }
#else
static void poison(const void *p, size_t n) { (void)p, (void)n; }
static void unpoison(const void *p, size_t n) { (void)p, (void)n; }
#endif

enum { ALIGNMENT = 16, BLOCK_FIRST = 16 << 10, BLOCK_LARGEST = 1 << 20 };

struct ArenaBlock {
    ArenaBlock *prev;
    size_t cap;  // bytes in data
    alignas(ALIGNMENT) unsigned char data[];
};

void arena_init(Arena *arena) { *arena = (Arena){0}; }

static void block_free(ArenaBlock *block) {
    unpoison(block->data, block->cap);
    free(block);
}

static size_t block_size(const Arena *arena, size_t need) {
#ifdef ARENA_EACH
    (void)arena;
    return need;
#else
    size_t cap = arena->block ? arena->block->cap * 2 : BLOCK_FIRST;
    if (cap > BLOCK_LARGEST) cap = BLOCK_LARGEST;
    return cap < need ? need : cap;
#endif
}

static void block_add(Arena *arena, size_t need) {
    size_t cap = block_size(arena, need);
    ArenaBlock *block = malloc(sizeof *block + cap);
    if (!block) check_out_of_memory(cap);
    block->prev = arena->block;
    block->cap = cap;
    poison(block->data, cap);
    arena->block = block;
    arena->used = 0;
}

void *arena_alloc(Arena *arena, size_t count, size_t size) {
    size_t limit = SIZE_MAX / 2;
    if (size && count > limit / size) check_out_of_memory(SIZE_MAX);
    size_t bytes = count * size;
    // An empty object still gets an address of its own.
    size_t step = (bytes + (bytes == 0) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!arena->block || arena->block->cap - arena->used < step) block_add(arena, step);
    unsigned char *p = arena->block->data + arena->used;
    arena->used += step;
    arena->total += bytes;
    unpoison(p, bytes);
    memset(p, 0, bytes);
    return p;
}

ArenaMark arena_mark(const Arena *arena) {
    return (ArenaMark){.block = arena->block, .used = arena->used, .total = arena->total};
}

void arena_rewind(Arena *arena, ArenaMark mark) {
    while (arena->block != mark.block) {
        ASSERT(arena->block);
        ArenaBlock *block = arena->block;
        arena->block = block->prev;
        block_free(block);
    }
    arena->used = mark.used;
    arena->total = mark.total;
    if (arena->block) poison(arena->block->data + mark.used, arena->block->cap - mark.used);
}

void arena_release(Arena *arena) { arena_rewind(arena, (ArenaMark){0}); }

char *arena_strndup(Arena *arena, const char *s, size_t n) {
    char *copy = arena_alloc(arena, n + 1, 1);
    if (n) memcpy(copy, s, n);
    return copy;
}

char *arena_printf(Arena *arena, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) BUG("bad format '%s'", fmt);
    char *text = arena_alloc(arena, (size_t)n + 1, 1);
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}
