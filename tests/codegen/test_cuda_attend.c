// test_cuda_attend.c: ATTEND kernels for GPUs: programs of regions of attention and of its
// gradients, over ragged lengths, widths, bands, layouts and tiles, against the interpreter,
// and through NVRTC.
#include <math.h>

#include "ir/region_to_tile.h"
#include "tests/codegen/attend_case.h"
#include "tests/codegen/cuda_bench.h"

static void fixture_open(CudaFixture *f, bool quick) {
    cuda_fixture_open(f);
    f->cuda.quick = quick;
}

// Weights are rounded to 9 bits (f16: 12, but small numbers are not normal), in f32 to 22 or
// more; their products are below 1 in magnitude and errors add up like random steps.
static double tolerance_of(DType type, int64_t terms) {
    return (type == DTYPE_F32 ? 0x1p-22 : 0x1p-9) * 2 * sqrt((double)terms);
}

static CudaCheck check_of(const AttendCase *c, DType type) {
    int64_t terms = c->T * c->groups > c->S ? c->T * c->groups : c->S;
    return (CudaCheck){.range = 0.5,
                       .whole = c->S,  // where queries start
                       .tolerance = tolerance_of(type, terms)};
}

typedef struct {
    IsaLevel arch;
    DType type;
    int32_t columns;  // warps that share rows; 0: as many as are chosen
} Target;

static void add(CudaFixture *f, const AttendCase *c, bool gradients, Target target) {
    Arena *arena = &f->bench.arena;
    Regions *regions = pass_fuse(attend_case_graph(arena, c, gradients), arena);
    assert_int_equal(regions->count, 1);
    Schedule schedule = schedule_none();
    schedule.bm = c->bm;
    schedule.bn = c->bn;
    schedule.warps_n = target.columns;
    schedule.parts = c->parts;
    schedule.split = 1;
    TileKernels *kernels = region_to_tile(regions, &regions->regions[0], &schedule, arena);
    for (uint32_t i = 0; i < kernels->kernel_count; i++) {
        TileProgram *p = arena_new(arena, TileProgram);
        *p = *kernels->kernels[i].program;
        attend_case_narrow(p, target.type);
        cuda_bench_add(&f->cuda, p->skeleton == TILE_ATTEND ? cuda_attend : cuda_stream, p,
                       target.arch, check_of(c, target.type));
    }
}

static void add_both(CudaFixture *f, const AttendCase *c, uint64_t number, int32_t columns) {
    IsaLevel arch = (IsaLevel)(CUDA_SM80 + number % 3);
    add(f, c, false, (Target){arch, number % 4 == 3 ? DTYPE_F16 : DTYPE_BF16, columns});
    add(f, c, true, (Target){arch, DTYPE_BF16, columns});
    add(f, c, false, (Target){arch, DTYPE_F32, columns});
    add(f, c, true, (Target){arch, DTYPE_F32, columns});
}

