// test_shape_rules.c: for each rule a legal use, and each way to break it.
#include "ir/graph/graph.h"
#include "tests/test.h"

// Values and axes that the cases name by letter.
typedef struct {
    Arena arena;
    Graph *g;
    AxisId b, t, s, d, e, h, k, m, u, w, one[GRAPH_MAX_RANK];
    ValueId x, y, v, dt, ix, iu, bd, f, xu, wide, vd2, sc;  // see bench_open
} Bench;

static ValueId leaf(Bench *b, const char *path, DType type, const AxisId *axes, uint8_t rank) {
    Leaf l = {.kind = OP_INPUT, .path = str_of(path), .type = type, .axes = axes, .rank = rank};
    return graph_leaf(b->g, &l);
}

#define AXES(...) (AxisId[]){__VA_ARGS__}, sizeof((AxisId[]){__VA_ARGS__}) / sizeof(AxisId)

static void bench_open(Bench *b) {
    *b = (Bench){0};
    arena_init(&b->arena);
    Graph *g = b->g = graph_new(&b->arena, STR("g"));
    b->b = graph_axis(g, STR("b"), 2, false);
    b->t = graph_axis(g, STR("t"), 6, false);
    b->s = graph_axis(g, STR("s"), 6, false);
    b->d = graph_axis(g, STR("d"), 4, false);
    b->e = graph_axis(g, STR("e"), 10, false);
    b->h = graph_axis(g, STR("h"), 2, false);
    b->k = graph_axis(g, STR("k"), 2, false);
    b->m = graph_axis(g, STR("m"), 3, false);
    b->u = graph_axis(g, STR("u"), EXTENT_UNKNOWN, true);
    b->w = graph_axis(g, STR("w"), EXTENT_UNKNOWN, true);
    for (int i = 0; i < GRAPH_MAX_RANK; i++)
        b->one[i] = graph_axis(g, STR("one"), 1, false);
    b->x = leaf(b, "x", DTYPE_F32, AXES(b->t, b->d));
    b->y = leaf(b, "y", DTYPE_F32, AXES(b->d, b->e));
    b->v = leaf(b, "v", DTYPE_F32, AXES(b->d));
    b->dt = leaf(b, "dt", DTYPE_F32, AXES(b->d, b->t));
    b->ix = leaf(b, "ix", DTYPE_I32, AXES(b->b, b->t));
    b->iu = leaf(b, "iu", DTYPE_I32, AXES(b->t, b->d));
    b->bd = leaf(b, "bd", DTYPE_BOOL, AXES(b->t, b->d));
    b->f = leaf(b, "f", DTYPE_BF16, AXES(b->t, b->d));
    b->xu = leaf(b, "xu", DTYPE_F32, AXES(b->u, b->d));
    b->vd2 = leaf(b, "vd2", DTYPE_F32, AXES(b->e));
    b->sc = leaf(b, "sc", DTYPE_F32, NULL, 0);
    b->wide = leaf(b, "wide", DTYPE_F32, b->one, GRAPH_MAX_RANK);
}

static void bench_close(Bench *b) { arena_release(&b->arena); }

// "f32[t, d]" of a legal use, else the violation.
static const char *shape_of(Bench *b, GraphOp op, Operands in, GraphAttr attr) {
    const char *why = graph_rule_violation(b->g, op, in, attr);
    if (why) return why;
    const Value *v = graph_value(b->g, graph_add(b->g, op, in, attr, (Span){0}));
    Str text = str_of(dtype_text(v->type));
    text = str_printf(&b->arena, "%.*s[", STR_ARG(text));
    for (int i = 0; i < v->rank; i++)
        text = str_printf(&b->arena, "%.*s%s%.*s", STR_ARG(text), i ? ", " : "",
                          STR_ARG(graph_axis_at(b->g, v->axes[i])->name));
    return str_printf(&b->arena, "%.*s]", STR_ARG(text)).ptr;
}

#define IN(...) \
    ((Operands){(ValueId[]){__VA_ARGS__}, sizeof((ValueId[]){__VA_ARGS__}) / sizeof(ValueId)})
