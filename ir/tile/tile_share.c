// tile_share.c: equal operations of a program become one. Values of a region are lowered one by
// one, and what two of them need of the same element would be loaded, or computed, twice.
// Loads come before all stores of a point, so that a load between two stores may move up.
#include "base/map.h"
#include "ir/tile/tile_access.h"

enum { KEY_WORDS = 37 };

static int64_t *guard_key(int64_t *key, const TileGuard *g) {
    const int64_t words[] = {g->dim, g->div, g->mod, g->shift, g->lo, g->hi};
    memcpy(key, words, sizeof words);
    return key + sizeof words / sizeof *words;
}

// Everything that the value depends on: all but the span.
static Str key_of(Arena *arena, const TileOp *op) {
    int64_t *key = arena_array(arena, int64_t, KEY_WORDS), *at = key, bits;
    memcpy(&bits, &op->number, sizeof bits);
    const int64_t words[] = {
        op->kind,  op->fn,         op->type,          op->dims,         op->over,
        op->arity, op->way,        op->in[0].i,       op->in[1].i,      op->in[2].i,
        bits,      op->access.arg, op->access.offset, op->index_stride, op->index_count};
    memcpy(at, words, sizeof words);
    at += sizeof words / sizeof *words;
    memcpy(at, op->access.stride, sizeof op->access.stride);
    at += TILE_MAX_DIMS;
    at = guard_key(at, &op->access.guard[0]);
    at = guard_key(at, &op->access.guard[1]);
    _Static_assert(sizeof words / sizeof *words + TILE_MAX_DIMS + 12 == KEY_WORDS, "KEY_WORDS");
    return (Str){(const char *)key, sizeof *key * (size_t)(at - key)};
}

// What has no value stays; of two carries each has its own next.
static bool shared(TileOpKind kind) { return tile_op_has_value(kind) && kind != TILE_CARRY; }

TileProgram *tile_share(Arena *arena, const TileProgram *p) {
    TileProgram *out = arena_new(arena, TileProgram);
    Arena scratch = {0};
    uint32_t *new_of = arena_array(&scratch, uint32_t, p->ops.len);
    Map seen = {0};
    *out = *p;
    memset(&out->ops, 0, sizeof out->ops);
    vec_push(arena, &out->ops, p->ops.ptr[0]);
    for (uint32_t i = 1; i < p->ops.len; i++) {
        TileOp op = p->ops.ptr[i];
        for (uint32_t k = 0; k < op.arity; k++)
            op.in[k].i = new_of[op.in[k].i];
        uint64_t same;
        Str key = key_of(&scratch, &op);
        if (shared(op.kind) && map_get(&seen, key, &same)) {
            new_of[i] = (uint32_t)same;
            continue;
        }
        vec_push(arena, &out->ops, op);
        new_of[i] = out->ops.len - 1;
        map_set(&scratch, &seen, key, new_of[i]);
    }
    arena_release(&scratch);
    return out;
}
