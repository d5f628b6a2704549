// row_cases.c: the graphs that bench_rows.c measures.
#include "tests/bench/row_cases.h"

#include "ir/graph/passes.h"

enum { SOURCES = 8, READS_MOST = 8, LEAVES_MOST = 2 * SOURCES + 2 * READS_MOST };

typedef struct {
    Graph *g;
    AxisId rows, cols;
    DType storage;  // of rows
    bool several_kernels;
} Model;

static ValueId leaf_at(Model *m, GraphOp kind, Str name, const AxisId *axes, uint32_t rank) {
    bool wide = rank == 2 && kind == OP_INPUT;
    Leaf l = {.kind = kind,
              .path = name,
              .type = wide ? m->storage : DTYPE_F32,
              .rank = (uint8_t)rank,
              .axes = axes,
              .trained = kind == OP_PARAM};
    ValueId v = graph_leaf(m->g, &l);
    return l.type == DTYPE_F32 ? v : graph_cast(m->g, v, DTYPE_F32, (Span){0});
}

static ValueId leaf(Model *m, GraphOp kind, const char *name, uint32_t rank) {
    AxisId axes[2] = {m->rows, m->cols};
    return leaf_at(m, kind, str_of(name), rank == 2 ? axes : &m->cols, rank);
}

static ValueId numbered(Model *m, GraphOp kind, const char *name, int i) {
    AxisId axes[2] = {m->rows, m->cols};
    Str path = str_printf(m->g->arena, "%s%d", name, i);
    return leaf_at(m, kind, path, kind == OP_INPUT ? axes : &m->cols, kind == OP_INPUT ? 2 : 1);
}

static ValueId two(Model *m, GraphOp op, ValueId x, ValueId y) {
    return graph_binary(m->g, op, x, y, (Span){0});
}
static ValueId one(Model *m, GraphOp op, ValueId x) {
    return graph_unary(m->g, op, x, (Span){0});
}
static ValueId number(Model *m, double x) { return graph_const(m->g, x, (Span){0}); }
static ValueId scaled(Model *m, double by, ValueId x) {
    return two(m, OP_MUL, x, number(m, by));
}
static ValueId sum(Model *m, ValueId x, AxisId axis) {
    return graph_sum(m->g, x, &axis, 1, (Span){0});
}
static ValueId softmax(Model *m, ValueId x, AxisId axis) {
    GraphAttr attr = {.along = &axis, .along_count = 1};
    return graph_add(m->g, OP_SOFTMAX, (Operands){&x, 1}, attr, (Span){0});
}

static ValueId unit_rms(Model *m, ValueId x) {
    double share = 1.0 / (double)graph_extent(m->g, m->cols);
    ValueId mean = scaled(m, share, sum(m, two(m, OP_MUL, x, x), m->cols));
    return two(m, OP_MUL, x, one(m, OP_RSQRT, two(m, OP_ADD, mean, number(m, 1e-6))));
}

// One read by attention over depth, or several of the same sources.
typedef struct {
    ValueId result, score;  // score: the logarithm of the sum of the weights undivided
} Mix;

static ValueId key_scores(Model *m, ValueId v, int i) {
    ValueId key =
        two(m, OP_MUL, numbered(m, OP_PARAM, "query", i), numbered(m, OP_PARAM, "gain", i));
    return sum(m, two(m, OP_MUL, unit_rms(m, v), key), m->cols);
}

static Mix mix_of(Model *m, ValueId v, ValueId scores, AxisId depth) {
    GraphAttr attr = {.along = &depth, .along_count = 1};
    return (Mix){sum(m, two(m, OP_MUL, v, softmax(m, scores, depth)), depth),
                 graph_add(m->g, OP_LOGSUMEXP, (Operands){&scores, 1}, attr, (Span){0})};
}

