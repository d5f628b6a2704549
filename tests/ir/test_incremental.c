// Decoding: graphs over chunks of positions give what the graph over all of them gives, for
// rows that go at different paces; what cannot be computed so is refused, with the reason.
#include <math.h>

#include "base/rng.h"
#include "ir/graph/evaluate.h"
#include "ir/graph/passes.h"
#include "tests/ir/graph_reader.h"
#include "tests/ir/run_regions.h"
#include "tests/test.h"

enum { ROWS = 2, CONTEXT = 7 };

#define HEADER HEADER_WITH("")
#define HEADER_WITH(LEAVES)                                                                     \
    "graph g\naxis B = 2 runtime\naxis T = 7 runtime\naxis S = 7 runtime of T\n"                \
    "axis vocab = 11\naxis h = 2\naxis r = 3\naxis d = 4\naxis e = 5\naxis K = 3\naxis f = 7\n" \
    "input tokens : i32[B, T] index of vocab\nparam table : f32[vocab, h, d] = normal(1)\n"     \
    "param wq : f32[h, r, d] = normal(1)\nparam wv : f32[d -> e] = normal(1)\n" LEAVES          \
    "%1 = input tokens : i32[B, T]\n%2 = param table : f32[vocab, h, d]\n"                      \
    "%3 = param wq : f32[h, r, d]\n%4 = param wv : f32[d, e]\n"                                 \
    "%5 = gather %2, %1 along (vocab) : f32[B, T, h, d]\n"                                      \
    "%6 = iota along (T) : i32[T]\n%7 = cast %6 : f32[T]\n%8 = const 0.3 : f32[]\n"             \
    "%9 = mul %7, %8 : f32[T]\n%10 = cos %9 : f32[T]\n"                                         \
    "%11 = broadcast %10 to (T, h) : f32[T, h]\n%12 = mul %5, %11 : f32[B, T, h, d]\n"
#define ATTEND(BAND) ATTEND_WITH("", "", "17", "", BAND)
#define ATTEND_WITH(LEAVES, VALUES, RESULT, OPERANDS, BAND)                                         \
    HEADER_WITH(LEAVES)                                                                             \
    "%13 = broadcast %12 to (B, T, h, r, d) : f32[B, T, h, r, d]\n"                                 \
    "%14 = mul %13, %3 : f32[B, T, h, r, d]\n%15 = rename %12 along (T) to (S) : f32[B, S, h, d]\n" \
    "%16 = contract %15, %4 along (d) : f32[B, S, h, e]\n" VALUES "%" RESULT                        \
    " = attend %14, %15, %16" OPERANDS " 0.5 along (d, T, S) " BAND " : f32[B, T, h, r, e]\n"       \
    "output y = %" RESULT "\n"
// Sequences packed behind one another: what they are called may come again.
#define SEGMENT "input segment : i32[B, T]\n"
#define PACKED(BAND)                                               \
    ATTEND_WITH(SEGMENT,                                           \
                "%17 = input segment : i32[B, T]\n"                \
                "%18 = rename %17 along (T) to (S) : i32[B, S]\n", \
                "19", ", %17, %18", BAND)
// Queries and keys whose segments differ, so that some queries see no key.
#define PACKED_APART                                                                         \
    ATTEND_WITH(SEGMENT "input segment_of_keys : i32[B, T]\n",                               \
                "%17 = input segment : i32[B, T]\n%18 = input segment_of_keys : i32[B, T]\n" \
                "%19 = rename %18 along (T) to (S) : i32[B, S]\n",                           \
                "20", ", %17, %19", "band 0, inf")

#define LINEAR                                                                                \
    HEADER "%13 = contract %5, %4 along (d) : f32[B, T, h, e]\n"                              \
           "%14 = abs %5 : f32[B, T, h, d]\n%15 = neg %14 : f32[B, T, h, d]\n"                \
           "%16 = reduce_sum %5 along (d) : f32[B, T, h]\n%17 = sigmoid %16 : f32[B, T, h]\n" \
           "%18 = linear %12, %5, %13, %15, %17, %4 0.5 along (d, T) amount 31 "              \
           ": f32[B, T, h, e]\noutput y = %18\n"

