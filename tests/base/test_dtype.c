// test_dtype.c: names, every 16-bit pattern both ways, rounding and saturation.
#include <math.h>

#include "base/dtype.h"
#include "base/rng.h"
#include "tests/test.h"

static void names_are_parsed(void **state) {
    (void)state;
    for (int t = 0; t < DTYPE_COUNT; t++) {
        DType back = DTYPE_COUNT;
        assert_true(dtype_parse(str_of(dtype_text((DType)t)), &back) && back == (DType)t);
        assert_true(dtype_parse_safetensors(str_of(dtype_safetensors((DType)t)), &back));
        assert_int_equal(back, t);
    }
    DType t;
    assert_false(dtype_parse(STR("F32"), &t));
    assert_false(dtype_parse_safetensors(STR("f32"), &t));
    assert_int_equal(dtype_bytes(DTYPE_BF16), 2);
    assert_true(dtype_is_float(DTYPE_F16) && !dtype_is_float(DTYPE_I32));
}

static void halves_round_trip(void **state) {
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        float b = bf16_to((uint16_t)h), f = f16_to((uint16_t)h);
        if (isnan(b))
            assert_true(isnan(bf16_to(bf16_of(b))));
        else
            assert_int_equal(bf16_of(b), h);
        if (isnan(f))
            assert_true(isnan(f16_to(f16_of(f))));
        else
            assert_int_equal(f16_of(f), h);
    }
    assert_true(f16_to(0x3c00) == 1.0f && f16_to(0x0001) == 0x1p-24f &&
                f16_to(0x7bff) == 65504.0f);
    assert_true(bf16_to(0x3f80) == 1.0f);
}

// The value nearest to x among those of type t, found by looking at both neighbours of the
// result.
static void check_nearest(DType t, double x) {
    uint16_t stored = 0;
    dtype_set(t, &stored, 0, x);
    double got = dtype_get(t, &stored, 0);
    if ((stored & 0x7fff) == 0) assert_int_equal(stored >> 15, signbit(x) != 0);
    for (int step = -1; step <= 1; step += 2) {
        uint16_t beside = (uint16_t)(stored + step);
        double other = dtype_get(t, &beside, 0);
        if (isnan(other) || isinf(other) || signbit(other) != signbit(got)) continue;
        double here = fabs(got - x), there = fabs(other - x);
        assert_true(here < there || (here == there && !(stored & 1)));
    }
}

static void stores_round_to_nearest_even(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 200000; i++) {
        // Magnitudes around and below the normal range of f16.
        double x = rng_normal(3, i) * exp2(floor(rng_uniform(4, i) * 44) - 30);
        if (fabs(x) < 65000) check_nearest(DTYPE_F16, x);
        check_nearest(DTYPE_BF16, x);
    }
    // Halfway between 1 and the next bf16, plus less than a float can hold: rounding twice
    // would go down.
    check_nearest(DTYPE_BF16, 1 + 0x1p-8 + 0x1p-40);
    check_nearest(DTYPE_BF16, 1 + 0x1p-8 - 0x1p-40);
    check_nearest(DTYPE_F16, 1 + 0x1p-11 + 0x1p-45);
    check_nearest(DTYPE_F16, 0x1p-25);
    check_nearest(DTYPE_F16, 0x1p-25 + 0x1p-70);
}

static void large_values_become_infinite(void **state) {
    (void)state;
    assert_int_equal(f16_of(65519.0f), 0x7bff);
    assert_int_equal(f16_of(65520.0f), 0x7c00);
    assert_int_equal(f16_of(1e9f), 0x7c00);
    assert_int_equal(f16_of(-1e9f), 0xfc00);
    assert_int_equal(f16_of(INFINITY), 0x7c00);
    assert_int_equal(bf16_of(3.4028235e38f), 0x7f80);
    assert_int_equal(bf16_of(-INFINITY), 0xff80);
    assert_true(isnan(bf16_to(bf16_of(NAN))) && isnan(f16_to(f16_of(NAN))));
    uint16_t stored;
    dtype_set(DTYPE_BF16, &stored, 0, 1e300);
    assert_int_equal(stored, 0x7f80);
}

static double through(DType t, double x) {
    unsigned char array[3 * 8] = {0};
    dtype_set(t, array, 2, x);
    assert_true(dtype_get(t, array, 0) == 0 && dtype_get(t, array, 1) == 0);
    return dtype_get(t, array, 2);
}

static void integers_saturate(void **state) {
    (void)state;
    assert_true(through(DTYPE_I32, 1e10) == INT32_MAX &&
                through(DTYPE_I32, -1e10) == INT32_MIN);
    assert_true(through(DTYPE_U8, 300) == 255 && through(DTYPE_U8, -3) == 0);
    assert_true(through(DTYPE_U16, 70000) == 65535 && through(DTYPE_U16, 2.5) == 2);
    assert_true(through(DTYPE_I32, 3.5) == 4 && through(DTYPE_I32, -2.5) == -2);
    assert_true(through(DTYPE_I64, 1e30) == 0x1p63 && through(DTYPE_I64, -1e30) == -0x1p63);
    assert_true(through(DTYPE_I64, -9007199254740991.0) == -9007199254740991.0);
    assert_true(through(DTYPE_I32, (double)NAN) == 0);
    assert_true(through(DTYPE_BOOL, 0.25) == 1 && through(DTYPE_BOOL, 0) == 0);
    assert_true(through(DTYPE_F64, 0.1) == 0.1);
    assert_true(through(DTYPE_F32, 0.1) == (double)0.1f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_parsed),
        cmocka_unit_test(halves_round_trip),
        cmocka_unit_test(stores_round_to_nearest_even),
        cmocka_unit_test(large_values_become_infinite),
        cmocka_unit_test(integers_saturate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
