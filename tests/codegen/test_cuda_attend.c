// test_cuda_attend.c: ATTEND kernels for GPUs: programs of regions of attention and of its
// gradients, over ragged lengths, widths, bands, layouts and tiles, against the interpreter,
// and through NVRTC.
#include <math.h>

#include "ir/region_to_tile.h"
#include "tests/codegen/attend_case.h"
#include "tests/codegen/cuda_bench.h"

typedef struct {
    TileBench bench;
    CudaBench cuda;
} Fixture;

static void fixture_open(Fixture *f, bool quick) {
    bench_open(&f->bench);
    f->cuda = (CudaBench){.bench = &f->bench, .quick = quick};
}

// Weights are rounded to 9 bits (f16: 12, but small numbers are not normal); their products are
// below 1 in magnitude and errors add up like random steps.
static CudaCheck check_of(const AttendCase *c) {
    int64_t terms = c->T * c->groups > c->S ? c->T * c->groups : c->S;
    return (CudaCheck){.range = 0.5, .tolerance = 0x1p-9 * 2 * sqrt((double)terms)};
}

static void add(Fixture *f, const AttendCase *c, bool gradients, IsaLevel arch, DType type) {
    Arena *arena = &f->bench.arena;
    Regions *regions = pass_fuse(attend_case_graph(arena, c, gradients), arena);
    assert_int_equal(regions->count, 1);
    Schedule schedule = schedule_none();
    schedule.bm = c->bm;
    schedule.bn = c->bn;
    schedule.split = 1;
    TileKernels *kernels = region_to_tile(regions, &regions->regions[0], &schedule, arena);
    for (uint32_t i = 0; i < kernels->kernel_count; i++) {
        TileProgram *p = arena_new(arena, TileProgram);
        *p = *kernels->kernels[i].program;
        attend_case_narrow(p, type);
        cuda_bench_add(&f->cuda, cuda_attend, p, arch, check_of(c));
    }
}

static void add_both(Fixture *f, const AttendCase *c, uint64_t number) {
    IsaLevel arch = (IsaLevel)(CUDA_SM80 + number % 3);
    add(f, c, false, arch, number % 4 == 3 ? DTYPE_F16 : DTYPE_BF16);
    add(f, c, true, arch, DTYPE_BF16);
}

static void run_and_close(Fixture *f) {
    cuda_bench_run(&f->cuda);
    bench_close(&f->bench);
}

static void check_cases(const AttendCase *cases, size_t count, bool quick) {
    Fixture f;
    fixture_open(&f, quick);
    for (size_t i = 0; i < count; i++)
        add_both(&f, &cases[i], i);
    run_and_close(&f);
}

#define COUNT(array) (sizeof array / sizeof *array)

static void test_lengths(void **state) {
    (void)state;
    static const AttendCase cases[] = {
        {1, 1, 16, 24, 1, 2, CAUSAL, false, 0, 0, 1},
        {5, 5, 16, 24, 1, 2, CAUSAL, false, 0, 0, 1},
        {64, 64, 16, 32, 1, 1, CAUSAL, false, 0, 0, 1},
        {65, 65, 16, 24, 1, 2, CAUSAL, false, 32, 16, 1},
    };
    check_cases(cases, COUNT(cases), true);
}

static void test_bands(void **state) {
    (void)state;
    static const AttendCase cases[] = {
        {70, 70, 8, 8, 1, 1, {0, 9}, false, 32, 16, 1},
        {70, 70, 8, 8, 1, 1, {-20, 30}, false, 16, 32, 1},
        {40, 70, 8, 8, 1, 1, {BAND_LEAST, 3}, false, 32, 32, 1},
        {70, 40, 8, 8, 1, 1, {-7, 60}, false, 32, 32, 1},
    };
    check_cases(cases, COUNT(cases), true);
}

static void test_widths_and_layouts(void **state) {
    (void)state;
    static const AttendCase cases[] = {
        {33, 33, 1, 1, 2, 1, CAUSAL, false, 16, 0, 1},
        {33, 33, 33, 70, 2, 2, CAUSAL, false, 0, 0, 1},
        {35, 35, 5, 12, 2, 2, CAUSAL, true, 16, 16, 1},
        {35, 30, 19, 3, 1, 3, ALL, true, 0, 0, 1},
        {33, 40, 128, 64, 1, 1, ALL, false, 0, 0, 1},
    };
    check_cases(cases, COUNT(cases), true);
}

// In all schedules of the machine: results are the same bits.
static void test_schedules(void **state) {
    (void)state;
    static const AttendCase cases[] = {
        {40, 40, 8, 16, 1, 2, CAUSAL, false, 32, 16, 1},
        {36, 30, 5, 8, 1, 1, ALL, false, 16, 16, 1},
    };
    check_cases(cases, COUNT(cases), false);
}

// Widths of heads as they are, with the tiles that are chosen for them.
static void test_compiles(void **state) {
    (void)state;
    static const AttendCase cases[] = {
        {256, 256, 32, 32, 4, 1, CAUSAL, false, 0, 0, 1},
        {2048, 2048, 64, 64, 4, 4, CAUSAL, false, 0, 0, 1},
        {2048, 2048, 128, 128, 2, 4, {0, 511}, false, 0, 0, 1},
        {2048, 2048, 192, 64, 2, 1, CAUSAL, false, 0, 0, 1},
    };
    for (int arch = CUDA_SM80; arch <= CUDA_SM100A; arch++) {
        Fixture f;
        fixture_open(&f, true);
        for (size_t i = 0; i < COUNT(cases); i++) {
            add(&f, &cases[i], false, (IsaLevel)arch, DTYPE_BF16);
            add(&f, &cases[i], true, (IsaLevel)arch, DTYPE_BF16);
        }
        cuda_bench_compile(&f.cuda, (IsaLevel)arch);
        bench_close(&f.bench);
    }
}

static void test_refuses(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, true);
    const AttendCase c = {16, 16, 16, 16, 1, 1, CAUSAL, false, 0, 0, 0};
    Regions *regions = pass_fuse(attend_case_graph(&f.bench.arena, &c, true), &f.bench.arena);
    Schedule schedule = schedule_none();
    for (schedule.split = 0; schedule.split < 2; schedule.split++) {
        TileKernels *kernels =
            region_to_tile(regions, &regions->regions[0], &schedule, &f.bench.arena);
        CudaKernel kernel;
        // Gradients of both sides at once; operands in f32.
        assert_false(cuda_emit(&f.bench.diag, &f.bench.arena, kernels->kernels[0].program,
                               CUDA_SM80, NULL, &kernel));
    }
    bench_close(&f.bench);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),   cmocka_unit_test(test_bands),
        cmocka_unit_test(test_schedules), cmocka_unit_test(test_widths_and_layouts),
        cmocka_unit_test(test_compiles),  cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
