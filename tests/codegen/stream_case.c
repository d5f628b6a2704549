// stream_case.c: the texts.
#include "tests/codegen/stream_case.h"

const char *stream_softmax_text(TileBench *b, int64_t rows, int64_t cols, const char *knobs) {
    return str_printf(&b->arena,
                      "tile softmax stream\n  grid t = %lld\n  col c = %lld\n"
                      "  arg x: f32[%lld]\n  arg y: f32[%lld]\n%s"
                      "  %%1 = load x[t*%lld + c] : f32 (t, c)\n"
                      "  %%2 = reduce_max %%1 over (c) : f32 (t)\n"
                      "  %%3 = map sub %%1, %%2 : f32 (t, c)\n"
                      "  %%4 = map exp %%3 : f32 (t, c)\n"
                      "  %%5 = reduce_sum %%4 over (c) : f32 (t)\n"
                      "  %%6 = map div %%4, %%5 : f32 (t, c)\n"
                      "  store y[t*%lld + c] = %%6 : f32 (t, c)\n",
                      (long long)rows, (long long)cols, (long long)rows * cols,
                      (long long)rows * cols, knobs, (long long)cols, (long long)cols)
        .ptr;
}

const char *const stream_sums_text =
    "tile nested stream\n"
    "  grid g = 2\n"
    "  serial s = 3\n"
    "  serial t = 4\n"
    "  col c = 37\n"
    "  arg x: f32[888]\n"
    "  arg y: f32[74]\n"
    "  arg z: f32[222]\n"
    "  %1 = load x[g*444 + s*148 + t*37 + c] : f32 (g, s, t, c)\n"
    "  %2 = reduce_sum %1 over (t) : f32 (g, s, c)\n"
    "  %3 = map mul %2, %2 : f32 (g, s, c)\n"
    "  %4 = reduce_sum %3 over (s) : f32 (g, c)\n"
    "  store y[g*37 + c] = %4 : f32 (g, c)\n"
    "  store z[g*111 + s*37 + c] = %3 : f32 (g, s, c)\n";

const char *const stream_guards_text =
    "tile guards stream\n"
    "  grid t = 7\n"
    "  col c = 45\n"
    "  arg x: f32[315]\n"
    "  arg h: bf16[315]\n"
    "  arg y: f32[315]\n"
    "  arg z: f32[315]\n"
    "  %1 = load x[t*45 + c - 2] if 0 <= c - 2 < 45 : f32 (t, c)\n"
    "  %2 = load x[t*45 + c + 5] if 0 <= c + 5 < 45 : f32 (t, c)\n"
    "  %3 = load h[t*45 + c - 45] if 0 <= t - 1 < 7 : f32 (t, c)\n"
    "  %4 = load h[t*45 + c + 87] if 0 <= t + 2 < 7 and 0 <= c - 3 < 40 : f32 (t, c)\n"
    "  %5 = map add %1, %2 : f32 (t, c)\n"
    "  %6 = map mul %3, %5 : f32 (t, c)\n"
    "  %7 = map add %6, %4 : f32 (t, c)\n"
    "  store y[t*45 + c] = %7 : f32 (t, c)\n"
    "  %9 = load x[t] if 2 <= c / 5 % 4 < 3 : f32 (t, c)\n"
    "  %10 = load x[t*45 + c] if 10 <= t < 12 : f32 (t, c)\n"
    "  %11 = map add %9, %10 : f32 (t, c)\n"
    "  store z[t*45 + c] = %11 : f32 (t, c)\n";

const char *const stream_strided_text = "tile transpose stream\n"
                                        "  grid t = 9\n"
                                        "  col c = 53\n"
                                        "  arg x: f32[477]\n"
                                        "  arg h: bf16[477]\n"
                                        "  arg y: f32[477]\n"
                                        "  arg z: bf16[954]\n"
                                        "  %1 = load x[t + c*9] : f32 (t, c)\n"
                                        "  %2 = load h[t + c*9] : f32 (t, c)\n"
                                        "  %3 = map add %1, %2 : f32 (t, c)\n"
                                        "  store y[t + c*9] = %3 : f32 (t, c)\n"
                                        "  store z[t*106 + c*2] = %1 : f32 (t, c)\n";

const char *const stream_scatters_text = "tile scatters stream\n"
                                         "  serial t = 11\n"
                                         "  col c = 41\n"
                                         "  arg k: i32[11]\n"
                                         "  arg j: i32[451]\n"
                                         "  arg x: f32[451]\n"
                                         "  arg w: f32[410]\n"
                                         "  arg v: f32[10]\n"
                                         "  %1 = load k[t] : i32 (t)\n"
                                         "  %2 = load x[t*41 + c] : f32 (t, c)\n"
                                         "  scatter_add w[c] at %1*41 of 10 = %2 : f32 (t, c)\n"
                                         "  %4 = load j[t*41 + c] : i32 (t, c)\n"
                                         "  scatter_add v[0] at %4*1 of 10 = %2 : f32 (t, c)\n";

const char *const stream_puts_text = "tile puts stream\n"
                                     "  grid t = 11\n"
                                     "  col c = 41\n"
                                     "  arg x: f32[451]\n"
                                     "  arg w: bf16[410]\n"
                                     "  arg v: f32[10]\n"
                                     "  %1 = index t - 2 : i32 (t)\n"
                                     "  %2 = load x[t*41 + c] : f32 (t, c)\n"
                                     "  %3 = load x[t*41] : f32 (t)\n"
                                     "  scatter_put w[c] at %1*41 of 10 = %2 : f32 (t, c)\n"
                                     "  scatter_put v[0] at %1*1 of 10 = %3 : f32 (t)\n";

const char *const stream_crossed_text = "tile crossed stream\n"
                                        "  serial s = 3\n"
                                        "  serial t = 4\n"
                                        "  arg x: f32[12]\n"
                                        "  arg y: f32[4]\n"
                                        "  %1 = load x[s*4 + t] : f32 (s, t)\n"
                                        "  %2 = reduce_sum %1 over (s) : f32 (t)\n"
                                        "  store y[t] = %2 : f32 (t)\n";