static void check_cases(const AttendCase *cases, size_t count, bool quick) {
    CudaFixture f;
    fixture_open(&f, quick);
    for (size_t i = 0; i < count; i++)
        add_both(&f, &cases[i], i, 0);
    cuda_fixture_run(&f);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void test_lengths(void **state) {
    (void)state;
    static const AttendCase cases[] = {
        {1, 1, 16, 24, 1, 2, CAUSAL, false, 0, 0, 1, false, false, 0},
        {5, 5, 16, 24, 1, 2, CAUSAL, false, 0, 0, 1, false, false, 0},
        {64, 64, 16, 32, 1, 1, CAUSAL, false, 0, 0, 1, false, false, 0},
        {65, 65, 16, 24, 1, 2, CAUSAL, false, 32, 16, 1, false, false, 0},
    };
    check_cases(cases, COUNT(cases), true);
}

static void test_bands(void **state) {
    (void)state;
    static const AttendCase cases[] = {
        {70, 70, 8, 8, 1, 1, {0, 9}, false, 32, 16, 1, false, false, 0},
        {70, 70, 8, 8, 1, 1, {-20, 30}, false, 16, 32, 1, false, false, 0},
        {40, 70, 8, 8, 1, 1, {BAND_LEAST, 3}, false, 32, 32, 1, false, false, 0},
        {70, 40, 8, 8, 1, 1, {-7, 60}, false, 32, 32, 1, false, false, 0},
    };
    check_cases(cases, COUNT(cases), true);
}

static void test_widths_and_layouts(void **state) {
    (void)state;
    static const AttendCase cases[] = {
        {33, 33, 1, 1, 2, 1, CAUSAL, false, 16, 0, 1, false, false, 0},
        {33, 33, 33, 70, 2, 2, CAUSAL, false, 0, 0, 1, false, false, 0},
        {35, 35, 5, 12, 2, 2, CAUSAL, true, 16, 16, 1, false, false, 0},
        {35, 30, 19, 3, 1, 3, ALL, true, 0, 0, 1, false, false, 0},
        {33, 40, 128, 64, 1, 1, ALL, false, 0, 0, 1, false, false, 0},
    };
    check_cases(cases, COUNT(cases), true);
}

// In all schedules of the machine: results are the same bits.
static void test_schedules(void **state) {
    (void)state;
    static const AttendCase cases[] = {
        {40, 40, 8, 16, 1, 2, CAUSAL, false, 32, 16, 1, false, false, 0},
        {36, 30, 5, 8, 1, 1, ALL, false, 16, 16, 1, false, false, 0},
    };
    check_cases(cases, COUNT(cases), false);
}

// Queries that begin at a key of their own, a single one of several heads among them, and keys
// that are dealt to blocks, some of which have none that a query sees.
static void test_starts(void **state) {
    (void)state;
    static const AttendCase cases[] = {
        {1, 100, 20, 24, 2, 5, CAUSAL, false, 0, 32, 1, true, false, 0},
        {9, 70, 16, 24, 1, 2, CAUSAL, false, 0, 0, 1, true, false, 0},
        {20, 90, 16, 24, 1, 1, {0, 30}, true, 16, 16, 1, true, false, 0},
        {1, 300, 16, 24, 1, 3, CAUSAL, false, 0, 0, 1, true, false, 3},
        {1, 150, 16, 24, 2, 4, {0, 40}, false, 0, 32, 1, true, false, 4},
        {7, 70, 64, 64, 1, 1, CAUSAL, true, 0, 32, 1, true, false, 2},
    };
    CudaFixture f;
    fixture_open(&f, true);
    for (size_t i = 0; i < COUNT(cases); i++) {
        Target target = {(IsaLevel)(CUDA_SM80 + i % 3), DTYPE_BF16, i == 5 ? 2 : 0};
        add(&f, &cases[i], false, target);
        target.type = DTYPE_F32;
        add(&f, &cases[i], false, target);
    }
    cuda_fixture_run(&f);
}

// Heads h of one query a row b, which begins anywhere; values are part of the keys, and these
// are dealt to two blocks.
typedef struct {
    int heads, keys, d, e, at;  // at: the values' first element in the keys
} Latent;
static const char *latent(Arena *arena, Latent l) {
    static const char text[] =
        "tile latent attend\n  grid b = 3\n  grid p = 2\n  m h = %d\n  n s = %d\n  k d = %d\n"
        "  k e = %d\n  band 0, inf\n  deal 64\n"
        "  arg q: bf16[%d]\n  arg key: bf16[%d]\n  arg begin: i32[3]\n  arg y: f32[%d]\n"
        "  %%1 = load begin[b] : i32 (b)\n  start %%1 : i32 (b)\n"
        "  %%3 = load q[b*%d + h*%d + d] : f32 (b, h, d)\n"
        "  %%4 = load key[b*%d + s*%d + d] if 0 <= p < 2 : f32 (b, p, s, d)\n"
        "  %%5 = dot %%3, %%4 over (d) : f32 (b, p, h, s)\n"
        "  %%6 = reduce_max %%5 over (s) : f32 (b, p, h)\n"
        "  %%7 = map sub %%5, %%6 : f32 (b, p, h, s)\n"
        "  %%8 = map exp %%7 : f32 (b, p, h, s)\n"
        "  %%9 = reduce_sum %%8 over (s) : f32 (b, p, h)\n"
        "  %%10 = const 1e-30 : f32 ()\n  %%11 = map max %%9, %%10 : f32 (b, p, h)\n"
        "  %%12 = load key[b*%d + s*%d + e + %d] : f32 (b, s, e)\n"
        "  %%13 = dot %%8, %%12 over (s) : f32 (b, p, h, e)\n"
        "  %%14 = map div %%13, %%11 : f32 (b, p, h, e)\n"
        "  store y[b*%d + p*%d + h*%d + e] = %%14 : f32 (b, p, h, e)\n";
    int query = l.heads * l.d, all = l.keys * l.d, result = l.heads * l.e;
    Str t = str_printf(arena, text, l.heads, l.keys, l.d, l.e, 3 * query, 3 * all, 6 * result,
                       query, l.d, all, l.d, all, l.d, l.at, 2 * result, result, l.e);
    return t.ptr;
}

// The program, with dots of this type.
static void add_text(CudaFixture *f, const char *text, IsaLevel arch, DType type,
                     CudaCheck check) {
    TileProgram *p = arena_new(&f->bench.arena, TileProgram);
    *p = *bench_program(&f->bench, text);
    attend_case_narrow(p, type);
    cuda_bench_add(&f->cuda, cuda_attend, p, arch, check);
}

static void test_latent(void **state) {
    (void)state;
    CudaFixture f;
    fixture_open(&f, true);
    const char *const texts[] = {latent(&f.bench.arena, (Latent){5, 150, 40, 24, 0}),
                                 latent(&f.bench.arena, (Latent){18, 150, 72, 40, 32}),
                                 latent(&f.bench.arena, (Latent){3, 150, 576, 512, 0})};
    const DType types[] = {DTYPE_BF16, DTYPE_F32};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 2; k++) {
            CudaCheck check = {
                .range = 0.5, .whole = 150, .tolerance = tolerance_of(types[k], 150)};
            add_text(&f, texts[i], (IsaLevel)(CUDA_SM80 + (i + k) % 3), types[k], check);
        }
    cuda_fixture_run(&f);
}

