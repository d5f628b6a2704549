// test_cuda_ws.c: contractions by LOOP_WS: shapes with tails, both ways that operands can lie,
// batches, epilogues, every kind of tiles, on the CPU against the interpreter; through NVRTC;
// and what is refused.
#include "codegen/cuda/loop_choices.h"
#include "codegen/cuda/loop_ws.h"
#include "tests/codegen/cuda_bench.h"
#include "tests/simt/simt.h"

// y[g, m, n] = value(sum over k of a[g, m, k] * b[g, n, k])
typedef struct {
    int64_t points, m, n, k;
    bool across_a, across_b;  // dense along m or n, not along k
    const char *type, *out;   // NULL: "bf16"
    const char *knobs;        // "bm = 64, bn = 32"
    const char *args;         // further arguments
    const char *epilogue;     // operations from %4 on; NULL: none
    int value;                // the number of what is stored; 0: the dot
} Product;

// Each product is exact and each of k sums rounded once; values are below 2 in magnitude.
static CudaCheck check_of(int64_t k) {
    return (CudaCheck){.range = 2, .whole = 10, .tolerance = (double)(k + 4) * 0x1p-23 * 4};
}

static void knobs_add(StrBuf *out, const char *knobs) {
    for (const char *at = knobs; at && *at;) {
        size_t n = strcspn(at, ",");
        strbuf_addf(out, "knob %.*s\n", (int)n, at);
        at += n + strspn(at + n, ", ");
    }
}

static const char *text_of(TileBench *b, const Product *s) {
    StrBuf t = {0};
    long long points = s->points ? s->points : 1, m = s->m, n = s->n, k = s->k;
    const char *type = s->type ? s->type : "bf16", *out = s->out ? s->out : "bf16";
    strbuf_addf(&t, "tile t loop\ngrid g = %lld\nm m = %lld\nn n = %lld\nk k = %lld\n", points,
                m, n, k);
    strbuf_addf(&t, "arg a: %s[%lld]\narg b: %s[%lld]\narg y: %s[%lld]\n", type, points * m * k,
                type, points * n * k, out, points * m * n);
    strbuf_addz(&t, s->args ? s->args : "");
    knobs_add(&t, s->knobs);
    strbuf_addf(&t, "%%1 = load a[g*%lld + m*%lld + k*%lld] : f32 (g, m, k)\n", m * k,
                s->across_a ? 1 : k, s->across_a ? m : 1);
    strbuf_addf(&t, "%%2 = load b[g*%lld + n*%lld + k*%lld] : f32 (g, n, k)\n", n * k,
                s->across_b ? 1 : k, s->across_b ? n : 1);
    strbuf_addz(&t, "%3 = dot %1, %2 over (k) : f32 (g, m, n)\n");
    strbuf_addz(&t, s->epilogue ? s->epilogue : "");
    strbuf_addf(&t, "store y[g*%lld + m*%lld + n] = %%%d : f32 (g, m, n)\n", m * n, n,
                s->value ? s->value : 3);
    Str text = str_copy(&b->arena, strbuf_view(&t));
    strbuf_release(&t);
    return text.ptr;
}

static void add_text(CudaFixture *f, const char *text, CudaCheck check) {
    cuda_bench_add(&f->cuda, cuda_loop_ws, bench_program(&f->bench, text), CUDA_SM90A, check);
}

static void add(CudaFixture *f, Product s) {
    add_text(f, text_of(&f->bench, &s), check_of(s.k));
}

// ---- on the CPU

static void test_operands(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    for (int i = 0; i < 8; i++)
        add(&f, (Product){.points = 1 + i % 2,
                          .m = 200,
                          .n = 136,
                          .k = 72,
                          .across_a = i & 1,
                          .across_b = i & 2,
                          .type = i % 3 ? "bf16" : "f16",
                          .out = i % 3 == 1 ? "f16" : "bf16",
                          .knobs = i & 4 ? "bm = 128, bn = 80, stages = 2, cluster = 2"
                                         : "bm = 128, bn = 72, stages = 3, cluster = 1"});
    cuda_fixture_run(&f);
}

