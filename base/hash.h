// hash.h: 128-bit content hash for cache keys and checksums. Not cryptographic; same on every
// machine.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t lo, hi;
} Hash;

#define HASH_TEXT 33  // 32 hexadecimal digits and NUL

Hash hash_bytes(const void *data, size_t n);
Hash hash_mix(Hash a, Hash b);  // order matters
bool hash_eq(Hash a, Hash b);
void hash_text(Hash h, char out[HASH_TEXT]);
bool hash_parse(const char *text, Hash *out);
