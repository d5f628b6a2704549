// test_dataset.c: windows are what the files say, wherever they lie; bad files are named with
// the place.
#include <stdlib.h>
#include <unistd.h>

#include "runtime/dataset.h"
#include "tests/test.h"

enum { CONTEXT = 4, ROWS = 3 };

typedef struct {
    Arena arena;
    Diag diag;
    char directory[32];
    Dataset data;
    int32_t tokens[ROWS * CONTEXT], targets[ROWS * CONTEXT];
} Fixture;

static int setup(void **state) {
    Fixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    snprintf(f->directory, sizeof f->directory, "/tmp/strata-data-XXXXXX");
    *state = f;
    return !mkdtemp(f->directory);
}

static int teardown(void **state) {
    Fixture *f = *state;
    dataset_close(&f->data);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", f->directory);
    int status = system(command);
    arena_release(&f->arena);
    test_free(f);
    return status;
}

static Str write_file(Fixture *f, const char *name, const void *bytes, size_t n) {
    Str path = str_printf(&f->arena, "%s/%s", f->directory, name);
    assert_true(io_write(&f->diag, path, bytes, n));
    return path;
}

static bool open_data(Fixture *f, const Str *paths, uint32_t count, int64_t vocab) {
    DatasetOptions options = {
        .paths = paths, .path_count = count, .vocab = vocab, .context = CONTEXT};
    return dataset_open(&f->diag, &f->arena, &options, &f->data);
}

static Batch batch_of(Fixture *f, int64_t rows) {
    return (Batch){.rows = rows,
                   .context = CONTEXT,
                   .type = DTYPE_I32,
                   .tokens = f->tokens,
                   .targets = f->targets};
}

// "abcdefgh" in the text, then 0x169 0x16a 0x16b: one long text over three files, one of them
// empty.
static void open_three(Fixture *f) {
    Str paths[] = {
        write_file(f, "a.txt", "abcdefgh", 8),
        write_file(f, "b.txt", "", 0),
        write_file(f, "c.bin", "\x69\x01\x6a\x01\x6b\x01", 6),
    };
    assert_true(open_data(f, paths, 3, 512));
}

static void joins_files(void **state) {
    Fixture *f = *state;
    open_three(f);
    assert_int_equal(f->data.count, 11);
    assert_int_equal(dataset_token(&f->data, 0), 'a');
    assert_int_equal(dataset_token(&f->data, 7), 'h');
    assert_int_equal(dataset_token(&f->data, 8), 0x169);
    assert_int_equal(dataset_token(&f->data, 10), 0x16b);
}

static void covers_everything_in_order(void **state) {
    Fixture *f = *state;
    open_three(f);
    assert_int_equal(dataset_window_count(&f->data, CONTEXT), 3);
    Batch batch = batch_of(f, 3);
    assert_int_equal(dataset_windows(&f->data, 0, &batch), 3);
    const int32_t tokens[] = {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'g', 'h', 0x169, 0x16a};
    const int32_t targets[] = {'b', 'c',   'd', 'e',   'f',   'g',
                               'h', 0x169, 'h', 0x169, 0x16a, 0x16b};
    assert_memory_equal(f->tokens, tokens, sizeof tokens);
    assert_memory_equal(f->targets, targets, sizeof targets);
    assert_int_equal(dataset_windows(&f->data, 2, &batch), 1);
    assert_int_equal(f->tokens[CONTEXT], 'g');
}

static void counts_windows_that_fit_exactly(void **state) {
    Fixture *f = *state;
    Str path = write_file(f, "a.txt", "abcdefghi", 9);
    assert_true(open_data(f, &path, 1, 256));
    assert_int_equal(dataset_window_count(&f->data, CONTEXT), 2);
    Batch batch = batch_of(f, 2);
    assert_int_equal(dataset_windows(&f->data, 0, &batch), 2);
    assert_int_equal(f->targets[2 * CONTEXT - 1], 'i');
}