#define ALONG(...)                    \
    .along = (AxisId[]){__VA_ARGS__}, \
    .along_count = sizeof((AxisId[]){__VA_ARGS__}) / sizeof(AxisId)
#define TO(...) \
    .to = (AxisId[]){__VA_ARGS__}, .to_count = sizeof((AxisId[]){__VA_ARGS__}) / sizeof(AxisId)
#define ATTR(...)                  ((GraphAttr){__VA_ARGS__})
#define EXPECT(op, in, attr, text) assert_string_equal(shape_of(b, OP_##op, in, attr), text)

static const Operands nothing = {NULL, 0};
static const GraphAttr plain = {0};

static void rule_operands(Bench *b) {
    EXPECT(ADD, IN(b->x), plain, "'add' takes 2 operands, got 1");
    EXPECT(STACK, nothing, plain, "'stack' takes at least 1 operands, got 0");
    EXPECT(NEG, IN((ValueId){0}), plain, "there is no value 0");
    EXPECT(NEG, IN((ValueId){9999}), plain, "there is no value 9999");
    EXPECT(NEG, IN(b->x), ATTR(ALONG(b->d)), "'neg' takes no such axes");
    EXPECT(NEG, IN(b->x), ATTR(TO(b->d)), "'neg' takes no such axes");
    EXPECT(TAKE, IN(b->x), ATTR(ALONG((AxisId){0})), "there is no axis 0");
    EXPECT(TAKE, IN(b->x), ATTR(ALONG((AxisId){9999})), "there is no axis 9999");
    assert_string_equal(shape_of(b, OP_NONE, nothing, plain), "there is no operation 0");
}

static void rule_leaves(Bench *b) {
    EXPECT(CONST, nothing, ATTR(.number = 0.5), "f32[]");
    EXPECT(CONST, nothing, ATTR(.number = -7, .type = DTYPE_I32), "i32[]");
    EXPECT(CONST, nothing, ATTR(.number = 0.5, .type = DTYPE_I32), "0.5 is no i32");
    EXPECT(CONST, nothing, ATTR(.number = 3e9, .type = DTYPE_I32), "3e+09 is no i32");
    EXPECT(CONST, nothing, ATTR(.number = 2, .type = DTYPE_BOOL), "2 is no bool");
    EXPECT(CONST, nothing, ATTR(.type = DTYPE_I64), "no value can be i64");
    EXPECT(IOTA, nothing, ATTR(ALONG(b->u)), "i32[u]");
    EXPECT(IOTA, nothing, plain, "'along' needs 1 axes, got 0");
    EXPECT(INPUT, nothing, ATTR(.leaf = 0), "f32[t, d]");
    EXPECT(INPUT, nothing, ATTR(.leaf = 999), "there is no leaf 999");
    EXPECT(PARAM, nothing, ATTR(.leaf = 0), "leaf 'x' is declared as input");
}

static void rule_elementwise(Bench *b) {
    EXPECT(ADD, IN(b->x, b->v), plain, "f32[t, d]");
    EXPECT(ADD, IN(b->v, b->x), plain, "f32[t, d]");
    EXPECT(ADD, IN(b->dt, b->x), plain, "f32[d, t]");
    EXPECT(ADD, IN(b->xu, b->sc), plain, "f32[u, d]");
    EXPECT(ADD, IN(b->x, b->vd2), plain,
           "operands do not align: axis 'e' of f32[e=10] is not in f32[t=6, d=4]");
    EXPECT(ADD, IN(b->xu, b->x), plain,
           "operands do not align: axis 't' of f32[t=6, d=4] is not in f32[u=?, d=4]");
    EXPECT(ADD, IN(b->x, b->iu), plain, "types differ: f32[t=6, d=4] and i32[t=6, d=4]");
    EXPECT(ADD, IN(b->iu, b->iu), plain, "i32[t, d]");
    EXPECT(ADD, IN(b->bd, b->bd), plain, "needs f32 or i32, got bool[t=6, d=4]");
    EXPECT(ADD, IN(b->f, b->f), plain, "needs f32 or i32, got bf16[t=6, d=4]");
    EXPECT(EXP, IN(b->iu), plain, "needs f32, got i32[t=6, d=4]");
    EXPECT(AND, IN(b->bd, b->bd), plain, "bool[t, d]");
    EXPECT(NOT, IN(b->x), plain, "needs bool, got f32[t=6, d=4]");
    EXPECT(DETACH, IN(b->bd), plain, "bool[t, d]");
}