static ValueId stack_of(Model *m, const ValueId *in, uint32_t count, AxisId *depth) {
    *depth = graph_axis(m->g, STR("depth"), count, false);
    GraphAttr attr = {.to = depth, .to_count = 1};
    return graph_add(m->g, OP_STACK, (Operands){in, count}, attr, (Span){0});
}

static ValueId sources_stack(Model *m, AxisId *depth) {
    ValueId sources[SOURCES];
    for (int i = 0; i < SOURCES; i++)
        sources[i] = numbered(m, OP_INPUT, "v", i);
    return stack_of(m, sources, SOURCES, depth);
}

static ValueId attn_res(Model *m) {
    AxisId depth;
    ValueId v = sources_stack(m, &depth);
    return mix_of(m, v, key_scores(m, v, 0), depth).result;
}

// Outputs the gradients of the first leaves, those of two axes added to `so_far`, if that is
// given.
static void output_derivatives(Model *m, ValueId loss, uint32_t count, const ValueId *so_far) {
    Graph *g = m->g;
    ValueId wrt[LEAVES_MOST] = {{0}}, grads[LEAVES_MOST];
    for (uint32_t i = 0; i < count; i++)
        wrt[i] = g->leaf_values.ptr[i];
    pass_differentiate(g, loss, wrt, count, grads);
    for (uint32_t i = 0, wide = 0; i < count; i++) {
        bool more = so_far && g->leaves.ptr[i].rank == 2;
        Str name = str_printf(g->arena, "d%.*s", STR_ARG(g->leaves.ptr[i].path));
        graph_output(m->g, name, more ? two(m, OP_ADD, so_far[wide++], grads[i]) : grads[i]);
    }
}

// Outputs the gradients of sum(y * g), where g is an input, with respect to all other leaves.
static void output_gradients(Model *m, ValueId y) {
    Graph *g = m->g;
    uint32_t count = g->leaves.len;
    ValueId loss = two(m, OP_MUL, y, leaf(m, OP_INPUT, "g", 2));
    AxisId both[2] = {m->rows, m->cols};
    loss = graph_sum(g, loss, both, 2, (Span){0});
    output_derivatives(m, loss, count, NULL);
}

static void attn_forward(Model *m) { graph_output(m->g, STR("h"), attn_res(m)); }

static void attn_norm_forward(Model *m) {
    ValueId h = attn_res(m);
    graph_output(m->g, STR("h"),
                 two(m, OP_MUL, unit_rms(m, h), leaf(m, OP_PARAM, "norm_gain", 1)));
}

static void attn_backward(Model *m) { output_gradients(m, attn_res(m)); }

// ---- two phases (ir/graph/pass_depth.c)

// Several reads of the same sources.
static void reads(Model *m, ValueId v, AxisId depth, Mix *out, int count) {
    for (int i = 0; i < count; i++) {
        Mix mix = mix_of(m, v, key_scores(m, v, i), depth);
        out[i] = (Mix){one(m, OP_KEEP, mix.result), one(m, OP_KEEP, mix.score)};
    }
}

static void shared_forward(Model *m, int count) {
    AxisId depth;
    ValueId v = sources_stack(m, &depth);
    Mix mixes[READS_MOST];
    reads(m, v, depth, mixes, count);
    for (int i = 0; i < count; i++) {
        graph_output(m->g, str_printf(m->g->arena, "h%d", i), mixes[i].result);
        graph_output(m->g, str_printf(m->g->arena, "s%d", i), mixes[i].score);
    }
}

// Forward and backward, where the gradient of what was read is what was read.
static void shared_both(Model *m, int count) {
    shared_forward(m, count);
    m->g = pass_simplify(m->g, m->g->arena);
    uint32_t leaves = m->g->leaves.len;
    ValueId so_far[SOURCES], loss = number(m, 0);
    for (int i = 0; i < SOURCES; i++)
        so_far[i] = numbered(m, OP_INPUT, "so_far", i);
    AxisId both[2] = {m->rows, m->cols};
    for (int i = 0; i < count; i++) {
        ValueId h = graph_output_find(m->g, str_printf(m->g->arena, "h%d", i));
        ValueId s = graph_output_find(m->g, str_printf(m->g->arena, "s%d", i));
        h = two(m, OP_MUL, h, one(m, OP_DETACH, h));
        loss = two(m, OP_ADD, loss, sum(m, s, m->rows));
        loss = two(m, OP_ADD, loss, graph_sum(m->g, h, both, 2, (Span){0}));
    }
    m->g->outputs.len = 0;
    graph_output(m->g, STR("loss"), loss);
    output_derivatives(m, loss, leaves, so_far);
    m->several_kernels = true;
}

