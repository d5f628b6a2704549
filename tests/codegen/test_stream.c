// test_stream.c: machine code of STREAM programs against the interpreter.
#include <math.h>
#include <pthread.h>

#include "tests/codegen/kernel_bench.h"
#include "tests/codegen/stream_case.h"

static int setup(void **state) {
    static TileBench bench;
    bench_open(&bench);
    *state = &bench;
    return 0;
}

static int teardown(void **state) {
    bench_close(*state);
    return 0;
}

static const int64_t widths[] = {1,  2,  3,  4,  5,  7,  8,  9,  12, 15, 16,  17,
                                 20, 31, 32, 33, 40, 63, 64, 65, 79, 80, 100, 1000};
enum { WIDTHS = sizeof widths / sizeof *widths };

static void check_text(TileBench *b, const char *text) {
    kernel_check_text(b, text, kernel_check_usual());
}

static void softmax_of_every_width(void **state) {
    kernel_need_compiler();
    for (int i = 0; i < WIDTHS; i++)
        check_text(*state, stream_softmax_text(*state, 5, widths[i], ""));
}

static void softmax_with_knobs(void **state) {
    kernel_need_compiler();
    static const char *const knobs[] = {
        "  knob unroll = 1\n", "  knob unroll = 8\n  knob keep = 0\n",
        "  knob keep = 1\n  knob prefetch = 2\n", "  knob unroll = 1\n  knob prefetch = 1\n",
        "  knob nt = 1\n"};
    for (int i = 0; i < 5; i++) {
        KernelCheck check = kernel_check_usual();
        check.aligned = i == 4;
        kernel_check_text(*state, stream_softmax_text(*state, 3, 512, knobs[i]), check);
        kernel_check_text(*state, stream_softmax_text(*state, 3, 1000, knobs[i]), check);
        check.aligned = false;
        kernel_check_text(*state, stream_softmax_text(*state, 3, 512, knobs[i]), check);
    }
}

// ---- rms norm, in several storage types; in place

static void check_norm(TileBench *b, int64_t cols, const char *x, const char *w,
                       bool nontemporal) {
    long long n = cols;
    KernelCheck check = kernel_check_usual();
    check.aligned = nontemporal;
    Str text = str_printf(&b->arena,
                          "tile rms_norm stream\n  grid t = 4\n  col c = %lld\n"
                          "  arg x: %s[%lld]\n  arg w: %s[%lld]\n  arg y: %s[%lld]\n%s"
                          "  %%1 = load x[t*%lld + c] : f32 (t, c)\n"
                          "  %%2 = map mul %%1, %%1 : f32 (t, c)\n"
                          "  %%3 = reduce_sum %%2 over (c) : f32 (t)\n"
                          "  %%4 = const %.17g : f32 ()\n"
                          "  %%5 = map mul %%3, %%4 : f32 (t)\n"
                          "  %%6 = const 1e-05 : f32 ()\n"
                          "  %%7 = map add %%5, %%6 : f32 (t)\n"
                          "  %%8 = map rsqrt %%7 : f32 (t)\n"
                          "  %%9 = map mul %%1, %%8 : f32 (t, c)\n"
                          "  %%10 = load w[c] : f32 (c)\n"
                          "  %%11 = map mul %%9, %%10 : f32 (t, c)\n"
                          "  store y[t*%lld + c] = %%11 : f32 (t, c)\n",
                          n, x, 4 * n, w, n, x, 4 * n, nontemporal ? "  knob nt = 1\n" : "", n,
                          1.0 / (double)cols, n);
    kernel_check_text(b, text.ptr, check);
}

static void rms_norm_in_every_type(void **state) {
    kernel_need_compiler();
    static const char *const types[] = {"f32", "bf16", "f16"};
    static const int64_t some[] = {1, 7, 16, 21, 64, 83, 512};
    for (int t = 0; t < 3; t++) {
        for (int i = 0; i < 7; i++)
            check_norm(*state, some[i], types[t], types[(t + 1) % 3], false);
        check_norm(*state, 512, types[t], types[t], true);
    }
}

// ---- attention over depth: softmax over sources of dot(rms_norm(x_n), q), then the weighted
// sum

static TileId row_const(TileProgram *p, double x) { return tile_const(p, x, DTYPE_F32); }

static TileId map2(TileProgram *p, GraphOp fn, TileId x, TileId y) {
    return tile_map(p, fn, DTYPE_F32, (TileId[]){x, y}, (Span){0});
}

