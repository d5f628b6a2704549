// test_hash.c: text form, dependence on every bit, and no collisions among small keys.
#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/rng.h"
#include "tests/test.h"

static void hashes_have_a_text_form(void **state) {
    (void)state;
    Hash h = hash_bytes("strata", 6), back = {0};
    char text[HASH_TEXT];
    hash_text(h, text);
    assert_int_equal(strlen(text), 32);
    assert_true(hash_parse(text, &back) && hash_eq(h, back));
    hash_text((Hash){.lo = 0x0123456789abcdef, .hi = 1}, text);
    assert_string_equal(text, "00000000000000010123456789abcdef");
    assert_false(hash_parse("0123", &back));
    assert_false(hash_parse("0000000000000001012345678-abcdef", &back));
    assert_false(hash_parse("00000000000000010123456789abcdef0", &back));
}

// Cache keys on disk depend on these never changing.
static void values_are_fixed(void **state) {
    (void)state;
    const struct {
        const char *key, *text;
    } known[] = {
        {"", "c4e4dd3793a9078afdd51d4e909c6183"},
        {"a", "ea5438aa95649c62b18c580a7f2f9241"},
        {"strata compiles depth", "1c2a3e79a888f2cca362971113f27b1f"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char text[HASH_TEXT];
        hash_text(hash_bytes(known[i].key, strlen(known[i].key)), text);
        assert_string_equal(text, known[i].text);
    }
}

static uint64_t bit_of(Hash h, unsigned i) {
    return (i < 64 ? h.lo >> i : h.hi >> (i - 64)) & 1;
}

// Each output bit flips with probability 1/2 for each flipped input bit: over n keys the count
// is binomial with deviation sqrt(n)/2; six deviations leave about one false alarm in 10^4 for
// 128 * 256 counts.
static void every_bit_matters(void **state) {
    (void)state;
    enum { N = 2000, BYTES = 33 };
    for (unsigned bit = 0; bit < BYTES * 8; bit += 3) {
        unsigned flips[128] = {0};
        for (unsigned n = 0; n < N; n++) {
            unsigned char key[BYTES];
            for (unsigned i = 0; i < BYTES; i++)
                key[i] = (unsigned char)rng_u64(n, i);
            Hash a = hash_bytes(key, BYTES);
            key[bit / 8] ^= (unsigned char)(1u << bit % 8);
            Hash b = hash_bytes(key, BYTES);
            for (unsigned i = 0; i < 128; i++)
                flips[i] += bit_of(a, i) != bit_of(b, i);
        }
        for (unsigned i = 0; i < 128; i++)
            assert_true(fabs(flips[i] - N / 2.0) < 6 * sqrt(N) / 2);
    }
}

static int compare_words(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

// The chance that some of n = 10^6 random 64-bit words agree is n^2 / 2^65, about 3e-8.
static void assert_distinct(uint64_t *words, size_t n) {
    qsort(words, n, sizeof *words, compare_words);
    for (size_t i = 1; i < n; i++)
        assert_true(words[i] != words[i - 1]);
}

static void small_keys_do_not_collide(void **state) {
    (void)state;
    enum { N = 1000000 };
    uint64_t *lo = malloc(N * sizeof *lo), *hi = malloc(N * sizeof *hi);
    assert_true(lo && hi);
    for (uint32_t i = 0; i < N; i++) {
        Hash h = hash_bytes(&i, sizeof i);
        lo[i] = h.lo;
        hi[i] = h.hi;
    }
    assert_distinct(lo, N);
    assert_distinct(hi, N);
    // All keys of zero bytes, and all with a single bit set, up to 4096 bytes.
    unsigned char zero[4096] = {0};
    size_t count = 0;
    for (size_t n = 0; n <= sizeof zero; n++)
        lo[count++] = hash_bytes(zero, n).lo;
    for (size_t bit = 0; bit < 8 * sizeof zero; bit += 37) {
        zero[bit / 8] = (unsigned char)(1u << bit % 8);
        lo[count++] = hash_bytes(zero, sizeof zero).lo;
        zero[bit / 8] = 0;
    }
    assert_distinct(lo, count);
    free(lo);
    free(hi);
}

static void mixing_keeps_order(void **state) {
    (void)state;
    Hash a = hash_bytes("a", 1), b = hash_bytes("b", 1);
    assert_false(hash_eq(hash_mix(a, b), hash_mix(b, a)));
    assert_false(hash_eq(hash_mix(a, a), hash_mix(b, b)));
    assert_false(hash_eq(hash_mix(a, (Hash){0}), a));
    assert_true(hash_eq(hash_mix(a, b), hash_mix(a, b)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_have_a_text_form), cmocka_unit_test(values_are_fixed),
        cmocka_unit_test(every_bit_matters),       cmocka_unit_test(small_keys_do_not_collide),
        cmocka_unit_test(mixing_keeps_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