static void shared_4_forward(Model *m) { shared_forward(m, 4); }
static void shared_8_forward(Model *m) { shared_forward(m, 8); }
static void shared_4_both(Model *m) { shared_both(m, 4); }
static void shared_8_both(Model *m) { shared_both(m, 8); }

// Between two sublayers: the sum of the block so far, its score, the merge with what was read
// of the other sources, the norm.
static void merge_forward(Model *m) {
    ValueId shared = leaf(m, OP_INPUT, "shared", 2);
    ValueId score = leaf_at(m, OP_INPUT, STR("score"), &m->rows, 1);
    ValueId partial =
        two(m, OP_ADD, leaf(m, OP_INPUT, "partial", 2), leaf(m, OP_INPUT, "y", 2));
    AxisId depth;
    ValueId results = stack_of(m, (ValueId[]){shared, partial}, 2, &depth);
    GraphAttr attr = {.to = &depth, .to_count = 1};
    ValueId in[2] = {score, key_scores(m, partial, 0)};
    ValueId scores = graph_add(m->g, OP_STACK, (Operands){in, 2}, attr, (Span){0});
    ValueId h = mix_of(m, results, scores, depth).result;
    graph_output(m->g, STR("partial"), partial);
    graph_output(m->g, STR("h"),
                 two(m, OP_MUL, unit_rms(m, h), leaf(m, OP_PARAM, "norm_gain", 1)));
}

// ---- others

static ValueId norm(Model *m) {
    return two(m, OP_MUL, unit_rms(m, leaf(m, OP_INPUT, "x", 2)), leaf(m, OP_PARAM, "gain", 1));
}
static void norm_forward(Model *m) { graph_output(m->g, STR("y"), norm(m)); }
static void norm_backward(Model *m) { output_gradients(m, norm(m)); }

static void softmax_forward(Model *m) {
    graph_output(m->g, STR("y"), softmax(m, leaf(m, OP_INPUT, "x", 2), m->cols));
}

// One step of AdamW over rows x cols parameters.
static void adamw(Model *m) {
    ValueId p = leaf(m, OP_PARAM, "p", 2), mean = leaf(m, OP_STATE, "m", 2),
            square = leaf(m, OP_STATE, "v", 2), g = leaf(m, OP_INPUT, "g", 2),
            rate = leaf(m, OP_INPUT, "lr", 0), step = leaf(m, OP_INPUT, "step", 0);
    ValueId m1 = two(m, OP_ADD, scaled(m, 0.9, mean), scaled(m, 0.1, g));
    ValueId v1 = two(m, OP_ADD, scaled(m, 0.95, square), scaled(m, 0.05, two(m, OP_MUL, g, g)));
    ValueId rest[2];
    for (int i = 0; i < 2; i++)
        rest[i] =
            two(m, OP_SUB, number(m, 1), two(m, OP_POW, number(m, i == 0 ? 0.9 : 0.95), step));
    ValueId mh = two(m, OP_DIV, m1, rest[0]), vh = two(m, OP_DIV, v1, rest[1]);
    ValueId move = two(m, OP_DIV, mh, two(m, OP_ADD, one(m, OP_SQRT, vh), number(m, 1e-8)));
    move = two(m, OP_MUL, two(m, OP_ADD, move, scaled(m, 0.1, p)), rate);
    graph_update(m->g, 0, two(m, OP_SUB, p, move));
    graph_update(m->g, 1, m1);
    graph_update(m->g, 2, v1);
}

