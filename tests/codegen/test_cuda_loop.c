// test_cuda_loop.c: contractions by LOOP_CP: shapes with tails, all orders of strides, every
// way to fill a tile, prologues and epilogues, against the interpreter and through NVRTC.
#include "base/rng.h"
#include "tests/codegen/cuda_bench.h"

typedef struct {
    int64_t m, n, k;
    bool a_by_k, b_by_n;  // is this the dimension with stride 1
    const char *knobs, *type;
} Shape;

typedef struct {
    TileBench bench;
    CudaBench cuda;
} Fixture;

static void fixture_open(Fixture *f) {
    bench_open(&f->bench);
    f->cuda = (CudaBench){.bench = &f->bench};
}

// Each product is exact or rounded once and each of k sums once; values are below 2 in
// magnitude.
static CudaCheck check_of(int64_t k) {
    return (CudaCheck){.range = 2, .whole = 10, .tolerance = (double)(k + 4) * 0x1p-23 * 4};
}

static CpuLevel arch_at(uint64_t i) { return (CpuLevel)(CUDA_SM80 + i % 3); }

// y = epilogue(sum of a * b), where epilogue is text that begins with operation %4 and ends in
// a store.
static const char *contraction(TileBench *b, const Shape *s, const char *args,
                               const char *epilogue) {
    const char *type = s->type ? s->type : "bf16";
    Str text = str_printf(&b->arena,
                          "tile t loop\nm m = %lld\nn n = %lld\nk k = %lld\n"
                          "arg a: %s[%lld]\narg b: %s[%lld]\narg y: %s[%lld]\n%s%s"
                          "%%1 = load a[m*%lld + k*%lld] : f32 (m, k)\n"
                          "%%2 = load b[n*%lld + k*%lld] : f32 (n, k)\n"
                          "%%3 = dot %%1, %%2 over (k) : f32 (m, n)\n%s",
                          (long long)s->m, (long long)s->n, (long long)s->k, type,
                          (long long)(s->m * s->k), type, (long long)(s->n * s->k), type,
                          (long long)(s->m * s->n), args, s->knobs ? s->knobs : "",
                          (long long)(s->a_by_k ? s->k : 1), (long long)(s->a_by_k ? 1 : s->m),
                          (long long)(s->b_by_n ? 1 : s->k), (long long)(s->b_by_n ? s->n : 1),
                          epilogue);
    return text.ptr;
}

static void add_text(Fixture *f, const char *text, CpuLevel arch, CudaCheck check) {
    cuda_bench_add(&f->cuda, cuda_loop_cp, bench_program(&f->bench, text), arch, check);
}

static void add_plain(Fixture *f, const Shape *s, CpuLevel arch) {
    Str store = str_printf(&f->bench.arena, "store y[m*%lld + n] = %%3 : f32 (m, n)\n",
                           (long long)s->n);
    add_text(f, contraction(&f->bench, s, "", store.ptr), arch, check_of(s->k));
}

static void run_and_close(Fixture *f) {
    cuda_bench_run(&f->cuda);
    bench_close(&f->bench);
}

// ---- shapes

static int64_t draw(uint64_t stream, uint64_t i, int64_t most) {
    return 1 + (int64_t)(rng_u64(stream, i) % (uint64_t)most);
}

static const char *const some_knobs[] = {
    "",
    "knob bm = 32\nknob bn = 32\nknob bk = 32\nknob stages = 2\n",
    "knob bm = 16\nknob bn = 64\nknob stages = 4\n",
    "knob bm = 64\nknob bn = 32\nknob bk = 16\nknob stages = 3\nknob order = 2\n",
    "knob bm = 64\nknob bn = 64\nknob bk = 32\nknob warps_m = 1\nknob warps_n = 2\n",
};
enum { KNOBS = sizeof some_knobs / sizeof *some_knobs };

static void odd_shapes(const char *type) {
    Fixture f;
    fixture_open(&f);
    for (uint64_t i = 0; i < 40; i++) {
        Shape s = {.m = draw(1, i, 90), .n = draw(2, i, 90), .k = draw(3, i, 90), .type = type};
        // Half of them in multiples of 16 bytes.
        if (i & 4) s.m = (s.m + 7) / 8 * 8, s.n = (s.n + 7) / 8 * 8, s.k = (s.k + 7) / 8 * 8;
        s.a_by_k = i & 1;
        s.b_by_n = i & 2;
        s.knobs = some_knobs[i / 8 % KNOBS];
        add_plain(&f, &s, arch_at(i));
    }
    run_and_close(&f);
}

static void test_odd_shapes_bf16(void **state) {
    (void)state;
    odd_shapes("bf16");
}

static void test_odd_shapes_f16(void **state) {
    (void)state;
    odd_shapes("f16");
}

static void test_odd_shapes_f32(void **state) {
    (void)state;
    odd_shapes("f32");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_shapes_bf16),
        cmocka_unit_test(test_odd_shapes_f16),
        cmocka_unit_test(test_odd_shapes_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
