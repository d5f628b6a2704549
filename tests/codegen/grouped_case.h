// grouped_case.h: programs of grouped contractions and of the order of their rows, for tests of
// all emitters: 150 rows of 50 tokens in four groups.
#pragma once

#include "tests/ir/tile_bench.h"

enum { GROUPED_TOKENS = 50, GROUPED_ROWS = 150, GROUPED_GROUPS = 4 };

typedef struct {
    int tile, d, c;     // tile: of the rows
    const char *knobs;  // lines
    const char *type;   // of x, w and y
} GroupedCase;

// y[row] = x[token of the row] . w[group]; w lies [group, d, c]; turned: [group, c, d].
Str grouped_at_text(Arena *arena, const GroupedCase *c);
Str grouped_turned_text(Arena *arena, const GroupedCase *c);
// z[row] = a[row] * scale[row] * sigmoid of what y[row] is, and y, in one kernel.
Str grouped_epilogue_text(Arena *arena, const GroupedCase *c);
// y[group] = sum over its rows of x[token of the row] outer w[row]; k goes on behind the last
// row, to a multiple of what is unrolled.
Str grouped_into_text(Arena *arena, const GroupedCase *c);
// Positions ("r", "r / 3") by keys, in groups [0, groups).
Str grouped_order_text(Arena *arena, int rows, int groups, const char *positions);

// Lists are permutations; of tokens each stands in them three times. Groups of 40, no, 103 and
// 2 rows, five rows are of none; all rows in one group; none in any.
void grouped_prepare(const TileProgram *p, void *const *args);
void grouped_prepare_one(const TileProgram *p, void *const *args);
void grouped_prepare_none(const TileProgram *p, void *const *args);