static const struct {
    RowCase about;
    void (*build)(Model *m);
} cases[] = {
    {{"attn_res forward", 4096, 1024, DTYPE_F32}, attn_forward},
    {{"attn_res + rms_norm forward", 4096, 1024, DTYPE_F32}, attn_norm_forward},
    {{"attn_res backward", 4096, 1024, DTYPE_F32}, attn_backward},
    {{"attn_res forward, narrow", 16384, 256, DTYPE_F32}, attn_forward},
    {{"attn_res backward, narrow", 16384, 256, DTYPE_F32}, attn_backward},
    {{"attn_res forward, bf16", 8192, 1024, DTYPE_BF16}, attn_forward},
    {{"attn_res backward, bf16", 8192, 1024, DTYPE_BF16}, attn_backward},
    {{"4 reads of 8 sources forward", 4096, 1024, DTYPE_F32}, shared_4_forward},
    {{"8 reads of 8 sources forward", 4096, 1024, DTYPE_F32}, shared_8_forward},
    {{"4 reads of 8 sources, both", 4096, 1024, DTYPE_F32}, shared_4_both},
    {{"8 reads of 8 sources, both", 4096, 1024, DTYPE_F32}, shared_8_both},
    {{"4 reads of 8 sources forward, bf16", 8192, 1024, DTYPE_BF16}, shared_4_forward},
    {{"8 reads of 8 sources forward, bf16", 8192, 1024, DTYPE_BF16}, shared_8_forward},
    {{"4 reads of 8 sources, both, bf16", 8192, 1024, DTYPE_BF16}, shared_4_both},
    {{"8 reads of 8 sources, both, bf16", 8192, 1024, DTYPE_BF16}, shared_8_both},
    {{"merge + rms_norm forward", 8192, 1024, DTYPE_F32}, merge_forward},
    {{"merge + rms_norm forward, bf16", 16384, 1024, DTYPE_BF16}, merge_forward},
    {{"rms_norm forward", 16384, 1024, DTYPE_F32}, norm_forward},
    {{"rms_norm backward", 16384, 1024, DTYPE_F32}, norm_backward},
    {{"rms_norm forward, narrow", 65536, 256, DTYPE_F32}, norm_forward},
    {{"rms_norm backward, narrow", 65536, 256, DTYPE_F32}, norm_backward},
    {{"softmax", 16384, 1024, DTYPE_F32}, softmax_forward},
    {{"softmax, narrow", 65536, 256, DTYPE_F32}, softmax_forward},
    {{"adamw", 8192, 1024, DTYPE_F32}, adamw},
    {{"rms_norm forward, near", 2048, 256, DTYPE_F32}, norm_forward},
    {{"rms_norm backward, near", 2048, 256, DTYPE_F32}, norm_backward},
    {{"softmax, near", 8192, 256, DTYPE_F32}, softmax_forward},
};

const RowCase *row_case(uint32_t i) {
    return i < sizeof cases / sizeof *cases ? &cases[i].about : NULL;
}

RowGraph row_graph(Arena *arena, uint32_t i, int64_t rows) {
    // Of what is kept for the backward pass, as in training (cli/pipeline.c).
    const double held_cost = 1;
    const RowCase *about = &cases[i].about;
    Model m = {.g = graph_new(arena, STR("rows")), .storage = about->storage};
    m.rows = graph_axis(m.g, STR("T"), EXTENT_UNKNOWN, true);
    graph_bind(m.g, m.rows, rows);
    m.cols = graph_axis(m.g, STR("d"), about->cols, false);
    cases[i].build(&m);
    Graph *g = pass_simplify(m.g, arena);
    if (m.several_kernels) g = pass_recompute(g, arena, held_cost);
    if (m.storage == DTYPE_BF16) g = pass_precision(g, arena);
    return (RowGraph){g, m.several_kernels};
}
