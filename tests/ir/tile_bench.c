// tile_bench.c: see tile_bench.h.
#include "tests/ir/tile_bench.h"

void bench_open(TileBench *b) {
    *b = (TileBench){0};
    arena_init(&b->arena);
    diag_init(&b->diag, &b->arena);
}

void bench_close(TileBench *b) { arena_release(&b->arena); }

static void report(TileBench *b) {
    StrBuf out = {0};
    diag_render(&b->diag, &out);
    print_error("%s", out.ptr);
    strbuf_release(&out);
}

TileProgram *bench_read(TileBench *b, const char *text) {
    uint32_t file = diag_source_add(&b->diag, STR("test.tile"), str_of(text));
    TileProgram *p = NULL;
    if (tile_read(&b->diag, &b->arena, file, &p)) return p;
    report(b);
    fail_msg("the text cannot be read");
    return NULL;
}

TileProgram *bench_program(TileBench *b, const char *text) {
    TileProgram *p = bench_read(b, text);
    if (tile_verify(&b->diag, p)) return p;
    report(b);
    fail_msg("the program is not sound");
    return NULL;
}

const char *const tile_text_rms_norm = "tile rms_norm stream\n"
                                       "  grid t = 3\n"
                                       "  col c = 5\n"
                                       "  arg x: f32[15]\n"
                                       "  arg w: bf16[5]\n"
                                       "  arg y: f32[15]\n"
                                       "  knob unroll = 2\n"
                                       "  %1 = load x[t*5 + c] : f32 (t, c)\n"
                                       "  %2 = map mul %1, %1 : f32 (t, c)\n"
                                       "  %3 = reduce_sum %2 over (c) : f32 (t)\n"
                                       "  %4 = const 0.2 : f32 ()\n"
                                       "  %5 = map mul %3, %4 : f32 (t)\n"
                                       "  %6 = const 1e-05 : f32 ()\n"
                                       "  %7 = map add %5, %6 : f32 (t)\n"
                                       "  %8 = map rsqrt %7 : f32 (t)\n"
                                       "  %9 = map mul %1, %8 : f32 (t, c)\n"
                                       "  %10 = load w[c] : f32 (c)\n"
                                       "  %11 = map mul %9, %10 : f32 (t, c)\n"
                                       "  store y[t*5 + c] = %11 : f32 (t, c)\n";

const char *const tile_text_contraction = "tile contraction loop\n"
                                          "  m t = 7 tile 4\n"
                                          "  n f = 5 tile 2\n"
                                          "  k d = 9 tile 4\n"
                                          "  arg x: f32[63]\n"
                                          "  arg w: f32[45]\n"
                                          "  arg y: f32[35]\n"
                                          "  %1 = load x[t*9 + d] : f32 (t, d)\n"
                                          "  %2 = load w[f + d*5] : f32 (f, d)\n"
                                          "  %3 = dot %1, %2 over (d) : f32 (t, f)\n"
                                          "  %4 = map sigmoid %3 : f32 (t, f)\n"
                                          "  %5 = map mul %3, %4 : f32 (t, f)\n"
                                          "  store y[t*5 + f] = %5 : f32 (t, f)\n";
