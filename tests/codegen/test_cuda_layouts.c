// test_cuda_layouts.c: what kernels say of the layouts of their values: that it is there where
// the text does it, and that the shared memory adds up to what is launched with.
#include "codegen/cuda/cuda.h"
#include "tests/ir/tile_bench.h"

static CudaKernel emit(TileBench *b, const char *text, IsaLevel arch) {
    CudaKernel kernel;
    bool ok = cuda_emit(&b->diag, &b->arena, bench_program(b, text),
                        (EmitOptions){.level = arch}, &kernel);
    assert_diag(&b->diag, "");
    assert_true(ok);
    return kernel;
}

// "dot_3[-1] parts of k added up: 1 x 4096", a line each.
static void check(TileBench *b, const CudaKernel *kernel, const char *expected) {
    StrBuf text = {0};
    for (uint32_t i = 0; i < kernel->conversion_count; i++) {
        const CudaConversion *c = &kernel->conversions[i];
        strbuf_addf(&text, "%.*s[%d] %.*s: %lld x %lld\n", STR_ARG(c->value), c->arg,
                    STR_ARG(c->how), (long long)c->copies, (long long)c->bytes);
    }
    const char *got = arena_strndup(&b->arena, text.ptr ? text.ptr : "", text.len);
    strbuf_release(&text);
    assert_string_equal(got, expected);
}

// Of the values that have their own place from the kernel's start to its end.
static int64_t shared_bytes(const CudaKernel *kernel, uint32_t first, uint32_t count) {
    int64_t bytes = 0;
    for (uint32_t i = first; i < first + count; i++)
        bytes += kernel->conversions[i].copies * kernel->conversions[i].bytes;
    return bytes;
}

#define PRODUCT(type, a, b, knobs)                                   \
    "tile t loop\nm m = 256\nn n = 128\nk k = 64\n"                  \
    "arg a: " type "[16384]\narg b: " type "[8192]\n"                \
    "arg y: bf16[32768]\n" knobs "%1 = load a[" a "] : f32 (m, k)\n" \
    "%2 = load b[" b "] : f32 (n, k)\n"                              \
    "%3 = dot %1, %2 over (k) : f32 (m, n)\n"                        \
    "store y[m*128 + n] = %3 : f32 (m, n)\n"
#define SMALL "knob bm = 32\nknob bn = 64\nknob bk = 32\nknob stages = 3\n"

static void copied_tiles(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    CudaKernel k = emit(&b, PRODUCT("bf16", "m*64 + k", "n + k*128", SMALL), CUDA_SM80);
    check(&b, &k,
          "a_1[0] copied 16 bytes at a time, read by ldmatrix: 3 x 2048\n"
          "b_2[1] copied 16 bytes at a time, read by ldmatrix, turned: 3 x 4096\n"
          "dot_3[-1] pairs of a fragment made four neighbours: 0 x 0\n");
    assert_int_equal(shared_bytes(&k, 0, 2), k.launch.shared_bytes);
    assert_non_null(strstr(k.text.ptr, "__shfl_xor_sync"));
    k = emit(&b, PRODUCT("f32", "m + k*256", "n*64 + k", SMALL "knob warps_k = 1\n"),
             CUDA_SM80);
    check(&b, &k,
          "a_1[0] copied 16 bytes at a time, read by plain loads: 3 x 4096\n"
          "b_2[1] copied 16 bytes at a time, read by plain loads: 3 x 8192\n");
    assert_int_equal(shared_bytes(&k, 0, 2), k.launch.shared_bytes);
    bench_close(&b);
}

static void other_tiles(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    CudaKernel k = emit(&b,
                        "tile t loop\nm m = 16\nn n = 16\nk k = 62\narg a: bf16[992]\n"
                        "arg b: bf16[992]\narg y: f32[256]\nknob warps_k = 2\nknob bk = 32\n"
                        "knob bm = 16\nknob bn = 16\nknob stages = 2\n"
                        "%1 = load a[m*62 + k] : f32 (m, k)\n"
                        "%2 = load b[n*62 + k] : f32 (n, k)\n"
                        "%3 = map mul %2, %2 : f32 (n, k)\n"
                        "%4 = dot %1, %3 over (k) : f32 (m, n)\n"
                        "store y[m*16 + n] = %4 : f32 (m, n)\n",
                        CUDA_SM100A);
    check(&b, &k,
          "a_1[0] computed in registers, read by plain loads: 2 x 2048\n"
          "mul_3[-1] computed in registers, read by plain loads: 2 x 2048\n"
          "dot_4[-1] parts of k added up: 1 x 1024\n");
    assert_int_equal(shared_bytes(&k, 0, 2), k.launch.shared_bytes);
    k = emit(&b,
             "tile t loop\nm m = 16\nn n = 16\nk k = 62\narg a: bf16[992]\narg b: bf16[992]\n"
             "arg y: f32[256]\nknob warps_k = 1\nknob bk = 32\nknob bm = 16\nknob bn = 16\n"
             "knob stages = 2\n%1 = load a[m*62 + k] : f32 (m, k)\n"
             "%2 = load b[n + k*16] : f32 (n, k)\n%3 = dot %1, %2 over (k) : f32 (m, n)\n"
             "store y[m*16 + n] = %3 : f32 (m, n)\n",
             CUDA_SM80);
    check(&b, &k,
          "a_1[0] copied 4 bytes at a time, read by ldmatrix: 2 x 1024\n"
          "b_2[1] copied 16 bytes at a time, read by ldmatrix, turned: 2 x 1024\n");
    bench_close(&b);
}