static void test_tails(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    add(&f, (Product){.m = 1, .n = 8, .k = 8});
    add(&f, (Product){.m = 65, .n = 137, .k = 64, .out = "f32"});
    add(&f, (Product){.m = 130, .n = 137, .k = 200, .knobs = "bm = 64, bn = 48"});
    add(&f, (Product){.m = 8, .n = 24, .k = 520, .across_a = true, .across_b = true});
    add(&f, (Product){.m = 72, .n = 1, .k = 40, .out = "f32"});
    add(&f, (Product){.m = 300, .n = 8, .k = 1, .across_a = true, .across_b = true});
    cuda_fixture_run(&f);
}

static void test_tiles(void **state) {
    (void)state;
    static const char *const knobs[] = {
        "bm = 64, bn = 64, consumers = 1, stages = 8",
        "bm = 64, bn = 136, consumers = 1, cluster = 1",
        "bm = 128, bn = 48, consumers = 1, cluster = 2",
        "bm = 256, bn = 64, consumers = 2, stages = 4, cluster = 2",
        "bm = 192, bn = 96, consumers = 3, cluster = 1, order = 1",
        "bm = 192, bn = 64, consumers = 3, cluster = 2",
        "bm = 128, bn = 64, turns = 2, stages = 3, cluster = 1",
        "bm = 64, bn = 64, turns = 2, stages = 2, cluster = 2, order = 2",
    };
    CudaFixture f;
    cuda_fixture_open(&f);
    for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++)
        add(&f, (Product){.m = 264,
                          .n = 80,
                          .k = 136,
                          .across_a = i & 1,
                          .across_b = !(i & 2),
                          .knobs = knobs[i]});
    cuda_fixture_run(&f);
}

// Few blocks, so that each goes on to other tiles in the middle of the ring.
static void test_many_tiles(void **state) {
    (void)state;
    static const char *const knobs[] = {
        "bm = 64, bn = 16, consumers = 1, stages = 2, cluster = 1",
        "bm = 64, bn = 16, consumers = 2, turns = 2, stages = 4, cluster = 1, order = 3",
        "bm = 64, bn = 64, consumers = 2, turns = 2, stages = 2, cluster = 1, order = 2",
        "bm = 64, bn = 16, consumers = 2, turns = 2, stages = 3, cluster = 2",
        "bm = 128, bn = 64, consumers = 2, stages = 3, cluster = 2",
    };
    CudaFixture f;
    cuda_fixture_open(&f);
    for (uint32_t i = 0; i < sizeof knobs / sizeof *knobs; i++) {
        add(&f, (Product){.points = 2,
                          .m = 136,
                          .n = 40,
                          .k = i % 2 ? 136 : 72,
                          .across_a = i & 1,
                          .across_b = true,
                          .knobs = knobs[i]});
        f.cuda.kernels.ptr[i].launch.blocks = 2;
    }
    cuda_fixture_run(&f);
}

static void test_epilogues(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    Product s = {.points = 2, .m = 130, .n = 88, .k = 72, .knobs = "bm = 128, bn = 64"};
    s.epilogue = "%4 = map sigmoid %3 : f32 (g, m, n)\n%5 = map mul %3, %4 : f32 (g, m, n)\n";
    s.value = 5;
    add(&f, s);
    s.args = "arg r: f32[88]\narg s: bf16[22880]\n";
    s.epilogue = "%4 = load r[n] : f32 (n)\n%5 = map add %3, %4 : f32 (g, m, n)\n"
                 "%6 = load s[g*11440 + m*88 + n] : f32 (g, m, n)\n"
                 "%7 = map mul %5, %6 : f32 (g, m, n)\n";
    s.value = 7;
    add(&f, s);
    s.out = "f32";
    add(&f, s);
    s.out = "bf16";
    s.args = "arg z: f32[22880]\n";
    s.epilogue = "%4 = map mul %3, %3 : f32 (g, m, n)\n"
                 "store z[g*11440 + m + n*130] = %4 : f32 (g, m, n)\n";
    s.value = 3;
    add(&f, s);
    cuda_fixture_run(&f);
}

