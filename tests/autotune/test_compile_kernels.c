// test_compile_kernels.c: what is remembered of a program's code.
#include "autotune/compile_kernels.h"
#include "tests/codegen/kernel_bench.h"

static Diag diag_with_source(Arena *arena) {
    Diag diag;
    diag_init(&diag, arena);
    diag_source_add(&diag, STR("model.strata"), STR("a\nb\nc\n"));
    return diag;
}

// The program's object, with every operation at a line of the source.
static Str object_at(TileBench *b, Database *db, uint32_t line, bool line_tables) {
    Diag diag = diag_with_source(&b->arena);
    TileProgram *p = bench_program(b, tile_text_contraction);
    for (uint32_t i = 1; i < p->ops.len; i++)
        p->ops.ptr[i].span = (Span){1, (line - 1) * 2, (line - 1) * 2 + 1};
    CompileTarget target = {
        .level = CPU_PORTABLE, .threads = 1, .db = db, .line_tables = line_tables};
    const TileProgram *programs[] = {p};
    EmittedKernel kernel;
    assert_true(compile_kernels(&diag, &b->arena, &target, programs, 1, &kernel));
    return kernel.object;
}

static void code_with_lines_is_remembered_by_its_lines(void **state) {
    kernel_need_compiler();
    TileBench b;
    bench_open(&b);
    Database *db;
    assert_true(database_open(&b.diag, (Str){0}, &db));
    Str plain = object_at(&b, db, 1, false), first = object_at(&b, db, 1, true);
    assert_false(str_eq(plain, first));
    assert_false(str_eq(first, object_at(&b, db, 2, true)));
    assert_true(str_eq(first, object_at(&b, db, 1, true)));
    assert_true(str_eq(plain, object_at(&b, db, 2, false)));
    database_close(db);
    bench_close(&b);
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_with_lines_is_remembered_by_its_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
