// Each operation's derivative against central differences, over several shapes and broadcasts;
// what it does at kinks and ties; and that a gradient costs nothing where there is none.
#include <math.h>

#include "ir/graph/linear.h"
#include "ir/graph/passes.h"
#include "tests/ir/gradient_check.h"
#include "tests/test.h"

// Axes that every check may use; their extents differ so that a mix-up changes the element
// count.
typedef struct {
    GraphBench *b;
    AxisId p, q, r, s;  // 2, 3, 4, 1
} Setting;

static void setting_init(Setting *s, GraphBench *b, uint64_t seed) {
    bench_init(b);
    b->seed = seed;
    *s = (Setting){b, bench_axis(b, "p", 2), bench_axis(b, "q", 3), bench_axis(b, "r", 4),
                   bench_axis(b, "s", 1)};
}

// The axes that letters name: "qp" is [q, p].
static size_t axes_named(const Setting *s, const char *names, AxisId axes[GRAPH_MAX_RANK]) {
    size_t n = 0;
    for (; names[n]; n++)
        axes[n] = names[n] == 'p'   ? s->p
                  : names[n] == 'q' ? s->q
                  : names[n] == 'r' ? s->r
                                    : s->s;
    return n;
}

static ValueId uniform(Setting *s, const char *names, double low, double high) {
    AxisId axes[GRAPH_MAX_RANK];
    size_t rank = axes_named(s, names, axes);
    return bench_random(s->b, axes, rank, low, high);
}

static ValueId index_below(Setting *s, const char *names, int64_t low, int64_t high) {
    AxisId axes[GRAPH_MAX_RANK];
    size_t rank = axes_named(s, names, axes);
    return bench_index(s->b, axes, rank, low, high);
}

// Movement with the axes that letters name.
static ValueId moved(Setting *s, GraphOp op, ValueId x, const char *along, const char *to) {
    AxisId from[GRAPH_MAX_RANK], into[GRAPH_MAX_RANK];
    GraphAttr attr = {.along = from, .to = into};
    attr.along_count = (uint8_t)axes_named(s, along, from);
    attr.to_count = (uint8_t)axes_named(s, to, into);
    return bench_move(s->b, op, x, attr);
}

// One make for each operation: builds case number `n` and says whether there is one.
typedef bool (*Make)(Setting *s, GraphOp op, int n, ValueId *out);

static bool make_unary(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const shapes[] = {"", "q", "pq", "srp", "pqsr"};
    if (n >= 5) return false;
    bool positive = op == OP_LOG || op == OP_SQRT || op == OP_RSQRT;
    *out = bench_unary(s->b, op, uniform(s, shapes[n], positive ? 0.5 : -2, 2));
    return true;
}

// For rounding to bf16, which differences do not show, see test_rounding.
static bool make_cast(Setting *s, GraphOp op, int n, ValueId *out) {
    (void)op;
    if (n > 0) return false;
    *out = graph_cast(s->b->g, uniform(s, "pq", -1, 1), DTYPE_F32, (Span){0});
    return true;
}

static const char *const pairs[][2] = {
    {"", ""},   {"q", "q"}, {"pq", "pq"},  {"pq", "qp"}, {"pq", "q"},      {"p", "pq"},
    {"qp", ""}, {"", "rp"}, {"pqr", "rp"}, {"q", "rqp"}, {"pqsr", "rsqp"}, {"ps", "p"},
};

static bool make_binary(Setting *s, GraphOp op, int n, ValueId *out) {
    enum { PAIRS = sizeof pairs / sizeof *pairs };
    if (n > PAIRS) return false;
    double low = op == OP_DIV || op == OP_POW ? 0.5 : -2;
    ValueId x = uniform(s, n < PAIRS ? pairs[n][0] : "pq", low, 2);
    ValueId y = n < PAIRS ? uniform(s, pairs[n][1], low, 2) : x;  // last: a value with itself
    *out = bench_binary(s->b, op, x, y);
    return true;
}

