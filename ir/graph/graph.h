// graph.h: the graph IR. A flat, append-only array of values in SSA form: operands come before
// their users. A tensor has a list of axes; an axis has a name and an extent and is known by
// its number. Storage order of a value that is kept in memory is row-major in the order of its
// axes (docs/graph_ir.md).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/diag.h"
#include "base/dtype.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/vec.h"

typedef struct {
    uint32_t i;
} ValueId;  // 0: none
typedef struct {
    uint32_t i;
} AxisId;  // 0: none

typedef enum {
    OP_NONE,
#define GRAPH_OP(NAME, ...) OP_##NAME,
#include "ir/graph/ops.def"
#undef GRAPH_OP
    OP_COUNT
} GraphOp;

#define GRAPH_MAX_RANK 12
#define EXTENT_UNKNOWN (-1)  // of a run-time axis that is not bound yet

typedef struct {
    Str name;        // unique in the graph: a second axis called T is T.1
    int64_t extent;  // >= 1, or EXTENT_UNKNOWN
    bool runtime;    // given by the inputs (B, T), not by the model
    AxisId
        same_as;  // run-time only: a second role of that axis, bound together with it; 0: none
} Axis;

// Pairs of indices (i, j) with lo <= i - j <= hi. Sides without a bound are BAND_LEAST and
// BAND_MOST.
typedef struct {
    int64_t lo, hi;
} Band;
#define BAND_LEAST INT64_MIN
#define BAND_MOST  INT64_MAX
#define BAND_ALL   ((Band){BAND_LEAST, BAND_MOST})

typedef struct {
    const AxisId *along, *to;
    uint8_t along_count, to_count;
    DType type;  // CONST, CAST
    int64_t amount;
    double number;
    uint32_t leaf;
    Band band;  // ATTEND and its gradients
} GraphAttr;

typedef struct {
    GraphOp op;
    DType type;  // F32, I32 or BOOL; BF16 as storage type after the precision pass
    uint8_t rank;
    uint32_t arity;
    const AxisId *axes;  // rank
    const ValueId *in;   // arity
    GraphAttr attr;
    Span span;
} Value;

// ---- leaves: parameters, states, inputs

typedef enum {
    INIT_CONSTANT,     // a
    INIT_NORMAL,       // deviation a
    INIT_UNIFORM,      // in [a, b]
    INIT_LOG_UNIFORM,  // exp of uniform in [log a, log b]
    INIT_FAN_IN,       // normal, deviation 1 / sqrt(product of the map's input extents)
    INIT_ORTHOGONAL,   // of the map's matrix (inputs by outputs), times a
    INIT_IDENTITY,     // a on the diagonal of the last two axes, 0 elsewhere
    INIT_UNIT,         // b at position a of the last axis, 0 elsewhere
} InitKind;

typedef enum {
    INIT_AS_IS,
    INIT_LOG,
    INIT_SOFTPLUS_INVERSE
} InitTransform;  // applied to each drawn value

typedef struct {
    InitKind kind;
    InitTransform transform;
    double a, b;
} Init;

typedef struct {
    GraphOp kind;  // OP_PARAM, OP_STATE or OP_INPUT
    Str path;      // "layers.3.attn.wq"; its name in safetensors files
    DType type;
    uint8_t rank, batch_count,
        input_count;     // axes = batch axes, then input axes, then output axes of the map;
    const AxisId *axes;  // a leaf that is no map has input_count 0
    Init init;           // parameters and states
    AxisId index_of;     // integer inputs: values are in [0, extent of this axis)
    const Str *tags;
    uint32_t tag_count;
    bool trained;  // a parameter that gets gradients
    Span span;
} Leaf;

typedef struct {
    Str name;
    ValueId value;
} GraphOutput;

typedef struct {
    uint32_t leaf;  // the parameter or state that takes the value after the evaluation
    ValueId value;
} GraphUpdate;

typedef struct {
    Arena *arena;
    Str name;
    Vec(Value) values;  // [0] is unused
    Vec(Axis) axes;     // [0] is unused
    Vec(Leaf) leaves;
    Vec(ValueId) leaf_values;  // value of each leaf, made when the leaf is
    Vec(GraphOutput) outputs;  // in declaration order; the loss is the output "loss"
    Vec(GraphUpdate) updates;
    Map axis_names, leaf_paths;
} Graph;

Graph *graph_new(Arena *arena, Str name);
// A new graph with g's name, axes and leaves, under the same numbers, and nothing else: what a
// pass rebuilds into.
Graph *graph_copy_header(const Graph *g, Arena *arena);

// ---- building

