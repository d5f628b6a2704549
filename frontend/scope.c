// scope.c: names and paths.
#include "frontend/scope.h"

Scope *scope_new(Arena *arena, Scope *parent, const Frame *frame) {
    Scope *scope = arena_new(arena, Scope);
    scope->parent = parent;
    scope->frame = frame;
    return scope;
}

Binding *scope_find_here(Scope *scope, Str name) {
    vec_each (Binding, b, &scope->bindings) {
        if (str_eq(b->name, name)) return b;
    }
    return NULL;
}

Binding *scope_find(Scope *scope, Str name) {
    for (; scope != NULL; scope = scope->parent) {
        Binding *b = scope_find_here(scope, name);
        if (b != NULL) return b;
    }
    return NULL;
}

Binding *scope_bind(Arena *arena, Scope *scope, Str name, Datum value, Span span) {
    vec_push(arena, &scope->bindings, (Binding){.name = name, .value = value, .span = span});
    return &scope->bindings.ptr[scope->bindings.len - 1];
}

Str path_join(Arena *arena, Str prefix, Str name) {
    if (prefix.len == 0) return name;
    return str_printf(arena, "%.*s.%.*s", STR_ARG(prefix), STR_ARG(name));
}

Str path_unique(Arena *arena, PathScope *scope, Str name) {
    uint64_t count = 0;
    (void)map_get(&scope->counts, name, &count);
    map_set(arena, &scope->counts, name, count + 1);
    if (count == 0) return name;
    return str_printf(arena, "%.*s.%llu", STR_ARG(name), (unsigned long long)count);
}