static bool make_choice(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const shapes[][3] = {
        {"pq", "pq", "pq"}, {"pq", "qp", "pq"}, {"qp", "pq", "pq"}, {"pq", "", "q"},
        {"q", "pq", "qp"},  {"", "p", ""},      {"pqr", "r", "pq"}, {"", "", ""},
    };
    if (n >= 8) return false;
    ValueId zero = graph_const(s->b->g, 0, (Span){0});
    ValueId condition = bench_binary(s->b, OP_LT, uniform(s, shapes[n][0], -1, 1), zero);
    ValueId in[3] = {condition, uniform(s, shapes[n][1], -1, 1),
                     uniform(s, shapes[n][2], -1, 1)};
    *out = graph_add(s->b->g, op, (Operands){in, 3}, (GraphAttr){0}, (Span){0});
    return true;
}

static bool make_reduction(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const rows[][2] = {{"q", "q"},      {"pq", "q"},   {"pq", "p"},
                                          {"pq", "qp"},    {"pqr", "rp"}, {"spqr", "sq"},
                                          {"pqsr", "rqps"}};
    if (n >= 7) return false;
    *out = moved(s, op, uniform(s, rows[n][0], -2, 2), rows[n][1], "");
    return true;
}

static bool make_contract(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const rows[][3] = {
        {"pq", "qr", "q"},    {"qp", "qr", "q"},  {"qp", "rq", "q"}, {"pq", "rq", "q"},
        {"pqr", "qr", "qr"},  {"pqr", "r", "r"},  {"r", "pqr", "r"}, {"pqr", "qpr", "r"},
        {"qrp", "psr", "r"},  {"pq", "pq", "qp"}, {"p", "q", ""},    {"pq", "qr", ""},
        {"sqp", "prs", "ps"}, {"q", "q", "q"},    {"", "pq", ""},    {"rqp", "rsp", "p"},
    };
    enum { ROWS = sizeof rows / sizeof *rows };
    (void)op;
    if (n > ROWS) return false;
    AxisId along[GRAPH_MAX_RANK];
    ValueId x = uniform(s, n < ROWS ? rows[n][0] : "pq", -1, 1);
    ValueId y = n < ROWS ? uniform(s, rows[n][1], -1, 1) : x;
    size_t count = axes_named(s, n < ROWS ? rows[n][2] : "q", along);
    *out = bench_contract(s->b, x, y, along, count);
    return true;
}

// q[q, s, p], k[r, p], v[r, 2]: with and without bounds, keys of several heads.
static bool make_attend(Setting *s, GraphOp op, int n, ValueId *out) {
    static const Band bands[] = {
        {0, BAND_MOST}, {BAND_LEAST, BAND_MOST}, {-2, 0}, {-1, 1}, {BAND_LEAST, 1}};
    static const char *const keys[] = {"rp", "pr", "rp", "srp", "rp"};
    static const char *const queries[] = {"qp", "qsp", "pq", "qsp", "sqp"};
    if (n >= 5) return false;
    AxisId own = bench_axis(s->b, "own", 2), axes[GRAPH_MAX_RANK];
    size_t rank = axes_named(s, keys[n], axes);
    ValueId q = uniform(s, queries[n], -1, 1), k = uniform(s, keys[n], -1, 1);
    for (size_t i = 0; i < rank; i++)
        if (axes[i].i == s->p.i) axes[i] = own;
    ValueId in[3] = {q, k, bench_random(s->b, axes, rank, -1, 1)};
    AxisId along[3] = {s->p, s->q, s->r};
    GraphAttr attr = {.along = along, .along_count = 3, .number = 0.7, .band = bands[n]};
    *out = graph_add(s->b->g, op, (Operands){in, 3}, attr, (Span){0});
    return true;
}

