// test_stream.c: machine code of STREAM programs against the interpreter.
#include <math.h>

#include "tests/codegen/kernel_bench.h"

static int setup(void **state) {
    static TileBench bench;
    bench_open(&bench);
    *state = &bench;
    return 0;
}

static int teardown(void **state) {
    bench_close(*state);
    return 0;
}

static const int64_t widths[] = {1,  2,  3,  4,  5,  7,  8,  9,  12, 15, 16,  17,
                                 20, 31, 32, 33, 40, 63, 64, 65, 79, 80, 100, 1000};
enum { WIDTHS = sizeof widths / sizeof *widths };

static void check_text(TileBench *b, const char *text) {
    kernel_check_text(b, text, kernel_check_usual());
}

static Str softmax_text(TileBench *b, int64_t rows, int64_t cols, const char *knobs) {
    return str_printf(&b->arena,
                      "tile softmax stream\n  grid t = %lld\n  col c = %lld\n"
                      "  arg x: f32[%lld]\n  arg y: f32[%lld]\n%s"
                      "  %%1 = load x[t*%lld + c] : f32 (t, c)\n"
                      "  %%2 = reduce_max %%1 over (c) : f32 (t)\n"
                      "  %%3 = map sub %%1, %%2 : f32 (t, c)\n"
                      "  %%4 = map exp %%3 : f32 (t, c)\n"
                      "  %%5 = reduce_sum %%4 over (c) : f32 (t)\n"
                      "  %%6 = map div %%4, %%5 : f32 (t, c)\n"
                      "  store y[t*%lld + c] = %%6 : f32 (t, c)\n",
                      (long long)rows, (long long)cols, (long long)(rows * cols),
                      (long long)(rows * cols), knobs, (long long)cols, (long long)cols);
}

static void softmax_of_every_width(void **state) {
    kernel_need_compiler();
    for (int i = 0; i < WIDTHS; i++)
        check_text(*state, softmax_text(*state, 5, widths[i], "").ptr);
}

static void softmax_with_knobs(void **state) {
    kernel_need_compiler();
    static const char *const knobs[] = {
        "  knob unroll = 1\n", "  knob unroll = 8\n  knob keep = 0\n",
        "  knob keep = 1\n  knob prefetch = 2\n", "  knob nt = 1\n"};
    for (int i = 0; i < 4; i++) {
        KernelCheck check = kernel_check_usual();
        check.aligned = i == 3;
        kernel_check_text(*state, softmax_text(*state, 3, 512, knobs[i]).ptr, check);
        kernel_check_text(*state, softmax_text(*state, 3, 1000, knobs[i]).ptr, check);
        check.aligned = false;
        kernel_check_text(*state, softmax_text(*state, 3, 512, knobs[i]).ptr, check);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(softmax_of_every_width, setup, teardown),
        cmocka_unit_test_setup_teardown(softmax_with_knobs, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
