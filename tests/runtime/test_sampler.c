// test_sampler.c: shares of tokens against the softmax, and the corners of top-p.
#include <math.h>

#include "runtime/sampler.h"
#include "tests/test.h"

enum { VOCAB = 5, DRAWS = 20000 };

typedef struct {
    Arena arena;
    Diag diag;
    float logits[VOCAB];
    uint32_t counts[VOCAB];
} Fixture;

static int setup(void **state) {
    Fixture *f = test_calloc(1, sizeof *f);
    diag_init(&f->diag, &f->arena);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    arena_release(&f->arena);
    test_free(f);
    return 0;
}

static Sampler sampler(Fixture *f, double temperature, double top_p, uint64_t seed) {
    Sampler s;
    SamplerSettings settings = {.temperature = temperature, .top_p = top_p, .seed = seed};
    assert_true(sampler_init(&f->diag, &f->arena, settings, VOCAB, &s));
    return s;
}

static Logits logits_of(const Fixture *f) {
    return (Logits){.type = DTYPE_F32, .data = f->logits, .stride = 1};
}

static uint32_t draw(Fixture *f, Sampler *s, uint64_t position) {
    Logits logits = logits_of(f);
    uint32_t token = VOCAB;
    assert_true(sampler_draw(&f->diag, s, &logits, position, &token));
    assert_true(token < VOCAB);
    return token;
}

static void draw_many(Fixture *f, double temperature, double top_p) {
    Sampler s = sampler(f, temperature, top_p, 11);
    memset(f->counts, 0, sizeof f->counts);
    for (uint64_t i = 0; i < DRAWS; i++)
        f->counts[draw(f, &s, i)]++;
}

// A share p of n draws is off by more than five deviations once in two million.
static void assert_share(const Fixture *f, uint32_t token, double p) {
    double deviation = sqrt(DRAWS * p * (1 - p));
    assert_true(fabs(f->counts[token] - DRAWS * p) <= 5 * deviation);
}

// Probabilities 0.4, 0.3, 0.2, 0.1 and 0, not in order.
static void set_shares(Fixture *f, double temperature) {
    const double p[VOCAB] = {0.2, 0.4, 0, 0.1, 0.3};
    for (int i = 0; i < VOCAB; i++)
        f->logits[i] = (float)(temperature * log(p[i]) + 3);
}

static void draws_by_share(void **state) {
    Fixture *f = *state;
    const double temperatures[] = {0.5, 1, 2};
    for (int i = 0; i < 3; i++) {
        double temperature = temperatures[i];
        set_shares(f, temperature);
        draw_many(f, temperature, 1);
        assert_share(f, 0, 0.2);
        assert_share(f, 1, 0.4);
        assert_int_equal(f->counts[2], 0);
        assert_share(f, 3, 0.1);
        assert_share(f, 4, 0.3);
    }
}

static void keeps_the_most_probable(void **state) {
    Fixture *f = *state;
    set_shares(f, 1);
    draw_many(f, 1, 0.65);
    assert_share(f, 1, 4.0 / 7);
    assert_share(f, 4, 3.0 / 7);
    assert_int_equal(f->counts[0] + f->counts[2] + f->counts[3], 0);
    draw_many(f, 1, 0.75);
    assert_share(f, 0, 2.0 / 9);
    assert_int_equal(f->counts[3], 0);
}

static void keeps_at_least_one(void **state) {
    Fixture *f = *state;
    set_shares(f, 1);
    draw_many(f, 1, 1e-300);
    assert_int_equal(f->counts[1], DRAWS);
}

static void takes_the_best_at_temperature_zero(void **state) {
    Fixture *f = *state;
    set_shares(f, 1);
    Sampler s = sampler(f, 0, 1, 0);
    assert_int_equal(draw(f, &s, 0), 1);
    f->logits[4] = f->logits[1];
    assert_int_equal(draw(f, &s, 1), 1);
    f->logits[0] = f->logits[1];
    assert_int_equal(draw(f, &s, 2), 0);
}

