// integer.h: what C lacks for sizes and positions.
#pragma once

#include <stdint.h>

static inline int64_t int_min(int64_t x, int64_t y) { return x < y ? x : y; }
static inline int64_t int_max(int64_t x, int64_t y) { return x > y ? x : y; }
static inline int64_t int_clamp(int64_t x, int64_t least, int64_t most) {
    return x < least ? least : x > most ? most : x;
}

// Of x >= 0 and y > 0.
static inline int64_t ceil_div(int64_t x, int64_t y) { return (x + y - 1) / y; }
static inline int64_t round_up(int64_t x, int64_t unit) { return ceil_div(x, unit) * unit; }