// y += a b, where y is loaded and stored in place; where 64 does not divide bn, columns are
// stored twice.
static void test_in_place(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    Product s = {.m = 130, .n = 160, .k = 72, .knobs = "bm = 64, bn = 80"};
    s.args = "arg x: bf16[20800]\n";
    s.epilogue = "%4 = load x[m*160 + n] : f32 (m, n)\n%5 = map add %3, %4 : f32 (g, m, n)\n";
    s.value = 5;
    CudaCheck check = check_of(s.k);
    check.in_place[0] = 2;
    check.in_place[1] = 3;
    add_text(&f, text_of(&f.bench, &s), check);
    cuda_fixture_run(&f);
}

// Queries of 2 x 3 heads and keys of 2, in a batch: the queries are moved by three grid
// dimensions, of which two are one; the rows of a head lie in between those of the others.
static void test_strides(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    add_text(&f,
             "tile t loop\ngrid b = 2\ngrid s = 2\ngrid h = 3\nm q = 72\nn t = 40\nk d = 64\n"
             "arg a: bf16[55296]\narg b: bf16[10240]\narg y: bf16[34560]\n"
             "%1 = load a[b*27648 + s*192 + h*64 + q*384 + d] : f32 (b, s, h, q, d)\n"
             "%2 = load b[b*5120 + s*64 + t*128 + d] : f32 (b, s, t, d)\n"
             "%3 = dot %1, %2 over (d) : f32 (b, s, h, q, t)\n"
             "store y[b*17280 + s*120 + h*40 + q*240 + t] = %3 : f32 (b, s, h, q, t)\n",
             check_of(64));
    // The gradient of a weight: k is two dimensions that lie one inside the other.
    add_text(&f,
             "tile t loop\nm i = 72\nn j = 24\nk b = 3\nk t = 40\n"
             "arg a: f16[8640]\narg b: f16[2880]\narg y: f32[1728]\n"
             "%1 = load a[b*2880 + t*72 + i] : f32 (i, b, t)\n"
             "%2 = load b[b*960 + t*24 + j] : f32 (j, b, t)\n"
             "%3 = dot %1, %2 over (b, t) : f32 (i, j)\n"
             "store y[i*24 + j] = %3 : f32 (i, j)\n",
             check_of(120));
    // The gradient of keys that two heads of queries share: the longer k, of 40, is walked
    // inside.
    add_text(&f,
             "tile t loop\ngrid b = 2\ngrid h = 2\nm s = 72\nn d = 16\nk t = 40\nk r = 2\n"
             "arg a: bf16[23040]\narg b: bf16[5120]\narg y: bf16[4608]\n"
             "%1 = load a[b*11520 + h*144 + r*72 + t*288 + s] : f32 (b, h, s, t, r)\n"
             "%2 = load b[b*2560 + h*32 + r*16 + t*64 + d] : f32 (b, h, d, t, r)\n"
             "%3 = dot %1, %2 over (t, r) : f32 (b, h, s, d)\n"
             "store y[b*2304 + h*1152 + s*16 + d] = %3 : f32 (b, h, s, d)\n",
             check_of(80));
    // Heads that stand side by side in the one operand and one behind the other in the other.
    add_text(&f,
             "tile t loop\ngrid b = 2\nm t = 24\nn o = 40\nk h = 3\nk d = 72\n"
             "arg a: bf16[10368]\narg b: bf16[8640]\narg y: bf16[1920]\n"
             "%1 = load a[b*5184 + h*1728 + t*72 + d] : f32 (b, t, h, d)\n"
             "%2 = load b[o*216 + h*72 + d] : f32 (o, h, d)\n"
             "%3 = dot %1, %2 over (h, d) : f32 (b, t, o)\n"
             "store y[b*960 + t*40 + o] = %3 : f32 (b, t, o)\n",
             check_of(216));
    add_text(&f,
             "tile t loop\nm i = 72\nn j = 24\nk b = 3\nk t = 40\n"
             "arg a: f16[8640]\narg b: f16[4608]\narg y: f32[1728]\n"
             "%1 = load a[b*2880 + t*72 + i] : f32 (i, b, t)\n"
             "%2 = load b[b*1600 + t*32 + j] : f32 (j, b, t)\n"
             "%3 = dot %1, %2 over (b, t) : f32 (i, j)\n"
             "store y[i*24 + j] = %3 : f32 (i, j)\n",
             check_of(120));
    cuda_fixture_run(&f);
}