static void samples_by_seed_step_and_row(void **state) {
    Fixture *f = *state;
    char text[200];
    for (int i = 0; i < 200; i++)
        text[i] = (char)i;
    Str path = write_file(f, "long.txt", text, sizeof text);
    assert_true(open_data(f, &path, 1, 256));
    Batch batch = batch_of(f, ROWS), one = batch_of(f, 1);
    dataset_sample(&f->data, (SampleKey){.seed = 3, .step = 7}, &batch);
    int32_t row_1 = f->tokens[CONTEXT], row_0 = f->tokens[0];
    for (int i = 0; i < ROWS * CONTEXT; i++) {
        assert_int_equal(f->targets[i], f->tokens[i] + 1);
        if (i % CONTEXT) assert_int_equal(f->tokens[i], f->tokens[i - 1] + 1);
    }
    dataset_sample(&f->data, (SampleKey){.seed = 3, .step = 7, .first_row = 1}, &one);
    assert_int_equal(f->tokens[0], row_1);
    dataset_sample(&f->data, (SampleKey){.seed = 3, .step = 8}, &one);
    assert_int_not_equal(f->tokens[0], row_0);
    dataset_sample(&f->data, (SampleKey){.seed = 4, .step = 7}, &one);
    assert_int_not_equal(f->tokens[0], row_0);
}

static void samples_every_window(void **state) {
    Fixture *f = *state;
    open_three(f);
    unsigned seen = 0;
    Batch batch = batch_of(f, 1);
    for (uint64_t step = 0; step < 200; step++) {
        dataset_sample(&f->data, (SampleKey){.step = step}, &batch);
        for (int64_t start = 0; start < 7; start++)
            seen |= (unsigned)(f->tokens[0] == (int32_t)dataset_token(&f->data, start))
                    << start;
    }
    assert_int_equal(seen, 127);
}

static void check_refused(Fixture *f, Str path, int64_t vocab, const char *message) {
    assert_false(open_data(f, &path, 1, vocab));
    assert_diag(&f->diag, arena_printf(&f->arena, "%.*s: error: %s\n", STR_ARG(path), message));
    assert_int_equal(f->diag.fail, FAIL_INPUT);
}

static void refuses_a_short_file(void **state) {
    check_refused(*state, write_file(*state, "short.txt", "abcd", 4), 256,
                  "it has only 4 tokens; a context of 4 needs at least 5");
}

static void refuses_half_a_token(void **state) {
    check_refused(*state, write_file(*state, "odd.bin", "abcdefghijk", 11), 65536,
                  "11 bytes are no whole number of uint16 tokens");
}

static void refuses_unknown_tokens(void **state) {
    check_refused(*state, write_file(*state, "x.bin", "\1\0\2\0\0\1\3\0\1\0\1\0", 12), 256,
                  "token 2 is 256; it must be in [0, 256)");
}

static void refuses_bytes_beyond_a_small_vocabulary(void **state) {
    check_refused(*state, write_file(*state, "x.txt", "abcabz", 6), 100,
                  "token 5 is 122; it must be in [0, 100)");
}

static void refuses_what_is_not_there(void **state) {
    Fixture *f = *state;
    Str path = STR("/nonexistent/data.txt");
    assert_false(open_data(f, &path, 1, 256));
    assert_diag_has(&f->diag, "/nonexistent/data.txt: error: cannot read");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(joins_files, setup, teardown),
        cmocka_unit_test_setup_teardown(covers_everything_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_windows_that_fit_exactly, setup, teardown),
        cmocka_unit_test_setup_teardown(samples_by_seed_step_and_row, setup, teardown),
        cmocka_unit_test_setup_teardown(samples_every_window, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_short_file, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_half_a_token, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_unknown_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_bytes_beyond_a_small_vocabulary, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(refuses_what_is_not_there, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