static TileId map1(TileProgram *p, GraphOp fn, TileId x) {
    return tile_map(p, fn, DTYPE_F32, &x, (Span){0});
}

// x[n][t][d]
static TileProgram *attnres_new(Arena *arena, int sources, int64_t tokens, int64_t d,
                                DType type) {
    TileProgram *p = tile_new(arena, STR("attnres"), TILE_STREAM);
    uint32_t t = tile_dim(p, STR("t"), tokens, 1, DIM_GRID);
    uint32_t c = tile_dim(p, STR("d"), d, d, DIM_COL);
    uint32_t x = tile_arg(p, STR("x"), type, sources * tokens * d);
    uint32_t q = tile_arg(p, STR("q"), DTYPE_F32, d),
             y = tile_arg(p, STR("y"), type, tokens * d);
    TileAccess at = tile_access(q);
    at.stride[c] = 1;
    TileId query = tile_load(p, at, (Span){0}), v[16], score[16], top = {0}, sum = {0},
           out = {0};
    for (int n = 0; n < sources; n++) {
        at = tile_access(x);
        at.offset = n * tokens * d;
        at.stride[t] = d;
        at.stride[c] = 1;
        v[n] = tile_load(p, at, (Span){0});
        TileId square = tile_reduce(p, OP_REDUCE_SUM, map2(p, OP_MUL, v[n], v[n]),
                                    (DimSet)(1 << c), (Span){0});
        TileId dot = tile_reduce(p, OP_REDUCE_SUM, map2(p, OP_MUL, v[n], query),
                                 (DimSet)(1 << c), (Span){0});
        TileId mean = map2(p, OP_MUL, square, row_const(p, 1.0 / (double)d));
        TileId scale = map1(p, OP_RSQRT, map2(p, OP_ADD, mean, row_const(p, 1e-6)));
        score[n] = map2(p, OP_MUL, dot, scale);
        top = n == 0 ? score[n] : map2(p, OP_MAX, top, score[n]);
    }
    for (int n = 0; n < sources; n++) {
        score[n] = map1(p, OP_EXP, map2(p, OP_SUB, score[n], top));
        sum = n == 0 ? score[n] : map2(p, OP_ADD, sum, score[n]);
    }
    for (int n = 0; n < sources; n++) {
        TileId part = map2(p, OP_MUL, v[n], map2(p, OP_DIV, score[n], sum));
        out = n == 0 ? part : map2(p, OP_ADD, out, part);
    }
    at = tile_access(y);
    at.stride[t] = d;
    at.stride[c] = 1;
    tile_store(p, at, out, (Span){0});
    return p;
}

static void attention_over_depth(void **state) {
    kernel_need_compiler();
    TileBench *b = *state;
    static const int64_t some[] = {5, 16, 48, 72, 200, 256};
    static const int sources[] = {1, 2, 8, 14};  // up to 28 sums: no registers hold them
    for (int n = 0; n < 4; n++) {
        for (int i = 0; i < 6; i++) {
            TileProgram *p =
                attnres_new(&b->arena, sources[n], 3, some[i], i % 2 ? DTYPE_BF16 : DTYPE_F32);
            assert_true(tile_verify(&b->diag, p));
            kernel_check(b, p, kernel_check_usual());
        }
    }
}

// ---- sums over rows

static void sums_over_rows(void **state) {
    kernel_need_compiler();
    TileBench *b = *state;
    static const int64_t some[] = {1, 6, 16, 24, 64, 90, 300};
    for (int i = 0; i < 7; i++) {
        long long n = some[i];
        // Sums of cols, of rows and of everything, and an operation on the sum of cols.
        Str text = str_printf(
            &b->arena,
            "tile sums stream\n  grid g = 3\n  serial t = 5\n  col c = %lld\n"
            "  arg x: f32[%lld]\n  arg s: f32[%lld]\n  arg r: f32[15]\n  arg a: f32[3]\n"
            "  arg m: f32[3]\n"
            "  %%1 = load x[g*%lld + t*%lld + c] : f32 (g, t, c)\n"
            "  %%2 = reduce_sum %%1 over (t) : f32 (g, c)\n"
            "  %%3 = map exp %%2 : f32 (g, c)\n"
            "  store s[g*%lld + c] = %%3 : f32 (g, c)\n"
            "  %%5 = reduce_sum %%1 over (c) : f32 (g, t)\n"
            "  store r[g*5 + t] = %%5 : f32 (g, t)\n"
            "  %%7 = reduce_sum %%1 over (t, c) : f32 (g)\n"
            "  store a[g] = %%7 : f32 (g)\n"
            "  %%9 = map mul %%5, %%5 : f32 (g, t)\n"
            "  %%10 = reduce_max %%9 over (t) : f32 (g)\n"
            "  store m[g] = %%10 : f32 (g)\n",
            n, 15 * n, 3 * n, 5 * n, n, n);
        KernelCheck check = kernel_check_usual();
        check.range = 0.5;
        check.tolerance = 4e-5;
        kernel_check_text(b, text.ptr, check);
    }
}