// Sums are made in the order of k whatever the tiles are: results are the same in every bit.
static void test_same_bits(void **state) {
    (void)state;
    if (!simt_available()) skip();
    static const char *const knobs[] = {
        "bm = 64, bn = 48, consumers = 1, stages = 2, cluster = 1",
        "bm = 128, bn = 96, consumers = 2, turns = 2, stages = 3, cluster = 2",
        "bm = 192, bn = 64, consumers = 3, stages = 4, cluster = 1",
    };
    enum { TRIALS = sizeof knobs / sizeof *knobs };
    CudaFixture f;
    cuda_fixture_open(&f);
    Product s = {.m = 72, .n = 96, .k = 200, .out = "f32"};
    for (int i = 0; i < TRIALS; i++) {
        s.knobs = knobs[i];
        add(&f, s);
    }
    Simt *simt;
    bool built = simt_build(&f.bench.diag, &f.bench.arena, f.cuda.kernels.ptr, TRIALS, &simt);
    assert_true(built);
    static uint16_t a[72 * 200], b[96 * 200];
    static float y[TRIALS][72 * 96];
    for (int i = 0; i < 72 * 200; i++)
        a[i] = bf16_of((float)(i * 37 % 101) / 50);
    for (int i = 0; i < 96 * 200; i++)
        b[i] = bf16_of((float)(i * 53 % 103) / 50);
    for (uint32_t i = 0; i < TRIALS; i++) {
        SimtArg list[] = {{"a", a, sizeof a}, {"b", b, sizeof b}, {"y", y[i], sizeof y[i]}};
        SimtArgs args = {list, 3};
        assert_true(simt_launch(&f.bench.diag, simt, i, args, (SimtSchedule){0}));
        assert_memory_equal(y[i], y[0], sizeof y[0]);
    }
    simt_close(simt);
    bench_close(&f.bench);
}

// ---- NVRTC

static void test_compiles(void **state) {
    (void)state;
    static const char *const knobs[] = {
        "bm = 128, bn = 256, cluster = 2",
        "bm = 256, bn = 192, cluster = 1",
        "bm = 256, bn = 128, cluster = 2",
        "bm = 192, bn = 192, consumers = 3, cluster = 1",
        "bm = 128, bn = 192, turns = 2, cluster = 2",
        "bm = 64, bn = 256, consumers = 1, cluster = 1",
        "bm = 64, bn = 24, consumers = 1, cluster = 1",
    };
    CudaFixture f;
    cuda_fixture_open(&f);
    Product s = {.points = 3, .m = 1000, .n = 720, .k = 520, .args = "arg r: f32[720]\n"};
    s.epilogue = "%4 = load r[n] : f32 (n)\n%5 = map add %3, %4 : f32 (g, m, n)\n"
                 "%6 = map exp %5 : f32 (g, m, n)\n";
    s.value = 6;
    for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++) {
        s.knobs = knobs[i];
        s.across_a = i & 1;
        s.across_b = i & 2;
        s.out = i % 3 == 2 ? "f32" : "bf16";
        s.type = i == 4 ? "f16" : "bf16";
        add(&f, s);
    }
    cuda_fixture_compile(&f, CUDA_SM90A);
}

