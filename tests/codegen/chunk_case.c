// chunk_case.c: see chunk_case.h.
#include "tests/codegen/chunk_case.h"

static int64_t number_of(const ChunkShape *x, char letter) {
    switch (letter) {
    case 'T': return x->T;
    case 'C': return x->C;
    case 'N': return (x->T + x->C - 1) / x->C;
    case 'd': return x->d;
    case 'e': return x->e;
    default: return letter - '0';
    }
}

// $2Td. in the text stands for 2 T d; N is the number of tiles.
static void text_add(StrBuf *out, const ChunkShape *x, const char *text) {
    for (const char *at = text; *at; at++) {
        if (*at != '$') {
            strbuf_addc(out, *at);
            continue;
        }
        int64_t number = 1;
        for (at++; *at != '.'; at++)
            number *= number_of(x, *at);
        strbuf_addf(out, "%lld", (long long)number);
    }
}

static const char head[] = "tile test chunk\n"
                           "  grid h = 2\n"
                           "  m t = $T. tile $C.\n"
                           "  n s = $T. tile $C.\n"
                           "  k d = $d.\n"
                           "  k e = $e.\n";

#define ALPHA                                             \
    "  %1 = load g[h*$Td. + t*$d. + d] : f32 (h, t, d)\n" \
    "  %2 = map sigmoid %1 : f32 (h, t, d)\n"             \
    "  %3 = index t : i32 (t)\n"                          \
    "  %4 = const 4 : i32 ()\n"                           \
    "  %5 = map eq %3, %4 : bool (t)\n"                   \
    "  %6 = const 0 : f32 ()\n"                           \
    "  %7 = map where %5, %6, %2 : f32 (h, t, d)\n"

// One for every head and token.
#define ALPHA_OF_TOKENS                        \
    "  %1 = load g[h*$Td. + t] : f32 (h, t)\n" \
    "  %2 = map sigmoid %1 : f32 (h, t)\n"     \
    "  %3 = index t : i32 (t)\n"               \
    "  %4 = const 4 : i32 ()\n"                \
    "  %5 = map eq %3, %4 : bool (t)\n"        \
    "  %6 = const 0 : f32 ()\n"                \
    "  %7 = map where %5, %6, %2 : f32 (h, t)\n"

#define DECAYED                                                  \
    "  %8 = load q[h*$Td. + t*$d. + d] : f32 (h, t, d)\n"        \
    "  %9 = load key[h*$Td. + t*$d. + d] : f32 (h, t, d)\n"      \
    "  %10 = turn %9 : f32 (h, s, d)\n"                          \
    "  %11 = dot %8, %10 decayed %7 over (d) : f32 (h, t, s)\n"  \
    "  %12 = dot %11, %10 decayed %7 over (s) : f32 (h, t, d)\n" \
    "  store y1[h*$Td. + t*$d. + d] = %12 : f32 (h, t, d)\n"     \
    "  %14 = dot %11, %8 decayed %7 over (t) : f32 (h, s, d)\n"  \
    "  %15 = turn %14 : f32 (h, t, d)\n"                         \
    "  store y2[h*$Td. + t*$d. + d] = %15 : f32 (h, t, d)\n"

#define ARGS                                                            \
    "  arg g: f32[$2Td.]\n  arg q: f32[$2Td.]\n  arg key: f32[$2Td.]\n" \
    "  arg y1: f32[$2Td.]\n  arg y2: f32[$2Td.]\n"