// The loops over rows run three times: for the largest, for the sum, for the result.
static void softmax_over_rows(void **state) {
    kernel_need_compiler();
    TileBench *b = *state;
    static const int64_t some[] = {1, 16, 40, 130};
    for (int i = 0; i < 4; i++) {
        long long n = some[i];
        Str text = str_printf(
            &b->arena,
            "tile softmax_rows stream\n  grid g = 2\n  serial s = 3\n  serial t = 4\n"
            "  col c = %lld\n  arg x: f32[%lld]\n  arg y: f32[%lld]\n"
            "  %%1 = load x[g*%lld + s*%lld + t*%lld + c] : f32 (g, s, t, c)\n"
            "  %%2 = reduce_max %%1 over (s, t) : f32 (g, c)\n"
            "  %%3 = map sub %%1, %%2 : f32 (g, s, t, c)\n"
            "  %%4 = map exp %%3 : f32 (g, s, t, c)\n"
            "  %%5 = reduce_sum %%4 over (s, t) : f32 (g, c)\n"
            "  %%6 = map div %%4, %%5 : f32 (g, s, t, c)\n"
            "  store y[g*%lld + s*%lld + t*%lld + c] = %%6 : f32 (g, s, t, c)\n",
            n, 24 * n, 24 * n, 12 * n, 4 * n, n, 12 * n, 4 * n, n);
        check_text(b, text.ptr);
    }
}

static void sums_of_sums(void **state) {
    kernel_need_compiler();
    check_text(*state, stream_sums_text);
}

// ---- guards, indices, tiles of cols

static void guarded_loads(void **state) {
    kernel_need_compiler();
    check_text(*state, stream_guards_text);
}

static void indices_and_whole_numbers(void **state) {
    kernel_need_compiler();
    static const char text[] =
        "tile numbers stream\n  grid t = 6\n  col c = 50\n"
        "  arg k: i32[50]\n  arg f: bool[50]\n  arg y: i32[300]\n  arg z: f32[300]\n  arg b: bool[300]\n"
        "  %1 = index c / 3 % 7 + 2 : i32 (c)\n"
        "  %2 = index t + 1 : i32 (t)\n"
        "  %3 = map mul %1, %2 : i32 (t, c)\n"
        "  %4 = load k[c] : i32 (c)\n"
        "  %5 = map max %3, %4 : i32 (t, c)\n"
        "  %6 = load f[c] : bool (c)\n"
        "  %7 = map where %6, %5, %3 : i32 (t, c)\n"
        "  store y[t*50 + c] = %7 : i32 (t, c)\n"
        "  %9 = map cast %7 : f32 (t, c)\n"
        "  %10 = const 2.5 : f32 ()\n"
        "  %11 = map div %9, %10 : f32 (t, c)\n"
        "  %12 = map floor %11 : f32 (t, c)\n"
        "  %13 = map cast %11 : i32 (t, c)\n"
        "  %14 = map cast %13 : f32 (t, c)\n"
        "  %15 = map sub %12, %14 : f32 (t, c)\n"
        "  %16 = map cast %6 : f32 (c)\n"
        "  %17 = map add %15, %16 : f32 (t, c)\n"
        "  store z[t*50 + c] = %17 : f32 (t, c)\n"
        "  %19 = map lt %4, %3 : bool (t, c)\n"
        "  %20 = map not %6 : bool (c)\n"
        "  %21 = map or %19, %20 : bool (t, c)\n"
        "  store b[t*50 + c] = %21 : bool (t, c)\n";
    KernelCheck check = kernel_check_usual();
    check.low = -20;
    check.high = 20;
    kernel_check_text(*state, text, check);
}