// Two or four warps with the same rows, and parts of the columns that are padding alone.
static void test_shared_rows(void **state) {
    (void)state;
    static const AttendCase cases[] = {
        {65, 65, 24, 40, 1, 2, CAUSAL, false, 32, 32, 1, false, false, 0},
        {40, 50, 64, 33, 1, 1, ALL, false, 64, 64, 1, false, false, 0},
        {33, 33, 30, 20, 2, 1, {0, 9}, true, 32, 32, 1, false, false, 0},
    };
    CudaFixture f;
    fixture_open(&f, true);
    for (size_t i = 0; i < COUNT(cases); i++)
        add_both(&f, &cases[i], i, i == 1 ? 4 : 2);
    cuda_fixture_run(&f);
    fixture_open(&f, false);
    const AttendCase one = {40, 40, 20, 24, 1, 2, CAUSAL, false, 32, 32, 1, false, false, 0};
    add_both(&f, &one, 1, 2);
    cuda_fixture_run(&f);
}

// Widths of latent attention, with the tiles that are chosen for them.
static void test_wide(void **state) {
    (void)state;
    static const AttendCase cases[] = {
        {40, 40, 192, 128, 1, 1, CAUSAL, false, 0, 0, 1, false, false, 0},
        {35, 20, 150, 256, 1, 2, ALL, false, 0, 0, 1, false, false, 0},
    };
    check_cases(cases, COUNT(cases), true);
}

