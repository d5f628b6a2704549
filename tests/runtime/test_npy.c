// Files of arrays: every byte of a small one.
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "runtime/npy.h"
#include "tests/test.h"

static void test_bytes(void **state) {
    (void)state;
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    char path[] = "/tmp/strata-npy-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    const double x[6] = {1, -2.5, 0, 4, 5, 1e300};
    assert_true(npy_write(&diag, str_of(path), x, 3, 2));
    Str text;
    assert_true(io_read(&diag, &arena, str_of(path), &text));
    assert_memory_equal(text.ptr, "\x93NUMPY\x01\x00\x76\x00", 10);
    assert_memory_equal(text.ptr + 10, "{'descr': '<f8', 'fortran_order': False, ", 41);
    assert_non_null(strstr(text.ptr + 10, "'shape': (3, 2), }"));
    assert_int_equal(text.ptr[127], '\n');
    assert_int_equal(text.len, 128 + sizeof x);
    assert_memory_equal(text.ptr + 128, x, sizeof x);
    unlink(path);
    arena_release(&arena);
}

static void test_directory_is_missing(void **state) {
    (void)state;
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    assert_false(npy_write(&diag, STR("/nowhere/x.npy"), (double[]){1}, 1, 1));
    assert_diag_has(&diag, "/nowhere/x.npy: error: ");
    arena_release(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes),
                                       cmocka_unit_test(test_directory_is_missing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