static void tiles_of_cols(void **state) {
    kernel_need_compiler();
    TileBench *b = *state;
    static const int64_t tiles[] = {1, 5, 16, 64, 100, 333};
    for (int i = 0; i < 6; i++) {
        Str text = str_printf(
            &b->arena,
            "tile tiled stream\n  grid t = 3\n  serial s = 4\n  col c = 333 tile %lld\n"
            "  arg x: f32[3996]\n  arg g: bf16[333]\n  arg y: f32[3996]\n  arg z: f32[999]\n"
            "  %%1 = load x[t*1332 + s*333 + c] : f32 (t, s, c)\n"
            "  %%2 = load g[332 - c] : f32 (c)\n"
            "  %%3 = map mul %%1, %%2 : f32 (t, s, c)\n"
            "  store y[t*1332 + s*333 + c] = %%3 : f32 (t, s, c)\n"
            "  %%5 = reduce_sum %%3 over (s) : f32 (t, c)\n"
            "  store z[t*333 + c] = %%5 : f32 (t, c)\n",
            (long long)tiles[i]);
        check_text(b, text.ptr);
    }
}

static void strided_cols(void **state) {
    kernel_need_compiler();
    check_text(*state, stream_strided_text);
}

// ---- rows by number

static void gathers(void **state) {
    kernel_need_compiler();
    static const char text[] =
        "tile gathers stream\n  grid t = 11\n  col c = 41\n"
        "  arg k: i32[11]\n  arg j: i32[451]\n  arg w: f32[410]\n  arg h: bf16[820]\n  arg y: f32[451]\n"
        "  arg z: f32[451]\n"
        "  %1 = load k[t] : i32 (t)\n"
        "  %2 = gather w[c] at %1*41 of 10 : f32 (t, c)\n"
        "  %3 = gather h[c*2] at %1*82 of 10 : f32 (t, c)\n"
        "  %4 = map sub %2, %3 : f32 (t, c)\n"
        "  store y[t*41 + c] = %4 : f32 (t, c)\n"
        "  %6 = load j[t*41 + c] : i32 (t, c)\n"
        "  %7 = gather w[c] at %6*41 of 10 : f32 (t, c)\n"
        "  %8 = gather h[0] at %6*1 of 10 : f32 (t, c)\n"
        "  %9 = map add %7, %8 : f32 (t, c)\n"
        "  store z[t*41 + c] = %9 : f32 (t, c)\n";
    KernelCheck check = kernel_check_usual();
    check.low = -3;
    check.high = 13;
    kernel_check_text(*state, text, check);
}

static void scatters(void **state) {
    kernel_need_compiler();
    KernelCheck check = kernel_check_usual();
    check.low = -3;
    check.high = 13;
    check.tolerance = 1e-4;
    kernel_check_text(*state, stream_scatters_text, check);
    kernel_check_text(*state, stream_puts_text, kernel_check_usual());
}

// ---- storage types

static TileProgram *copy_new(TileBench *b, const char *from, const char *to, int64_t n) {
    return bench_program(
        b, str_printf(&b->arena,
                      "tile copy stream\n  col c = %lld\n  arg x: %s[%lld]\n  arg y: %s[%lld]\n"
                      "  %%1 = load x[c] : f32 (c)\n  store y[c] = %%1 : f32 (c)\n",
                      (long long)n, from, (long long)n, to, (long long)n)
               .ptr);
}

static bool same_half(DType t, uint16_t x, uint16_t y) {
    double a = dtype_get(t, &x, 0), c = dtype_get(t, &y, 0);
    return x == y || (isnan(a) && isnan(c));
}

