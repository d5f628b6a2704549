// test_library.c: libraries by name, by pattern, in a folder, too old, and not at all.
#include <stdlib.h>
#include <string.h>

#include "base/library.h"
#include "tests/test.h"

static const char *const symbols[] = {"found_version", "found_product"};

typedef struct {
    int (*version)(void);
    int (*product)(int x, int y);
} Table;

static LibrarySpec spec_of(const char *const *places, size_t count) {
    return (LibrarySpec){.variable = "STRATA_FOUND",
                         .file = "libfound_*.so",
                         .places = places,
                         .place_count = count,
                         .symbols = symbols,
                         .symbol_count = 2};
}

static int setup(void **state) {
    (void)state;
    return unsetenv("STRATA_FOUND");
}

static void check_found(const LibrarySpec *spec) {
    Table table;
    const char *lacks;
    assert_true(library_open(spec, &table, &lacks));
    assert_int_equal(table.version(), 2);
    assert_int_equal(table.product(6, 7), 42);
}

static void goes_on_to_the_next_place(void **state) {
    (void)state;
    const char *const places[] = {"libabsent_found.so", "/absent/libfound*.so", FOUND_1,
                                  FOUND_2};
    LibrarySpec spec = spec_of(places, 4);
    check_found(&spec);
}

static void says_what_is_lacking(void **state) {
    (void)state;
    const char *const places[] = {FOUND_1, "/absent/libfound.so"};
    LibrarySpec spec = spec_of(places, 2);
    Table table;
    const char *lacks;
    assert_false(library_open(&spec, &table, &lacks));
    assert_string_equal(lacks, "found_product");
    spec.place_count = 0;
    assert_false(library_open(&spec, &table, &lacks));
    assert_null(lacks);
}

// A folder has both; the first that does is taken.
static void the_environment_comes_before_all_places(void **state) {
    (void)state;
    char folder[] = FOUND_2;
    *strrchr(folder, '/') = 0;
    const char *const places[] = {FOUND_2};
    LibrarySpec spec = spec_of(places, 1);
    setenv("STRATA_FOUND", folder, 1);
    check_found(&spec);
    setenv("STRATA_FOUND", FOUND_2, 1);
    check_found(&spec);
    Table table;
    const char *lacks;
    setenv("STRATA_FOUND", "/absent/libfound.so", 1);
    assert_false(library_open(&spec, &table, &lacks));
    assert_null(lacks);
    setenv("STRATA_FOUND", "", 1);
    check_found(&spec);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, setup)

int main(void) {
    const struct CMUnitTest tests[] = {CASE(goes_on_to_the_next_place),
                                       CASE(says_what_is_lacking),
                                       CASE(the_environment_comes_before_all_places)};
    return cmocka_run_group_tests_name("library", tests, NULL, NULL);
}
