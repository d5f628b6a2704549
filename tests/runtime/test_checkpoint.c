// test_checkpoint.c: what is written comes back bit for bit; damaged, foreign and differing
// checkpoints are refused with the reason; old ones go, the newest stays.
#include <math.h>
#include <unistd.h>

#include "runtime/checkpoint.h"
#include "runtime/names.h"
#include "tests/runtime/tiny_model.h"

static const CheckpointSetting settings[] = {
    {"batch", {"3", 1}, true},
    {"schedule", {"constant lr=1", 13}, false},
};

static Checkpoint checkpoint_at(int64_t step) {
    return (Checkpoint){
        .step = step, .tokens = step * 15, .seed = 7, .settings = settings, .setting_count = 2};
}

static Str directory(Tiny *f) { return str_of(f->directory); }

static float *floats(Tiny *f, uint32_t tensor) { return session_write(f->session, tensor); }

// Values that a conversion through another type or text would change.
static void fill(Tiny *f) {
    session_init(f->session, 3);
    float *w = floats(f, TINY_W), *momentum = floats(f, TINY_MOMENTUM);
    w[0] = -0.0F;
    w[1] = 1e-45F;
    w[2] = INFINITY;
    for (int i = 0; i < TINY_VOCAB; i++)
        momentum[i] = 1 / (float)(3 + i);
    *floats(f, TINY_SEEN) = 15;
}

static void write_step(Tiny *f, int64_t step) {
    Checkpoint c = checkpoint_at(step);
    assert_true(checkpoint_write(&f->diag, f->session, directory(f), &c));
}

static Str written(Tiny *f) {
    fill(f);
    write_step(f, 9);
    return checkpoint_path(&f->arena, directory(f), 9);
}

static void comes_back_bit_for_bit(void **state) {
    Tiny *f = *state;
    Str found, path = written(f);
    const uint32_t kept[] = {TINY_W, TINY_MOMENTUM, TINY_SEEN};
    void *copies[3];
    for (int i = 0; i < 3; i++) {
        size_t n = (size_t)plan_tensor_bytes(&f->plan->tensors[kept[i]]);
        copies[i] = arena_alloc(&f->arena, n, 1);
        memcpy(copies[i], session_read(&f->diag, f->session, kept[i]), n);
    }
    session_init(f->session, 4);
    Checkpoint c = checkpoint_at(0);
    assert_true(checkpoint_find(&f->diag, &f->arena, directory(f), &found));
    assert_true(str_eq(found, path));
    assert_true(checkpoint_load(&f->diag, f->session, found, &c));
    assert_int_equal(c.step, 9);
    assert_int_equal(c.tokens, 135);
    for (int i = 0; i < 3; i++) {
        size_t n = (size_t)plan_tensor_bytes(&f->plan->tensors[kept[i]]);
        assert_memory_equal(copies[i], session_read(&f->diag, f->session, kept[i]), n);
    }
    assert_diag(&f->diag, "");
}

// Sums of gradients are zero between steps.
static void leaves_out_what_is_zero(void **state) {
    Tiny *f = *state;
    TensorFile file;
    assert_true(safetensors_open(&f->diag, &f->arena, written(f), &file));
    assert_int_equal(file.tensor_count, 3);
    assert_null(safetensors_find(&file, STR(NAME_ACCUMULATED_PREFIX "w")));
    assert_null(safetensors_find(&file, STR(NAME_MICRO)));
    safetensors_close(&file);
}

static void exports_parameters(void **state) {
    Tiny *f = *state;
    TensorFile file;
    Str path = tiny_path(f, "params.safetensors");
    fill(f);
    assert_true(checkpoint_write_params(&f->diag, f->session, path));
    assert_true(safetensors_open(&f->diag, &f->arena, path, &file));
    assert_int_equal(file.tensor_count, 2);
    assert_non_null(safetensors_find(&file, STR("w")));
    assert_non_null(safetensors_find(&file, STR("seen")));
    safetensors_close(&file);
    float kept = floats(f, TINY_W)[5];
    session_init(f->session, 4);
    assert_true(params_load(&f->diag, f->session, path));
    assert_true(floats(f, TINY_W)[5] == kept);
    assert_true(*floats(f, TINY_SEEN) == 15);
    session_init(f->session, 4);
    assert_true(params_load(&f->diag, f->session, written(f)));
    assert_diag(&f->diag, "");
}