// Every number of 16 bits to f32 and back, and many f32 near the middle between two of them.
static void check_halves(TileBench *b, const char *name, DType t, IsaLevel level) {
    enum { ALL = 1 << 16, MANY = 1 << 18 };
    uint16_t *half = arena_array(&b->arena, uint16_t, MANY);
    float *wide = arena_array(&b->arena, float, MANY);
    for (int i = 0; i < ALL; i++)
        half[i] = (uint16_t)i;
    kernel_run(b, copy_new(b, name, "f32", ALL), level, (void *[]){half, wide});
    for (int i = 0; i < ALL; i++) {
        double expected = dtype_get(t, half, i);
        if ((double)wide[i] != expected && !(isnan(expected) && isnan(wide[i])))
            fail_msg("%s %s: %04x becomes %g", name, isa_level_text(level), (unsigned)i,
                     (double)wide[i]);
    }
    for (int i = 0; i < MANY; i++) {
        uint32_t bits = (uint32_t)i << 14 | (uint32_t[]){0, 1, 0x1000, 0x1001}[i % 4];
        memcpy(&wide[i], &bits, 4);
    }
    kernel_run(b, copy_new(b, "f32", name, MANY), level, (void *[]){wide, half});
    // The processor's own conversion takes denormals for zero (docs/decisions/0003).
    bool flushes = t == DTYPE_BF16 && level == CPU_AVX512BF16;
    for (int i = 0; i < MANY; i++) {
        uint16_t expected;
        bool denormal = fpclassify(wide[i]) == FP_SUBNORMAL;
        dtype_set(t, &expected, 0,
                  (double)(flushes && denormal ? copysignf(0, wide[i]) : wide[i]));
        if (!same_half(t, expected, half[i]))
            fail_msg("%s %s: %.9g becomes %04x instead of %04x", name, isa_level_text(level),
                     (double)wide[i], (unsigned)half[i], (unsigned)expected);
    }
}

static void halves_round_to_even(void **state) {
    kernel_need_compiler();
    for (int level = CPU_PORTABLE; level <= (int)cpu_level_here(); level++) {
        check_halves(*state, "bf16", DTYPE_BF16, (IsaLevel)level);
        check_halves(*state, "f16", DTYPE_F16, (IsaLevel)level);
    }
}

// ---- in place

// y takes the place of x: the kernel is given the same memory twice.
static void softmax_in_place(void **state) {
    kernel_need_compiler();
    TileBench *b = *state;
    static const int64_t some[] = {24, 333};
    for (int i = 0; i < 2; i++) {
        TileProgram *p = bench_program(b, stream_softmax_text(b, 6, some[i], ""));
        assert_true(tile_in_place(p, 0, 1));
        int64_t n = 6 * some[i];
        float *expected = arena_array(&b->arena, float, n),
              *got = arena_array(&b->arena, float, n);
        for (int64_t k = 0; k < n; k++)
            expected[k] = got[k] = (float)(k * 37 % 19) - 9;
        tile_interpret(p, (void *[]){expected, expected});
        for (int level = CPU_PORTABLE; level <= (int)cpu_level_here(); level++) {
            for (int64_t k = 0; k < n; k++)
                got[k] = (float)(k * 37 % 19) - 9;
            kernel_run(b, p, (IsaLevel)level, (void *[]){got, got});
            for (int64_t k = 0; k < n; k++)
                assert_float_equal(got[k], expected[k], 1e-6);
        }
    }
}

// ---- the emitter

static void refuses_a_sum_that_keeps_an_inner_row(void **state) {
    kernel_need_compiler();
    TileBench *b = *state;
    TileProgram *p = bench_program(b, stream_crossed_text);
    EmittedKernel kernel;
    assert_false(
        emit_kernel(&b->diag, &b->arena, p, (EmitOptions){.level = CPU_PORTABLE}, &kernel));
    assert_diag_has(&b->diag,
                    "kernel 'crossed' sums over a row dimension outside one that it keeps");
    assert_int_equal(b->diag.fail, FAIL_ENVIRONMENT);
}

static void shows_ir_and_assembly(void **state) {
    kernel_need_compiler();
    TileBench *b = *state;
    TileProgram *p = bench_program(b, stream_softmax_text(b, 2, 512, "  knob nt = 1\n"));
    EmitOptions options = {.level = CPU_AVX512};
    Str text;
    assert_true(emit_text(&b->diag, &b->arena, p, options, &text));
    assert_non_null(strstr(text.ptr, "define void @kernel("));
    options.assembly = true;
    assert_true(emit_text(&b->diag, &b->arena, p, options, &text));
    assert_non_null(strstr(text.ptr, "vmovntps"));
    assert_non_null(strstr(text.ptr, "zmm"));
    options.level = CPU_PORTABLE;
    assert_true(emit_text(&b->diag, &b->arena, p, options, &text));
    assert_non_null(strstr(text.ptr, "movntps"));
    assert_null(strstr(text.ptr, "ymm"));
}

static int occurrences(Str text, const char *word) {
    int count = 0;
    for (const char *at = strstr(text.ptr, word); at; at = strstr(at + 1, word))
        count++;
    return count;
}

