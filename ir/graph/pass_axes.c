// pass_axes.c: a function's axis is a new one in every call. Of those with equal names and
// extents that no operation has two of all become the first: then kernels of different calls
// can work on the same rows and cols.
#include <string.h>

#include "ir/graph/passes.h"

// The name without the number that makes it unique.
static Str given_name(const Axis *axis) {
    const char *dot = memchr(axis->name.ptr, '.', axis->name.len);
    return (Str){axis->name.ptr, dot ? (size_t)(dot - axis->name.ptr) : axis->name.len};
}

// Per axis: the first of its name and extent.
static uint32_t *find_firsts(const Graph *g, Arena *arena) {
    uint32_t *first = arena_array(arena, uint32_t, g->axes.len);
    Map firsts = {0};
    for (uint32_t a = 1; a < g->axes.len; a++) {
        const Axis *axis = &g->axes.ptr[a];
        Str key =
            str_printf(arena, "%lld%.*s", (long long)axis->extent, STR_ARG(given_name(axis)));
        uint64_t found = a;
        if (!axis->runtime && !map_get(&firsts, key, &found))
            map_set(arena, &firsts, key, found);
        first[a] = (uint32_t)found;
    }
    return first;
}

typedef struct {
    const uint32_t *first;
    uint32_t *at,
        *axis;  // per first axis: the last value that had an axis of its kind, and which
    bool *met;  // per first axis: some value has two of its kind
} Meetings;

static void meet(Meetings *m, uint32_t v, const AxisId *axes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = m->first[axes[i].i];
        m->met[first] |= m->at[first] == v && m->axis[first] != axes[i].i;
        m->at[first] = v;
        m->axis[first] = axes[i].i;
    }
}

static const bool *find_meetings(const Graph *g, Arena *arena, const uint32_t *first) {
    uint32_t n = g->axes.len;
    Meetings m = {first, arena_array(arena, uint32_t, n), arena_array(arena, uint32_t, n),
                  arena_array(arena, bool, n)};
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        meet(&m, i, v->axes, v->rank);
        meet(&m, i, v->attr.along, v->attr.along_count);
        meet(&m, i, v->attr.to, v->attr.to_count);
        for (uint32_t k = 0; k < v->arity; k++) {
            const Value *x = graph_value(g, v->in[k]);
            meet(&m, i, x->axes, x->rank);
        }
    }
    return m.met;
}

static const AxisId *firsts_of(Arena *arena, const uint32_t *first, const AxisId *axes,
                               uint32_t count) {
    AxisId *out = arena_array(arena, AxisId, count);
    for (uint32_t i = 0; i < count; i++)
        out[i] = (AxisId){first[axes[i].i]};
    return out;
}

void pass_axes(Graph *g) {
    Arena scratch;
    arena_init(&scratch);
    uint32_t *first = find_firsts(g, &scratch);
    const bool *met = find_meetings(g, &scratch, first);
    for (uint32_t a = 1; a < g->axes.len; a++)
        if (met[first[a]]) first[a] = a;
    vec_each (Leaf, leaf, &g->leaves) {
        leaf->axes = firsts_of(g->arena, first, leaf->axes, leaf->rank);
        leaf->index_of.i = first[leaf->index_of.i];
    }
    for (uint32_t i = 1; i < g->values.len; i++) {
        Value *v = &g->values.ptr[i];
        v->axes = firsts_of(g->arena, first, v->axes, v->rank);
        v->attr.along = firsts_of(g->arena, first, v->attr.along, v->attr.along_count);
        v->attr.to = firsts_of(g->arena, first, v->attr.to, v->attr.to_count);
    }
    arena_release(&scratch);
}
