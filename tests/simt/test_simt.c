// test_simt.c: the models of the machine: hand-written kernels give the right numbers under
// every schedule.
#include "tests/simt/simt_kernels.h"
#include "tests/test.h"

static void kernels_are_right(void **state) {
    (void)state;
    static const char *const names[] = {
#define CASE(upper, lower) #lower,
        SIMT_CASES(CASE)
#undef CASE
    };
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    SimtCase cases[SIMT_CASE_COUNT];
    CudaKernel kernels[SIMT_CASE_COUNT];
    for (uint32_t i = 0; i < SIMT_CASE_COUNT; i++) {
        cases[i] = simt_case(&arena, (SimtCaseName)i);
        kernels[i] = cases[i].kernel;
    }
    Simt *simt;
    if (!simt_build(&diag, &arena, kernels, SIMT_CASE_COUNT, &simt)) assert_diag(&diag, "");
    for (uint32_t i = 0; i < SIMT_CASE_COUNT; i++) {
        SimtCase *c = &cases[i];
        if (!simt_check(&diag, simt, i, (SimtArgs){c->args, c->count})) assert_diag(&diag, "");
        if (!c->right(c)) fail_msg("%s gives wrong numbers", names[i]);
    }
    simt_close(simt);
    arena_release(&arena);
}

int main(void) {
    if (!simt_available()) {
        print_message("skipped: no C++ compiler\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(kernels_are_right)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
