// test_lines.c: objects say which of the model's lines their instructions come from, and say it
// without another instruction.
#include <elf.h>

#include "tests/codegen/kernel_bench.h"
#include "tests/codegen/line_table.h"

static int setup(void **state) {
    TileBench *b = test_calloc(1, sizeof *b);
    bench_open(b);
    *state = b;
    return 0;
}

static int teardown(void **state) {
    bench_close(*state);
    test_free(*state);
    return 0;
}

// Two sources with lines of two bytes each. Operation i stands at line i + 1 of the model, but
// the last MAP, which stands at line 19 of the library.
enum { LIBRARY_LINE = 19 };

static uint32_t last_map(const TileProgram *p) {
    uint32_t last = 0;
    for (uint32_t i = 1; i < p->ops.len; i++)
        if (p->ops.ptr[i].kind == TILE_MAP) last = i;
    return last;
}

static TileProgram *program_with_places(TileBench *b, Diag *sources, const char *text) {
    TileProgram *p = bench_program(b, text);
    Str lines = STR("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\nn\no\np\nq\nr\ns\nt\n");
    uint32_t model = diag_source_add(sources, STR("model.strata"), lines);
    uint32_t library = diag_source_add(sources, STR("std/norm.strata"), lines);
    for (uint32_t i = 1; i < p->ops.len; i++) {
        bool outside = i == last_map(p);
        uint32_t start = outside ? (LIBRARY_LINE - 1) * 2 : i * 2;
        p->ops.ptr[i].span = (Span){outside ? library : model, start, start + 1};
    }
    return p;
}

// Without FMA, which makes one instruction of two operations.
static EmittedKernel emitted(TileBench *b, const TileProgram *p, const Diag *lines) {
    EmittedKernel kernel;
    EmitOptions options = {.level = CPU_PORTABLE, .lines = lines};
    assert_true(emit_kernel(&b->diag, &b->arena, p, options, &kernel));
    return kernel;
}

static bool has_line(const LineTable *t, const char *file, uint32_t line) {
    for (uint32_t i = 0; i < t->count; i++)
        if (str_ends(t->rows[i].file, str_of(file)) && t->rows[i].line == line) return true;
    return false;
}

static void check_lines(TileBench *b, const char *text) {
    Diag sources;
    diag_init(&sources, &b->arena);
    TileProgram *p = program_with_places(b, &sources, text);
    Str plain = emitted(b, p, NULL).object, object = emitted(b, p, &sources).object;
    LineTable table = line_table_read(&b->arena, object);
    Str code = object_section(object, ".text");
    for (uint32_t i = 1; i < p->ops.len; i++) {
        TileOpKind kind = p->ops.ptr[i].kind;
        // The register kernel's loads are part of the sums.
        if (kind == TILE_CONST || kind == TILE_LOAD) continue;
        bool found = i == last_map(p) ? has_line(&table, "norm.strata", LIBRARY_LINE)
                                      : has_line(&table, "model.strata", i + 1);
        if (!found) fail_msg("operation %u has no instruction of its line", i);
    }
    for (uint32_t i = 0; i < table.count; i++)
        assert_true(table.rows[i].address <= code.len);
    assert_true(str_eq(code, object_section(plain, ".text")));
    assert_int_equal(object_section(plain, ".debug_line").len, 0);
    assert_int_equal(object_section(plain, ".debug_info").len, 0);
}

static void rows_have_lines(void **state) {
    kernel_need_compiler();
    check_lines(*state, tile_text_rms_norm);
}

static void contractions_have_lines(void **state) {
    kernel_need_compiler();
    check_lines(*state, tile_text_contraction);
}

static void attention_has_lines(void **state) {
    kernel_need_compiler();
    check_lines(*state, "tile t attend\nm t = 20\nn s = 24\nk d = 8\nk e = 8\n"
                        "arg q: f32[160]\narg k: f32[192]\narg v: f32[192]\narg o: f32[160]\n"
                        "%1 = load q[t*8 + d] : f32 (t, d)\n"
                        "%2 = load k[s*8 + d] : f32 (s, d)\n"
                        "%3 = dot %1, %2 over (d) : f32 (t, s)\n"
                        "%4 = map exp %3 : f32 (t, s)\n"
                        "%5 = load v[s*8 + e] : f32 (s, e)\n"
                        "%6 = dot %4, %5 over (s) : f32 (t, e)\n"
                        "store o[t*8 + e] = %6 : f32 (t, e)\n");
}

static void programs_without_places_have_none(void **state) {
    kernel_need_compiler();
    TileBench *b = *state;
    TileProgram *p = bench_program(b, tile_text_rms_norm);
    for (uint32_t i = 1; i < p->ops.len; i++)
        p->ops.ptr[i].span = (Span){0};
    Str object = emitted(b, p, &b->diag).object;
    assert_true(str_eq(object, emitted(b, p, NULL).object));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_have_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(contractions_have_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(attention_has_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(programs_without_places_have_none, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
