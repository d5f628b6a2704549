// test_generate.c: the tiny model's most probable next token is the sum of those it sees, so
// that generated text tells exactly what was in the context.
#include "runtime/generate.h"
#include "tests/runtime/tiny_model.h"

typedef struct {
    uint32_t tokens[64];
    int64_t count, most;
} Collected;

static bool collect(void *context, uint32_t row, uint32_t token) {
    (void)row;
    Collected *c = context;
    c->tokens[c->count++] = token;
    return c->count < c->most;
}

static GenerateOptions options_of(Collected *c, const Str *prompt) {
    *c = (Collected){.most = 64};
    return (GenerateOptions){.prompts = prompt,
                             .prompt_count = 1,
                             .tokens = 20,
                             .sampler = {.temperature = 0, .top_p = 1},
                             .emit = collect,
                             .context = c};
}

// What the model says after `text` if it sees the last T tokens.
static uint32_t expected_next(const uint32_t *text, int64_t count) {
    uint32_t sum = 0;
    for (int64_t i = count > TINY_T ? count - TINY_T : 0; i < count; i++)
        sum += text[i];
    return sum % TINY_VOCAB;
}

static void check_text(const Collected *c, Str prompt) {
    uint32_t text[128];
    int64_t count = 0;
    for (size_t i = 0; i < prompt.len; i++)
        text[count++] = (unsigned char)prompt.ptr[i];
    for (int64_t i = 0; i < c->count; i++) {
        uint32_t next = expected_next(text, count);
        assert_int_equal(c->tokens[i], next);
        text[count++] = next;
    }
}

static void slides_its_window(void **state) {
    Tiny *f = *state;
    const Str prompts[] = {STR("a"), STR("abcde"), STR("a longer prompt than the context")};
    for (int i = 0; i < 3; i++) {
        Collected c;
        GenerateOptions options = options_of(&c, &prompts[i]);
        GenerateResult result;
        assert_true(generate_run(&f->diag, &f->arena, f->session, &options, &result));
        assert_int_equal(c.count, 20);
        assert_int_equal(result.tokens, 20);
        assert_int_equal(result.prompt_tokens, prompts[i].len);
        assert_false(result.interrupted);
        check_text(&c, prompts[i]);
    }
}

static void starts_after_a_newline(void **state) {
    Tiny *f = *state;
    Collected c;
    GenerateOptions options = options_of(&c, &STR(""));
    GenerateResult result;
    assert_true(generate_run(&f->diag, &f->arena, f->session, &options, &result));
    check_text(&c, STR("\n"));
    assert_int_equal(result.prompt_tokens, 0);
}

static void samples_by_seed(void **state) {
    Tiny *f = *state;
    Collected first, again, other;
    GenerateOptions options = options_of(&first, &STR("abc"));
    GenerateResult result;
    options.sampler = (SamplerSettings){.temperature = 3, .top_p = 0.99, .seed = 4};
    assert_true(generate_run(&f->diag, &f->arena, f->session, &options, &result));
    again = (Collected){.most = 64};
    options.context = &again;
    assert_true(generate_run(&f->diag, &f->arena, f->session, &options, &result));
    assert_memory_equal(first.tokens, again.tokens, 20 * sizeof *first.tokens);
    other = (Collected){.most = 64};
    options.context = &other;
    options.sampler.seed = 5;
    assert_true(generate_run(&f->diag, &f->arena, f->session, &options, &result));
    assert_memory_not_equal(first.tokens, other.tokens, 20 * sizeof *first.tokens);
}

static void stops_when_told(void **state) {
    Tiny *f = *state;
    Collected c;
    volatile sig_atomic_t stop = 0;
    GenerateOptions options = options_of(&c, &STR("abc"));
    GenerateResult result;
    options.stop = &stop;
    c.most = 3;
    assert_true(generate_run(&f->diag, &f->arena, f->session, &options, &result));
    assert_int_equal(result.tokens, 3);
    assert_false(result.interrupted);
    stop = 1;
    assert_true(generate_run(&f->diag, &f->arena, f->session, &options, &result));
    assert_int_equal(result.tokens, 0);
    assert_true(result.interrupted);
}

static void refuses_bytes_that_are_no_tokens(void **state) {
    Tiny *f = *state;
    Collected c;
    GenerateOptions options = options_of(&c, &STR("ab\xff"));
    GenerateResult result;
    assert_false(generate_run(&f->diag, &f->arena, f->session, &options, &result));
    assert_diag(&f->diag,
                "strata: error: byte 2 of the prompt is 255; tokens are in [0, 128)\n");
    assert_int_equal(f->diag.fail, FAIL_INPUT);
}

static void refuses_a_model_without_logits(void **state) {
    Tiny *f = *state;
    const Str axes[] = {STR("time"), STR("vocab"), STR("B")};
    Collected c;
    GenerateOptions options = options_of(&c, &STR("ab"));
    GenerateResult result;
    f->plan->tensors[TINY_LOGITS].axes = axes;
    assert_false(generate_run(&f->diag, &f->arena, f->session, &options, &result));
    assert_diag(&f->diag, "strata: error: model 'tiny' has no output logits over B, T and a "
                          "vocabulary\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slides_its_window, tiny_setup, tiny_teardown),
        cmocka_unit_test_setup_teardown(starts_after_a_newline, tiny_setup, tiny_teardown),
        cmocka_unit_test_setup_teardown(samples_by_seed, tiny_setup, tiny_teardown),
        cmocka_unit_test_setup_teardown(stops_when_told, tiny_setup, tiny_teardown),
        cmocka_unit_test_setup_teardown(refuses_bytes_that_are_no_tokens, tiny_setup,
                                        tiny_teardown),
        cmocka_unit_test_setup_teardown(refuses_a_model_without_logits, tiny_setup,
                                        tiny_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
