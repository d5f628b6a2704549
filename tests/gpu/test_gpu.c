// Whole models on a GPU: every entry, in both storage types, compiled for the card and run by
// the real session, gives the evaluator's numbers. One argument: a pattern of the tests to run.
#include "tests/gpu/gpu.h"
#include "tests/models/plan_check.h"
#include "tests/test.h"

typedef struct {
    const char *path;
    DType storage;
    IsaLevel level;
} Case;

static void every_entry(void **state) {
    const Case *c = *state;
    for (int kind = 0; kind < ENTRY_KINDS; kind++)
        plan_check(c->path, (EntryKind)kind, c->level, c->storage);
}

int main(int argc, char **argv) {
    IsaLevel level;
    if (!gpu_level(&level)) return 77;
    if (argc > 1) cmocka_set_test_filter(argv[1]);
#define CASE(model, type) {"models/" model ".strata", type, level}
    Case cases[] = {CASE("prenorm", DTYPE_F32),       CASE("prenorm", DTYPE_BF16),
                    CASE("attnres_full", DTYPE_F32),  CASE("attnres_full", DTYPE_BF16),
                    CASE("attnres_block", DTYPE_F32), CASE("attnres_block", DTYPE_BF16)};
#undef CASE
    const struct CMUnitTest tests[] = {
        {"prenorm_f32", every_entry, NULL, NULL, &cases[0]},
        {"prenorm_bf16", every_entry, NULL, NULL, &cases[1]},
        {"attnres_full_f32", every_entry, NULL, NULL, &cases[2]},
        {"attnres_full_bf16", every_entry, NULL, NULL, &cases[3]},
        {"attnres_block_f32", every_entry, NULL, NULL, &cases[4]},
        {"attnres_block_bf16", every_entry, NULL, NULL, &cases[5]},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