// Not to disk: the many files of a test need not survive a power cut.
static void put_file(Str path, const char *bytes, size_t n) {
    FILE *file = fopen(path.ptr, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static bool load(Tiny *f, Str path) {
    Checkpoint c = checkpoint_at(0);
    return checkpoint_load(&f->diag, f->session, path, &c);
}

static void check_refused(Tiny *f, Str path, const char *message) {
    tiny_forget(f);
    assert_false(load(f, path));
    assert_diag_has(&f->diag,
                    arena_printf(&f->arena, "%.*s: error: %s", STR_ARG(path), message));
    assert_int_equal(f->diag.fail, FAIL_INPUT);
}

static void refuses_every_truncation(void **state) {
    Tiny *f = *state;
    Str bytes = tiny_read(f, written(f)), path = tiny_path(f, "cut");
    for (size_t n = 0; n < bytes.len; n += n < 1000 ? 1 : 37) {
        tiny_forget(f);
        put_file(path, bytes.ptr, n);
        assert_false(load(f, path));
        assert_int_equal(f->diag.fail, FAIL_INPUT);
    }
}

// A flipped bit anywhere is found, but for those in the padding of the header.
static void refuses_every_flipped_bit(void **state) {
    Tiny *f = *state;
    Str bytes = tiny_read(f, written(f)), path = tiny_path(f, "flipped");
    char *copy = arena_strndup(&f->arena, bytes.ptr, bytes.len);
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.ptr[i] == ' ') continue;
        ArenaMark mark = arena_mark(&f->arena);
        tiny_forget(f);
        copy[i] = (char)(copy[i] ^ 1 << i % 7);
        put_file(path, copy, bytes.len);
        assert_false(load(f, path));
        assert_int_equal(f->diag.fail, FAIL_INPUT);
        copy[i] = bytes.ptr[i];
        arena_rewind(&f->arena, mark);
    }
    tiny_forget(f);
}

static void refuses_other_files(void **state) {
    Tiny *f = *state;
    Str path = tiny_path(f, "params.safetensors");
    fill(f);
    assert_true(checkpoint_write_params(&f->diag, f->session, path));
    check_refused(f, path, "it is no checkpoint of a training run");
}

static void check_other_model(Tiny *f, Str path, const char *message) {
    Session *kept = f->session;
    tiny_forget(f);
    assert_true(session_open(&f->diag, f->plan, 1, &f->session));
    check_refused(f, path, message);
    session_close(f->session);
    f->session = kept;
}

static void refuses_another_model(void **state) {
    Tiny *f = *state;
    Str path = written(f);
    PlanTensor *seen = &f->plan->tensors[TINY_SEEN];
    int64_t shape[] = {1};
    Str axes[] = {STR("one")};
    seen->rank = 1;
    seen->shape = shape;
    seen->axes = axes;
    check_other_model(f, path, "'seen' is f32[] in the checkpoint and f32[1] in the model");
    seen->rank = 0;
    seen->type = DTYPE_I32;
    check_other_model(f, path, "'seen' is f32[] in the checkpoint and i32[] in the model");
    seen->type = DTYPE_F32;
    seen->name = STR("bias");
    check_other_model(f, path, "'bias' is in the model but not in the checkpoint");
    seen->kind = TENSOR_OUTPUT;
    check_other_model(f, path, "'seen' is in the checkpoint but not in the model");
}

static void refuses_other_settings(void **state) {
    Tiny *f = *state;
    Str path = written(f);
    Checkpoint c = checkpoint_at(0);
    c.seed = 8;
    assert_false(checkpoint_load(&f->diag, f->session, path, &c));
    assert_diag_has(&f->diag, "the run has seed 7 and cannot go on with 8");
    tiny_forget(f);
    CheckpointSetting other[] = {settings[0], settings[1]};
    other[0].value = STR("4");
    c = checkpoint_at(0);
    c.settings = other;
    assert_false(checkpoint_load(&f->diag, f->session, path, &c));
    assert_diag_has(&f->diag, "the run has batch 3 and cannot go on with 4");
}