static void tiles_by_the_copy_engine(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    CudaKernel k =
        emit(&b,
             PRODUCT("bf16", "m*64 + k", "n + k*128",
                     "knob bm = 128\nknob bn = 128\nknob stages = 4\nknob consumers = 2\n"),
             CUDA_SM90A);
    check(&b, &k,
          "a_1[0] copied by the copy engine, read by wgmma: 4 x 16384\n"
          "b_2[1] copied by the copy engine, read by wgmma, turned: 4 x 16384\n"
          "dot_3[-1] fragments made rows by stmatrix, stored by the copy engine: 4 x 8192\n");
    int64_t barriers = k.launch.shared_bytes - shared_bytes(&k, 0, 3);
    assert_in_range(barriers, 1, 256);
    assert_non_null(strstr(k.text.ptr, "matrix_store_x4"));
    bench_close(&b);
}

static const char *softmax(TileBench *b, int cols, const char *knobs) {
    return str_printf(&b->arena,
                      "tile t stream\ngrid g = 512\ncol c = %d\narg x: f32[%d]\n"
                      "arg y: f32[%d]\n%s"
                      "%%1 = load x[g*%d + c] : f32 (g, c)\n"
                      "%%2 = reduce_max %%1 over (c) : f32 (g)\n"
                      "%%3 = map sub %%1, %%2 : f32 (g, c)\n"
                      "%%4 = map exp %%3 : f32 (g, c)\n"
                      "%%5 = reduce_sum %%4 over (c) : f32 (g)\n"
                      "%%6 = map div %%4, %%5 : f32 (g, c)\n"
                      "store y[g*%d + c] = %%6 : f32 (g, c)\n",
                      cols, 512 * cols, 512 * cols, knobs, cols, cols)
        .ptr;
}

static void rows(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    CudaKernel k = emit(&b, softmax(&b, 256, "knob threads = 32\n"), CUDA_SM90A);
    check(&b, &k,
          "max_2[-1] reduced over 32 threads: 0 x 0\n"
          "sum_5[-1] reduced over 32 threads: 0 x 0\n");
    k = emit(&b, softmax(&b, 1024, "knob threads = 128\nknob ring = 1\n"), CUDA_SM90A);
    check(&b, &k,
          "x_1[0] rows that the copy engine brings: 1 x 4096\n"
          "max_2[-1] reduced over 128 threads: 2 x 16\n"
          "sum_5[-1] reduced over 128 threads: 2 x 16\n");
    assert_int_equal(shared_bytes(&k, 0, 1), k.launch.shared_bytes);
    k = emit(&b, softmax(&b, 8, "knob threads = 1\n"), CUDA_SM90A);
    check(&b, &k, "");
    bench_close(&b);
}

static void sums_at_the_cols(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    CudaKernel k = emit(&b,
                        "tile t stream\nserial r = 16\ncol c = 4096\narg x: f32[65536]\n"
                        "arg y: f32[4096]\nknob keep = 0\nknob threads = 128\n"
                        "%1 = load x[r*4096 + c] : f32 (r, c)\n"
                        "%2 = reduce_sum %1 over (c) : f32 (r)\n"
                        "%3 = map mul %1, %2 : f32 (r, c)\n"
                        "%4 = reduce_sum %3 over (r) : f32 (c)\n"
                        "store y[c] = %4 : f32 (c)\n",
                        CUDA_SM80);
    check(&b, &k,
          "sum_4[-1] summed over rows at its cols: 1 x 16384\n"
          "sum_2[-1] reduced over 128 threads: 2 x 16\n");
    assert_int_equal(shared_bytes(&k, 0, 1), k.launch.shared_bytes);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copied_tiles), cmocka_unit_test(other_tiles),
        cmocka_unit_test(tiles_by_the_copy_engine), cmocka_unit_test(rows),
        cmocka_unit_test(sums_at_the_cols)};
    return cmocka_run_group_tests_name("cuda_layouts", tests, NULL, NULL);
}