#define GATED_DELTA                                                                   \
    "  arg g: f32[$2Td.]\n  arg q: bf16[$2Td.]\n  arg key: bf16[$2Td.]\n"             \
    "  arg v: bf16[$2Te.]\n  arg b: f32[$2T.]\n  arg first: f32[$2de.]\n"             \
    "  arg o: bf16[$2Te.]\n  arg states: f32[$2Nde.]\n  arg last: f32[$2de.]\n" ALPHA \
    "  %8 = load first[h*$de. + d*$e. + e] : f32 (h, d, e)\n"                         \
    "  %9 = carry %8 : f32 (h, d, e)\n"                                               \
    "  store states[h*$Nde. + t*$de. + d*$e. + e] = %9 : f32 (h, d, e)\n"             \
    "  %11 = load key[h*$d. + t*$2d. + d] : f32 (h, t, d)\n"                          \
    "  %12 = map mul %11, %11 : f32 (h, t, d)\n"                                      \
    "  %13 = reduce_sum %12 over (d) : f32 (h, t)\n"                                  \
    "  %14 = map rsqrt %13 : f32 (h, t)\n"                                            \
    "  %15 = map mul %11, %14 : f32 (h, t, d)\n"                                      \
    "  %16 = turn %15 : f32 (h, s, d)\n"                                              \
    "  %17 = load b[h + t*2] : f32 (h, t)\n"                                          \
    "  %18 = map sigmoid %17 : f32 (h, t)\n"                                          \
    "  %19 = dot %15, %16 decayed %7 over (d) : f32 (h, t, s)\n"                      \
    "  %20 = map mul %18, %19 : f32 (h, t, s)\n"                                      \
    "  %21 = scan mul %7 upto (t) : f32 (h, t, d)\n"                                  \
    "  %22 = map mul %15, %21 : f32 (h, t, d)\n"                                      \
    "  %23 = dot %22, %9 over (d) : f32 (h, t, e)\n"                                  \
    "  %24 = load v[h*$e. + t*$2e. + e] : f32 (h, t, e)\n"                            \
    "  %25 = map sub %24, %23 : f32 (h, t, e)\n"                                      \
    "  %26 = map mul %18, %25 : f32 (h, t, e)\n"                                      \
    "  %27 = solve %20, %26 : f32 (h, t, e)\n"                                        \
    "  %28 = load q[h*$d. + t*$2d. + d] : f32 (h, t, d)\n"                            \
    "  %29 = dot %28, %16 decayed %7 over (d) : f32 (h, t, s)\n"                      \
    "  %30 = map mul %28, %21 : f32 (h, t, d)\n"                                      \
    "  %31 = dot %30, %9 over (d) : f32 (h, t, e)\n"                                  \
    "  %32 = turn %27 : f32 (h, s, e)\n"                                              \
    "  %33 = dot %29, %32 over (s) : f32 (h, t, e)\n"                                 \
    "  %34 = map add %31, %33 : f32 (h, t, e)\n"                                      \
    "  store o[h*$e. + t*$2e. + e] = %34 : f32 (h, t, e)\n"                           \
    "  %36 = scan mul %7 after (t) : f32 (h, t, d)\n"                                 \
    "  %37 = map mul %15, %36 : f32 (h, t, d)\n"                                      \
    "  %38 = dot %37, %27 over (t) : f32 (h, d, e)\n"                                 \
    "  %39 = scan mul %7 all (t) : f32 (h, d)\n"                                      \
    "  %40 = map mul %39, %9 : f32 (h, d, e)\n"                                       \
    "  %41 = map add %40, %38 : f32 (h, d, e)\n"                                      \
    "  next %9 = %41 : f32 (h, d, e)\n"                                               \
    "  store last[h*$de. + d*$e. + e] = %9 : f32 (h, d, e)\n"

