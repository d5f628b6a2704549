// test_cuda_grouped.c: grouped contractions by LOOP_CP and the order of their rows: groups with
// no, one, few and all rows, every way to fill a tile, against the interpreter and through
// NVRTC.
#include "tests/codegen/cuda_bench.h"
#include "tests/codegen/grouped_case.h"

static IsaLevel arch_at(size_t i) { return (IsaLevel)(CUDA_SM80 + i % 3); }

// Sums of at most 150 products of numbers below 2.
static CudaCheck check_of(CudaPrepare prepare) {
    return (CudaCheck){
        .range = 2, .whole = 10, .tolerance = 154 * 0x1p-23 * 4, .prepare = prepare};
}

static void run_and_close(CudaFixture *f) {
    cuda_bench_run(&f->cuda);
    for (int arch = CUDA_SM80; arch <= CUDA_SM100A; arch++)
        cuda_bench_compile(&f->cuda, (IsaLevel)arch);
    bench_close(&f->bench);
}

// Tiles smaller and larger than a group; wide, narrow and computed copies; FMA.
static const GroupedCase cases[] = {
    {150, 40, 72, "knob bm = 16\nknob bn = 32\nknob bk = 32\nknob stages = 3\n", "bf16"},
    {150, 24, 64, "knob bm = 64\nknob bn = 64\nknob bk = 32\nknob stages = 2\n", "f16"},
    {150, 34, 18, "knob bm = 32\nknob bn = 16\nknob bk = 16\nknob order = 3\n", "bf16"},
    {150, 5, 3, "", "bf16"},
    {150, 33, 70, "", "f32"},
    {150, 64, 1, "knob warps_k = 2\nknob bk = 32\n", "f32"},
};
enum { CASES = sizeof cases / sizeof *cases };

static const CudaPrepare prepares[] = {grouped_prepare, grouped_prepare_one,
                                       grouped_prepare_none};

static void add_cases(CudaFixture *f, Str (*text_of)(Arena *arena, const GroupedCase *c),
                      size_t first, size_t step) {
    for (size_t i = first; i < CASES; i += step)
        for (size_t k = 0; k < (i < 2 ? 3 : 1); k++) {
            Str text = text_of(&f->bench.arena, &cases[i]);
            cuda_bench_add(&f->cuda, cuda_loop_cp, bench_program(&f->bench, text.ptr),
                           arch_at(i), check_of(prepares[k]));
        }
}

static void test_at(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    add_cases(&f, grouped_at_text, 0, 2);
    add_cases(&f, grouped_turned_text, 1, 2);
    run_and_close(&f);
}

static void test_epilogue(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    add_cases(&f, grouped_epilogue_text, 0, 2);
    run_and_close(&f);
}

static void test_into(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    add_cases(&f, grouped_into_text, 0, 1);
    run_and_close(&f);
}

// Of 37 groups most have no row, some one, and one 20.
static void prepare_many(const TileProgram *p, void *const *args) {
    int32_t *ends = args[0], end = 0;
    for (int32_t j = 0; j < p->args.ptr[0].elements; j++) {
        int32_t g = j % 37;
        if (g == 0) end = 0;
        end += g == 20 ? 20 : g % 4 == 1;
        ends[j] = end;
    }
}

#define ROWS_OF(start, groups, at)                                                        \
    "%2 = load ends[" at "] : i32 (" groups ")\n%3 = map sub %2, %1 : i32 (" groups ")\n" \
    "limit %3 over (r) : i32 (" groups ")\n%5 = index r : i32 (r)\n"                      \
    "%6 = map add %1, %5 : i32 (" start "r)\n%7 = map lt %6, %2 : bool (" start "r)\n"    \
    "%8 = const -1 : i32 ()\n%9 = map where %7, %6, %8 : i32 (" start "r)\n"

// More groups than lanes, twice over.
static const char many_text[] =
    "tile many loop\ngrid h = 2\ngrid g = 37\nm r = 40\nn c = 16\nk d = 16\n"
    "arg ends: i32[74]\narg x: bf16[1280]\narg w: bf16[18944]\narg y: f32[1280]\n"
    "knob bm = 16\nknob bn = 16\nknob bk = 16\n"
    "%1 = load ends[h*37 + g - 1] if 1 <= g < 37 : i32 (h, g)\n" ROWS_OF(
        "h, g, ", "h, g",
        "h*37 + g") "%10 = gather x[h*640 + d] at %9*16 of 40 : f32 (h, g, r, d)\n"
                    "%11 = load w[h*9472 + g*256 + d*16 + c] : f32 (h, g, c, d)\n"
                    "%12 = dot %10, %11 over (d) : f32 (h, g, r, c)\n"
                    "scatter_put y[h*640 + c] at %9*16 of 40 = %12 : f32 (h, g, r, c)\n";

// One group, which has not all rows.
static const char alone_text[] =
    "tile alone loop\nm r = 40\nn c = 16\nk d = 16\n"
    "arg ends: i32[1]\narg x: bf16[640]\narg w: bf16[256]\narg y: f32[640]\n"
    "%1 = const 0 : i32 ()\n" ROWS_OF(
        "", "",
        "0") "%10 = gather x[d] at %9*16 of 40 : f32 (r, d)\n"
             "%11 = load w[d*16 + c] : f32 (c, d)\n%12 = dot %10, %11 over (d) : f32 (r, c)\n"
             "scatter_put y[c] at %9*16 of 40 = %12 : f32 (r, c)\n";

static void prepare_alone(const TileProgram *p, void *const *args) {
    (void)p;
    *(int32_t *)args[0] = 21;
}

static void test_other_groups(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    cuda_bench_add(&f.cuda, cuda_loop_cp, bench_program(&f.bench, many_text), CUDA_SM80,
                   check_of(prepare_many));
    cuda_bench_add(&f.cuda, cuda_loop_cp, bench_program(&f.bench, alone_text), CUDA_SM80,
                   check_of(prepare_alone));
    run_and_close(&f);
}

static void order_add(CudaFixture *f, int rows, int groups, const char *positions,
                      int64_t keys) {
    Str text = grouped_order_text(&f->bench.arena, rows, groups, positions);
    CudaCheck check = {.range = 1, .whole = keys};
    cuda_bench_add(&f->cuda, cuda_order, bench_program(&f->bench, text.ptr), CUDA_SM80, check);
}

// Some keys are of no group; many are equal; parts of warps that are short, or empty.
static void test_order(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    f.cuda.quick = true;
    order_add(&f, 150, 6, "r", 8);
    order_add(&f, 150, 6, "r / 3", 6);
    order_add(&f, 5000, 7, "r % 50", 9);
    order_add(&f, 4096, 3, "r", 1);
    order_add(&f, 1, 2, "r", 2);
    order_add(&f, 1100, 2, "r", 100);
    run_and_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at),    cmocka_unit_test(test_epilogue),
        cmocka_unit_test(test_into),  cmocka_unit_test(test_other_groups),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
