// test_run.c: one evaluation from file to file.
#include "runtime/checkpoint.h"
#include "runtime/names.h"
#include "runtime/run.h"
#include "tests/runtime/tiny_model.h"

// A file with the named tensors of the session.
static Str write_tensors(Tiny *f, const char *name, const TinyTensor *tensors, uint32_t count) {
    TensorFile file = {.path = tiny_path(f, name), .tensor_count = count};
    file.tensors = arena_array(&f->arena, StoredTensor, count);
    for (uint32_t i = 0; i < count; i++) {
        file.tensors[i] = stored_of(&f->plan->tensors[tensors[i]],
                                    session_read(&f->diag, f->session, tensors[i]));
    }
    assert_true(safetensors_write(&f->diag, &file));
    return file.path;
}

static Str write_batch(Tiny *f) {
    const TinyTensor batch[] = {TINY_TOKENS, TINY_TARGETS};
    int32_t *tokens = session_write(f->session, TINY_TOKENS),
            *targets = session_write(f->session, TINY_TARGETS);
    for (int i = 0; i < TINY_B * TINY_T; i++) {
        tokens[i] = i * 7 % TINY_VOCAB;
        targets[i] = i;
    }
    return write_tensors(f, "inputs.safetensors", batch, 2);
}

static RunOptions options_of(Tiny *f, const char *entry) {
    return (RunOptions){
        .entry = entry, .inputs = write_batch(f), .out = tiny_path(f, "out.safetensors")};
}

static void open_results(Tiny *f, TensorFile *file) {
    assert_true(safetensors_open(&f->diag, &f->arena, tiny_path(f, "out.safetensors"), file));
}

static void writes_outputs_and_gradients(void **state) {
    Tiny *f = *state;
    TensorFile results;
    RunOptions options = options_of(f, ENTRY_NAME_GRAD);
    session_init(f->session, 1);
    options.params = tiny_path(f, "params.safetensors");
    assert_true(checkpoint_write_params(&f->diag, f->session, options.params));
    session_init(f->session, 2);
    memset(session_write(f->session, TINY_TOKENS), 0, sizeof(int32_t) * TINY_B * TINY_T);
    assert_true(run_entry(&f->diag, f->session, &options));
    open_results(f, &results);
    assert_int_equal(results.tensor_count, 2);
    const StoredTensor *loss = safetensors_find(&results, STR("loss")),
                       *grad = safetensors_find(&results, STR("grad.w"));
    assert_true(loss && loss->rank == 0 && grad && grad->shape[0] == TINY_VOCAB);
    // Token 7 stands once in the batch, before target 1.
    session_init(f->session, 1);
    const float *w = session_read(&f->diag, f->session, TINY_W);
    double expected = 2 * ((double)w[7] - 1.0 / 64) / (TINY_B * TINY_T);
    double got = dtype_get(DTYPE_F32, grad->data, 7);
    assert_true(got - expected <= 1e-6 && expected - got <= 1e-6);
    assert_diag(&f->diag, "");
    safetensors_close(&results);
}

static void writes_states_when_asked(void **state) {
    Tiny *f = *state;
    const TinyTensor inputs[] = {TINY_TOKENS, TINY_TARGETS, TINY_LR, TINY_STEP, TINY_CLIP};
    TensorFile results;
    RunOptions options = options_of(f, ENTRY_NAME_TRAIN);
    session_init(f->session, 1);
    options.inputs = write_tensors(f, "inputs.safetensors", inputs, 5);
    options.states = true;
    assert_true(run_entry(&f->diag, f->session, &options));
    open_results(f, &results);
    const StoredTensor *seen = safetensors_find(&results, STR("seen"));
    assert_true(seen && dtype_get(DTYPE_F32, seen->data, 0) == TINY_B * TINY_T);
    assert_non_null(safetensors_find(&results, STR("optim.w.momentum")));
    assert_non_null(safetensors_find(&results, STR("grad_norm")));
    assert_null(safetensors_find(&results, STR("logits")));
    safetensors_close(&results);
}

static void check_refused(Tiny *f, const RunOptions *options, const char *message, Fail fail) {
    tiny_forget(f);
    assert_false(run_entry(&f->diag, f->session, options));
    assert_diag_has(&f->diag, message);
    assert_int_equal(f->diag.fail, fail);
    assert_false(io_exists(tiny_path(f, "out.safetensors")));
}

static void needs_only_what_the_entry_reads(void **state) {
    Tiny *f = *state;
    const TinyTensor tokens = TINY_TOKENS;
    RunOptions options = options_of(f, ENTRY_NAME_EVAL);
    options.inputs = write_tensors(f, "inputs.safetensors", &tokens, 1);
    check_refused(f, &options, "input 'targets' (i32[B=3, T=5]) is missing", FAIL_INPUT);
    options.inputs = STR("");
    check_refused(f, &options, "inputs: error: input 'tokens' (i32[B=3, T=5]) is missing",
                  FAIL_INPUT);
    tiny_forget(f);
    options = options_of(f, ENTRY_NAME_INFER);
    options.inputs = write_tensors(f, "inputs.safetensors", &tokens, 1);
    assert_true(run_entry(&f->diag, f->session, &options));
}

static void refuses_bad_inputs(void **state) {
    Tiny *f = *state;
    const int64_t shape[] = {TINY_T, TINY_B};
    RunOptions options = options_of(f, ENTRY_NAME_EVAL);
    StoredTensor tokens = {STR("tokens"), DTYPE_I32, 2, shape,
                           session_read(&f->diag, f->session, TINY_TOKENS)};
    TensorFile file = {.path = options.inputs, .tensors = &tokens, .tensor_count = 1};
    assert_true(safetensors_write(&f->diag, &file));
    check_refused(f, &options,
                  "tensor 'tokens' has shape [5, 3] and the model needs [B=3, T=5]",
                  FAIL_INPUT);
    tokens.type = DTYPE_F32;
    tokens.shape = f->plan->tensors[TINY_TOKENS].shape;
    assert_true(safetensors_write(&f->diag, &file));
    check_refused(f, &options, "tensor 'tokens' is F32 and the model needs integers",
                  FAIL_INPUT);
    options.inputs = tiny_path(f, "nothing");
    check_refused(f, &options, "nothing: error: cannot read", FAIL_INPUT);
    options = options_of(f, "dream");
    check_refused(f, &options, "model 'tiny' was compiled without 'dream'", FAIL_INPUT);
}

static void refuses_tokens_out_of_range(void **state) {
    Tiny *f = *state;
    const TinyTensor batch[] = {TINY_TOKENS, TINY_TARGETS};
    RunOptions options = options_of(f, ENTRY_NAME_EVAL);
    int32_t *tokens = session_write(f->session, TINY_TOKENS);
    tokens[6] = TINY_VOCAB;
    options.inputs = write_tensors(f, "inputs.safetensors", batch, 2);
    check_refused(f, &options, "tokens[B=1, T=1] is 128; it must be in [0, 128)", FAIL_INPUT);
}

static void refuses_names_that_clash(void **state) {
    Tiny *f = *state;
    RunOptions options = options_of(f, ENTRY_NAME_EVAL);
    options.states = true;
    f->plan->tensors[TINY_SEEN].name = STR("loss");
    check_refused(f, &options, "'loss' is an output and a state; one file cannot hold both",
                  FAIL_INPUT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tiny_setup, tiny_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(writes_outputs_and_gradients),    TEST(writes_states_when_asked),
        TEST(needs_only_what_the_entry_reads), TEST(refuses_bad_inputs),
        TEST(refuses_tokens_out_of_range),     TEST(refuses_names_that_clash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
