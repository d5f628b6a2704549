// scope.h: what names mean while elaborating (Scope), and where parameters are named
// (PathScope). Both live as long as the elaboration: closures keep the scope in which they were
// written.
#pragma once

#include "frontend/values.h"

// One call of a function, or the body of the model. A name may be assigned only in the frame
// that declares it.
typedef struct {
    bool is_model;
    bool is_optimizer;
    bool returned;  // a `return` has been elaborated: the rest of the body is skipped
    Datum result;
} Frame;

typedef struct {
    Str name;
    Datum value;
    Span span;  // of the declaration
} Binding;

struct Scope {
    Scope *parent;
    const Frame *frame;  // NULL: of a module
    Vec(Binding) bindings;
};

Scope *scope_new(Arena *arena, Scope *parent, const Frame *frame);
Binding *scope_find(Scope *scope, Str name);  // in it or the scopes around it; NULL if absent
Binding *scope_find_here(Scope *scope, Str name);  // in it alone
// The caller has made sure that the name is not bound here. Valid until the next binding is
// added.
Binding *scope_bind(Arena *arena, Scope *scope, Str name, Datum value, Span span);

// "layers.3.attn": the names of the parameters declared in it start with that and a dot.
typedef struct {
    Str prefix;  // may be empty
    Map counts;  // how often each function name has been used for a scope in this one
} PathScope;

Str path_join(Arena *arena, Str prefix, Str name);
// `name`, or `name.1`, `name.2`, ... when it was given out before.
Str path_unique(Arena *arena, PathScope *scope, Str name);