static const char *const texts[CHUNK_TEXTS] = {
    [CHUNK_DOTS] = "  arg q: f32[$2Td.]\n"
                   "  arg key: bf16[$2Td.]\n"
                   "  arg v: f32[$2Te.]\n"
                   "  arg w: f32[$de.]\n"
                   "  arg u: f32[$d.]\n"
                   "  arg y1: f32[$2Te.]\n"
                   "  arg y2: f32[$2Te.]\n"
                   "  arg y3: f32[$2Nde.]\n"
                   "  arg y4: f32[$2Td.]\n"
                   "  arg y5: f32[$2T.]\n"
                   "  %1 = load q[h*$Td. + t*$d. + d] : f32 (h, t, d)\n"
                   "  %2 = load key[h*$Td. + s + d*$T.] : f32 (h, s, d)\n"
                   "  %3 = dot %1, %2 over (d) : f32 (h, t, s)\n"
                   "  %4 = load v[h*$Te. + s*$e. + e] : f32 (h, s, e)\n"
                   "  %5 = dot %3, %4 over (s) : f32 (h, t, e)\n"
                   "  store y1[h*$Te. + t*$e. + e] = %5 : f32 (h, t, e)\n"
                   "  %7 = load v[h*$Te. + t*$e. + e] : f32 (h, t, e)\n"
                   "  %8 = dot %3, %7 over (t) : f32 (h, s, e)\n"
                   "  store y2[h*$Te. + s*$e. + e] = %8 : f32 (h, s, e)\n"
                   "  %10 = dot %1, %7 over (t) : f32 (h, d, e)\n"
                   "  store y3[h*$Nde. + t*$de. + d*$e. + e] = %10 : f32 (h, d, e)\n"
                   "  %12 = load w[d*$e. + e] : f32 (d, e)\n"
                   "  %13 = dot %7, %12 over (e) : f32 (h, t, d)\n"
                   "  store y4[h*$Td. + t*$d. + d] = %13 : f32 (h, t, d)\n"
                   "  %15 = load u[d] : f32 (d)\n"
                   "  %16 = dot %1, %15 over (d) : f32 (h, t)\n"
                   "  store y5[h*$T. + t] = %16 : f32 (h, t)\n",
    [CHUNK_DECAYED] = ARGS ALPHA DECAYED,
    [CHUNK_DECAYED_BY_TOKENS] = ARGS ALPHA_OF_TOKENS DECAYED,
    [CHUNK_SCANS] = "  arg g: f32[$2Td.]\n  arg y1: f32[$2Td.]\n  arg y2: f32[$2Td.]\n"
                    "  arg y3: f32[$2Td.]\n  arg y4: f32[$2Nd.]\n  arg y5: f32[$2Td.]\n" ALPHA
                    "  %8 = scan mul %7 upto (t) : f32 (h, t, d)\n"
                    "  store y1[h*$Td. + t*$d. + d] = %8 : f32 (h, t, d)\n"
                    "  %10 = scan mul %7 after (t) : f32 (h, t, d)\n"
                    "  store y2[h*$Td. + t*$d. + d] = %10 : f32 (h, t, d)\n"
                    "  %12 = scan add %7 from (t) : f32 (h, t, d)\n"
                    "  store y3[h*$Td. + t*$d. + d] = %12 : f32 (h, t, d)\n"
                    "  %14 = scan mul %7 all (t) : f32 (h, d)\n"
                    "  store y4[h*$Nd. + t*$d. + d] = %14 : f32 (h, d)\n"
                    "  %16 = scan add %7 before (t) : f32 (h, t, d)\n"
                    "  store y5[h*$Td. + t*$d. + d] = %16 : f32 (h, t, d)\n",
    [CHUNK_SCANS_OF_TOKENS] =
        "  arg g: f32[$2Td.]\n  arg y1: f32[$2T.]\n  arg y2: f32[$2T.]\n"
        "  arg y3: f32[$2T.]\n  arg y4: f32[$2N.]\n  arg y5: f32[$2T.]\n" ALPHA_OF_TOKENS
        "  %8 = scan mul %7 upto (t) : f32 (h, t)\n"
        "  store y1[h*$T. + t] = %8 : f32 (h, t)\n"
        "  %10 = scan mul %7 after (t) : f32 (h, t)\n"
        "  store y2[h*$T. + t] = %10 : f32 (h, t)\n"
        "  %12 = scan add %7 from (t) : f32 (h, t)\n"
        "  store y3[h*$T. + t] = %12 : f32 (h, t)\n"
        "  %14 = scan mul %7 all (t) : f32 (h)\n"
        "  store y4[h*$N. + t] = %14 : f32 (h)\n"
        "  %16 = scan mul %7 before (t) : f32 (h, t)\n"
        "  store y5[h*$T. + t] = %16 : f32 (h, t)\n",
    [CHUNK_SUMS] = "  arg q: f32[$2Td.]\n"
                   "  arg w: f16[$2de.]\n"
                   "  arg y1: f32[$2T.]\n"
                   "  arg y2: f32[$2Nd.]\n"
                   "  arg y3: f32[$2Nd.]\n"
                   "  arg y4: f32[$2N.]\n"
                   "  arg y5: f32[$2Ne.]\n"
                   "  %1 = load q[h*$Td. + t*$d. + d] : f32 (h, t, d)\n"
                   "  %2 = map mul %1, %1 : f32 (h, t, d)\n"
                   "  %3 = reduce_sum %2 over (d) : f32 (h, t)\n"
                   "  store y1[h*$T. + t] = %3 : f32 (h, t)\n"
                   "  %5 = reduce_sum %1 over (t) : f32 (h, d)\n"
                   "  store y2[h*$Nd. + t*$d. + d] = %5 : f32 (h, d)\n"
                   "  %7 = load w[h*$de. + d*$e. + e] : f32 (h, d, e)\n"
                   "  %8 = reduce_sum %7 over (e) : f32 (h, d)\n"
                   "  store y3[h*$Nd. + t*$d. + d] = %8 : f32 (h, d)\n"
                   "  %10 = reduce_sum %3 over (t) : f32 (h)\n"
                   "  store y4[h*$N. + t] = %10 : f32 (h)\n"
                   "  %12 = reduce_sum %7 over (d) : f32 (h, e)\n"
                   "  store y5[h*$Ne. + t*$e. + e] = %12 : f32 (h, e)\n",
    // Keys are nearly parallel and beta near 1: the matrix is as far from the unit matrix as
    // can be.
    [CHUNK_SOLVES] = "  arg q: f32[$2Td.]\n"
                     "  arg v: f32[$2Te.]\n"
                     "  arg y1: f32[$2Te.]\n"
                     "  arg y2: f32[$2Te.]\n"
                     "  %1 = load q[h*$Td. + t*$d. + d] : f32 (h, t, d)\n"
                     "  %2 = const 0.05 : f32 ()\n"
                     "  %3 = map mul %1, %2 : f32 (h, t, d)\n"
                     "  %4 = const 1 : f32 ()\n"
                     "  %5 = map add %3, %4 : f32 (h, t, d)\n"
                     "  %6 = map mul %5, %5 : f32 (h, t, d)\n"
                     "  %7 = reduce_sum %6 over (d) : f32 (h, t)\n"
                     "  %8 = map rsqrt %7 : f32 (h, t)\n"
                     "  %9 = map mul %5, %8 : f32 (h, t, d)\n"
                     "  %10 = turn %9 : f32 (h, s, d)\n"
                     "  %11 = dot %9, %10 over (d) : f32 (h, t, s)\n"
                     "  %12 = const 0.99 : f32 ()\n"
                     "  %13 = map mul %11, %12 : f32 (h, t, s)\n"
                     "  %14 = load v[h*$Te. + t*$e. + e] : f32 (h, t, e)\n"
                     "  %15 = solve %13, %14 : f32 (h, t, e)\n"
                     "  %16 = solve %13, %14 transposed : f32 (h, t, e)\n"
                     "  store y1[h*$Te. + t*$e. + e] = %15 : f32 (h, t, e)\n"
                     "  store y2[h*$Te. + t*$e. + e] = %16 : f32 (h, t, e)\n",
    [CHUNK_GATED_DELTA] = GATED_DELTA,
    [CHUNK_GATED_DELTA_BACK] = "  reverse\n" GATED_DELTA,
};