// Products of a step of k and copies stand in the machine code once: nothing was unrolled.
static void test_machine_code(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    if (nvrtc_version(&f.bench.arena).len == 0) {
        bench_close(&f.bench);
        skip();
    }
    add(&f, (Product){.m = 4096,
                      .n = 4096,
                      .k = 4096,
                      .across_b = true,
                      .knobs = "bm = 128, bn = 256, cluster = 2"});
    CudaCode code;
    CubinCounts counts;
    Str text = f.cuda.kernels.ptr[0].text;
    assert_true(nvrtc_compile(&f.bench.diag, &f.bench.arena, text, CUDA_SM90A, &code));
    assert_true(cubin_count(&f.bench.diag, code.cubin, &counts));
    assert_int_equal(counts.wgmma, 4);
    assert_int_equal(counts.tensor_copies, 1 + 4);
    assert_int_equal(counts.mma, 0);
    bench_close(&f.bench);
}

// ---- choices

static void test_choices(void **state) {
    (void)state;
    static const WsShape shapes[] = {
        {.points = 1, .m = 32768, .n = 4096, .k = 1024, .stageable = true, .point_bytes = 2},
        {.points = 1, .m = 1, .n = 50000, .k = 1024, .across_b = true, .point_bytes = 4},
        {.points = 512, .m = 1024, .n = 1024, .k = 64, .stageable = true, .point_bytes = 2},
        {.points = 64, .m = 64, .n = 8, .k = 4096, .point_bytes = 4},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        WsTiles tiles[24], none = {0};
        uint32_t count = ws_choices(&shapes[i], &none, tiles, 24);
        assert_in_range(count, 1, 24);
        for (uint32_t k = 0; k < count; k++) {
            assert_null(ws_illegal(&shapes[i], &tiles[k]));
            if (k > 0)
                assert_true(ws_cycles(&shapes[i], &tiles[k - 1]) <=
                            ws_cycles(&shapes[i], &tiles[k]));
        }
    }
    // What is asked for stays; the rest is chosen around it.
    WsTiles wanted = {.bm = 128, .bn = 112, .cluster = 2}, got;
    assert_int_equal(ws_choices(&shapes[0], &wanted, &got, 1), 1);
    assert_int_equal(got.bm, 128);
    assert_int_equal(got.bn, 112);
    assert_int_equal(got.cluster, 2);
    // A large product: at least 90 % of what the tensor cores can do.
    WsTiles none = {0};
    const WsShape large = {
        .points = 1, .m = 8192, .n = 8192, .k = 8192, .stageable = true, .point_bytes = 2};
    assert_int_equal(ws_choices(&large, &none, &got, 1), 1);
    assert_true(8192.0 * 8192 * 8192 * 2 / (4096.0 * WS_BLOCKS) >
                0.9 * ws_cycles(&large, &got));
}

static void test_illegal(void **state) {
    (void)state;
    const WsShape s = {
        .points = 1, .m = 4096, .n = 4096, .k = 4096, .stageable = true, .point_bytes = 2};
    const WsTiles good = {.bm = 128,
                          .bn = 256,
                          .stages = 4,
                          .consumers = 2,
                          .turns = 1,
                          .cluster = 2,
                          .order = 8};
    assert_null(ws_illegal(&s, &good));
    WsTiles t = good;
    t.stages = 5;
    assert_string_equal(ws_illegal(&s, &t), "the stages do not fit shared memory");
    t = good;
    t.bm = 256;
    t.stages = 2;
    assert_string_equal(ws_illegal(&s, &t), "the accumulators do not fit the registers");
    t = (WsTiles){.bm = 128, .bn = 192, .stages = 2, .consumers = 2, .turns = 2, .cluster = 1};
    t.order = 1;
    assert_null(ws_illegal(&s, &t));
    WsShape busy = s;
    busy.point_bytes = 6;
    assert_string_equal(ws_illegal(&busy, &t), "the accumulators do not fit the registers");
    t = good;
    t.bm = 192;
    assert_string_equal(ws_illegal(&s, &t),
                        "bm is at most 256 and a multiple of 64 for each consumer");
    t = good;
    t.bn = 100;
    assert_string_equal(ws_illegal(&s, &t), "bn is a multiple of 8 up to 256");
    t.bn = 72;
    assert_string_equal(ws_illegal(&s, &t), "half of bn is no multiple of 8");
    t = (WsTiles){.bm = 192,
                  .bn = 208,
                  .stages = 2,
                  .consumers = 3,
                  .turns = 1,
                  .cluster = 1,
                  .order = 1};
    assert_string_equal(ws_illegal(&s, &t), "bn is too large for three consumers");
}

