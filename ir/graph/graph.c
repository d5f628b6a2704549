// graph.c: making and reading graphs. The rules of single operations are in shape_rules.c;
// their list is ops.def.
#include "ir/graph/graph.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "ir/graph/shape_rules.h"

// ---- operations

typedef struct {
    const char *text;
    int arity;
    double flops;
} OpInfo;

static const OpInfo op_infos[OP_COUNT] = {
    [OP_NONE] = {"none", 0, 0},
#define GRAPH_OP(NAME, text, arity, shape, derivative, evaluate, flops) \
    [OP_##NAME] = {text, arity, flops},
#include "ir/graph/ops.def"
#undef GRAPH_OP
};

_Static_assert(OP_NEG < OP_WHERE && OP_WHERE + 1 == OP_REDUCE_SUM && OP_INPUT + 1 == OP_NEG,
               "op_is_elementwise and the leaf test rely on the order of ops.def");

const char *op_text(GraphOp op) { return op_infos[op].text; }
int op_arity(GraphOp op) { return op_infos[op].arity; }
double op_flops(GraphOp op) { return op_infos[op].flops; }
bool op_is_elementwise(GraphOp op) { return op >= OP_NEG && op <= OP_WHERE; }

bool op_is_attend(GraphOp op) { return op >= OP_ATTEND && op <= OP_ATTEND_DV; }

bool op_is_linear(GraphOp op) { return op >= OP_LINEAR && op <= OP_LINEAR_DINITIAL; }
bool op_is_grouped(GraphOp op) { return op == OP_CONTRACT_AT || op == OP_CONTRACT_INTO; }
bool op_is_contraction(GraphOp op) { return op == OP_CONTRACT || op_is_grouped(op); }
bool op_stands_alone(GraphOp op) {
    return op_is_attend(op) || op_is_linear(op) || op_is_grouped(op) || op == OP_GROUP_ORDER;
}

bool op_is_view(GraphOp op) {
    return op == OP_BROADCAST || op == OP_RENAME || op == OP_TRANSPOSE || op == OP_SPLIT ||
           op == OP_MERGE || op == OP_SLICE || op == OP_TAKE;
}

bool op_parse(Str text, GraphOp *out) {
    for (int op = OP_NONE + 1; op < OP_COUNT; op++) {
        if (!str_eq(text, str_of(op_infos[op].text))) continue;
        *out = (GraphOp)op;
        return true;
    }
    return false;
}

// ---- the graph and its axes

Graph *graph_new(Arena *arena, Str name) {
    Graph *g = arena_new(arena, Graph);
    g->arena = arena;
    g->name = str_copy(arena, name);
    vec_push(arena, &g->values, (Value){0});
    vec_push(arena, &g->axes, (Axis){0});
    return g;
}

AxisId graph_axis(Graph *g, Str name, int64_t extent, bool runtime) {
    ASSERT(extent >= 1 || (extent == EXTENT_UNKNOWN && runtime));
    Str unique = str_copy(g->arena, name);
    for (uint32_t n = 1; map_get(&g->axis_names, unique, NULL); n++)
        unique = str_printf(g->arena, "%.*s.%u", STR_ARG(name), n);
    AxisId id = {g->axes.len};
    vec_push(g->arena, &g->axes, (Axis){.name = unique, .extent = extent, .runtime = runtime});
    map_set(g->arena, &g->axis_names, unique, id.i);
    return id;
}

AxisId graph_axis_find(const Graph *g, Str name) {
    uint64_t id = 0;
    map_get(&g->axis_names, name, &id);
    return (AxisId){(uint32_t)id};
}

void graph_bind(Graph *g, AxisId axis, int64_t extent) {
    ASSERT(axis.i > 0 && axis.i < g->axes.len && g->axes.ptr[axis.i].runtime);
    ASSERT(extent >= 1);
    g->axes.ptr[axis.i].extent = extent;
    vec_each (Axis, role, &g->axes) {
        if (role->same_as.i == axis.i) role->extent = extent;
    }
}

// ---- values

static const void *list_copy(Arena *arena, const void *list, size_t count, size_t size) {
    if (count == 0) return NULL;
    void *copy = arena_alloc(arena, count, size);
    memcpy(copy, list, count * size);
    return copy;
}

// Attributes the operation does not read are cleared, so that equal values have equal
// attributes.
static GraphAttr attr_copy(Graph *g, GraphOp op, GraphAttr attr) {
    unsigned used = op_attrs(op);
    GraphAttr kept = {0};
    kept.along = list_copy(g->arena, attr.along, attr.along_count, sizeof *attr.along);
    kept.to = list_copy(g->arena, attr.to, attr.to_count, sizeof *attr.to);
    kept.along_count = attr.along_count;
    kept.to_count = attr.to_count;
    if (used & ATTR_TYPE) kept.type = attr.type;
    if (used & ATTR_AMOUNT) kept.amount = attr.amount;
    if (used & ATTR_NUMBER) kept.number = attr.number;
    if (used & ATTR_LEAF) kept.leaf = attr.leaf;
    if (used & ATTR_BAND) kept.band = attr.band;
    return kept;
}

static ShapeQuery query(Graph *g, GraphOp op, Operands operands, GraphAttr attr) {
    return (ShapeQuery){
        .g = g, .op = op, .in = operands.in, .arity = operands.count, .attr = attr};
}

ValueId graph_add(Graph *g, GraphOp op, Operands operands, GraphAttr attr, Span span) {
    ShapeQuery q = query(g, op, operands, attr);
    const char *why = shape_infer(&q);
    if (why)
        BUG("graph_add of '%s': %s", op > OP_NONE && op < OP_COUNT ? op_text(op) : "?", why);
    ValueId id = {g->values.len};
    Value v = {.op = op, .type = q.type, .rank = q.rank, .arity = operands.count, .span = span};
    v.axes = list_copy(g->arena, q.axes, q.rank, sizeof *q.axes);
    v.in = list_copy(g->arena, operands.in, operands.count, sizeof *operands.in);
    v.attr = attr_copy(g, op, attr);
    vec_push(g->arena, &g->values, v);
    return id;
}

ValueId graph_again(Graph *g, const Value *v, const ValueId *in) {
    return graph_add(g, v->op, (Operands){in, v->arity}, v->attr, v->span);
}

const char *graph_rule_violation(Graph *g, GraphOp op, Operands operands, GraphAttr attr) {
    ShapeQuery q = query(g, op, operands, attr);
    return shape_infer(&q);
}

uint32_t graph_leaf_declare(Graph *g, const Leaf *leaf) {
    ASSERT(leaf->kind == OP_PARAM || leaf->kind == OP_STATE || leaf->kind == OP_INPUT);
    ASSERT(leaf->rank <= GRAPH_MAX_RANK && !map_get(&g->leaf_paths, leaf->path, NULL));
    Leaf own = *leaf;
    own.path = str_copy(g->arena, leaf->path);
    own.axes = list_copy(g->arena, leaf->axes, leaf->rank, sizeof *leaf->axes);
    Str *tags = leaf->tag_count ? arena_array(g->arena, Str, leaf->tag_count) : NULL;
    for (uint32_t i = 0; i < leaf->tag_count; i++)
        tags[i] = str_copy(g->arena, leaf->tags[i]);
    own.tags = tags;
    uint32_t index = g->leaves.len;
    vec_push(g->arena, &g->leaves, own);
    vec_push(g->arena, &g->leaf_values, (ValueId){0});
    map_set(g->arena, &g->leaf_paths, own.path, index);
    return index;
}

ValueId graph_leaf_value(Graph *g, uint32_t leaf, Span span) {
    ASSERT(leaf < g->leaves.len && g->leaf_values.ptr[leaf].i == 0);
    ValueId v =
        graph_add(g, g->leaves.ptr[leaf].kind, (Operands){0}, (GraphAttr){.leaf = leaf}, span);
    g->leaf_values.ptr[leaf] = v;
    return v;
}

ValueId graph_leaf(Graph *g, const Leaf *leaf) {
    return graph_leaf_value(g, graph_leaf_declare(g, leaf), leaf->span);
}

ValueId graph_const(Graph *g, double number, Span span) {
    return graph_add(g, OP_CONST, (Operands){0},
                     (GraphAttr){.number = number, .type = DTYPE_F32}, span);
}

ValueId graph_const_i32(Graph *g, int64_t number, Span span) {
    return graph_add(g, OP_CONST, (Operands){0},
                     (GraphAttr){.number = (double)number, .type = DTYPE_I32}, span);
}

ValueId graph_unary(Graph *g, GraphOp op, ValueId x, Span span) {
    return graph_add(g, op, (Operands){&x, 1}, (GraphAttr){0}, span);
}

ValueId graph_binary(Graph *g, GraphOp op, ValueId x, ValueId y, Span span) {
    return graph_add(g, op, (Operands){(ValueId[]){x, y}, 2}, (GraphAttr){0}, span);
}

ValueId graph_sum(Graph *g, ValueId x, const AxisId *along, uint32_t count, Span span) {
    ASSERT(count <= UINT8_MAX);
    return graph_add(g, OP_REDUCE_SUM, (Operands){&x, 1},
                     (GraphAttr){.along = along, .along_count = (uint8_t)count}, span);
}

ValueId graph_cast(Graph *g, ValueId x, DType type, Span span) {
    return graph_add(g, OP_CAST, (Operands){&x, 1}, (GraphAttr){.type = type}, span);
}

void graph_output(Graph *g, Str name, ValueId value) {
    ASSERT(value.i > 0 && value.i < g->values.len && graph_output_find(g, name).i == 0);
    vec_push(g->arena, &g->outputs, (GraphOutput){str_copy(g->arena, name), value});
}

void graph_update(Graph *g, uint32_t leaf, ValueId value) {
    ASSERT(leaf < g->leaves.len && value.i > 0 && value.i < g->values.len);
    vec_push(g->arena, &g->updates, (GraphUpdate){leaf, value});
}

// ---- reading

const Value *graph_value(const Graph *g, ValueId v) {
    ASSERT(v.i > 0 && v.i < g->values.len);
    return &g->values.ptr[v.i];
}

const Axis *graph_axis_at(const Graph *g, AxisId a) {
    ASSERT(a.i > 0 && a.i < g->axes.len);
    return &g->axes.ptr[a.i];
}

const Leaf *graph_leaf_of(const Graph *g, ValueId v) {
    const Value *value = graph_value(g, v);
    ASSERT(value->op == OP_PARAM || value->op == OP_STATE || value->op == OP_INPUT);
    return &g->leaves.ptr[value->attr.leaf];
}

int64_t graph_extent(const Graph *g, AxisId a) {
    const Axis *axis = graph_axis_at(g, a);
    if (axis->extent == EXTENT_UNKNOWN) BUG("axis '%.*s' is not bound", STR_ARG(axis->name));
    return axis->extent;
}

int64_t graph_elements(const Graph *g, ValueId v) {
    const Value *value = graph_value(g, v);
    int64_t product = 1;
    for (uint32_t i = 0; i < value->rank; i++) {
        int64_t extent = graph_extent(g, value->axes[i]);
        if (product > INT64_MAX / extent)
            BUG("value %%%u has more elements than int64 can count", v.i);
        product *= extent;
    }
    return product;
}

int graph_axis_position(const Value *v, AxisId a) {
    for (int i = 0; i < v->rank; i++)
        if (v->axes[i].i == a.i) return i;
    return -1;
}

bool graph_has_axis(const Value *v, AxisId a) { return graph_axis_position(v, a) >= 0; }

bool band_has(const Band *band, int64_t i, int64_t j) {
    return band->lo <= i - j && i - j <= band->hi;
}

double band_pairs(const Band *band, int64_t rows, int64_t cols) {
    double pairs = 0;
    for (int64_t i = 0; i < rows; i++) {
        int64_t first = band->hi >= i ? 0 : i - band->hi;
        int64_t last = band->lo <= i - cols + 1 ? cols - 1 : i - band->lo;
        if (last >= first) pairs += (double)(last - first + 1);
    }
    return pairs;
}

double band_pairs_anywhere(const Band *band, int64_t rows, int64_t cols) {
    bool first = band->hi != BAND_MOST, last = band->lo != BAND_LEAST;
    double pairs = (double)rows * (double)cols;
    if (first || last) pairs /= 2;
    if (first && last) pairs = fmin(pairs, (double)rows * (double)(band->hi - band->lo + 1));
    return pairs;
}

ValueId graph_output_find(const Graph *g, Str name) {
    vec_each (const GraphOutput, o, &g->outputs) {
        if (str_eq(o->name, name)) return o->value;
    }
    return (ValueId){0};
}

Graph *graph_copy_header(const Graph *g, Arena *arena) {
    Graph *copy = graph_new(arena, g->name);
    for (uint32_t i = 1; i < g->axes.len; i++) {
        const Axis *axis = &g->axes.ptr[i];
        AxisId a = graph_axis(copy, axis->name, axis->extent, axis->runtime);
        ASSERT(a.i == i);
        copy->axes.ptr[i].same_as = axis->same_as;
    }
    vec_each (const Leaf, leaf, &g->leaves) {
        graph_leaf(copy, leaf);
    }
    return copy;
}

bool axis_in(const AxisId *axes, uint32_t count, AxisId a) {
    for (uint32_t i = 0; i < count; i++)
        if (axes[i].i == a.i) return true;
    return false;
}
