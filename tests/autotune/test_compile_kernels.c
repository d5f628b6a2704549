// test_compile_kernels.c: what is remembered of a program's code.
#include "autotune/compile_kernels.h"
#include "autotune/cuda_compile.h"
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
    const EmittedKernel *kernel = compile_kernels(&diag, &b->arena, &target, programs, 1);
    assert_non_null(kernel);
    return kernel->object;
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

static const IsaLevel gpu = CUDA_SM90A;

static TileProgram *norm_with_registers(TileBench *b, int most) {
    StrBuf text = {0};
    strbuf_addz(&text, "tile norm stream\n  grid t = 65536\n  col c = 256\n"
                       "  arg x: f32[16777216]\n  arg w: f32[16777216]\n"
                       "  arg y: f32[16777216]\n");
    strbuf_addf(&text, "  knob registers = %d\n", most);
    strbuf_addz(&text, "  %1 = load x[t*256 + c] : f32 (t, c)\n"
                       "  %2 = reduce_sum %1 over (c) : f32 (t)\n"
                       "  %3 = map mul %1, %2 : f32 (t, c)\n"
                       "  %4 = load w[t*256 + c] : f32 (t, c)\n"
                       "  %5 = map add %3, %4 : f32 (t, c)\n"
                       "  store y[t*256 + c] = %5 : f32 (t, c)\n");
    TileProgram *p = bench_program(b, text.ptr);
    strbuf_release(&text);
    return p;
}

// Code that is in the database is not compiled, so it may be anything.
static CudaKernel plant(TileBench *b, Database *db, int most, uint32_t spills) {
    CudaKernel kernel;
    assert_true(cuda_emit(&b->diag, &b->arena, norm_with_registers(b, most),
                          (EmitOptions){.level = gpu}, &kernel));
    Hash key = cuda_code_key(kernel.text, gpu, emitter_version(&b->arena, gpu));
    EmittedKernel code = {.object = str_printf(&b->arena, "spills %u", spills),
                          .spill_bytes = spills};
    database_code_add(db, key, &code);
    return kernel;
}

static void rows_that_spill_get_another_shape(void **state) {
    enum { FITS = 2 };
    static const uint32_t spills[][3] = {{8, 8, 0}, {8, 8, 4}, {8, 8, 16}, {0, 0, 4}};
    static const int chosen[] = {FITS, FITS, 0, 0}, most[] = {0, 160, 96};
    (void)state;
    for (int i = 0; i < 4; i++) {
        TileBench b;
        bench_open(&b);
        Database *db;
        assert_true(database_open(&b.diag, (Str){0}, &db));
        CudaKernel kernels[3];
        for (int k = 0; k < 3; k++)
            kernels[k] = plant(&b, db, most[k], spills[i][k]);
        assert_true(str_eq(kernels[0].text, kernels[1].text));
        assert_true(kernels[FITS].launch.blocks > kernels[0].launch.blocks);
        CompileTarget target = {.level = gpu, .threads = 1, .db = db};
        const TileProgram *programs[] = {norm_with_registers(&b, 0)};
        const EmittedKernel *kernel = compile_kernels(&b.diag, &b.arena, &target, programs, 1);
        assert_non_null(kernel);
        assert_int_equal(kernel->spill_bytes, spills[i][chosen[i]]);
        assert_int_equal(kernel->launch.blocks, kernels[chosen[i]].launch.blocks);
        assert_int_equal(kernel->tasks, 65536);
        database_close(db);
        bench_close(&b);
    }
}

static Hash key_of(const char *text) { return cuda_code_key(str_of(text), gpu, STR("e")); }

static void names_and_lines_are_no_part_of_the_key(void **state) {
    (void)state;
    Hash key = key_of("// add.1\n// %2 = add\nx;\n");
    assert_true(hash_eq(key_of("// sum.7\n// %2 = add\n#line 3 \"lm.strata\"\nx;\n"), key));
    assert_false(hash_eq(key_of("// add.1\n// %2 = add\ny;\n"), key));
    assert_false(hash_eq(key_of("// add.1\n// %2 = add\nx;\n#define x\n"), key));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_with_lines_is_remembered_by_its_lines),
        cmocka_unit_test(rows_that_spill_get_another_shape),
        cmocka_unit_test(names_and_lines_are_no_part_of_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