static void rule_cast_compare_where(Bench *b) {
    EXPECT(CAST, IN(b->x), ATTR(.type = DTYPE_BF16), "bf16[t, d]");
    EXPECT(CAST, IN(b->x), ATTR(.type = DTYPE_F64), "no value can be f64");
    EXPECT(LT, IN(b->x, b->v), plain, "bool[t, d]");
    EXPECT(LT, IN(b->bd, b->bd), plain, "needs f32 or i32, got bool[t=6, d=4]");
    EXPECT(EQ, IN(b->bd, b->bd), plain, "bool[t, d]");
    EXPECT(EQ, IN(b->x, b->iu), plain, "types differ: f32[t=6, d=4] and i32[t=6, d=4]");
    EXPECT(EQ, IN(b->x, b->vd2), plain,
           "operands do not align: axis 'e' of f32[e=10] is not in f32[t=6, d=4]");
    EXPECT(WHERE, IN(b->bd, b->v, b->sc), plain, "f32[t, d]");
    EXPECT(WHERE, IN(b->x, b->v, b->sc), plain, "needs bool, got f32[t=6, d=4]");
    EXPECT(WHERE, IN(b->bd, b->x, b->iu), plain,
           "types differ: f32[t=6, d=4] and i32[t=6, d=4]");
    EXPECT(WHERE, IN(b->bd, b->vd2, b->sc), plain,
           "operands do not align: axis 'e' of f32[e=10] is not in bool[t=6, d=4]");
}

static void rule_reductions(Bench *b) {
    EXPECT(REDUCE_SUM, IN(b->x), ATTR(ALONG(b->t)), "f32[d]");
    EXPECT(REDUCE_SUM, IN(b->xu), ATTR(ALONG(b->d, b->u)), "f32[]");
    EXPECT(REDUCE_MAX, IN(b->iu), ATTR(ALONG(b->d)), "i32[t]");
    EXPECT(REDUCE_SUM, IN(b->bd), ATTR(ALONG(b->d)), "needs f32 or i32, got bool[t=6, d=4]");
    EXPECT(REDUCE_SUM, IN(b->x), plain, "'along' needs an axis");
    EXPECT(REDUCE_SUM, IN(b->x), ATTR(ALONG(b->d, b->d)), "axis 'd' is twice in 'along'");
    EXPECT(REDUCE_SUM, IN(b->x), ATTR(ALONG(b->e)), "axis 'e' is not in f32[t=6, d=4]");
    EXPECT(LOGSUMEXP, IN(b->iu), ATTR(ALONG(b->d)), "needs f32, got i32[t=6, d=4]");
    EXPECT(SOFTMAX, IN(b->x), ATTR(ALONG(b->t)), "f32[t, d]");
    EXPECT(SOFTMAX, IN(b->iu), ATTR(ALONG(b->d)), "needs f32, got i32[t=6, d=4]");
    EXPECT(SOFTMAX, IN(b->x), ATTR(ALONG(b->e)), "axis 'e' is not in f32[t=6, d=4]");
}

