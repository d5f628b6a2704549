// Compiled plans of whole models, every entry, on the CPU.
#include "tests/models/plan_check.h"
#include "tests/test.h"

static void check_model(const char *path) {
    for (int kind = 0; kind < ENTRY_KINDS; kind++)
        plan_check(path, (EntryKind)kind, cpu_level_here(), DTYPE_F32);
}

static void test_prenorm(void **state) {
    (void)state;
    check_model("models/prenorm.strata");
}

static void test_attnres_full(void **state) {
    (void)state;
    check_model("models/attnres_full.strata");
}

static void test_attnres_block(void **state) {
    (void)state;
    check_model("models/attnres_block.strata");
}

static void test_kimi_linear(void **state) {
    (void)state;
    plan_check("models/kimi_linear.strata", ENTRY_TRAIN, cpu_level_here(), DTYPE_F32);
    plan_check("models/kimi_linear.strata", ENTRY_TRAIN, cpu_level_here(), DTYPE_BF16);
}

static void test_kimi_delta(void **state) {
    (void)state;
    const Setting kda[] = {{STR("mixer"), STR("kda")}};
    plan_check_with("models/lm.strata", ENTRY_TRAIN, cpu_level_here(), DTYPE_F32,
                    (Settings){kda, 1});
    plan_check_with("models/lm.strata", ENTRY_TRAIN, cpu_level_here(), DTYPE_BF16,
                    (Settings){kda, 1});
}

static void test_packed(void **state) {
    (void)state;
    const char *path = "tests/models/packed.strata";
    for (int kind = ENTRY_PREFILL; kind <= ENTRY_DECODE; kind++) {
        plan_check(path, (EntryKind)kind, cpu_level_here(), DTYPE_F32);
        plan_check(path, (EntryKind)kind, cpu_level_here(), DTYPE_BF16);
    }
}

static void test_narrower_machines(void **state) {
    (void)state;
    for (int level = CPU_PORTABLE; level < (int)cpu_level_here(); level++)
        plan_check("models/attnres_block.strata", ENTRY_TRAIN, (IsaLevel)level, DTYPE_F32);
}

static void test_bf16(void **state) {
    (void)state;
    for (int kind = 0; kind < ENTRY_KINDS; kind++)
        plan_check("models/attnres_block.strata", (EntryKind)kind, cpu_level_here(),
                   DTYPE_BF16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prenorm),       cmocka_unit_test(test_attnres_full),
        cmocka_unit_test(test_attnres_block), cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_kimi_linear),   cmocka_unit_test(test_kimi_delta),
        cmocka_unit_test(test_packed),        cmocka_unit_test(test_narrower_machines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
