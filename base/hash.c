// hash.c: two 64-bit lanes, each of which sees all the input. A step folds the 128-bit product
// of two words, each mixed with the lane or a constant, and adds it to the rotated lane, so
// that a zero factor cannot wipe out what came before. The constants are odd 64-bit fractions
// of square roots of primes.
#include "base/hash.h"

#include <string.h>

#define K1 UINT64_C(0x6a09e667f3bcc909)
#define K2 UINT64_C(0xbb67ae8584caa73b)
#define K3 UINT64_C(0x3c6ef372fe94f82b)
#define K4 UINT64_C(0xa54ff53a5f1d36f1)
#define K5 UINT64_C(0x510e527fade682d1)
#define K6 UINT64_C(0x9b05688c2b3e6c1f)

static uint64_t rotate(uint64_t x, unsigned n) { return x << n | x >> (64 - n); }

// High half XOR low half of a * b, by schoolbook multiplication of 32-bit halves.
static uint64_t fold(uint64_t a, uint64_t b) {
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low = a0 * b0;
    uint64_t middle = a1 * b0 + (low >> 32);
    uint64_t carry = a0 * b1 + (uint32_t)middle;
    uint64_t high = a1 * b1 + (middle >> 32) + (carry >> 32);
    return high ^ (carry << 32 | (uint32_t)low);
}

static uint64_t load(const unsigned char *p) {
    uint64_t x = 0;
    for (unsigned i = 0; i < 8; i++)
        x |= (uint64_t)p[i] << 8 * i;
    return x;
}

static Hash step(Hash h, uint64_t x, uint64_t y) {
    return (Hash){
        .lo = rotate(h.lo, 23) + fold(h.lo ^ x ^ K1, y + K2),
        .hi = rotate(h.hi, 41) + fold(h.hi ^ y ^ K3, x + K4),
    };
}

// Every output bit depends on every bit of both lanes.
static Hash finish(Hash h, uint64_t length) {
    h = step(h, length ^ K5, rotate(h.hi, 32) ^ K6);
    uint64_t a = fold(h.lo ^ K6, rotate(h.hi, 17) ^ K1) ^ h.lo;
    uint64_t b = fold(h.hi ^ K5, rotate(a, 29) ^ K3) + a;
    return (Hash){.lo = fold(a ^ K2, b ^ K4) + rotate(b, 31),
                  .hi = fold(b ^ K1, a + K5) ^ rotate(a, 37)};
}

Hash hash_bytes(const void *data, size_t n) {
    const unsigned char *p = data;
    Hash h = {.lo = K2, .hi = K4};
    size_t left = n;
    for (; left >= 16; left -= 16, p += 16)
        h = step(h, load(p), load(p + 8));
    if (left) {
        unsigned char tail[16] = {0};
        memcpy(tail, p, left);
        h = step(h, load(tail), load(tail + 8));
    }
    return finish(h, n);
}

Hash hash_mix(Hash a, Hash b) {
    Hash h = {.lo = K6 ^ a.lo, .hi = K5 ^ a.hi};
    h = step(h, a.lo, a.hi);
    h = step(h, b.lo, b.hi);
    return finish(h, 32);
}

bool hash_eq(Hash a, Hash b) { return a.lo == b.lo && a.hi == b.hi; }

static void word_text(uint64_t x, char *out) {
    for (unsigned i = 0; i < 16; i++)
        out[i] = "0123456789abcdef"[x >> (60 - 4 * i) & 15];
}

void hash_text(Hash h, char out[HASH_TEXT]) {
    word_text(h.hi, out);
    word_text(h.lo, out + 16);
    out[32] = 0;
}

static bool word_parse(const char *text, uint64_t *out) {
    uint64_t x = 0;
    for (unsigned i = 0; i < 16; i++) {
        char c = text[i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a' + 10);
        else
            return false;
        x = x << 4 | digit;
    }
    *out = x;
    return true;
}

bool hash_parse(const char *text, Hash *out) {
    return strlen(text) == 32 && word_parse(text, &out->hi) && word_parse(text + 16, &out->lo);
}