// Several sequences in one: a query sees keys of its own number only, perhaps none of a tile.
#define SEGMENTS(name, args)                                                         \
    "tile " name " attend\n  m t = 70\n  n s = 70\n  k d = 16\n  k e = 24\n"         \
    "  band 0, inf\n  arg q: bf16[1120]\n  arg key: bf16[1120]\n"                    \
    "  arg v: bf16[1680]\n  arg segment: i32[70]\n" args                             \
    "  knob bm = 32\n  knob bn = 16\n  knob warps_m = 2\n  knob stages = 2\n"        \
    "  %1 = load q[t*16 + d] : f32 (t, d)\n  %2 = load key[s*16 + d] : f32 (s, d)\n" \
    "  %3 = dot %1, %2 over (d) : f32 (t, s)\n"                                      \
    "  %4 = load segment[t] : i32 (t)\n  %5 = load segment[s] : i32 (s)\n"           \
    "  %6 = map eq %4, %5 : bool (t, s)\n  %7 = const -inf : f32 ()\n"               \
    "  %8 = map where %6, %3, %7 : f32 (t, s)\n"
// Weights from the saved logarithms, and what scores' gradients are.
#define SEGMENTS_BACK(name, results)                                                          \
    SEGMENTS(name, "  arg g: bf16[1680]\n  arg lse: f32[70]\n  arg delta: f32[70]\n" results) \
    "  %9 = load lse[t] : f32 (t)\n  %10 = map sub %8, %9 : f32 (t, s)\n"                     \
    "  %11 = map exp %10 : f32 (t, s)\n  %12 = load g[t*24 + e] : f32 (t, e)\n"               \
    "  %13 = load v[s*24 + e] : f32 (s, e)\n  %14 = dot %12, %13 over (e) : f32 (t, s)\n"     \
    "  %15 = load delta[t] : f32 (t)\n  %16 = map sub %14, %15 : f32 (t, s)\n"                \
    "  %17 = map mul %11, %16 : f32 (t, s)\n"

static void test_segments(void **state) {
    (void)state;
    static const char *const texts[] = {
        SEGMENTS(
            "segments",
            "  arg y: f32[1680]\n  arg lse: f32[70]\n") "  %9 = reduce_max %8 over (s) : f32 (t)\n"
                                                        "  %10 = map sub %8, %9 : f32 (t, s)\n  %11 = map exp %10 : f32 (t, s)\n"
                                                        "  %12 = reduce_sum %11 over (s) : f32 (t)\n"
                                                        "  %13 = load v[s*24 + e] : f32 (s, e)\n"
                                                        "  %14 = dot %11, %13 over (s) : f32 (t, e)\n"
                                                        "  %15 = map div %14, %12 : f32 (t, e)\n  store y[t*24 + e] = %15 : f32 (t, e)\n"
                                                        "  %17 = map log %12 : f32 (t)\n  %18 = map add %9, %17 : f32 (t)\n"
                                                        "  store lse[t] = %18 : f32 (t)\n",
        SEGMENTS_BACK(
            "queries",
            "  arg dq: f32[1120]\n") "  %18 = dot %17, %2 over (s) : f32 (t, d)\n  store dq[t*16 + d] = %18 : f32 (t, d)\n",
        SEGMENTS_BACK(
            "keys",
            "  arg dk: f32[1120]\n  arg dv: f32[1680]\n") "  %18 = dot %17, %1 over (t) : f32 (s, d)\n  store dk[s*16 + d] = %18 : f32 (s, d)\n"
                                                          "  %20 = dot %11, %12 over (t) : f32 (s, e)\n  store dv[s*24 + e] = %20 : f32 (s, e)\n",
    };
    CudaFixture f;
    fixture_open(&f, true);
    CudaCheck check = {.range = 0.5, .whole = 6, .tolerance = tolerance_of(DTYPE_BF16, 70)};
    for (size_t i = 0; i < COUNT(texts); i++)
        for (int arch = CUDA_SM80; arch <= CUDA_SM100A; arch++)
            add_text(&f, texts[i], (IsaLevel)arch, DTYPE_BF16, check);
    check.tolerance = tolerance_of(DTYPE_F32, 70);
    for (size_t i = 0; i < COUNT(texts); i++)
        add_text(&f, texts[i], CUDA_SM80, DTYPE_F32, check);
    cuda_fixture_run(&f);
}