// Where the segment changes a sequence begins: the decay forgets what was before.
#define LINEAR_PACKED                                                                      \
    HEADER_WITH(SEGMENT)                                                                   \
    "%13 = contract %5, %4 along (d) : f32[B, T, h, e]\n%14 = input segment : i32[B, T]\n" \
    "%15 = shift %14 along (T) amount 1 : i32[B, T]\n%16 = ne %14, %15 : bool[B, T]\n"     \
    "%17 = const -inf : f32[]\n%18 = const -0.2 : f32[]\n"                                 \
    "%19 = where %16, %17, %18 : f32[B, T]\n"                                              \
    "%20 = broadcast %19 to (B, T, h) : f32[B, T, h]\n"                                    \
    "%21 = linear %12, %5, %13, %20, %4 0.5 along (d, T) amount 27 : f32[B, T, h, e]\n"    \
    "output y = %21\n"

// Keys and values of one narrow value each position; a part of the keys is the same for all
// heads.
#define LATENT LATENT_WITH("", "", "22", "")
#define LATENT_WITH(LEAVES, VALUES, RESULT, OPERANDS)                                         \
    HEADER_WITH(LEAVES)                                                                       \
    "%13 = reduce_sum %12 along (h) : f32[B, T, d]\n"                                         \
    "%14 = contract %13, %3 along (d) : f32[B, T, h, r]\n"                                    \
    "%15 = broadcast %13 to (B, T, h, d) : f32[B, T, h, d]\n"                                 \
    "%16 = concat %14, %15 along (r, d) to (f) : f32[B, T, h, f]\n"                           \
    "%17 = rename %16 along (T) to (S) : f32[B, S, h, f]\n"                                   \
    "%18 = contract %13, %4 along (d) : f32[B, T, e]\n"                                       \
    "%19 = broadcast %18 to (B, T, h, e) : f32[B, T, h, e]\n"                                 \
    "%20 = rename %19 along (T) to (S) : f32[B, S, h, e]\n"                                   \
    "%21 = concat %12, %14 along (d, r) to (f) : f32[B, T, h, f]\n" VALUES "%" RESULT         \
    " = attend %21, %17, %20" OPERANDS " 0.5 along (f, T, S) band 0, inf : f32[B, T, h, e]\n" \
    "output y = %" RESULT "\n"
#define LATENT_PACKED                                              \
    LATENT_WITH(SEGMENT,                                           \
                "%22 = input segment : i32[B, T]\n"                \
                "%23 = rename %22 along (T) to (S) : i32[B, S]\n", \
                "24", ", %22, %23")

typedef struct {
    GraphReader r;
    const Graph *whole, *part;
    Evaluation full;
    double *states[12];  // of the incremental graph's leaves, between chunks
    int64_t chunk, at[ROWS];
} Case;

static double drawn(const Leaf *leaf, int64_t i) {
    uint64_t at = (uint64_t)i * 31 + leaf->path.len;
    if (leaf->type != DTYPE_I32) return rng_normal(5, at);
    return (double)(rng_u64(5, at) % (leaf->index_of.i ? 11 : 2));
}

static void give_all(Case *c) {
    evaluation_init(&c->full, c->whole, &c->r.arena);
    for (uint32_t i = 0; i < c->whole->leaves.len; i++) {
        double *x = evaluation_leaf(&c->full, i);
        for (int64_t k = 0; k < graph_elements(c->whole, c->whole->leaf_values.ptr[i]); k++)
            x[k] = drawn(&c->whole->leaves.ptr[i], k);
    }
}