TileProgram *chunk_case_text(TileBench *b, ChunkText text, const ChunkShape *x) {
    StrBuf out = {0};
    text_add(&out, x, head);
    text_add(&out, x, texts[text]);
    strbuf_addc(&out, 0);
    TileProgram *p = bench_program(b, str_copy(&b->arena, strbuf_view(&out)).ptr);
    strbuf_release(&out);
    return p;
}

// ---- what regions of linear attention become

static ValueId leaf_of(Graph *g, const char *name, DType type, uint32_t rank,
                       const AxisId *axes) {
    Leaf l = {.kind = OP_INPUT,
              .path = str_of(name),
              .type = type,
              .rank = (uint8_t)rank,
              .axes = axes};
    return graph_leaf(g, &l);
}

static ValueId leaf(Graph *g, const char *name, uint32_t rank, const AxisId *axes) {
    return leaf_of(g, name, DTYPE_F32, rank, axes);
}

typedef struct {
    Graph *g;
    AxisId B, T, d, e;
    int64_t bits;
    ValueId in[8];  // q, k, v, decay, beta, initial, error, gradient
} Model;

static void leaves_add(Model *r, const ChunkShape *x, bool wide) {
    r->B = graph_axis(r->g, STR("B"), 2, false);
    r->T = graph_axis(r->g, STR("T"), x->T, false);
    r->d = graph_axis(r->g, STR("d"), x->d, false);
    r->e = graph_axis(r->g, STR("e"), x->e, false);
    AxisId of_d[] = {r->B, r->T, r->d}, of_e[] = {r->B, r->T, r->e};
    DType type = r->bits & CHUNK_BF16 ? DTYPE_BF16 : DTYPE_F32;
    r->in[0] = leaf_of(r->g, "q", type, 3, of_d);
    r->in[1] = leaf_of(r->g, "k", type, 3, of_d);
    r->in[2] = leaf_of(r->g, "v", type, 3, of_e);
    r->in[3] = leaf(r->g, "decay", wide ? 3 : 2, of_d);
    r->in[4] = leaf(r->g, "beta", 2, of_d);
    r->in[5] = leaf(r->g, "initial", 3, (AxisId[]){r->B, r->d, r->e});
    r->in[6] = leaf(r->g, "error", 3, of_e);
    r->in[7] = leaf_of(r->g, "gradient", type, 3, of_e);
}