// A softmax reads its row twice, so each of the two passes asks for half of the next row: one
// line for every two that it reads.
static void passes_share_the_row_ahead(void **state) {
    kernel_need_compiler();
    static const int asked[] = {
        [CPU_PORTABLE] = 1, [CPU_AVX2] = 1, [CPU_AVX512] = 2, [CPU_AVX512BF16] = 2};
    TileBench *b = *state;
    for (int level = CPU_PORTABLE; level <= CPU_AVX512BF16; level++)
        for (int unroll = 1; unroll <= 4; unroll += 3) {
            const char *knobs = unroll == 1 ? "  knob unroll = 1\n  knob prefetch = 1\n"
                                            : "  knob unroll = 4\n  knob prefetch = 1\n";
            TileProgram *p = bench_program(b, stream_softmax_text(b, 2, 512, knobs));
            Str text;
            EmitOptions options = {.level = (IsaLevel)level};
            assert_true(emit_text(&b->diag, &b->arena, p, options, &text));
            int each = unroll == 1 ? 1 : asked[level];
            assert_int_equal(occurrences(text, "call void @llvm.prefetch"), 2 * each);
        }
}

static void same_program_same_bytes(void **state) {
    kernel_need_compiler();
    TileBench *b = *state;
    EmittedKernel first, second;
    for (int level = CPU_PORTABLE; level <= CPU_AVX512BF16; level++) {
        EmitOptions options = {.level = (IsaLevel)level};
        TileProgram *p = bench_program(b, tile_text_rms_norm);
        assert_true(emit_kernel(&b->diag, &b->arena, p, options, &first));
        p = bench_program(b, tile_text_rms_norm);
        assert_true(emit_kernel(&b->diag, &b->arena, p, options, &second));
        assert_true(str_eq(first.object, second.object));
    }
}

static void *compile_many(void *unused) {
    (void)unused;
    TileBench b;
    bench_open(&b);
    bool ok = true;
    for (int i = 0; i < 4; i++) {
        TileProgram *p = bench_program(&b, stream_softmax_text(&b, 3, 100 + i, ""));
        EmittedKernel kernel;
        ok = ok && emit_kernel(&b.diag, &b.arena, p, (EmitOptions){.level = CPU_AVX2}, &kernel);
    }
    bench_close(&b);
    return ok ? unused : NULL;
}

static void compiles_on_many_threads(void **state) {
    kernel_need_compiler();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, compile_many, *state), 0);
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, *state);
    }
}

// ---- corners

static void scalars_alone(void **state) {
    kernel_need_compiler();
    static const char text[] =
        "tile scalars stream\n  grid t = 13\n  arg x: f32[13]\n  arg k: i32[1]\n  arg y: f32[13]\n"
        "  %1 = load x[t] : f32 (t)\n"
        "  %2 = load k[0] : i32 ()\n"
        "  %3 = map cast %2 : f32 ()\n"
        "  %4 = map tanh %1 : f32 (t)\n"
        "  %5 = map mul %3, %4 : f32 (t)\n"
        "  store y[t] = %5 : f32 (t)\n";
    check_text(*state, text);
}

static void values_of_the_whole_kernel(void **state) {
    kernel_need_compiler();
    static const char text[] =
        "tile whole stream\n  grid t = 3\n  col c = 70\n  arg g: f32[70]\n  arg x: f32[210]\n"
        "  arg y: f32[210]\n"
        "  %1 = load g[c] : f32 (c)\n"
        "  %2 = reduce_sum %1 over (c) : f32 ()\n"
        "  %3 = map div %1, %2 : f32 (c)\n"
        "  %4 = load x[t*70 + c] : f32 (t, c)\n"
        "  %5 = map mul %3, %4 : f32 (t, c)\n"
        "  store y[t*70 + c] = %5 : f32 (t, c)\n";
    KernelCheck check = kernel_check_usual();
    check.tolerance = 1e-4;
    kernel_check_text(*state, text, check);
}

