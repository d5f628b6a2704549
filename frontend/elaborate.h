// elaborate.h: the elaborator's own interface (the entry points for others are in
// ast_to_graph.h). It interprets the syntax tree of a model; operations on tensors append
// values to a graph, everything else is computed at once.
//
// After an error has been reported the value in question is POISON; whatever has a poisoned
// operand is poison without a message. A function that returns bool returns false after
// reporting or when it met poison.
#pragma once

#include "frontend/ast_to_graph.h"
#include "frontend/scope.h"

#define ELABORATE_MAX_CALLS    200   // calls within calls
#define ELABORATE_MAX_DEPTH    1500  // expressions and blocks within each other, over all calls
#define ELABORATE_MAX_STEPS    3000000  // expressions evaluated and list elements copied
#define ELABORATE_MAX_VALUES   2000000  // of the graph
#define ELABORATE_MAX_EXTENT   2147483647
#define ELABORATE_MAX_ELEMENTS 9007199254740992.0  // of one tensor

struct Closure {
    const AstFn *fn;
    Str name;  // as declared or first bound; "fn" for a lambda that never got one
    Scope *scope;
    bool is_optimizer;
    bool has_leaves;  // declares parameters or states itself, so that a call opens a path scope
};

// A value with the place of the expression that gave it.
typedef struct {
    Datum v;
    Span at;
} Operand;

typedef struct {
    AxisId items[GRAPH_MAX_RANK];
    uint32_t count;
} AxisSet;

typedef struct {
    Span span;           // where it is declared
    const Frame *frame;  // the call that declares it; NULL: internal to a built-in function
} AxisOrigin;

// dk + dr: the axis of that extent, made once for each pair.
typedef struct {
    AxisId a, b, sum;
} AxisSum;

typedef struct {
    Str name, text;
    bool used;
    Span span;    // of an entry of `sizes`; file 0 for one of the command line
    Datum value;  // of an entry of `sizes`; ABSENT otherwise
} SettingState;

typedef struct {
    const AstModule *module;
    Scope *scope;
} ModuleScope;

typedef struct {
    uint32_t leaf;
    Span span;
} UpdatedLeaf;

struct Elaboration {
    Diag *diag;
    Arena *arena;
    Graph *graph;
    const AstProgram *program;
    const AstModel *model;
    Vec(ModuleScope) modules;
    Map builtins;  // name -> index in the table
    Vec(SettingState) settings;
    Vec(Str) settable;
    Vec(AxisOrigin) origins;  // by axis number
    Vec(AxisSum) sums;
    Vec(UpdatedLeaf) updated;
    Vec(Sublayer) sublayers;
    Map key_axes;  // of attend: number of the time axis as text -> its second role

    Frame *frame;
    Scope *scope;
    Scope *model_scope;
    PathScope *path;
    ValueId further_loss;  // the sum of what functions add to the loss; {0}: nothing
    bool optimizes;        // an optimizer is elaborated, not the model
    uint32_t calls, depth;
    uint64_t steps;
    uint32_t trace_left;  // calls that may still be named in notes below the last error
    bool stopped;         // a limit was met or there are too many errors
};

// ---- reporting

Datum elaborate_error(Elaboration *e, Span span, const char *fmt, ...) PRINTF_LIKE(3, 4);
Str elaborate_describe(Elaboration *e, Datum d);
// Counts work; false when a limit is met, which is reported once.
bool elaborate_step(Elaboration *e, Span span, uint64_t amount);
// One level deeper into expressions and blocks, if a limit allows it; elaborate_leave comes
// back.
bool elaborate_enter(Elaboration *e, Span span);
void elaborate_leave(Elaboration *e);

// ---- statements and expressions

void elaborate_block(Elaboration *e, const AstBlock *block);       // in a scope of its own
void elaborate_statements(Elaboration *e, const AstBlock *block);  // in the current scope
void elaborate_further_loss(Elaboration *e);  // makes what functions add to the loss an output
void elaborate_declare(Elaboration *e, AstName name, Datum value);
Datum elaborate_expr(Elaboration *e, const AstExpr *expr);
Operand elaborate_operand(Elaboration *e, const AstExpr *expr);
// As elaborate_expr, but a bare name that is not in scope gives DATUM_NEW_NAME, also within a
// list.
Datum elaborate_new_name(Elaboration *e, const AstExpr *expr);
// `name` goes to a lambda that is the value itself.
Datum elaborate_named_expr(Elaboration *e, const AstExpr *expr, Str name);
Datum elaborate_index(Elaboration *e, const AstExpr *expr);
Datum elaborate_call(Elaboration *e, const AstExpr *call, const AstScopeName *scope);
Datum elaborate_closure(Elaboration *e, const AstFn *fn, Str name);
// Calls with values; names[i].len 0 means positional. Path scopes are the caller's business.
Datum elaborate_apply(Elaboration *e, const Closure *f, const Operand *args, const Str *names,
                      uint32_t count);