static void refused(const char *text, const char *reason) {
    TileBench b;
    bench_open(&b);
    CudaWriter w = {
        .diag = &b.diag, .arena = &b.arena, .p = bench_program(&b, text), .arch = CUDA_SM90A};
    assert_false(cuda_loop_ws(&w));
    assert_int_equal(w.text.len, 0);
    assert_diag_has(&b.diag, reason);
    bench_close(&b);
}

#define HEAD "tile t loop\nm m = 64\nn n = 64\nk k = 64\n"
#define DOT  "%3 = dot %1, %2 over (k) : f32 (m, n)\nstore y[m*64 + n] = %3 : f32 (m, n)\n"

static void test_refusals(void **state) {
    (void)state;
    refused(HEAD "arg a: f32[4096]\narg b: f32[4096]\narg y: f32[4096]\n"
                 "%1 = load a[m*64 + k] : f32 (m, k)\n%2 = load b[n*64 + k] : f32 (n, k)\n" DOT,
            "an operand is not bf16 or f16");
    refused(HEAD "arg a: f16[4096]\narg b: bf16[4096]\narg y: f32[4096]\n"
                 "%1 = load a[m*64 + k] : f32 (m, k)\n%2 = load b[n*64 + k] : f32 (n, k)\n" DOT,
            "the operands are of different types");
    refused(HEAD
            "arg a: f16[8192]\narg b: f16[4096]\narg y: f32[4096]\n"
            "%1 = load a[m*128 + k*2] : f32 (m, k)\n%2 = load b[n*64 + k] : f32 (n, k)\n" DOT,
            "an operand is dense neither along k nor across it");
    refused(HEAD "arg a: f16[4352]\narg b: f16[4096]\narg y: f32[4096]\n"
                 "%1 = load a[m*68 + k] : f32 (m, k)\n%2 = load b[n*64 + k] : f32 (n, k)\n" DOT,
            "an operand is dense neither along k nor across it");
    refused(HEAD
            "arg a: f16[4104]\narg b: f16[4096]\narg y: f32[4096]\n"
            "%1 = load a[m*64 + k + 1] : f32 (m, k)\n%2 = load b[n*64 + k] : f32 (n, k)\n" DOT,
            "an access begins between multiples of 16 bytes");
    refused(HEAD "arg a: f16[4096]\narg b: f16[4096]\narg y: f32[4096]\n"
                 "%1 = load a[m*64 + k] if 1 <= k < 9 : f32 (m, k)\n"
                 "%2 = load b[n*64 + k] : f32 (n, k)\n" DOT,
            "an operand has guards");
    refused(HEAD "arg a: f16[4096]\narg b: f16[4096]\narg y: f32[4096]\nknob bn = 20\n"
                 "%1 = load a[m*64 + k] : f32 (m, k)\n%2 = load b[n*64 + k] : f32 (n, k)\n" DOT,
            "no tiles are legal");
    refused("tile t loop\nm m = 8\nn n = 8\nk h = 2\nk i = 2\nk k = 8\n"
            "arg a: f16[512]\narg b: f16[512]\narg y: f32[64]\n"
            "%1 = load a[m*8 + h*128 + i*256 + k] : f32 (m, h, i, k)\n"
            "%2 = load b[n*8 + h*128 + i*256 + k] : f32 (n, h, i, k)\n"
            "%3 = dot %1, %2 over (h, i, k) : f32 (m, n)\nstore y[m*8 + n] = %3 : f32 (m, n)\n",
            "the k dimensions do not lie one inside the other");
    refused("tile t loop\ngrid g = 2\ngrid h = 2\ngrid i = 2\nm m = 8\nn n = 8\nk k = 8\n"
            "arg a: f16[512]\narg b: f16[64]\narg y: f32[512]\n"
            "%1 = load a[g*64 + h*128 + i*256 + m*8 + k] : f32 (g, h, i, m, k)\n"
            "%2 = load b[n*8 + k] : f32 (n, k)\n"
            "%3 = dot %1, %2 over (k) : f32 (g, h, i, m, n)\n"
            "store y[g*256 + h*128 + i*64 + m*8 + n] = %3 : f32 (g, h, i, m, n)\n",
            "an access has too many outer dimensions");
}

