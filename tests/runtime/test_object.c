// test_object.c: objects made by the C compiler run; damaged ones give an error, never a crash.
#include <elf.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/io.h"
#include "base/rng.h"
#include "runtime/object.h"
#include "tests/test.h"

static Str read_object(DiagFixture *f, const char *path) {
    Str object;
    assert_true(io_read(&f->diag, &f->arena, str_of(path), &object));
    return object;
}

static void check_scale(DiagFixture *f, const char *path) {
    Object object;
    assert_true(object_load(&f->diag, STR("scale"), read_object(f, path), &object));
    float in[6] = {1, 2, 3, 4, 5, 6}, out[6] = {0};
    void *args[2] = {in, out};
    object.entry(args, 1, 5, NULL);
    const float expected[6] = {0, 5, 3.5F, -1, 9, 0};
    for (int i = 0; i < 6; i++)
        assert_float_equal(out[i], expected[i], 0);
    object_unload(&object);
    assert_null(object.entry);
}

static void runs_position_independent_code(void **state) { check_scale(*state, OBJECT_SCALE); }
static void runs_code_with_unwind_tables(void **state) {
    check_scale(*state, OBJECT_SCALE_UNWIND);
}

static void runs_fixed_code(void **state) { check_scale(*state, OBJECT_SCALE_FIXED); }

static void reaches_data_through_the_offset_table(void **state) {
    DiagFixture *f = *state;
    Object object;
    Str bytes = read_object(f, OBJECT_VISIBLE);
    assert_true(object_load(&f->diag, STR("visible"), bytes, &object));
    int32_t out[4] = {0};
    void *args[1] = {out};
    object.entry(args, 0, 4, NULL);
    assert_int_equal(out[2], 30);
    assert_int_equal(out[3], 10);
    object_unload(&object);
}

static void check_refused(DiagFixture *f, Str bytes, const char *message) {
    Object object;
    assert_false(object_load(&f->diag, STR("k.1"), bytes, &object));
    assert_null(object.base);
    assert_diag(&f->diag, message);
}

static void refuses_undefined_symbols(void **state) {
    check_refused(*state, read_object(*state, OBJECT_UNDEFINED),
                  "strata: error: kernel 'k.1': bad object code: symbol 'elsewhere' is "
                  "undefined\n");
}

static void refuses_writable_data(void **state) {
    check_refused(*state, read_object(*state, OBJECT_WRITABLE),
                  "strata: error: kernel 'k.1': bad object code: it has writable data\n");
}

static void refuses_an_object_without_the_symbol(void **state) {
    check_refused(
        *state, read_object(*state, OBJECT_NAMELESS),
        "strata: error: kernel 'k.1': bad object code: it has no function 'kernel'\n");
}

static void refuses_what_is_no_object(void **state) {
    check_refused(*state, STR("not an object"),
                  "strata: error: kernel 'k.1': bad object code: it is shorter than an ELF "
                  "header\n");
}

static void refuses_an_executable(void **state) {
    DiagFixture *f = *state;
    Str bytes = read_object(f, OBJECT_SCALE);
    char *copy = arena_strndup(&f->arena, bytes.ptr, bytes.len);
    copy[offsetof(Elf64_Ehdr, e_type)] = ET_DYN;
    check_refused(f, (Str){copy, bytes.len},
                  "strata: error: kernel 'k.1': bad object code: it is no relocatable ELF "
                  "object\n");
}

// ---- what debuggers see

// gdb's descriptor, as far as this needs it.
extern struct {
    uint32_t version, action;
    void *relevant;
    const struct {
        void *next, *previous;
        const char *file;
        uint64_t bytes;
    } * first;
} __jit_debug_descriptor;

// The section's bytes, by name.
static Str section_of(Str file, const char *name, const Elf64_Shdr **out) {
    const Elf64_Ehdr *header = (const void *)file.ptr;
    const Elf64_Shdr *sections = (const void *)(file.ptr + header->e_shoff);
    const char *names = file.ptr + sections[header->e_shstrndx].sh_offset;
    for (uint32_t i = 1; i < header->e_shnum; i++) {
        if (strcmp(names + sections[i].sh_name, name) != 0) continue;
        *out = &sections[i];
        return (Str){file.ptr + sections[i].sh_offset, sections[i].sh_size};
    }
    BUG("no section %s", name);
}

static void check_published(Str file, const Object *object) {
    const Elf64_Shdr *header;
    uint64_t entry = (uint64_t)(uintptr_t)object->entry;
    Str symbols = section_of(file, ".symtab", &header);
    Elf64_Sym kernel;
    memcpy(&kernel, symbols.ptr + sizeof kernel, sizeof kernel);
    assert_true(kernel.st_value == entry);
    Str names = section_of(file, ".strtab", &header);
    assert_string_equal(names.ptr + kernel.st_name, "scale.7");
    Str code = section_of(file, ".text", &header);
    assert_true(header->sh_addr == (uint64_t)(uintptr_t)object->base);
    assert_memory_equal(code.ptr, object->base, code.len);
    // The program of the line table begins with the address of the code.
    Str lines = section_of(file, ".debug_line", &header);
    assert_non_null(memmem(lines.ptr, lines.len, &object->base, sizeof object->base));
}

