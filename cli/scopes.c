// scopes.c: counting parameters by scope.
#include "cli/scopes.h"

#include <string.h>

typedef struct {
    Str path;  // of the scope, or of a parameter of no scope
    uint32_t total;
    int64_t parameters;
} Place;

typedef struct {
    Arena *arena;
    Map declared;      // scopes that declare parameters themselves
    Map place, total;  // path -> place, name -> total
    Vec(Place) places;
    Vec(ScopeTotal) totals;
} Scopes;

// The path up to component `count`, without the point behind it; all of it if there are fewer.
static Str first_components(Str path, uint32_t count) {
    for (size_t i = 0; i < path.len; i++)
        if (path.ptr[i] == '.' && --count == 0) return (Str){path.ptr, i};
    return path;
}

static Str scope_of(Str path) {
    size_t len = path.len;
    while (len > 0 && path.ptr[len - 1] != '.')
        len--;
    return (Str){path.ptr, len > 0 ? len - 1 : 0};
}

// The outermost scope around the parameter that declares any; its own path if there is none.
static Str place_of(const Scopes *s, Str path) {
    Str scope = scope_of(path);
    for (uint32_t n = 1; scope.len > 0; n++) {
        Str outer = first_components(scope, n);
        if (map_get(&s->declared, outer, NULL)) return outer;
    }
    return path;
}

// Components that are numbers become "*".
static Str name_of(Arena *arena, Str path) {
    StrBuf out = {0};
    for (size_t i = 0; i < path.len;) {
        size_t end = i, digits = 0;
        for (; end < path.len && path.ptr[end] != '.'; end++)
            digits += path.ptr[end] >= '0' && path.ptr[end] <= '9';
        if (digits == end - i)
            strbuf_addc(&out, '*');
        else
            strbuf_add(&out, (Str){path.ptr + i, end - i});
        if (end < path.len) strbuf_addc(&out, '.');
        i = end + 1;
    }
    Str name = str_copy(arena, strbuf_view(&out));
    strbuf_release(&out);
    return name;
}

static Place *place_find(Scopes *s, Str path) {
    uint64_t at = 0;
    if (map_get(&s->place, path, &at)) return &s->places.ptr[at];
    Str name = name_of(s->arena, path);
    if (!map_get(&s->total, name, &at)) {
        at = s->totals.len;
        vec_push(s->arena, &s->totals, (ScopeTotal){.name = name, .alike = true});
        map_set(s->arena, &s->total, name, at);
    }
    map_set(s->arena, &s->place, path, s->places.len);
    vec_push(s->arena, &s->places, (Place){.path = path, .total = (uint32_t)at});
    return &s->places.ptr[s->places.len - 1];
}

static int64_t elements(const Graph *g, const Leaf *leaf) {
    int64_t n = 1;
    for (uint32_t i = 0; i < leaf->rank; i++)
        n *= graph_extent(g, leaf->axes[i]);
    return n;
}

uint32_t graph_scopes(const Graph *g, Arena *arena, ScopeTotal **out) {
    Scopes s = {.arena = arena};
    vec_each (const Leaf, leaf, &g->leaves) {
        Str scope = scope_of(leaf->path);
        if (leaf->kind == OP_PARAM && scope.len > 0) map_set(arena, &s.declared, scope, 1);
    }
    vec_each (const Leaf, leaf, &g->leaves) {
        if (leaf->kind != OP_PARAM) continue;
        place_find(&s, place_of(&s, leaf->path))->parameters += elements(g, leaf);
    }
    vec_each (const Place, p, &s.places) {
        ScopeTotal *t = &s.totals.ptr[p->total];
        t->alike = t->alike && t->parameters == p->parameters * t->count;
        t->parameters += p->parameters;
        t->count++;
    }
    *out = s.totals.ptr;
    return s.totals.len;
}