static IncrementalRequest request_of(int64_t chunk, int64_t live) {
    return (IncrementalRequest){.chunk = chunk,
                                .attend_kept = live ? 0 : INT64_MAX,
                                .attend_values = INT64_MAX,
                                .live = live,
                                .cache = DTYPE_F32,
                                .prefix = STR("part."),
                                .tokens = STR("tokens"),
                                .position = STR("position"),
                                .count = STR("count"),
                                .states = STR("cache.")};
}

static void open_case(Case *c, const char *text, int64_t chunk, int64_t live) {
    *c = (Case){.chunk = chunk};
    reader_init(&c->r);
    c->whole = pass_simplify(reader_graph(&c->r, text), &c->r.arena);
    give_all(c);
    IncrementalRequest request = request_of(chunk, live);
    Graph *g =
        pass_incremental(&c->r.diag, &c->r.arena, pass_absorb(c->whole, &c->r.arena), &request);
    assert_non_null(g);
    assert_true(graph_verify(&c->r.diag, g));
    c->part = pass_simplify(g, &c->r.arena);
    assert_true(graph_verify(&c->r.diag, c->part));
    for (uint32_t i = 0; i < c->part->leaves.len; i++) {
        assert_true(i < sizeof c->states / sizeof *c->states);
        int64_t n = graph_elements(c->part, c->part->leaf_values.ptr[i]);
        // What lies in a state before the first position must not matter.
        c->states[i] = arena_array(&c->r.arena, double, n);
        for (int64_t k = 0; k < n; k++)
            c->states[i][k] = 1e6;
    }
}

// The chunk of an input over positions, and something else behind a row's own tokens.
static void give_chunk(Case *c, Str name, const int64_t count[ROWS], double *x) {
    uint32_t leaf = 0;
    while (!str_eq(c->whole->leaves.ptr[leaf].path, name))
        leaf++;
    const double *all = evaluation_value(&c->full, c->whole->leaf_values.ptr[leaf]);
    for (int64_t row = 0; row < ROWS; row++)
        for (int64_t i = 0; i < c->chunk; i++)
            x[row * c->chunk + i] = i < count[row] ? all[row * CONTEXT + c->at[row] + i] : 3;
}

static void give_part(Case *c, Evaluation *e, const int64_t count[ROWS]) {
    const Str part = STR("part.");
    for (uint32_t i = 0; i < c->part->leaves.len; i++) {
        const Leaf *leaf = &c->part->leaves.ptr[i];
        double *x = evaluation_leaf(e, i);
        int64_t n = graph_elements(c->part, c->part->leaf_values.ptr[i]);
        if (str_starts(leaf->path, part))
            give_chunk(c, (Str){leaf->path.ptr + part.len, leaf->path.len - part.len}, count,
                       x);
        for (int64_t k = 0; k < n; k++) {
            if (leaf->kind == OP_PARAM) x[k] = drawn(leaf, k);
            if (leaf->kind == OP_STATE) x[k] = c->states[i][k];
            if (str_eq(leaf->path, STR("position"))) x[k] = (double)c->at[k];
            if (str_eq(leaf->path, STR("count"))) x[k] = (double)count[k];
        }
    }
}

// One chunk, with `count` tokens of each row: its outputs are those of the whole graph.
static void step(Case *c, const int64_t count[ROWS]) {
    Evaluation e;
    evaluation_init(&e, c->part, &c->r.arena);
    give_part(c, &e, count);
    ValueId y = c->whole->outputs.ptr[0].value;
    assert_true(str_eq(c->part->outputs.ptr[0].name, STR("part.y")));
    const double *expected = evaluation_value(&c->full, y),
                 *got = evaluation_value(&e, c->part->outputs.ptr[0].value);
    int64_t width = graph_elements(c->whole, y) / ROWS / CONTEXT;
    for (int64_t row = 0; row < ROWS; row++)
        for (int64_t i = 0; i < count[row] * width; i++) {
            double want = expected[(row * CONTEXT + c->at[row]) * width + i],
                   have = got[row * c->chunk * width + i];
            if (fabs(want - have) <= 1e-12 * (1 + fabs(want))) continue;
            fail_msg("chunk %d, row %d from %d: element %d is %g, expected %g", (int)c->chunk,
                     (int)row, (int)c->at[row], (int)i, have, want);
        }
    vec_each (const GraphUpdate, u, &c->part->updates)
        memcpy(c->states[u->leaf], evaluation_value(&e, u->value),
               (size_t)graph_elements(c->part, u->value) * sizeof(double));
    for (int row = 0; row < ROWS; row++)
        c->at[row] += count[row];
}

