// stream_case.h: STREAM programs for tests of all emitters.
#pragma once

#include "tests/ir/tile_bench.h"

// y = softmax of each row of x; knobs: lines.
const char *stream_softmax_text(TileBench *b, int64_t rows, int64_t cols, const char *knobs);

// Sums over t, then over s of their squares.
extern const char *const stream_sums_text;
// Loads that only some rows and cols have.
extern const char *const stream_guards_text;
// Cols that lie apart.
extern const char *const stream_strided_text;
// Rows added to rows by number, of which some are none.
extern const char *const stream_scatters_text;
// Rows put where numbers say, the first two nowhere.
extern const char *const stream_puts_text;
// A sum over a row dimension outside one that it keeps: no emitter takes it.
extern const char *const stream_crossed_text;