// Dots of 5 rows with 6 products of vectors that all rows share, and sums of rows: several
// sweeps, more sums than lanes.
static void check_dots(TileBench *b, int64_t rows, int64_t cols, const char *type) {
    enum { SOURCES = 5, VECTORS = 6 };
    StrBuf text = {0};
    long long t = rows, c = cols;
    int op = 0, x[SOURCES], v[VECTORS];
    strbuf_addf(&text,
                "tile dots stream\n  grid t = %lld\n  col c = %lld\n  arg x: %s[%lld]\n"
                "  arg v: f32[%lld]\n  arg w: bf16[%lld]\n  arg s: f32[%lld]\n"
                "  arg y: %s[%lld]\n  knob nt = 1\n",
                t, c, type, t * c * SOURCES, c * VECTORS, c, t * SOURCES * VECTORS, type,
                t * c * SOURCES);
    strbuf_addf(&text, "  %%%d = load w[c] : f32 (c)\n", ++op);
    for (int k = 0; k < VECTORS; k++) {
        strbuf_addf(&text, "  %%%d = load v[c + %lld] : f32 (c)\n", op + 1, k * c);
        v[k] = op += 2;
        strbuf_addf(&text, "  %%%d = map mul %%1, %%%d : f32 (c)\n", op, op - 1);
    }
    for (int n = 0; n < SOURCES; n++) {
        x[n] = ++op;
        strbuf_addf(&text, "  %%%d = load x[t*%lld + c + %lld] : f32 (t, c)\n", op, c,
                    n * t * c);
    }
    for (int k = 0; k < SOURCES * VECTORS; k++) {
        op += 3;  // the store is the third
        strbuf_addf(&text, "  %%%d = map mul %%%d, %%%d : f32 (t, c)\n", op - 2, x[k % SOURCES],
                    v[k / SOURCES]);
        strbuf_addf(&text, "  %%%d = reduce_sum %%%d over (c) : f32 (t)\n", op - 1, op - 2);
        strbuf_addf(&text, "  store s[t*%d + %d] = %%%d : f32 (t)\n", SOURCES * VECTORS, k,
                    op - 1);
    }
    for (int n = 0; n < SOURCES; n++) {
        strbuf_addf(&text, "  %%%d = map add %%%d, %%%d : f32 (t, c)\n", op + 1, x[n],
                    x[(n + 1) % SOURCES]);
        strbuf_addf(&text, "  store y[t*%lld + c + %lld] = %%%d : f32 (t, c)\n", c, n * t * c,
                    op + 1);
        op += 2;
    }
    KernelCheck check = kernel_check_usual();
    check.aligned = true;
    check.tolerance = 1e-4;  // of sums of up to 1000 products, in f32
    kernel_check_text(b, strbuf_view(&text).ptr, check);
    strbuf_release(&text);
}

static void dots_with_what_rows_share(void **state) {
    kernel_need_compiler();
    static const int64_t cols[] = {40, 128, 250, 1000};
    for (int i = 0; i < 4; i++) {
        check_dots(*state, 70, cols[i], "bf16");
        check_dots(*state, 3, cols[i], i % 2 == 0 ? "f32" : "f16");
    }
    check_dots(*state, 70, 333, "f32");
}

// ---- many scalars: rows in blocks

typedef struct {
    TileProgram *p;
    uint32_t t, c;
    int64_t d;
} Mixes;

// Element `offset` + t * row + col of the cols, if they have a stride.
static TileAccess mix_at(const Mixes *m, uint32_t arg, int64_t offset, int64_t row,
                         int64_t col) {
    TileAccess at = tile_access(arg);
    at.offset = offset;
    at.stride[m->t] = row;
    at.stride[m->c] = col;
    return at;
}

static TileId over_cols(const Mixes *m, GraphOp fn, TileId x) {
    return tile_reduce(m->p, fn, x, (DimSet)(1 << m->c), (Span){0});
}