static void result_add(Model *r, GraphOp op, int64_t bits) {
    const int64_t needs[8] = {
        LINEAR_HAS_QUERY, 0, 0, LINEAR_HAS_DECAY, LINEAR_HAS_BETA, LINEAR_HAS_INITIAL,
        LINEAR_DELTA,     0};
    uint32_t given = op < OP_LINEAR_DQ ? 6 : 8, count = 0;
    ValueId in[8];
    for (uint32_t i = 0; i < given; i++)
        if ((bits & needs[i]) == needs[i]) in[count++] = r->in[i];
    GraphAttr attr = {
        .along = (AxisId[]){r->d, r->T}, .along_count = 2, .number = 0.5, .amount = bits};
    graph_output(r->g, str_of(op_text(op)),
                 graph_add(r->g, op, (Operands){in, count}, attr, (Span){0}));
}

TileKernels *chunk_case_region(TileBench *b, const ChunkShape *x, int64_t bits, bool wide,
                               ChunkMakes makes) {
    Model r = {.g = graph_new(&b->arena, STR("test")), .bits = bits};
    leaves_add(&r, x, wide);
    bits &= ~CHUNK_BF16;
    if (makes != CHUNK_RESULTS) {
        static const int64_t needs[] = {LINEAR_HAS_DECAY, LINEAR_HAS_BETA, LINEAR_HAS_INITIAL};
        bool final = makes == CHUNK_GRADIENTS_OF_FINAL;
        if (final) r.in[7] = leaf(r.g, "slope", 3, (AxisId[]){r.B, r.d, r.e});
        for (GraphOp op = final ? OP_LINEAR_DK : OP_LINEAR_DQ; op <= OP_LINEAR_DINITIAL; op++)
            if (op < OP_LINEAR_DDECAY || bits & needs[op - OP_LINEAR_DDECAY])
                result_add(&r, op, final ? bits : bits | LINEAR_HAS_QUERY);
    } else {
        result_add(&r, OP_LINEAR, bits | LINEAR_HAS_QUERY);
        result_add(&r, OP_LINEAR_STATE, bits);
        if (bits & LINEAR_DELTA) result_add(&r, OP_LINEAR_ERROR, bits);
    }
    Regions *regions = pass_fuse(r.g, &b->arena);
    assert_int_equal(regions->count, 1);
    Schedule schedule = schedule_none();
    schedule.chunk = (int32_t)x->C;
    schedule.segments = (int32_t)x->segments;
    return region_to_tile(regions, &regions->regions[0], &schedule, &b->arena);
}