AxisId graph_axis(Graph *g, Str name, int64_t extent, bool runtime);  // makes the name unique
AxisId graph_axis_find(const Graph *g, Str name);                     // {0} if absent
// Gives a run-time axis and its second roles their extent (also of a graph already built:
// shapes follow the axis).
void graph_bind(Graph *g, AxisId axis, int64_t extent);

// A leaf and its value. Paths are unique: the caller checks. Strings and arrays are copied into
// the graph's arena.
ValueId graph_leaf(Graph *g, const Leaf *leaf);
// The two halves of graph_leaf, for who rebuilds a graph: its leaves come first, their values
// where they stood.
uint32_t graph_leaf_declare(Graph *g, const Leaf *leaf);  // its index; the value must follow
ValueId graph_leaf_value(Graph *g, uint32_t leaf, Span span);  // once a leaf

typedef struct {
    const ValueId *in;
    uint32_t count;
} Operands;

// Appends a value; axes and type come from the operation's shape rule. Operands or attributes
// that break the rule are a bug in the caller (the front end reports such mistakes to the user
// first). Lists in attr are copied.
ValueId graph_add(Graph *g, GraphOp op, Operands operands, GraphAttr attr, Span span);
// The operation of v, a value of any graph with the same axes, on operands of g.
ValueId graph_again(Graph *g, const Value *v, const ValueId *in);

// What graph_add would say: NULL if legal, else why not (arena-owned text, for the front end's
// messages and the verifier).
const char *graph_rule_violation(Graph *g, GraphOp op, Operands operands, GraphAttr attr);

// Short forms.
ValueId graph_const(Graph *g, double number, Span span);  // f32
ValueId graph_const_i32(Graph *g, int64_t number, Span span);
ValueId graph_unary(Graph *g, GraphOp op, ValueId x, Span span);
ValueId graph_binary(Graph *g, GraphOp op, ValueId x, ValueId y, Span span);
ValueId graph_sum(Graph *g, ValueId x, const AxisId *along, uint32_t count, Span span);
ValueId graph_cast(Graph *g, ValueId x, DType type, Span span);
void graph_output(Graph *g, Str name, ValueId value);
void graph_update(Graph *g, uint32_t leaf, ValueId value);

// ---- reading

const Value *graph_value(const Graph *g, ValueId v);
const Axis *graph_axis_at(const Graph *g, AxisId a);
const Leaf *graph_leaf_of(const Graph *g, ValueId v);  // of a PARAM, STATE or INPUT value
int64_t graph_extent(const Graph *g, AxisId a);        // bound: a bug otherwise
int64_t graph_elements(const Graph *g, ValueId v);  // product of extents; checked for overflow
int graph_axis_position(const Value *v, AxisId a);  // -1 if absent
bool graph_has_axis(const Value *v, AxisId a);
bool axis_in(const AxisId *axes, uint32_t count, AxisId a);
ValueId graph_output_find(const Graph *g, Str name);

bool band_has(const Band *band, int64_t i, int64_t j);
void band_print(const Band *band, StrBuf *out);  // "band 0, inf"
double band_pairs(const Band *band, int64_t rows,
                  int64_t cols);  // how many (i, j) of [0, rows) x [0, cols) it has
// The same where rows begin at some column, on average over all of them.
double band_pairs_anywhere(const Band *band, int64_t rows, int64_t cols);

const char *op_text(GraphOp op);
int op_arity(GraphOp op);
double op_flops(GraphOp op);
bool op_parse(Str text, GraphOp *out);
bool op_is_elementwise(GraphOp op);  // NEG .. WHERE
bool op_is_attend(GraphOp op);       // ATTEND .. ATTEND_DV
bool op_is_linear(GraphOp op);       // LINEAR .. LINEAR_DINITIAL
bool op_is_grouped(GraphOp op);      // CONTRACT_AT, CONTRACT_INTO
bool op_is_contraction(GraphOp op);  // CONTRACT and grouped ones
// Attention, linear attention, grouped contractions and their order: they read their operands
// from memory, at points of their own. Nothing is computed with them but a cast, and the
// epilogue of a contraction.
bool op_stands_alone(GraphOp op);
bool op_is_view(GraphOp op);  // BROADCAST RENAME TRANSPOSE SPLIT MERGE SLICE TAKE: may be an
                              // addressing of the operand

// ---- text form (docs/graph_ir.md) and checks

void graph_print(const Graph *g, StrBuf *out);
MUST_USE bool graph_read(Diag *diag, Arena *arena, uint32_t file,
                         Graph **out);  // file: a source in diag
// Every invariant of this header; false with the broken one in diag.
MUST_USE bool graph_verify(Diag *diag, const Graph *g);
Hash graph_hash(const Graph *g);  // of the printed form