// y[i] = sum over j of w[i][j] x[j], w[i][j] = sigmoid((dot(x[j], q[i]) / d + a[t]) * b[3 t] +
// e) plus the largest of x[j]: 8 reads of 8 sources. w is stored [i][j][t] and [t][i][j].
static TileProgram *mixes_new(Arena *arena, int64_t tokens, int64_t d, DType type) {
    enum { N = 8, ALL = N * N };
    TileProgram *p = tile_new(arena, STR("mixes"), TILE_STREAM);
    Mixes m = {.p = p, .d = d};
    m.t = tile_dim(p, STR("t"), tokens, 1, DIM_GRID);
    m.c = tile_dim(p, STR("d"), d, d, DIM_COL);
    uint32_t x = tile_arg(p, STR("x"), type, N * tokens * d),
             q = tile_arg(p, STR("q"), DTYPE_F32, N * d),
             a = tile_arg(p, STR("a"), DTYPE_F32, tokens),
             b = tile_arg(p, STR("b"), DTYPE_F32, 3 * tokens),
             e = tile_arg(p, STR("e"), DTYPE_F32, 1),
             w = tile_arg(p, STR("w"), DTYPE_F32, ALL * tokens),
             turned = tile_arg(p, STR("turned"), DTYPE_F32, ALL * tokens),
             y = tile_arg(p, STR("y"), type, N * tokens * d);
    TileId v[N], top[N], add = tile_load(p, mix_at(&m, a, 0, 1, 0), (Span){0}),
                         by = tile_load(p, mix_at(&m, b, 0, 3, 0), (Span){0}),
                         all = tile_load(p, mix_at(&m, e, 0, 0, 0), (Span){0});
    for (int j = 0; j < N; j++) {
        v[j] = tile_load(p, mix_at(&m, x, j * tokens * d, d, 1), (Span){0});
        top[j] = over_cols(&m, OP_REDUCE_MAX, v[j]);
    }
    for (int i = 0; i < N; i++) {
        TileId out = {0}, query = tile_load(p, mix_at(&m, q, i * d, 0, 1), (Span){0});
        for (int j = 0; j < N; j++) {
            TileId s = over_cols(&m, OP_REDUCE_SUM, map2(p, OP_MUL, v[j], query));
            s = map2(p, OP_ADD, map2(p, OP_MUL, s, row_const(p, 1.0 / (double)d)), add);
            s = map2(p, OP_ADD, map2(p, OP_MUL, s, by), all);
            s = map2(p, OP_ADD, map1(p, OP_SIGMOID, s), top[j]);
            tile_store(p, mix_at(&m, w, (i * N + j) * tokens, 1, 0), s, (Span){0});
            tile_store(p, mix_at(&m, turned, i * N + j, ALL, 0), s, (Span){0});
            TileId part = map2(p, OP_MUL, v[j], s);
            out = j == 0 ? part : map2(p, OP_ADD, out, part);
        }
        tile_store(p, mix_at(&m, y, i * tokens * d, d, 1), out, (Span){0});
    }
    return p;
}

// Of 8 or 16 rows a block, the last one is mostly not whole.
static void scalars_of_blocks_of_rows(void **state) {
    kernel_need_compiler();
    TileBench *b = *state;
    static const int64_t tokens[] = {7, 16, 37, 70}, cols[] = {96, 224, 203, 90};
    for (int i = 0; i < 4; i++) {
        DType type = i % 2 ? DTYPE_BF16 : DTYPE_F32;
        TileProgram *p = mixes_new(&b->arena, tokens[i], cols[i], type);
        assert_true(tile_verify(&b->diag, p));
        KernelCheck check = kernel_check_usual();
        check.aligned = i == 2;
        // A sum near the middle between two numbers of bf16 may become either.
        if (type == DTYPE_BF16) check.tolerance = 0x1p-8;
        kernel_check(b, p, check);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(softmax_of_every_width, setup, teardown),
        cmocka_unit_test_setup_teardown(softmax_with_knobs, setup, teardown),
        cmocka_unit_test_setup_teardown(rms_norm_in_every_type, setup, teardown),
        cmocka_unit_test_setup_teardown(attention_over_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(sums_over_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(softmax_over_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(sums_of_sums, setup, teardown),
        cmocka_unit_test_setup_teardown(guarded_loads, setup, teardown),
        cmocka_unit_test_setup_teardown(indices_and_whole_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(tiles_of_cols, setup, teardown),
        cmocka_unit_test_setup_teardown(strided_cols, setup, teardown),
        cmocka_unit_test_setup_teardown(gathers, setup, teardown),
        cmocka_unit_test_setup_teardown(scatters, setup, teardown),
        cmocka_unit_test_setup_teardown(halves_round_to_even, setup, teardown),
        cmocka_unit_test_setup_teardown(softmax_in_place, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_sum_that_keeps_an_inner_row, setup, teardown),
        cmocka_unit_test_setup_teardown(shows_ir_and_assembly, setup, teardown),
        cmocka_unit_test_setup_teardown(passes_share_the_row_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(same_program_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(compiles_on_many_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(scalars_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(values_of_the_whole_kernel, setup, teardown),
        cmocka_unit_test_setup_teardown(dots_with_what_rows_share, setup, teardown),
        cmocka_unit_test_setup_teardown(scalars_of_blocks_of_rows, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