// Every choice of optional operands, with heads h that some of them share: q[h, t, d], k[t, d],
// v[t, h, e], decay[t] or [h, t, d], beta[t, h], initial[d, e]. t is q, d is r, e is p.
static bool make_linear(Setting *s, GraphOp op, int n, ValueId *out) {
    bool wide = n > LINEAR_BITS;
    int64_t bits = wide ? n - LINEAR_BITS - 1 : n;
    if (n > 2 * LINEAR_BITS + 1) return false;
    bits = op == OP_LINEAR ? bits | LINEAR_HAS_QUERY : bits & ~(int64_t)LINEAR_HAS_QUERY;
    AxisId h = bench_axis(s->b, "h", 2), along[2] = {s->r, s->q};
    ValueId in[6];
    uint32_t count = 0;
    if (op == OP_LINEAR) in[count++] = bench_random(s->b, AXES(h, s->q, s->r), -1, 1);
    in[count++] = uniform(s, "qr", -0.7, 0.7);
    in[count++] = bench_random(s->b, AXES(s->q, h, s->p), -1, 1);
    if (bits & LINEAR_HAS_DECAY)
        in[count++] = wide ? bench_random(s->b, AXES(h, s->q, s->r), -1, -0.1)
                           : uniform(s, "q", -1, -0.1);
    if (bits & LINEAR_HAS_BETA) in[count++] = bench_random(s->b, AXES(s->q, h), 0.1, 1);
    if (bits & LINEAR_HAS_INITIAL) in[count++] = uniform(s, "rp", -1, 1);
    GraphAttr attr = {.along = along, .along_count = 2, .number = 0.7, .amount = bits};
    *out = graph_add(s->b->g, op, (Operands){in, count}, attr, (Span){0});
    return true;
}

static bool make_broadcast(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const rows[][2] = {
        {"", "p"}, {"q", "pq"}, {"q", "qp"}, {"pq", "rqsp"}, {"pq", "pq"}};
    if (n >= 5) return false;
    *out = moved(s, op, uniform(s, rows[n][0], -1, 1), "", rows[n][1]);
    return true;
}

static bool make_transpose(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const rows[][2] = {
        {"pq", "qp"}, {"pqr", "rpq"}, {"pqr", "qpr"}, {"pqsr", "rsqp"}, {"q", "q"}};
    if (n >= 5) return false;
    *out = moved(s, op, uniform(s, rows[n][0], -1, 1), "", rows[n][1]);
    return true;
}

static bool make_rename(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const shapes[] = {"q", "pq", "qp", "rqp"};
    if (n >= 4) return false;
    AxisId other = bench_axis(s->b, "other", 3);
    GraphAttr attr = {.along = &s->q, .along_count = 1, .to = &other, .to_count = 1};
    *out = bench_move(s->b, op, uniform(s, shapes[n], -1, 1), attr);
    return true;
}

static bool make_split(Setting *s, GraphOp op, int n, ValueId *out) {
    AxisId a = bench_axis(s->b, "a", 6);
    if (n >= 3) return false;
    ValueId x = bench_random(s->b, (AxisId[]){n == 0 ? a : s->r, n == 0 ? s->r : a, s->s},
                             n == 2 ? 3 : 2, -1, 1);
    GraphAttr attr = {
        .along = &a, .along_count = 1, .to = (AxisId[]){s->p, s->q}, .to_count = 2};
    *out = bench_move(s->b, op, x, attr);
    return true;
}

static bool make_merge(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const rows[][2] = {{"pq", "pq"},  {"pqr", "pq"}, {"rpq", "pq"},
                                          {"prq", "pq"}, {"pq", "qp"},  {"qrp", "pq"}};
    if (n >= 6) return false;
    AxisId merged = bench_axis(s->b, "merged", 6), along[GRAPH_MAX_RANK];
    GraphAttr attr = {.along = along, .to = &merged, .to_count = 1};
    attr.along_count = (uint8_t)axes_named(s, rows[n][1], along);
    *out = bench_move(s->b, op, uniform(s, rows[n][0], -1, 1), attr);
    return true;
}

// Slices to and pads from the axis q of extent 3.
static bool make_slice_or_pad(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const shapes[] = {"q", "pq", "qp", "rqp"};
    if (n >= 8) return false;
    AxisId other = bench_axis(s->b, "other", op == OP_SLICE ? 2 : 5);
    GraphAttr attr = {
        .along = &s->q, .along_count = 1, .to = &other, .to_count = 1, .amount = n / 4};
    *out = bench_move(s->b, op, uniform(s, shapes[n % 4], -1, 1), attr);
    return true;
}

static bool make_take(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const shapes[] = {"q", "pq", "qp", "rqp"};
    if (n >= 12) return false;
    GraphAttr attr = {.along = &s->q, .along_count = 1, .amount = n / 4};
    *out = bench_move(s->b, op, uniform(s, shapes[n % 4], -1, 1), attr);
    return true;
}