static void publishes_what_debuggers_need(void **state) {
    DiagFixture *f = *state;
    char folder[] = "/tmp/strata-object-XXXXXX";
    assert_non_null(mkdtemp(folder));
    setenv("STRATA_DEBUG", folder, 1);
    Object object;
    Str bytes = read_object(f, OBJECT_SCALE_LINES);
    bool ok = object_load(&f->diag, STR("scale.7"), bytes, &object);
    unsetenv("STRATA_DEBUG");
    assert_true(ok);
    float in[2] = {1, 2}, out[2] = {0};
    object.entry((void *[]){in, out}, 0, 2, NULL);
    assert_float_equal(out[1], 5, 0);
    char path[512];
    snprintf(path, sizeof path, "%s/scale.7-%ld-%llx.elf", folder, (long)getpid(),
             (unsigned long long)(uintptr_t)object.base);
    check_published(read_object(f, path), &object);
    assert_non_null(__jit_debug_descriptor.first);
    Str told = {__jit_debug_descriptor.first->file, __jit_debug_descriptor.first->bytes};
    check_published(told, &object);
    object_unload(&object);
    assert_null(__jit_debug_descriptor.first);
    assert_int_equal(remove(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void publishes_nothing_where_it_cannot(void **state) {
    DiagFixture *f = *state;
    setenv("STRATA_DEBUG", "/dev/null/kernels", 1);
    Object object;
    bool ok = object_load(&f->diag, STR("k.1"), read_object(f, OBJECT_SCALE), &object);
    unsetenv("STRATA_DEBUG");
    assert_false(ok);
    assert_null(object.base);
    assert_int_equal(f->diag.fail, FAIL_ENVIRONMENT);
}

// Loads bytes that must give either an object or one error.
static void load_anything(Str bytes) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    Object object;
    bool ok = object_load(&diag, STR("k"), bytes, &object);
    assert_int_equal(diag.error_count, ok ? 0 : 1);
    object_unload(&object);
    arena_release(&arena);
}

static void survives_truncation(void **state) {
    Str whole = read_object(*state, OBJECT_SCALE_UNWIND);
    for (size_t n = 0; n < whole.len; n++) {
        // A copy of exactly n bytes lets the address sanitizer see reads past its end.
        char *copy = test_malloc(n + 1);
        memcpy(copy + 1, whole.ptr, n);
        load_anything((Str){copy + 1, n});
        test_free(copy);
    }
}

static void damage(uint64_t trial, const char *path) {
    Arena arena = {0};
    DiagFixture local = {.arena = arena};
    diag_init(&local.diag, &local.arena);
    Str whole = read_object(&local, path);
    char *copy = arena_strndup(&local.arena, whole.ptr, whole.len);
    for (uint64_t k = 0; k <= trial % 4; k++) {
        uint64_t random = rng_u64(trial, k);
        copy[random % whole.len] = (char)(random >> 40);
    }
    load_anything((Str){copy, whole.len});
    arena_release(&local.arena);
}

static void survives_damage(void **state) {
    const char *paths[] = {OBJECT_SCALE_UNWIND, OBJECT_SCALE_FIXED, OBJECT_VISIBLE};
    for (uint64_t trial = 0; trial < 6000; trial++)
        damage(trial, paths[trial % 3]);
    (void)state;
}

static void survives_damage_while_publishing(void **state) {
    char folder[] = "/tmp/strata-object-XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));
    setenv("STRATA_DEBUG", folder, 1);
    for (uint64_t trial = 0; trial < 300; trial++)
        damage(trial, OBJECT_SCALE_LINES);
    unsetenv("STRATA_DEBUG");
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
    (void)state;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_position_independent_code, diag_setup,
                                        diag_teardown),
        cmocka_unit_test_setup_teardown(runs_code_with_unwind_tables, diag_setup,
                                        diag_teardown),
        cmocka_unit_test_setup_teardown(runs_fixed_code, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(reaches_data_through_the_offset_table, diag_setup,
                                        diag_teardown),
        cmocka_unit_test_setup_teardown(refuses_undefined_symbols, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(refuses_writable_data, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(refuses_an_object_without_the_symbol, diag_setup,
                                        diag_teardown),
        cmocka_unit_test_setup_teardown(refuses_what_is_no_object, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(refuses_an_executable, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(publishes_what_debuggers_need, diag_setup,
                                        diag_teardown),
        cmocka_unit_test_setup_teardown(publishes_nothing_where_it_cannot, diag_setup,
                                        diag_teardown),
        cmocka_unit_test_setup_teardown(survives_truncation, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(survives_damage, diag_setup, diag_teardown),
        cmocka_unit_test_setup_teardown(survives_damage_while_publishing, diag_setup,
                                        diag_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