// The emitter takes this skeleton where it can, and only there.
static void test_dispatch(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    Product s = {.m = 64, .n = 64, .k = 64, .knobs = "bn = 64"};
    CudaKernel kernel;
    const TileProgram *p = bench_program(&b, text_of(&b, &s));
    assert_true(cuda_emit(&b.diag, &b.arena, p, (EmitOptions){.level = CUDA_SM90A}, &kernel));
    assert_non_null(strstr(kernel.text.ptr, "wgmma_bf16"));
    assert_int_equal(kernel.launch.map_count, 3);
    assert_true(cuda_emit(&b.diag, &b.arena, p, (EmitOptions){.level = CUDA_SM80}, &kernel));
    assert_null(strstr(kernel.text.ptr, "wgmma"));
    assert_int_equal(kernel.launch.map_count, 0);
    s.type = "f32";
    p = bench_program(&b, text_of(&b, &s));
    assert_true(cuda_emit(&b.diag, &b.arena, p, (EmitOptions){.level = CUDA_SM90A}, &kernel));
    assert_null(strstr(kernel.text.ptr, "wgmma"));
    assert_diag(&b.diag, "");
    bench_close(&b);
}

static bool is_ws(TileBench *b, const Product *s) {
    CudaKernel kernel;
    const TileProgram *p = bench_program(b, text_of(b, s));
    assert_true(cuda_emit(&b->diag, &b->arena, p, (EmitOptions){.level = CUDA_SM90A}, &kernel));
    bool ws = strstr(kernel.text.ptr, "wgmma_bf16") != NULL;
    assert_int_equal(cuda_loop_is_ws(&b->arena, p, CUDA_SM90A), ws);
    return ws;
}

// Where wgmma's 64 rows would be mostly empty, more small blocks are faster, unless a knob says
// otherwise.
static void test_dispatch_by_estimate(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    for (int64_t thin = 1; thin <= 16; thin *= 2) {
        Product s = {.m = thin, .n = 4096, .k = 4096};
        assert_false(is_ws(&b, &s));
        s.knobs = "consumers = 1";
        assert_true(is_ws(&b, &s));
        s.knobs = "consumers = 1, skeleton = 1";
        assert_false(is_ws(&b, &s));
        s = (Product){.m = 4096, .n = thin * 8, .k = 4096, .knobs = "bm = 128, bn = 128"};
        assert_true(is_ws(&b, &s));
    }
    for (int64_t m = 128; m <= 8192; m *= 4) {
        Product s = {.m = m, .n = 1024, .k = 1024};
        assert_true(is_ws(&b, &s));
        LoopChoice *choices;
        const TileProgram *p = bench_program(&b, text_of(&b, &s));
        assert_true(cuda_loop_choices(&b.arena, p, CUDA_SM90A, 1, &choices) == 2);
        assert_true(choices[0].is_ws && choices[0].cycles <= choices[1].cycles);
    }
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operands),
        cmocka_unit_test(test_tails),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_many_tiles),
        cmocka_unit_test(test_epilogues),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_strides),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_compiles),
        cmocka_unit_test(test_machine_code),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_illegal),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_dispatch),
        cmocka_unit_test(test_dispatch_by_estimate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
