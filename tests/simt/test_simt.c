// test_simt.c: what the machine does, and what it notices.
#include "tests/simt/simt.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Diag diag;
} Fixture;

static int setup(void **state) {
    static Fixture f;
    arena_init(&f.arena);
    diag_init(&f.diag, &f.arena);
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    arena_release(&f->arena);
    return 0;
}

#define TEXT(...) "#include \"prelude.cuh\"\n" #__VA_ARGS__

static CudaKernel kernel_of(const char *text, Launch launch) {
    if (!launch.cluster) launch.cluster = 1;
    return (CudaKernel){.text = str_of(text), .launch = launch};
}

static void expect(Fixture *f, bool ok) {
    StrBuf out = {0};
    if (!ok) diag_render(&f->diag, &out);
    if (!ok) print_error("%s\n", out.ptr);
    strbuf_release(&out);
    assert_true(ok);
}

static const char sum_rows[] =
    TEXT(KERNEL(256) kernel(float *__restrict__ y, const bf16 *__restrict__ x) {
        __shared__ float parts[8];
        const Words4 v = load16(x + blockIdx.x * 2048 + threadIdx.x * 8);
        float sum = 0;
        UNROLL for (int i = 0; i < 4; i++) sum += bf16_low(v.w[i]) + bf16_high(v.w[i]);
        UNROLL for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(~0U, sum, d);
        if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
        __syncthreads();
        float total = 0;
        UNROLL for (int i = 0; i < 8; i++) total += parts[i];
        if (threadIdx.x == 0) y[blockIdx.x] = total;
    });

static void rows_are_summed(void **state) {
    Fixture *f = *state;
    CudaKernel kernel = kernel_of(sum_rows, (Launch){.blocks = 3, .threads = 256});
    Simt *simt;
    expect(f, simt_build(&f->diag, &f->arena, &kernel, 1, &simt));
    uint16_t *x = arena_alloc(&f->arena, 3 * 2048, sizeof *x);
    float y[3], expected[3] = {0};
    for (int i = 0; i < 3 * 2048; i++) {
        x[i] = bf16_of((float)(i % 7));
        expected[i / 2048] += (float)(i % 7);
    }
    SimtArg args[] = {{"y", y, sizeof y}, {"x", x, 3 * 2048 * sizeof *x}};
    expect(f, simt_check(&f->diag, simt, 0, args, 2));
    for (int i = 0; i < 3; i++)
        assert_float_equal(y[i], expected[i], 0);
    simt_close(simt);
}

int main(void) {
    if (!simt_available()) {
        print_message("skipped: no C++ compiler\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_summed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