// Row 0 takes whole chunks, row 1 as many tokens as the number of the step says: 0, 1, 2, 0,
// ...
static void compare(const char *text, int64_t chunk, int64_t live) {
    Case c;
    open_case(&c, text, chunk, live);
    int64_t end = live ? live : CONTEXT;
    for (int64_t n = 0; c.at[0] < end || c.at[1] < end; n++) {
        int64_t wanted[ROWS] = {chunk, n % 3}, count[ROWS] = {0};
        for (int row = 0; row < ROWS; row++) {
            int64_t left = end - c.at[row];
            count[row] = wanted[row] < chunk ? wanted[row] : chunk;
            if (count[row] > left) count[row] = left;
        }
        step(&c, count);
    }
    reader_release(&c.r);
}

static void test_same_as_whole(void **state) {
    (void)state;
    static const char *const cases[] = {
        ATTEND("band 0, inf"),
        ATTEND("band 0, 2"),
        PACKED("band 0, inf"),
        PACKED("band 0, 2"),
        PACKED_APART,
        LINEAR_PACKED,
        LATENT,
        LATENT_PACKED,
        HEADER "%13 = shift %12 along (T) amount 2 : f32[B, T, h, d]\noutput y = %13\n",
        HEADER "%13 = window %12 along (T) to (K) : f32[B, T, h, d, K]\noutput y = %13\n",
        HEADER "%13 = reduce_sum %12 along (h) : f32[B, T, d]\n"
               "%14 = broadcast %9 to (T, d) : f32[T, d]\n%15 = add %14, %13 : f32[B, T, d]\n"
               "output y = %15\n",
        // States: with everything there is, and with decays of positions alone.
        LINEAR,
        HEADER "%13 = contract %5, %4 along (d) : f32[B, T, h, e]\n"
               "%14 = mul %10, %10 : f32[T]\n%15 = neg %14 : f32[T]\n"
               "%16 = linear %12, %5, %13, %15 0.5 along (d, T) amount 3 : f32[B, T, h, e]\n"
               "output y = %16\n",
        // Of positions alone: a table, whatever it takes to make it.
        HEADER "%13 = roll %10 along (T) amount 3 : f32[T]\n"
               "%14 = mul %12, %13 : f32[B, T, h, d]\noutput y = %14\n",
        // The positions get the axis of rows, which the wider operand lacks.
        HEADER "%13 = reduce_sum %3 along (r) : f32[h, d]\n"
               "%14 = broadcast %13 to (T, h, d) : f32[T, h, d]\n"
               "%15 = add %14, %10 : f32[T, h, d]\n%16 = mul %12, %15 : f32[B, T, h, d]\n"
               "output y = %16\n",
        // A shift of a shift, and positions that are stacked with what is no position.
        HEADER "%13 = shift %12 along (T) amount 1 : f32[B, T, h, d]\n"
               "%14 = mul %13, %12 : f32[B, T, h, d]\n"
               "%15 = shift %14 along (T) amount 1 : f32[B, T, h, d]\noutput y = %15\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int64_t chunk = 1; chunk <= 4; chunk += i < 10 ? 1 : 3) {
            compare(cases[i], chunk, 0);
            compare(cases[i], chunk, 4);
        }
}

