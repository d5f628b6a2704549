// test_modules.c: where modules are found, and that each is loaded once, in an order in which
// they can be used.
#include <stdlib.h>

#include "base/io.h"
#include "frontend/modules.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Diag diag;
    char root[32];
} Fixture;

static int setup(void **state) {
    static Fixture fixture;
    fixture = (Fixture){.root = "/tmp/strata-modules-XXXXXX"};
    diag_init(&fixture.diag, &fixture.arena);
    *state = &fixture;
    return mkdtemp(fixture.root) ? 0 : -1;
}

static int teardown(void **state) {
    Fixture *f = *state;
    const char *command = arena_printf(&f->arena, "rm -r '%s'", f->root);
    const int status = system(command);
    arena_release(&f->arena);
    return status;
}

static Str path_in(Fixture *f, const char *name) {
    return str_printf(&f->arena, "%s/%s", f->root, name);
}

static void write_file(Fixture *f, const char *name, const char *text) {
    const Str path = path_in(f, name);
    size_t folder = path.len;
    while (path.ptr[folder - 1] != '/')
        folder--;
    assert_true(io_make_directories(&f->diag, (Str){path.ptr, folder - 1}));
    assert_true(io_write(&f->diag, path, text, strlen(text)));
}

static AstProgram *loaded(Fixture *f, const char *name, const char *library) {
    AstProgram *program = NULL;
    const Str search = path_in(f, library ? library : "none");
    if (!modules_load(&f->diag, &f->arena, path_in(f, name), (SearchPath){&search, 1},
                      &program))
        return NULL;
    return program;
}

static void modules_come_after_what_they_import(void **state) {
    Fixture *f = *state;
    write_file(f, "lib/std/norm.strata", "fn n(x) = x\n");
    write_file(f, "lib/std/depth.strata", "import std.norm\nfn d(x) = x\n");
    write_file(f, "lib/std/all.strata",
               "import std.depth\nimport std.norm\nimport std.depth\n");
    write_file(f, "m/model.strata", "import std.all\nimport std.norm\nmodel m { }\n");
    const AstProgram *p = loaded(f, "m/model.strata", "lib");
    assert_non_null(p);
    assert_int_equal(p->module_count, 4);
    assert_str(p->modules[0]->name, "std.norm");
    assert_str(p->modules[1]->name, "std.depth");
    assert_str(p->modules[2]->name, "std.all");
    assert_ptr_equal(p->root, p->modules[3]);
    assert_ptr_equal(p->root->decls[1].import.module, p->modules[0]);
}

// Beside the importing file comes before the library, and a module found under a name finds its
// relatives by the same name.
static void nearer_files_come_first(void **state) {
    Fixture *f = *state;
    write_file(f, "lib/std/norm.strata", "fn library(x) = x\n");
    write_file(f, "m/std/norm.strata", "fn own(x) = x\n");
    write_file(f, "m/std/depth.strata", "import std.norm\n");
    write_file(f, "m/model.strata", "import std.depth\nmodel m { }\n");
    const AstProgram *p = loaded(f, "m/model.strata", "lib");
    assert_non_null(p);
    assert_str(p->modules[0]->decls[0].fn->name.text, "own");
}

static void one_file_is_one_module(void **state) {
    Fixture *f = *state;
    write_file(f, "m/a.strata", "fn a(x) = x\n");
    write_file(f, "m/b.strata", "import a\n");
    write_file(f, "m/model.strata", "import a\nimport b\nimport m.a\nmodel m { }\n");
    const AstProgram *p = loaded(f, "m/model.strata", "m/..");
    assert_non_null(p);
    assert_int_equal(p->module_count, 3);
    assert_ptr_equal(p->root->decls[0].import.module, p->root->decls[2].import.module);
}

static void failures_are_all_reported(void **state) {
    Fixture *f = *state;
    write_file(f, "bad.strata", "fn f( = 1\n");
    write_file(f, "worse.strata", "fn g) = 1\n");
    write_file(f, "model.strata", "import bad\nimport nowhere\nimport worse\nimport bad\n");
    assert_null(loaded(f, "model.strata", NULL));
    assert_int_equal(f->diag.error_count, 3);
    assert_diag_has(&f->diag, "there is no module 'nowhere'");
    assert_diag_has(&f->diag, "none/nowhere.strata' does not exist");
}

static void a_missing_root_is_an_error(void **state) {
    Fixture *f = *state;
    assert_null(loaded(f, "none.strata", NULL));
    assert_int_equal(f->diag.fail, FAIL_INPUT);
    assert_diag_has(&f->diag, "none.strata: error: ");
}

static void a_module_may_not_import_itself(void **state) {
    Fixture *f = *state;
    write_file(f, "self.strata", "import self\n");
    assert_null(loaded(f, "self.strata", NULL));
    assert_int_equal(f->diag.error_count, 1);
    assert_diag_has(&f->diag, "imports itself");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(modules_come_after_what_they_import, setup, teardown),
        cmocka_unit_test_setup_teardown(nearer_files_come_first, setup, teardown),
        cmocka_unit_test_setup_teardown(one_file_is_one_module, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_are_all_reported, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_root_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(a_module_may_not_import_itself, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
