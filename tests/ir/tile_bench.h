// tile_bench.h: tile programs from text, for tests.
#pragma once

#include "ir/tile/tile.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Diag diag;
} TileBench;

void bench_open(TileBench *b);
void bench_close(TileBench *b);
// The program of a text that must be readable.
TileProgram *bench_read(TileBench *b, const char *text);
// The same, and it must be sound.
TileProgram *bench_program(TileBench *b, const char *text);
// Programs that several tests use.
extern const char *const tile_text_rms_norm;     // STREAM, y = x / sqrt(mean(x^2) + eps) * w
extern const char *const tile_text_contraction;  // LOOP, y = silu(x . w)