static void warns_of_other_rates(void **state) {
    Tiny *f = *state;
    Str path = written(f);
    CheckpointSetting other[] = {settings[0], settings[1]};
    other[1].value = STR("constant lr=2");
    Checkpoint c = checkpoint_at(0);
    c.settings = other;
    assert_true(checkpoint_load(&f->diag, f->session, path, &c));
    assert_diag_has(&f->diag, "warning");
    assert_diag_has(&f->diag, "the run had schedule constant lr=1 until now and goes on with "
                              "constant lr=2");
}

static void refuses_to_save_nan(void **state) {
    Tiny *f = *state;
    Str path = written(f), found;
    floats(f, TINY_MOMENTUM)[3] = NAN;
    Checkpoint c = checkpoint_at(10);
    assert_false(checkpoint_write(&f->diag, f->session, directory(f), &c));
    assert_diag_has(&f->diag, "optim.w.momentum[vocab=3] is NaN; nothing is saved");
    assert_true(checkpoint_find(&f->diag, &f->arena, directory(f), &found));
    assert_true(str_eq(found, path));
    assert_false(io_exists(checkpoint_path(&f->arena, directory(f), 10)));
}

static void finds_files_and_directories(void **state) {
    Tiny *f = *state;
    Str found, nowhere = tiny_path(f, "nowhere");
    assert_false(checkpoint_find(&f->diag, &f->arena, nowhere, &found));
    assert_diag_has(&f->diag, "nowhere: error: cannot read");
    assert_false(checkpoint_find(&f->diag, &f->arena, directory(f), &found));
    assert_diag_has(&f->diag, "no checkpoint is here: there is no link 'latest'");
    Str path = written(f);
    tiny_forget(f);
    assert_true(checkpoint_find(&f->diag, &f->arena, path, &found));
    assert_true(str_eq(found, path));
    assert_true(load(f, tiny_path(f, "latest")));
}

static void fails_where_it_cannot_write(void **state) {
    Tiny *f = *state;
    fill(f);
    Checkpoint c = checkpoint_at(1);
    Str file = tiny_text(f, "file", 10);
    assert_false(checkpoint_write(&f->diag, f->session, file, &c));
    assert_int_equal(f->diag.fail, FAIL_ENVIRONMENT);
}

static bool exists(Tiny *f, int64_t step) {
    return io_exists(checkpoint_path(&f->arena, directory(f), step));
}

static void keeps_the_newest(void **state) {
    Tiny *f = *state;
    fill(f);
    for (int64_t step = 8; step <= 12; step++)
        write_step(f, step);
    Str left = tiny_path(f, "checkpoint-12.safetensors.99.abc.tmp");
    assert_true(io_write(&f->diag, left, "", 0));
    Str own = tiny_text(f, "checkpoint-notes.txt", 3);
    checkpoint_prune(directory(f), 11, 2);
    assert_false(exists(f, 8) || exists(f, 9));
    assert_true(exists(f, 10) && exists(f, 11) && exists(f, 12));
    assert_false(io_exists(left));
    assert_true(io_exists(own));
    checkpoint_prune(directory(f), 12, 1);
    assert_true(!exists(f, 10) && !exists(f, 11) && exists(f, 12));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tiny_setup, tiny_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(comes_back_bit_for_bit),
        TEST(leaves_out_what_is_zero),
        TEST(exports_parameters),
        TEST(refuses_every_truncation),
        TEST(refuses_every_flipped_bit),
        TEST(refuses_other_files),
        TEST(refuses_another_model),
        TEST(refuses_other_settings),
        TEST(warns_of_other_rates),
        TEST(refuses_to_save_nan),
        TEST(finds_files_and_directories),
        TEST(fails_where_it_cannot_write),
        TEST(keeps_the_newest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