static void rule_contract(Bench *b) {
    EXPECT(CONTRACT, IN(b->x, b->y), ATTR(ALONG(b->d)), "f32[t, e]");
    EXPECT(CONTRACT, IN(b->y, b->x), ATTR(ALONG(b->d)), "f32[e, t]");
    EXPECT(CONTRACT, IN(b->x, b->dt), ATTR(ALONG(b->d)), "f32[t]");
    EXPECT(CONTRACT, IN(b->x, b->dt), ATTR(ALONG(b->d, b->t)), "f32[]");
    EXPECT(CONTRACT, IN(b->x, b->vd2), plain, "f32[t, d, e]");
    EXPECT(CONTRACT, IN(b->f, b->y), ATTR(ALONG(b->d)), "f32[t, e]");
    EXPECT(CONTRACT, IN(b->x, b->y), ATTR(ALONG(b->t)), "axis 't' is not in f32[d=4, e=10]");
    EXPECT(CONTRACT, IN(b->x, b->y), ATTR(ALONG(b->e)), "axis 'e' is not in f32[t=6, d=4]");
    EXPECT(CONTRACT, IN(b->x, b->y), ATTR(ALONG(b->d, b->d)), "axis 'd' is twice in 'along'");
    EXPECT(CONTRACT, IN(b->iu, b->y), ATTR(ALONG(b->d)), "needs f32, got i32[t=6, d=4]");
    EXPECT(CONTRACT, IN(b->wide, b->v), plain, "the result has more than 12 axes");
}

static void rule_broadcast_rename_transpose(Bench *b) {
    EXPECT(BROADCAST, IN(b->v), ATTR(TO(b->u, b->d, b->b)), "f32[u, d, b]");
    EXPECT(BROADCAST, IN(b->v), ATTR(TO(b->t)), "axis 'd' of f32[d=4] is not in 'to'");
    EXPECT(BROADCAST, IN(b->v), ATTR(TO(b->d, b->d)), "axis 'd' is twice in 'to'");
    EXPECT(RENAME, IN(b->x), ATTR(ALONG(b->t), TO(b->s)), "f32[s, d]");
    EXPECT(RENAME, IN(b->x), ATTR(ALONG(b->t), TO(b->t)), "f32[t, d]");
    EXPECT(RENAME, IN(b->xu), ATTR(ALONG(b->u), TO(b->w)), "f32[w, d]");
    EXPECT(RENAME, IN(b->x), ATTR(ALONG(b->t), TO(b->e)),
           "extents differ: 't' has 6, 'e' has 10");
    EXPECT(RENAME, IN(b->x), ATTR(ALONG(b->s), TO(b->e)), "axis 's' is not in f32[t=6, d=4]");
    EXPECT(RENAME, IN(b->x), ATTR(ALONG(b->t), TO(b->d)),
           "axis 'd' is already in f32[t=6, d=4]");
    EXPECT(RENAME, IN(b->x), ATTR(ALONG(b->t)), "'to' needs 1 axes, got 0");
    EXPECT(TRANSPOSE, IN(b->x), ATTR(TO(b->d, b->t)), "f32[d, t]");
    EXPECT(TRANSPOSE, IN(b->x), ATTR(TO(b->d)), "'to' has 1 axes, f32[t=6, d=4] has 2");
    EXPECT(TRANSPOSE, IN(b->x), ATTR(TO(b->d, b->d)), "axis 'd' is twice in 'to'");
    EXPECT(TRANSPOSE, IN(b->x), ATTR(TO(b->d, b->e)), "axis 'e' is not in f32[t=6, d=4]");
}