static bool make_put(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const shapes[] = {"", "p", "rp"};
    if (n >= 9) return false;
    GraphAttr attr = {.to = &s->q, .to_count = 1, .amount = n / 3};
    *out = bench_move(s->b, op, uniform(s, shapes[n % 3], -1, 1), attr);
    return true;
}

static bool make_roll_or_shift(Setting *s, GraphOp op, int n, ValueId *out) {
    static const int64_t amounts[] = {0, 1, -1, 2, -2, 3, -5, 7};
    if (n >= 8) return false;
    GraphAttr attr = {.along = &s->q, .along_count = 1, .amount = amounts[n]};
    *out = bench_move(s->b, op, uniform(s, n % 2 ? "pq" : "qr", -1, 1), attr);
    return true;
}

static bool make_window(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const rows[][3] = {{"r", "r", "q"},
                                          {"rp", "r", "q"},
                                          {"pr", "r", "q"},
                                          {"pq", "q", "r"},
                                          {"qp", "q", "s"}};
    if (n >= 5) return false;
    *out = moved(s, op, uniform(s, rows[n][0], -1, 1), rows[n][1], rows[n][2]);
    return true;
}

static bool make_unwindow(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const rows[][2] = {{"rq", "rq"},  {"qr", "rq"},  {"rpq", "rq"},
                                          {"qpr", "rq"}, {"pqr", "qr"}, {"sqp", "qs"}};
    if (n >= 6) return false;
    *out = moved(s, op, uniform(s, rows[n][0], -1, 1), rows[n][1], "");
    return true;
}

static bool make_concat(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const shapes[][3] = {
        {"p", "q", "s"}, {"rp", "rq", "rs"}, {"pr", "qr", "sr"}};
    if (n >= 4) return false;
    const char *const *shape = shapes[n % 3];
    ValueId x = uniform(s, shape[0], -1, 1), z = n == 3 ? x : uniform(s, shape[2], -1, 1);
    AxisId to = bench_axis(s->b, "to", n == 3 ? 7 : 6), last = n == 3 ? s->p : s->s;
    GraphAttr attr = {
        .along = (AxisId[]){s->p, s->q, last}, .along_count = 3, .to = &to, .to_count = 1};
    *out = graph_add(s->b->g, op, (Operands){(ValueId[]){x, uniform(s, shape[1], -1, 1), z}, 3},
                     attr, (Span){0});
    return true;
}

static bool make_stack(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const shapes[] = {"", "q", "pr", "pq"};
    if (n >= 4) return false;
    AxisId to = bench_axis(s->b, "to", 3);
    ValueId x = uniform(s, shapes[n], -1, 1), y = uniform(s, shapes[n], -1, 1);
    ValueId z = n == 3 ? x : uniform(s, shapes[n], -1, 1);  // last: one operand twice
    *out = graph_add(s->b->g, op, (Operands){(ValueId[]){x, y, z}, 3},
                     (GraphAttr){.to = &to, .to_count = 1}, (Span){0});
    return true;
}

// Indices go one past either end. Rows: x, index; looked up along q.
static bool make_gather(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const rows[][2] = {
        {"q", ""},  {"q", "p"},    {"qp", "r"},   {"pq", "r"},  {"pq", "p"},  {"qp", "p"},
        {"pq", ""}, {"prq", "pr"}, {"rqp", "pr"}, {"rqp", "p"}, {"pq", "pr"}, {"qp", "rps"}};
    if (n >= 12) return false;
    ValueId in[2] = {uniform(s, rows[n][0], -1, 1), index_below(s, rows[n][1], -1, 4)};
    *out = graph_add(s->b->g, op, (Operands){in, 2},
                     (GraphAttr){.along = &s->q, .along_count = 1}, (Span){0});
    return true;
}