static void breaks_ties_by_token(void **state) {
    Fixture *f = *state;
    draw_many(f, 1, 0.39);
    assert_share(f, 0, 0.5);
    assert_share(f, 1, 0.5);
}

static void gives_the_only_one_left(void **state) {
    Fixture *f = *state;
    for (int i = 0; i < VOCAB; i++)
        f->logits[i] = i == 3 ? -1e30F : -INFINITY;
    draw_many(f, 1, 1);
    assert_int_equal(f->counts[3], DRAWS);
    draw_many(f, 1e-6, 0.5);
    assert_int_equal(f->counts[3], DRAWS);
}

static void survives_extreme_logits(void **state) {
    Fixture *f = *state;
    const float extremes[VOCAB] = {3e38F, -3e38F, 0, 3e38F, -INFINITY};
    memcpy(f->logits, extremes, sizeof extremes);
    draw_many(f, 1, 1);
    assert_share(f, 0, 0.5);
    assert_share(f, 3, 0.5);
}

static void depends_on_seed_and_position_alone(void **state) {
    Fixture *f = *state;
    Sampler a = sampler(f, 1, 1, 5), b = sampler(f, 1, 1, 5), c = sampler(f, 1, 1, 6);
    uint32_t first[64], differing = 0;
    for (uint64_t i = 0; i < 64; i++)
        first[i] = draw(f, &a, i);
    for (uint64_t i = 64; i-- > 0;) {
        assert_int_equal(draw(f, &b, i), first[i]);
        differing += draw(f, &c, i) != first[i];
    }
    assert_true(differing > 16);
}

static void reads_strided_bf16(void **state) {
    Fixture *f = *state;
    uint16_t table[VOCAB * 3] = {0};
    table[1 + 4 * 3] = bf16_of(2);
    Logits logits = {.type = DTYPE_BF16, .data = table, .first = 1, .stride = 3};
    Sampler s = sampler(f, 0, 1, 0);
    uint32_t token = 0;
    assert_true(sampler_draw(&f->diag, &s, &logits, 0, &token));
    assert_int_equal(token, 4);
}

static void check_refused(Fixture *f, float bad, const char *message) {
    diag_init(&f->diag, &f->arena);
    f->logits[2] = bad;
    Sampler s = sampler(f, 1, 1, 0);
    Logits logits = logits_of(f);
    assert_false(sampler_draw(&f->diag, &s, &logits, 0, &(uint32_t){0}));
    assert_diag(&f->diag, message);
}

static void refuses_what_is_no_number(void **state) {
    Fixture *f = *state;
    check_refused(f, NAN, "strata: error: the model gives token 2 a logit of NaN\n");
    check_refused(f, INFINITY, "strata: error: the model gives token 2 a logit of infinity\n");
    for (int i = 0; i < VOCAB; i++)
        f->logits[i] = -INFINITY;
    check_refused(f, -INFINITY,
                  "strata: error: the model gives every token a logit of -infinity\n");
}

static void refuses_bad_settings(void **state) {
    Fixture *f = *state;
    const double nan = (double)NAN;
    const SamplerSettings bad[] = {{-0.1, 1, 0}, {nan, 1, 0}, {HUGE_VAL, 1, 0},
                                   {1, 0, 0},    {1, 1.1, 0}, {1, nan, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        diag_init(&f->diag, &f->arena);
        assert_false(sampler_init(&f->diag, &f->arena, bad[i], VOCAB, &(Sampler){0}));
        assert_int_equal(f->diag.fail, FAIL_USAGE);
    }
    assert_diag_has(&f->diag, "a top-p of nan is not possible; it is in (0, 1]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(draws_by_share, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_the_most_probable, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_at_least_one, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_the_best_at_temperature_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(breaks_ties_by_token, setup, teardown),
        cmocka_unit_test_setup_teardown(gives_the_only_one_left, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_extreme_logits, setup, teardown),
        cmocka_unit_test_setup_teardown(depends_on_seed_and_position_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_strided_bf16, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_is_no_number, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_settings, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
