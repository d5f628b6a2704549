// Whole models as plans for GPUs: their kernels' text runs on the CPU (tests/simt), in turn
// under every schedule, and gives the evaluator's numbers.
#include <stdlib.h>

#include "tests/models/plan_check.h"
#include "tests/simt/simt.h"
#include "tests/test.h"

static void test_f32(void **state) {
    (void)state;
    plan_check("models/attnres_block.strata", ENTRY_TRAIN, CUDA_SM80, DTYPE_F32);
}

static void test_sm80(void **state) {
    (void)state;
    plan_check("models/prenorm.strata", ENTRY_GRAD, CUDA_SM80, DTYPE_BF16);
    plan_check("models/attnres_block.strata", ENTRY_FORWARD, CUDA_SM80, DTYPE_BF16);
}

static void test_sm90a(void **state) {
    (void)state;
    plan_check("models/attnres_block.strata", ENTRY_TRAIN, CUDA_SM90A, DTYPE_BF16);
    plan_check("models/attnres_full.strata", ENTRY_GRAD, CUDA_SM90A, DTYPE_BF16);
}

#define SET(name, value)                                           \
    {                                                              \
        {(name), sizeof(name) - 1}, { (value), sizeof(value) - 1 } \
    }

// Experts: each token has two of five, where rounding to 16 bits might choose others, all.
static void test_experts(void **state) {
    (void)state;
    static const char model[] = "models/kimi_linear.strata";
    const Setting some[] = {SET("sparse", "true"), SET("every", "1"), SET("layers", "2"),
                            SET("wide", "24"),     SET("e", "5"),     SET("top", "2")};
    const Setting all[] = {SET("sparse", "true"), SET("every", "1"), SET("layers", "2"),
                           SET("wide", "24"),     SET("e", "3"),     SET("top", "3")};
    const Settings settings[] = {{some, 6}, {all, 6}};
    plan_check_with(model, ENTRY_TRAIN, CUDA_SM80, DTYPE_F32, settings[0]);
    plan_check_with(model, ENTRY_FORWARD, CUDA_SM100A, DTYPE_F32, settings[0]);
    plan_check_with(model, ENTRY_TRAIN, CUDA_SM90A, DTYPE_BF16, settings[1]);
}

static void test_decoding(void **state) {
    (void)state;
    plan_check("models/prenorm.strata", ENTRY_PREFILL, CUDA_SM80, DTYPE_F32);
    plan_check("models/prenorm.strata", ENTRY_PREFILL, CUDA_SM90A, DTYPE_BF16);
    plan_check("models/attnres_block.strata", ENTRY_DECODE, CUDA_SM90A, DTYPE_BF16);
    plan_check("models/kimi_linear.strata", ENTRY_PREFILL, CUDA_SM100A, DTYPE_BF16);
    plan_check("tests/models/packed.strata", ENTRY_PREFILL, CUDA_SM80, DTYPE_F32);
    plan_check("tests/models/packed.strata", ENTRY_DECODE, CUDA_SM90A, DTYPE_BF16);
}

static void test_recurrences(void **state) {
    (void)state;
    plan_check("models/kimi_linear.strata", ENTRY_GRAD, CUDA_SM90A, DTYPE_BF16);
    plan_check("models/kimi_linear.strata", ENTRY_FORWARD, CUDA_SM80, DTYPE_F32);
}

static void test_packed(void **state) {
    (void)state;
    plan_check("tests/models/packed_states.strata", ENTRY_GRAD, CUDA_SM80, DTYPE_F32);
    plan_check("tests/models/packed_states.strata", ENTRY_GRAD, CUDA_SM90A, DTYPE_BF16);
}

// Ways through the depth that are not attention over it, and others. Of mhc's gradients some
// are rounding alone: its streams begin alike. All kernels of all of them:
// test_cuda_schemes.c.
static void test_schemes(void **state) {
    (void)state;
    static const struct {
        const char *residual;
        IsaLevel arch;
        DType storage;
    } rows[] = {
        {"mudd", CUDA_SM80, DTYPE_F32},   {"hyper", CUDA_SM90A, DTYPE_F32},
        {"mhc", CUDA_SM80, DTYPE_F32},    {"mhc_lite", CUDA_SM100A, DTYPE_BF16},
        {"heads", CUDA_SM90A, DTYPE_F32}, {"input_query", CUDA_SM80, DTYPE_F32},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Setting settings[] = {
            {STR("residual"), str_of(rows[i].residual)}, SET("layers", "2"), SET("n", "2")};
        plan_check_with("models/lm.strata", ENTRY_GRAD, rows[i].arch, rows[i].storage,
                        (Settings){settings, 3});
    }
}

static void test_sm100a(void **state) {
    (void)state;
    plan_check("models/attnres_block.strata", ENTRY_FORWARD, CUDA_SM100A, DTYPE_BF16);
}

int main(void) {
    if (!simt_available()) {
        fputs("skipped: no C++ compiler; install g++\n", stderr);
        return 77;
    }
    setenv("STRATA_NVRTC", STRATA_NVRTC_TEXT, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32),      cmocka_unit_test(test_sm80),
        cmocka_unit_test(test_sm90a),    cmocka_unit_test(test_experts),
        cmocka_unit_test(test_decoding), cmocka_unit_test(test_recurrences),
        cmocka_unit_test(test_packed),   cmocka_unit_test(test_schemes),
        cmocka_unit_test(test_sm100a)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