// Rows: x, index, result; scattered along q.
static bool make_scatter(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const rows[][3] = {
        {"r", "r", "q"},    {"rp", "r", "qp"},    {"rp", "r", "pq"}, {"pr", "r", "qp"},
        {"pr", "pr", "pq"}, {"psr", "pr", "qsp"}, {"p", "", "pq"},   {"p", "p", "qp"}};
    if (n >= 8) return false;
    AxisId to[GRAPH_MAX_RANK];
    ValueId in[2] = {uniform(s, rows[n][0], -1, 1), index_below(s, rows[n][1], -1, 4)};
    GraphAttr attr = {.to = to, .to_count = (uint8_t)axes_named(s, rows[n][2], to)};
    *out = graph_add(s->b->g, op, (Operands){in, 2}, attr, (Span){0});
    return true;
}

// Rows: x, index, weight and result; groups along q. Rows of no group are among them.
static bool make_contract_at(Setting *s, GraphOp op, int n, ValueId *out) {
    static const char *const rows[][4] = {
        {"pr", "p", "qrs", "ps"}, {"pr", "p", "srq", "ps"}, {"r", "p", "qrs", "ps"}};
    if (n >= 3) return false;
    Graph *g = s->b->g;
    AxisId to[GRAPH_MAX_RANK], own[2] = {s->p}, along[2] = {s->r, s->q};
    ValueId index = index_below(s, rows[n][1], -1, 4);
    own[1] = bench_axis(s->b, "rows", graph_elements(g, index));
    GraphAttr list = {.along = &s->q, .along_count = 1, .to = own, .to_count = 2};
    ValueId of_r = bench_move(s->b, OP_GROUP_ORDER, index, list), of_x = of_r;
    if (rows[n][0][1] == 0) {
        list.to = &own[1];
        list.to_count = 1;
        of_x = bench_move(s->b, OP_GROUP_ORDER, index, list);
    }
    ValueId ends = index_below(s, "q", 1, 2);
    ValueId in[] = {uniform(s, rows[n][0], -1, 1), uniform(s, rows[n][2], -1, 1), of_x, of_r,
                    ends};
    GraphAttr attr = {.along = along, .along_count = 2, .to = to};
    attr.to_count = (uint8_t)axes_named(s, rows[n][3], to);
    *out = graph_add(g, op, (Operands){in, 5}, attr, (Span){0});
    return true;
}

static const Make makes[OP_COUNT] = {
    [OP_NEG] = make_unary,
    [OP_ABS] = make_unary,
    [OP_EXP] = make_unary,
    [OP_LOG] = make_unary,
    [OP_SQRT] = make_unary,
    [OP_RSQRT] = make_unary,
    [OP_TANH] = make_unary,
    [OP_SIGMOID] = make_unary,
    [OP_SIN] = make_unary,
    [OP_COS] = make_unary,
    [OP_ERF] = make_unary,
    [OP_CAST] = make_cast,
    [OP_KEEP] = make_unary,
    [OP_ADD] = make_binary,
    [OP_SUB] = make_binary,
    [OP_MUL] = make_binary,
    [OP_DIV] = make_binary,
    [OP_POW] = make_binary,
    [OP_MIN] = make_binary,
    [OP_MAX] = make_binary,
    [OP_WHERE] = make_choice,
    [OP_REDUCE_SUM] = make_reduction,
    [OP_REDUCE_MAX] = make_reduction,
    [OP_LOGSUMEXP] = make_reduction,
    [OP_SOFTMAX] = make_reduction,
    [OP_CONTRACT] = make_contract,
    [OP_BROADCAST] = make_broadcast,
    [OP_RENAME] = make_rename,
    [OP_TRANSPOSE] = make_transpose,
    [OP_SPLIT] = make_split,
    [OP_MERGE] = make_merge,
    [OP_SLICE] = make_slice_or_pad,
    [OP_PAD] = make_slice_or_pad,
    [OP_TAKE] = make_take,
    [OP_PUT] = make_put,
    [OP_ROLL] = make_roll_or_shift,
    [OP_SHIFT] = make_roll_or_shift,
    [OP_WINDOW] = make_window,
    [OP_UNWINDOW] = make_unwindow,
    [OP_CONCAT] = make_concat,
    [OP_STACK] = make_stack,
    [OP_GATHER] = make_gather,
    [OP_SCATTER] = make_scatter,
    [OP_ATTEND] = make_attend,
    [OP_LINEAR] = make_linear,
    [OP_LINEAR_STATE] = make_linear,
    [OP_CONTRACT_AT] = make_contract_at,
};