static void rule_split_merge(Bench *b) {
    EXPECT(SPLIT, IN(b->x), ATTR(ALONG(b->d), TO(b->h, b->k)), "f32[t, h, k]");
    EXPECT(SPLIT, IN(b->x), ATTR(ALONG(b->t), TO(b->h, b->m)), "f32[h, m, d]");
    EXPECT(SPLIT, IN(b->x), ATTR(ALONG(b->d)), "'to' needs an axis");
    EXPECT(SPLIT, IN(b->x), ATTR(ALONG(b->d), TO(b->h, b->m)),
           "axis 'd' has extent 4, the product of the others is 6");
    EXPECT(SPLIT, IN(b->x), ATTR(ALONG(b->e), TO(b->h, b->k)),
           "axis 'e' is not in f32[t=6, d=4]");
    EXPECT(SPLIT, IN(b->x), ATTR(ALONG(b->d), TO(b->h, b->h)), "axis 'h' is twice in 'to'");
    EXPECT(SPLIT, IN(b->x), ATTR(ALONG(b->d), TO(b->t)),
           "axis 't' is already in f32[t=6, d=4]");
    EXPECT(SPLIT, IN(b->xu), ATTR(ALONG(b->u), TO(b->h)),
           "the extent of axis 'u' must be known here");
    EXPECT(SPLIT, IN(b->wide), ATTR(ALONG(b->one[0]), TO(b->one[0])),
           "axis 'one' is already in f32[one=1, one.1=1, one.2=1, one.3=1, one.4=1, one.5=1, "
           "one.6=1, one.7=1, one.8=1, one.9=1, one.10=1, one.11=1]");
    ValueId hk = graph_add(b->g, OP_SPLIT, (Operands){&b->x, 1},
                           ATTR(ALONG(b->d), TO(b->h, b->k)), (Span){0});
    EXPECT(MERGE, IN(hk), ATTR(ALONG(b->h, b->k), TO(b->d)), "f32[t, d]");
    EXPECT(MERGE, IN(hk), ATTR(ALONG(b->k, b->h), TO(b->d)), "f32[t, d]");
    EXPECT(MERGE, IN(hk), ATTR(ALONG(b->h, b->k), TO(b->e)),
           "axis 'e' has extent 10, the product of the others is 4");
    EXPECT(MERGE, IN(hk), ATTR(TO(b->d)), "'along' needs an axis");
    EXPECT(MERGE, IN(hk), ATTR(ALONG(b->h, b->k), TO(b->t)),
           "axis 't' is already in f32[t=6, h=2, k=2]");
    EXPECT(MERGE, IN(b->xu), ATTR(ALONG(b->u, b->d), TO(b->w)),
           "the extent of axis 'u' must be known here");
}

static void rule_slice_pad_take_put(Bench *b) {
    EXPECT(SLICE, IN(b->x), ATTR(ALONG(b->t), TO(b->m), .amount = 3), "f32[m, d]");
    EXPECT(SLICE, IN(b->xu), ATTR(ALONG(b->u), TO(b->m), .amount = 99), "f32[m, d]");
    EXPECT(SLICE, IN(b->x), ATTR(ALONG(b->t), TO(b->m), .amount = 4),
           "3 elements of 'm' from 4 do not fit the 6 of 't'");
    EXPECT(SLICE, IN(b->x), ATTR(ALONG(b->t), TO(b->e)),
           "10 elements of 'e' from 0 do not fit the 6 of 't'");
    EXPECT(SLICE, IN(b->x), ATTR(ALONG(b->t), TO(b->m), .amount = -1),
           "'amount' is negative: -1");
    EXPECT(SLICE, IN(b->x), ATTR(ALONG(b->t), TO(b->d)),
           "axis 'd' is already in f32[t=6, d=4]");
    EXPECT(PAD, IN(b->x), ATTR(ALONG(b->t), TO(b->e), .amount = 4), "f32[e, d]");
    EXPECT(PAD, IN(b->x), ATTR(ALONG(b->t), TO(b->e), .amount = 5),
           "6 elements of 't' from 5 do not fit the 10 of 'e'");
    EXPECT(TAKE, IN(b->x), ATTR(ALONG(b->t), .amount = 5), "f32[d]");
    EXPECT(TAKE, IN(b->x), ATTR(ALONG(b->t), .amount = 6),
           "index 6 is outside axis 't' of extent 6");
    EXPECT(TAKE, IN(b->x), ATTR(ALONG(b->t), .amount = -1),
           "index -1 is outside axis 't' of extent 6");
    EXPECT(TAKE, IN(b->x), ATTR(ALONG(b->e)), "axis 'e' is not in f32[t=6, d=4]");
    EXPECT(TAKE, IN(b->xu), ATTR(ALONG(b->u), .amount = 6), "f32[d]");
    EXPECT(PUT, IN(b->x), ATTR(TO(b->h), .amount = 1), "f32[h, t, d]");
    EXPECT(PUT, IN(b->x), ATTR(TO(b->h), .amount = 2),
           "index 2 is outside axis 'h' of extent 2");
    EXPECT(PUT, IN(b->x), ATTR(TO(b->d)), "axis 'd' is already in f32[t=6, d=4]");
    EXPECT(PUT, IN(b->wide), ATTR(TO(b->d)), "the result has more than 12 axes");
}