bool elaborate_scope_name(Elaboration *e, const AstScopeName *scope, Str *out);

void elaborate_param(Elaboration *e, const AstTensor *t);
void elaborate_state(Elaboration *e, const AstTensor *t);
void elaborate_input(Elaboration *e, const AstTensor *t);
void elaborate_dim(Elaboration *e, const AstBinding *b);
void elaborate_update(Elaboration *e, const AstBinding *b, Span span);

// ---- settings

// The value that a setting gives to the model-level name; `fallback` if there is none.
Datum setting_apply(Elaboration *e, Str name, Datum fallback, Span span);
bool setting_extent(Elaboration *e, Str name, int64_t *extent);  // of a run-time axis

// ---- axes

AxisId axis_declare(Elaboration *e, Str name, int64_t extent, Span span);
AxisId axis_declare_runtime(Elaboration *e, Str name, Span span);
AxisId axis_role(Elaboration *e, Str name, AxisId of,
                 Span span);  // a second role of the same extent
AxisId axis_internal(Elaboration *e, Str name, AxisId of);
Datum axis_sum(Elaboration *e, AxisId a, AxisId b, Span span);
void axis_note(Elaboration *e, AxisId a);  // "n is declared here"
bool extent_known(const Elaboration *e, AxisId a);
bool extents_match(const Elaboration *e, AxisId a, AxisId b);
bool extent_check(Elaboration *e, double x, Span span, int64_t *out);  // a whole number >= 1

// ---- coercions. `what` names the thing wanted: "the exponent", "argument 'x' of softmax".

bool want_number(Elaboration *e, Operand x, const char *what, double *out);
bool want_integer(Elaboration *e, Operand x, const char *what, int64_t *out);
bool want_bool(Elaboration *e, Operand x, const char *what, bool *out);
bool want_tensor(Elaboration *e, Operand x, const char *what,
                 ValueId *out);  // a number becomes a constant
bool want_axis(Elaboration *e, Operand x, const char *what, AxisId *out);
bool want_axes(Elaboration *e, Operand x, const char *what,
               AxisSet *out);  // an axis or a list of them
bool want_axis_of(Elaboration *e, Operand tensor, AxisId axis,
                  Span at);  // the tensor must have the axis

// ---- emitting values

typedef struct {
    GraphOp op;
    const char *text;  // "+", "max"
    Span span;         // of the whole expression
} Operator;

Operator operation(GraphOp op, Span span);  // named after the operation

// Checks the operation's rule; POISON if it or a limit is broken.
Datum emit(Elaboration *e, Operator how, const ValueId *in, uint32_t count,
           const GraphAttr *attr);
Datum emit_unary(Elaboration *e, GraphOp op, Datum x, Span span);
Datum emit_along(Elaboration *e, Operator how, Datum x, AxisId along, int64_t amount);
Datum emit_reduce(Elaboration *e, GraphOp op, Datum x, const AxisSet *along, Span span);
Datum emit_rename(Elaboration *e, Datum x, AxisId from, AxisId to, Span span);
Datum emit_broadcast(Elaboration *e, Datum x, const AxisSet *extra,
                     Span span);  // extra axes come last
Datum emit_contract(Elaboration *e, Datum x, Datum y, const AxisSet *along, Span span);
Datum emit_cast(Elaboration *e, Datum x, DType type, Span span);
Datum emit_iota(Elaboration *e, AxisId axis, Span span);
Datum emit_order(Elaboration *e, Datum x, const AxisId *axes, uint32_t rank, Span span);

// ---- operators (align.c, product.c)

// Numbers, axes (their extents), tensors and mixtures of them.
Datum elaborate_arithmetic(Elaboration *e, Operator op, Operand a, Operand b);
Datum elaborate_compare(Elaboration *e, AstBinaryOp op, Span span, Operand a, Operand b);
Datum elaborate_negate(Elaboration *e, Operand x, Span span);
// False when neither operand's axes contain the other's; reported with both sides.
bool align_check(Elaboration *e, Operator op, Operand a, Operand b);
bool align_contains(const Elaboration *e, ValueId outer, ValueId inner);

// sum(expr, over): a product of two tensors of which neither contains the other becomes a
// contraction. `axes` receives what `over` names; `what` is the argument in messages.
Datum elaborate_sum_of_products(Elaboration *e, const AstExpr *expr, const AstExpr *over,
                                const char *what, AxisSet *axes);