static const char *const rule_names[OP_COUNT] = {
#define GRAPH_OP(NAME, text, arity, shape, derivative, evaluate, flops) \
    [OP_##NAME] = #derivative,
#include "ir/graph/ops.def"
#undef GRAPH_OP
};

static void test_every_rule_has_a_check(void **state) {
    (void)state;
    for (int op = OP_NONE + 1; op < OP_COUNT; op++) {
        bool has_rule = strcmp(rule_names[op], "none") != 0;
        if (has_rule != (makes[op] != NULL))
            fail_msg("'%s' has a rule: %d, a check: %d", op_text((GraphOp)op), has_rule,
                     !has_rule);
    }
}

static void test_every_rule(void **state) {
    (void)state;
    for (int op = OP_NONE + 1; op < OP_COUNT; op++) {
        for (int n = 0; makes[op]; n++) {
            GraphBench b;
            Setting s;
            setting_init(&s, &b, (uint64_t)op * 1000 + (uint64_t)n * 10);
            ValueId r;
            bool exists = makes[op](&s, (GraphOp)op, n, &r);
            b.label = arena_printf(&b.arena, "%s, case %d", op_text((GraphOp)op), n);
            if (exists) check_gradients(&b, r);
            bench_release(&b);
            if (!exists) break;
        }
    }
}

static void test_power_with_constant_exponent(void **state) {
    (void)state;
    static const double exponents[] = {-2, -1, 0, 0.5, 1, 1.5, 2, 3, 4};
    for (size_t i = 0; i < sizeof exponents / sizeof *exponents; i++) {
        GraphBench b;
        Setting s;
        setting_init(&s, &b, i);
        bool whole = exponents[i] == floor(exponents[i]);
        ValueId positive = uniform(&s, "pq", 0.5, 2), negative = uniform(&s, "pq", -2, -0.5);
        ValueId n = graph_const(b.g, exponents[i], (Span){0});
        check_gradients(&b, bench_binary(&b, OP_POW, positive, n));
        if (whole) check_gradients(&b, bench_binary(&b, OP_POW, negative, n));
        bench_release(&b);
    }
}

static void test_reciprocal(void **state) {
    (void)state;
    static const double numerators[] = {1, -3};
    for (size_t i = 0; i < sizeof numerators / sizeof *numerators; i++) {
        GraphBench b;
        Setting s;
        setting_init(&s, &b, i);
        ValueId x = uniform(&s, "pq", 0.5, 2), n = graph_const(b.g, numerators[i], (Span){0});
        check_gradients(&b, bench_binary(&b, OP_DIV, n, x));
        bench_release(&b);
    }
}

static ValueId gradient_of(GraphBench *b, ValueId r, ValueId wrt) {
    ValueId grad;
    pass_differentiate(b->g, bench_total(b, r), &wrt, 1, &grad);
    return grad;
}

static void test_ties_and_kinks(void **state) {
    (void)state;
    GraphBench b;
    bench_init(&b);
    AxisId n = bench_axis(&b, "n", 4);
    ValueId x = bench_leaf(&b, DTYPE_F32, AXES(n), (double[]){1, 2, 3, 3});
    ValueId y = bench_leaf(&b, DTYPE_F32, AXES(n), (double[]){1, 1, 4, 3});
    EXPECT(&b, gradient_of(&b, bench_binary(&b, OP_MIN, x, y), x), 1, 0, 1, 1);
    EXPECT(&b, gradient_of(&b, bench_binary(&b, OP_MIN, x, y), y), 0, 1, 0, 0);
    EXPECT(&b, gradient_of(&b, bench_binary(&b, OP_MAX, x, y), x), 1, 1, 0, 1);
    EXPECT(&b, gradient_of(&b, bench_binary(&b, OP_MAX, x, y), y), 0, 0, 1, 0);
    EXPECT(&b, gradient_of(&b, bench_reduce(&b, OP_REDUCE_MAX, x, &n, 1), x), 0, 0, 0.5, 0.5);
    ValueId z = bench_leaf(&b, DTYPE_F32, AXES(n), (double[]){-1, 0, 2, -0.0});
    EXPECT(&b, gradient_of(&b, bench_unary(&b, OP_ABS, z), z), -1, 0, 1, 0);
    bench_release(&b);
}

// The branch that is not taken is infinite, and its slope too.
static void test_where_keeps_infinities_apart(void **state) {
    (void)state;
    GraphBench b;
    bench_init(&b);
    AxisId n = bench_axis(&b, "n", 2);
    ValueId x = bench_leaf(&b, DTYPE_F32, AXES(n), (double[]){2, 3});
    ValueId far = bench_leaf(&b, DTYPE_F32, AXES(n), (double[]){HUGE_VAL, -HUGE_VAL});
    ValueId flag = bench_leaf(&b, DTYPE_BOOL, AXES(n), (double[]){1, 0});
    ValueId in[3] = {flag, bench_binary(&b, OP_MUL, x, x), far};
    ValueId r = graph_add(b.g, OP_WHERE, (Operands){in, 3}, (GraphAttr){0}, (Span){0});
    ValueId grad = gradient_of(&b, r, x);
    EXPECT(&b, grad, 4, 0);
    EXPECT(&b, gradient_of(&b, r, far), 0, 1);
    bench_release(&b);
}

// Masked scores: -inf gets probability 0 and gradient 0, not NaN.
static void test_masked_softmax(void **state) {
    (void)state;
    GraphBench b;
    bench_init(&b);
    AxisId n = bench_axis(&b, "n", 3);
    ValueId x = bench_leaf(&b, DTYPE_F32, AXES(n), (double[]){0, 0, -HUGE_VAL});
    ValueId w = bench_leaf(&b, DTYPE_F32, AXES(n), (double[]){1, 3, 5});
    ValueId soft = bench_move(&b, OP_SOFTMAX, x, (GraphAttr){.along = &n, .along_count = 1});
    EXPECT(&b, gradient_of(&b, bench_binary(&b, OP_MUL, soft, w), x), -0.5, 0.5, 0);
    EXPECT(&b, gradient_of(&b, bench_reduce(&b, OP_LOGSUMEXP, x, &n, 1), x), 0.5, 0.5, 0);
    bench_release(&b);
}

static void test_nothing_flows(void **state) {
    (void)state;
    GraphBench b;
    bench_init(&b);
    AxisId n = bench_axis(&b, "n", 2), m = bench_axis(&b, "m", 3);
    ValueId x = bench_leaf(&b, DTYPE_F32, AXES(n), (double[]){1.5, -2});
    ValueId other = bench_random(&b, AXES(m, n), -1, 1);
    EXPECT(&b, gradient_of(&b, bench_unary(&b, OP_DETACH, x), x), 0, 0);
    EXPECT(&b, gradient_of(&b, bench_unary(&b, OP_FLOOR, x), x), 0, 0);
    EXPECT(&b, gradient_of(&b, bench_unary(&b, OP_SIGN, x), x), 0, 0);
    ValueId whole =
        graph_cast(b.g, graph_cast(b.g, x, DTYPE_I32, (Span){0}), DTYPE_F32, (Span){0});
    EXPECT(&b, gradient_of(&b, whole, x), 0, 0);
    EXPECT(&b, gradient_of(&b, x, other), 0, 0, 0, 0, 0, 0);
    bench_expect_axes(&b, gradient_of(&b, x, other), AXES(m, n));
    // Only the path that is not detached counts.
    ValueId product = bench_binary(&b, OP_MUL, x, bench_unary(&b, OP_DETACH, x));
    EXPECT(&b, gradient_of(&b, product, x), 1.5, -2);
    bench_release(&b);
}

// Rounding is a staircase whose slope is taken to be 1; the rounded value is what others see.
static void test_rounding(void **state) {
    (void)state;
    GraphBench b;
    bench_init(&b);
    AxisId n = bench_axis(&b, "n", 2);
    ValueId x = bench_leaf(&b, DTYPE_F32, AXES(n), (double[]){1 + 0x1p-7 + 0x1p-12, -3});
    ValueId low = graph_cast(b.g, x, DTYPE_BF16, (Span){0});
    ValueId y = graph_cast(b.g, low, DTYPE_F32, (Span){0});
    EXPECT(&b, y, 1 + 0x1p-7, -3);
    EXPECT(&b, gradient_of(&b, bench_binary(&b, OP_MUL, y, y), x), 2 + 0x1p-6, -6);
    bench_release(&b);
}

static void test_wrt_any_value(void **state) {
    (void)state;
    GraphBench b;
    bench_init(&b);
    ValueId x = bench_scalar(&b, 3), square = bench_binary(&b, OP_MUL, x, x);
    ValueId cube = bench_binary(&b, OP_MUL, square, x), late = bench_unary(&b, OP_EXP, cube);
    ValueId wrt[] = {x, square, cube, late, x}, grads[5];
    pass_differentiate(b.g, cube, wrt, 5, grads);
    EXPECT(&b, grads[0], 27);
    EXPECT(&b, grads[1], 3);
    EXPECT(&b, grads[2], 1);
    EXPECT(&b, grads[3], 0);
    assert_int_equal(grads[4].i, grads[0].i);
    bench_release(&b);
}

static uint32_t count_after(const Graph *g, uint32_t first, GraphOp op) {
    uint32_t count = 0;
    for (uint32_t i = first; i < g->values.len; i++)
        count += graph_value(g, (ValueId){i})->op == op;
    return count;
}

// y = x w: two contractions, both in storage order, and nothing for the input that is not asked
// for.
static void test_cost_of_a_linear_map(void **state) {
    (void)state;
    GraphBench b;
    bench_init(&b);
    AxisId t = bench_axis(&b, "t", 2), d = bench_axis(&b, "d", 3), f = bench_axis(&b, "f", 4);
    ValueId x = bench_random(&b, AXES(t, d), -1, 1), w = bench_random(&b, AXES(d, f), -1, 1);
    ValueId loss = bench_total(&b, bench_contract(&b, x, w, AXES(d)));
    ValueId grads[2];
    uint32_t before = b.g->values.len;
    pass_differentiate(b.g, loss, (ValueId[]){x, w}, 2, grads);
    assert_int_equal(count_after(b.g, before, OP_CONTRACT), 2);
    assert_int_equal(count_after(b.g, before, OP_TRANSPOSE), 0);
    before = b.g->values.len;
    pass_differentiate(b.g, loss, &w, 1, grads);
    assert_int_equal(count_after(b.g, before, OP_CONTRACT), 1);
    before = b.g->values.len;
    ValueId unrelated = bench_scalar(&b, 1);
    pass_differentiate(b.g, loss, &unrelated, 1, grads);
    assert_int_equal(count_after(b.g, before, OP_CONST), 1);
    bench_release(&b);
}

// The gradient of a picked logit is elementwise; that of an embedding row is not.
static void test_gather_scatters_only_if_it_must(void **state) {
    (void)state;
    GraphBench b;
    Setting s;
    setting_init(&s, &b, 7);
    ValueId x = uniform(&s, "pq", -1, 1);
    GraphAttr along = {.along = &s.q, .along_count = 1};
    ValueId picked =
        graph_add(b.g, OP_GATHER, (Operands){(ValueId[]){x, index_below(&s, "p", 0, 3)}, 2},
                  along, (Span){0});
    gradient_of(&b, picked, x);
    assert_int_equal(count_after(b.g, 1, OP_SCATTER), 0);
    ValueId rows =
        graph_add(b.g, OP_GATHER, (Operands){(ValueId[]){x, index_below(&s, "r", 0, 3)}, 2},
                  along, (Span){0});
    gradient_of(&b, rows, x);
    assert_int_equal(count_after(b.g, 1, OP_SCATTER), 1);
    bench_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_rule_has_a_check),
        cmocka_unit_test(test_every_rule),
        cmocka_unit_test(test_power_with_constant_exponent),
        cmocka_unit_test(test_reciprocal),
        cmocka_unit_test(test_ties_and_kinks),
        cmocka_unit_test(test_where_keeps_infinities_apart),
        cmocka_unit_test(test_masked_softmax),
        cmocka_unit_test(test_nothing_flows),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_wrt_any_value),
        cmocka_unit_test(test_cost_of_a_linear_map),
        cmocka_unit_test(test_gather_scatters_only_if_it_must),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