static void rule_roll_shift_window(Bench *b) {
    EXPECT(ROLL, IN(b->x), ATTR(ALONG(b->t), .amount = -99), "f32[t, d]");
    EXPECT(SHIFT, IN(b->x), ATTR(ALONG(b->e), .amount = 1), "axis 'e' is not in f32[t=6, d=4]");
    EXPECT(SHIFT, IN(b->x), plain, "'along' needs 1 axes, got 0");
    EXPECT(WINDOW, IN(b->x), ATTR(ALONG(b->t), TO(b->k)), "f32[t, d, k]");
    EXPECT(WINDOW, IN(b->x), ATTR(ALONG(b->e), TO(b->k)), "axis 'e' is not in f32[t=6, d=4]");
    EXPECT(WINDOW, IN(b->x), ATTR(ALONG(b->t), TO(b->d)),
           "axis 'd' is already in f32[t=6, d=4]");
    EXPECT(UNWINDOW, IN(b->x), ATTR(ALONG(b->t, b->d)), "f32[t]");
    EXPECT(UNWINDOW, IN(b->x), ATTR(ALONG(b->t)), "'along' needs 2 axes, got 1");
    EXPECT(UNWINDOW, IN(b->x), ATTR(ALONG(b->t, b->t)), "axis 't' is twice in 'along'");
    EXPECT(UNWINDOW, IN(b->bd), ATTR(ALONG(b->t, b->d)),
           "needs f32 or i32, got bool[t=6, d=4]");
}

static void rule_concat_stack(Bench *b) {
    ValueId xt = graph_add(b->g, OP_SLICE, (Operands){&b->xu, 1}, ATTR(ALONG(b->u), TO(b->m)),
                           (Span){0});
    EXPECT(CONCAT, IN(b->v, b->v), ATTR(ALONG(b->d, b->d), TO(b->e)),
           "axis 'e' has extent 10, the operands together 8");
    EXPECT(CONCAT, IN(xt, xt), ATTR(ALONG(b->m, b->m), TO(b->t)), "f32[t, d]");
    EXPECT(CONCAT, IN(b->x), ATTR(ALONG(b->t), TO(b->t)), "f32[t, d]");
    EXPECT(CONCAT, IN(xt, xt), ATTR(ALONG(b->m), TO(b->t)),
           "'along' needs one axis for each of 2 operands, got 1");
    EXPECT(CONCAT, IN(xt, xt), ATTR(ALONG(b->m, b->m)), "'to' needs 1 axes, got 0");
    EXPECT(CONCAT, IN(xt, b->x), ATTR(ALONG(b->m, b->m), TO(b->t)),
           "axis 'm' is not in f32[t=6, d=4]");
    EXPECT(CONCAT, IN(xt, b->v), ATTR(ALONG(b->m, b->d), TO(b->t)),
           "f32[m=3, d=4] and f32[d=4] differ");
    EXPECT(CONCAT, IN(xt, xt), ATTR(ALONG(b->m, b->m), TO(b->d)),
           "axis 'd' is already in f32[m=3, d=4]");
    EXPECT(CONCAT, IN(b->xu, xt), ATTR(ALONG(b->u, b->m), TO(b->t)),
           "the extent of axis 'u' must be known here");
    EXPECT(STACK, IN(b->x, b->x), ATTR(TO(b->h)), "f32[h, t, d]");
    EXPECT(STACK, IN(b->xu, b->xu), ATTR(TO(b->h)), "f32[h, u, d]");
    EXPECT(STACK, IN(b->x, b->x), ATTR(TO(b->m)), "axis 'm' has extent 3 for 2 operands");
    EXPECT(STACK, IN(b->x, b->x), ATTR(TO(b->u)), "the extent of axis 'u' must be known here");
    EXPECT(STACK, IN(b->x, b->dt), ATTR(TO(b->h)), "f32[t=6, d=4] and f32[d=4, t=6] differ");
    EXPECT(STACK, IN(b->x, b->iu), ATTR(TO(b->h)), "f32[t=6, d=4] and i32[t=6, d=4] differ");
    EXPECT(STACK, IN(b->wide, b->wide), ATTR(TO(b->h)), "the result has more than 12 axes");
}