static void test_refusals(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {ATTEND("band -1, inf"), "'attend' cannot be computed token by token: it attends to "
                                 "later positions (causal = false)"},
        {PACKED("band -1, inf"), "'attend' cannot be computed token by token: it attends to "
                                 "later positions (causal = false)"},
        {HEADER "%13 = reduce_sum %12 along (T) : f32[B, h, d]\noutput y = %13\n",
         "'reduce_sum' cannot be computed token by token: it takes all positions together"},
        {HEADER "%13 = contract %5, %4 along (d) : f32[B, T, h, e]\n"
                "%14 = linear_state %5, %13 0.5 along (d, T) amount 0 : f32[B, h, d, e]\n"
                "output y = %14\n",
         "'linear_state' cannot be computed token by token: it takes all positions together"},
        {HEADER "%13 = softmax %12 along (T) : f32[B, T, h, d]\noutput y = %13\n",
         "'softmax' cannot be computed token by token: it takes all positions together"},
        {HEADER "%13 = roll %12 along (T) amount 1 : f32[B, T, h, d]\noutput y = %13\n",
         "'roll' cannot be computed token by token: it moves positions"},
        {HEADER "%13 = shift %12 along (T) amount -1 : f32[B, T, h, d]\noutput y = %13\n",
         "'shift' cannot be computed token by token: it reads later positions"},
        {HEADER "%13 = reduce_max %12 along (B) : f32[T, h, d]\noutput y = %13\n",
         "'reduce_max' cannot be computed token by token: it mixes the rows of a batch, which "
         "are at positions of their own"},
        {HEADER "%13 = rename %12 along (T) to (S) : f32[B, S, h, d]\n"
                "%14 = contract %12, %13 along (d) : f32[B, T, h, S]\noutput y = %14\n",
         "'contract' cannot be computed token by token: it pairs positions with positions"},
        {HEADER "%13 = take %12 along (T) amount 6 : f32[B, h, d]\noutput y = %13\n",
         "'take' cannot be computed token by token: it moves positions"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        GraphReader r;
        reader_init(&r);
        IncrementalRequest request = request_of(1, 0);
        assert_null(
            pass_incremental(&r.diag, &r.arena, reader_graph(&r, rows[i][0]), &request));
        assert_true(r.diag.item_count > 0);
        assert_string_equal(r.diag.items[0].message.ptr, rows[i][1]);
        reader_release(&r);
    }
}

static void test_without_tokens(void **state) {
    (void)state;
    GraphReader r;
    reader_init(&r);
    IncrementalRequest request = request_of(1, 0);
    Graph *g = reader_graph(&r, "graph g\naxis B = 2 runtime\ninput x : f32[B]\n"
                                "%1 = input x : f32[B]\noutput y = %1\n");
    assert_null(pass_incremental(&r.diag, &r.arena, g, &request));
    assert_string_equal(
        r.diag.items[0].message.ptr,
        "model 'g' cannot be computed token by token: it has no input tokens of "
        "integers over rows and positions");
    reader_release(&r);
}

// The regions of such graphs, as programs, give what the evaluator gives.
static void test_regions(void **state) {
    (void)state;
    static const char *const cases[] = {
        ATTEND("band 0, inf"),
        PACKED("band 0, 2"),
        LINEAR_PACKED,
        LINEAR,
        HEADER "%13 = window %12 along (T) to (K) : f32[B, T, h, d, K]\noutput y = %13\n",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        GraphReader r;
        reader_init(&r);
        Schedule none = schedule_none();
        IncrementalRequest request = request_of(3, 5);
        const Graph *g = pass_incremental(
            &r.diag, &r.arena, pass_simplify(reader_graph(&r, cases[i]), &r.arena), &request);
        assert_non_null(g);
        run_regions_check(pass_simplify(g, &r.arena), &none, 1e-6);
        reader_release(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_whole),
        cmocka_unit_test(test_regions),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_without_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