// Widths of heads as they are, with the tiles that are chosen for them. In f32 one of them for
// each GPU, and the widest for the one with the least room.
static void test_compiles(void **state) {
    (void)state;
    static const AttendCase cases[] = {
        {256, 256, 32, 32, 4, 1, CAUSAL, false, 0, 0, 1, false, false, 0},
        {2048, 2048, 64, 64, 4, 4, CAUSAL, false, 0, 0, 1, false, false, 0},
        {2048, 2048, 128, 128, 2, 4, {0, 511}, false, 0, 0, 1, false, false, 0},
        {2048, 2048, 192, 128, 2, 1, CAUSAL, false, 0, 0, 1, false, false, 0},
        {2048, 2048, 256, 256, 2, 1, CAUSAL, false, 0, 0, 1, false, false, 0},
        {128, 4096, 128, 128, 4, 4, CAUSAL, false, 0, 0, 1, true, false, 2},
    };
    static const int in_f32[] = {3, 4, 2};
    const CudaCheck check = {.range = 1};
    for (int arch = CUDA_SM80; arch <= CUDA_SM100A; arch++) {
        CudaFixture f;
        fixture_open(&f, true);
        const char *widest = latent(&f.bench.arena, (Latent){32, 4096, 576, 512, 0});
        Target target = {(IsaLevel)arch, DTYPE_BF16, 0};
        for (size_t i = 0; i < COUNT(cases); i++) {
            add(&f, &cases[i], false, target);
            if (!cases[i].start) add(&f, &cases[i], true, target);
        }
        add_text(&f, widest, target.arch, DTYPE_BF16, check);
        target.type = DTYPE_F32;
        add(&f, &cases[in_f32[arch - CUDA_SM80]], false, target);
        add(&f, &cases[in_f32[arch - CUDA_SM80]], true, target);
        if (arch == CUDA_SM80) add_text(&f, widest, target.arch, DTYPE_F32, check);
        cuda_fixture_compile(&f, (IsaLevel)arch);
    }
}

static void test_refuses(void **state) {
    (void)state;
    CudaFixture f;
    fixture_open(&f, true);
    const AttendCase c = {16, 16, 16, 16, 1, 1, CAUSAL, false, 0, 0, 0, false, false, 0};
    Regions *regions = pass_fuse(attend_case_graph(&f.bench.arena, &c, true), &f.bench.arena);
    Schedule schedule = schedule_none();
    for (schedule.split = 0; schedule.split < 2; schedule.split++) {
        TileKernels *kernels =
            region_to_tile(regions, &regions->regions[0], &schedule, &f.bench.arena);
        const TileProgram *p = kernels->kernels[0].program;
        CudaKernel kernel;
        // Gradients of both sides at once; operands of two types.
        uint32_t dot = 1;
        while (p->ops.ptr[dot].kind != TILE_DOT)
            dot++;
        const TileOp *left = tile_op(p, p->ops.ptr[dot].in[0]);
        if (schedule.split) p->args.ptr[left->access.arg].type = DTYPE_BF16;
        assert_false(cuda_emit(&f.bench.diag, &f.bench.arena, p,
                               (EmitOptions){.level = CUDA_SM80}, &kernel));
    }
    bench_close(&f.bench);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),   cmocka_unit_test(test_bands),
        cmocka_unit_test(test_schedules), cmocka_unit_test(test_widths_and_layouts),
        cmocka_unit_test(test_segments),  cmocka_unit_test(test_shared_rows),
        cmocka_unit_test(test_wide),      cmocka_unit_test(test_starts),
        cmocka_unit_test(test_latent),    cmocka_unit_test(test_compiles),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