static void rule_gather_scatter(Bench *b) {
    EXPECT(GATHER, IN(b->y, b->ix), ATTR(ALONG(b->d)), "f32[b, t, e]");
    EXPECT(GATHER, IN(b->x, b->ix), ATTR(ALONG(b->d)), "f32[b, t]");
    EXPECT(GATHER, IN(b->bd, b->ix), ATTR(ALONG(b->d)), "bool[b, t]");
    EXPECT(GATHER, IN(b->x, b->ix), ATTR(ALONG(b->t)), "axis 't' is already in i32[b=2, t=6]");
    EXPECT(GATHER, IN(b->x, b->ix), ATTR(ALONG(b->e)), "axis 'e' is not in f32[t=6, d=4]");
    EXPECT(GATHER, IN(b->y, b->x), ATTR(ALONG(b->d)), "needs i32, got f32[t=6, d=4]");
    EXPECT(GATHER, IN(b->wide, b->ix), ATTR(ALONG(b->one[0])),
           "the result has more than 12 axes");
    const ValueId table[] = {b->y, b->ix};
    ValueId got =
        graph_add(b->g, OP_GATHER, (Operands){table, 2}, ATTR(ALONG(b->d)), (Span){0});
    EXPECT(SCATTER, IN(got, b->ix), ATTR(TO(b->d, b->e)), "f32[d, e]");
    EXPECT(SCATTER, IN(got, b->ix), ATTR(TO(b->t, b->e, b->d)), "f32[t, e, d]");
    EXPECT(SCATTER, IN(got, b->ix), ATTR(TO(b->e)),
           "'to' needs one axis that f32[b=2, t=6, e=10] lacks, has 0");
    EXPECT(SCATTER, IN(got, b->ix), ATTR(TO(b->d)), "axis 'e' is not in i32[b=2, t=6]");
    EXPECT(SCATTER, IN(got, b->ix), ATTR(TO(b->d, b->d)), "axis 'd' is twice in 'to'");
    EXPECT(SCATTER, IN(b->x, b->ix), ATTR(TO(b->e, b->d)), "axis 'b' is not in f32[t=6, d=4]");
    EXPECT(SCATTER, IN(b->x, b->v), ATTR(TO(b->e, b->t)), "needs i32, got f32[d=4]");
    EXPECT(PLACE, IN(b->y, got, b->ix), ATTR(ALONG(b->d)), "f32[d, e]");
    EXPECT(PLACE, IN(b->y, got, b->ix), ATTR(ALONG(b->t)), "axis 't' is not in f32[d=4, e=10]");
    EXPECT(PLACE, IN(b->y, got, b->v), ATTR(ALONG(b->d)), "needs i32, got f32[d=4]");
    EXPECT(PLACE, IN(b->x, b->y, b->ix), ATTR(ALONG(b->t)),
           "axis 'b' is not in f32[d=4, e=10]");
}

static void run(void (*rule)(Bench *)) {
    Bench b;
    bench_open(&b);
    rule(&b);
    bench_close(&b);
}

#define RULES(X)                  \
    X(operands)                   \
    X(leaves)                     \
    X(elementwise)                \
    X(cast_compare_where)         \
    X(reductions)                 \
    X(contract)                   \
    X(broadcast_rename_transpose) \
    X(split_merge) X(slice_pad_take_put) X(roll_shift_window) X(concat_stack) X(gather_scatter)

#define DEFINE(name)                        \
    static void test_##name(void **state) { \
        (void)state;                        \
        run(rule_##name);                   \
    }
RULES(DEFINE)

#define LIST(name) cmocka_unit_test(test_##name),
int main(void) {
    const struct CMUnitTest tests[] = {RULES(LIST)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
