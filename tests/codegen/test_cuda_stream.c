// test_cuda_stream.c: STREAM programs as CUDA kernels: rows of every width, all kinds of sums,
// guards, row numbers and storage types, against the interpreter on the CPU and through NVRTC.
#include "tests/codegen/cuda_bench.h"
#include "tests/codegen/stream_case.h"

// Runs what was added on the CPU, and compiles some of it for the architecture that it was
// written for.
static void run_and_close(CudaFixture *f, IsaLevel arch) {
    cuda_bench_run(&f->cuda);
    if (f->cuda.kernels.len > 4) f->cuda.kernels.len = 4;
    cuda_fixture_compile(f, arch);
}

// For many kernels of one kind.
static void run_once_and_close(CudaFixture *f) {
    f->cuda.quick = true;
    cuda_fixture_run(f);
}

// Functions are good to a few units in the last place of f32; `terms` are added up.
static CudaCheck check_of(int64_t terms) {
    return (CudaCheck){.range = 2, .whole = 10, .tolerance = (double)(terms + 8) * 0x1p-23};
}

static void add(CudaFixture *f, const TileProgram *p, IsaLevel arch, CudaCheck check) {
    cuda_bench_add(&f->cuda, cuda_stream, p, arch, check);
}

static void add_text(CudaFixture *f, const char *text, IsaLevel arch, CudaCheck check) {
    add(f, bench_program(&f->bench, text), arch, check);
}

// ---- rows

static void softmax_of_every_width(void **state) {
    (void)state;
    static const int64_t widths[] = {1,  2,  3,   4,   5,   7,   8,    9,   12,
                                     15, 16, 17,  20,  31,  32,  33,   40,  63,
                                     64, 65, 100, 128, 250, 256, 1000, 1030};
    CudaFixture f;
    cuda_fixture_open(&f);
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        add_text(&f, stream_softmax_text(&f.bench, 5, widths[i], ""), CUDA_SM80,
                 check_of(widths[i]));
    run_once_and_close(&f);
}

static void softmax_of_every_shape(void **state) {
    (void)state;
    static const char *const knobs[] = {
        "knob threads = 1\n",
        "knob threads = 4\nknob rows = 8\n",
        "knob threads = 16\nknob rows = 5\nknob width = 2\n",
        "knob threads = 32\nknob blocks = 2\n",
        "knob threads = 96\nknob width = 1\n",
        "knob threads = 64\nknob keep = 0\n",
        "knob keep = 0\nknob blocks = 1\nknob nt = 1\n",
        "knob threads = 32\nknob keep = 0\nknob rows = 2\n",
    };
    CudaFixture f;
    cuda_fixture_open(&f);
    for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++) {
        add_text(&f, stream_softmax_text(&f.bench, 7, 48, knobs[i]), CUDA_SM90A, check_of(48));
        add_text(&f, stream_softmax_text(&f.bench, 3, 516, knobs[i]), CUDA_SM90A,
                 check_of(516));
    }
    // As many teams as a warp has room for, each with lanes of its own that wait for each
    // other.
    add_text(&f, stream_softmax_text(&f.bench, 40, 16, "knob threads = 2\nknob rows = 16\n"),
             CUDA_SM80, check_of(16));
    // In place: each element is stored after all passes over its row.
    CudaCheck check = check_of(300);
    check.in_place[1] = 1;
    add_text(&f, stream_softmax_text(&f.bench, 6, 300, ""), CUDA_SM90A, check);
    add_text(&f, stream_softmax_text(&f.bench, 6, 300, "knob keep = 0\n"), CUDA_SM90A, check);
    run_and_close(&f, CUDA_SM90A);
}

static void norms_of_every_type(void **state) {
    (void)state;
    static const char *const types[] = {"f32", "bf16", "f16"};
    static const int64_t widths[] = {7, 16, 42, 64, 512};
    CudaFixture f;
    cuda_fixture_open(&f);
    for (int i = 0; i < 15; i++) {
        long long n = widths[i / 3];
        const char *x = types[i % 3], *w = types[(i + 1) % 3];
        Str text = str_printf(&f.bench.arena,
                              "tile rms_norm stream\n  grid t = 4\n  col c = %lld\n"
                              "  arg x: %s[%lld]\n  arg w: %s[%lld]\n  arg y: %s[%lld]\n"
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
                              n, x, 4 * n, w, n, x, 4 * n, n, 1.0 / (double)n, n);
        add_text(&f, text.ptr, CUDA_SM80, check_of(n));
    }
    run_once_and_close(&f);
}

static void copies(void **state) {
    (void)state;
    static const char *const types[][2] = {{"bf16", "bf16"}, {"f16", "f32"},  {"f32", "f16"},
                                           {"bf16", "f32"},  {"f16", "bf16"}, {"f32", "f32"}};
    CudaFixture f;
    cuda_fixture_open(&f);
    for (int i = 0; i < 6; i++)
        add_text(&f,
                 str_printf(&f.bench.arena,
                            "tile copy stream\n  grid t = 3\n  col c = 520\n"
                            "  arg x: %s[1560]\n  arg y: %s[1560]\n"
                            "  %%1 = load x[t*520 + c] : f32 (t, c)\n"
                            "  store y[t*520 + c] = %%1 : f32 (t, c)\n",
                            types[i][0], types[i][1])
                     .ptr,
                 CUDA_SM90A, check_of(0));
    add_text(&f,
             "tile scale stream\n  grid t = 40\n  arg x: f32[40]\n  arg y: bool[40]\n"
             "  %1 = load x[t] : f32 (t)\n  %2 = const 0.5 : f32 ()\n"
             "  %3 = map lt %1, %2 : bool (t)\n  store y[t] = %3 : bool (t)\n",
             CUDA_SM90A, check_of(0));
    run_and_close(&f, CUDA_SM90A);
}

// ---- attention over depth: softmax over sources of dot(rms_norm(x_n), q), then the weighted
// sum

static TileId map2(TileProgram *p, GraphOp fn, TileId x, TileId y) {
    return tile_map(p, fn, DTYPE_F32, (TileId[]){x, y}, (Span){0});
}

static TileId map1(TileProgram *p, GraphOp fn, TileId x) {
    return tile_map(p, fn, DTYPE_F32, &x, (Span){0});
}

typedef struct {
    int64_t sources, tokens, d;
    DType type;
} Depth;

static TileId score_of(TileProgram *p, const Depth *depth, TileId v, TileId query) {
    DimSet col = 1U << 1;
    TileId square = tile_reduce(p, OP_REDUCE_SUM, map2(p, OP_MUL, v, v), col, (Span){0});
    TileId dot = tile_reduce(p, OP_REDUCE_SUM, map2(p, OP_MUL, v, query), col, (Span){0});
    TileId mean = map2(p, OP_MUL, square, tile_const(p, 1.0 / (double)depth->d, DTYPE_F32));
    TileId all = map2(p, OP_ADD, mean, tile_const(p, 1e-6, DTYPE_F32));
    return map2(p, OP_MUL, dot, map1(p, OP_RSQRT, all));
}

static TileProgram *depth_new(Arena *arena, const Depth *depth) {
    int64_t rows = depth->tokens, d = depth->d;
    TileProgram *p = tile_new(arena, STR("depth"), TILE_STREAM);
    uint32_t t = tile_dim(p, STR("t"), rows, 1, DIM_GRID);
    uint32_t c = tile_dim(p, STR("d"), d, d, DIM_COL);
    uint32_t x = tile_arg(p, STR("x"), depth->type, depth->sources * rows * d);
    uint32_t q = tile_arg(p, STR("q"), DTYPE_F32, d);
    uint32_t y = tile_arg(p, STR("y"), depth->type, rows * d);
    TileAccess at = tile_access(q);
    at.stride[c] = 1;
    TileId query = tile_load(p, at, (Span){0}), v[32], score[32], top = {0}, sum = {0},
           out = {0};
    at = tile_access(x);
    at.stride[t] = d;
    at.stride[c] = 1;
    for (int n = 0; n < depth->sources; n++) {
        at.offset = n * rows * d;
        v[n] = tile_load(p, at, (Span){0});
        score[n] = score_of(p, depth, v[n], query);
        top = n == 0 ? score[n] : map2(p, OP_MAX, top, score[n]);
    }
    for (int n = 0; n < depth->sources; n++) {
        score[n] = map1(p, OP_EXP, map2(p, OP_SUB, score[n], top));
        sum = n == 0 ? score[n] : map2(p, OP_ADD, sum, score[n]);
    }
    for (int n = 0; n < depth->sources; n++) {
        TileId part = map2(p, OP_MUL, v[n], map2(p, OP_DIV, score[n], sum));
        out = n == 0 ? part : map2(p, OP_ADD, out, part);
    }
    at.arg = y;
    at.offset = 0;
    tile_store(p, at, out, (Span){0});
    return p;
}

static void attention_over_depth(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    static const Depth depths[] = {
        {1, 3, 5, DTYPE_F32},    {2, 3, 48, DTYPE_BF16},  {5, 3, 200, DTYPE_F32},
        {8, 2, 256, DTYPE_BF16}, {20, 2, 264, DTYPE_F32}, {16, 2, 1024, DTYPE_BF16},
        {4, 2, 96, DTYPE_F16},
    };
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
        add(&f, depth_new(&f.bench.arena, &depths[i]), CUDA_SM90A, check_of(depths[i].d));
    run_and_close(&f, CUDA_SM90A);
}

// Rows that the copy engine brings to shared memory, several for each block.
static void rows_by_the_copy_engine(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    static const Depth depths[] = {
        {2, 7, 520, DTYPE_BF16}, {3, 5, 1024, DTYPE_F32}, {5, 4, 1032, DTYPE_F16}};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        TileProgram *p = depth_new(&f.bench.arena, &depths[i]);
        tile_knob_set(p, "ring", 1);
        tile_knob_set(p, "blocks", 2);
        tile_knob_set(p, "threads", i == 1 ? 96 : 64);
        add(&f, p, i == 2 ? CUDA_SM100A : CUDA_SM90A, check_of(depths[i].d));
    }
    CudaCheck in_place = check_of(516);
    in_place.in_place[1] = 1;
    add_text(&f, stream_softmax_text(&f.bench, 6, 516, "knob ring = 1\nknob blocks = 2\n"),
             CUDA_SM90A, in_place);
    for (uint32_t i = 0; i < f.cuda.kernels.len; i++)
        assert_non_null(strstr(f.cuda.kernels.ptr[i].text.ptr, "row_fetch("));
    run_and_close(&f, CUDA_SM90A);
}

// Real extents, compiled only: the rows of all sources stay in registers.
static void attention_over_depth_of_real_size(void **state) {
    (void)state;
    static const Depth depths[] = {{8, 32768, 1024, DTYPE_BF16},  {8, 32768, 2048, DTYPE_BF16},
                                   {16, 32768, 2048, DTYPE_BF16}, {32, 32768, 2048, DTYPE_BF16},
                                   {16, 4096, 4096, DTYPE_BF16},  {8, 32768, 2048, DTYPE_F32}};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        CudaFixture f;
        cuda_fixture_open(&f);
        IsaLevel arch = (IsaLevel)(CUDA_SM80 + i % 3);
        add(&f, depth_new(&f.bench.arena, &depths[i]), arch, check_of(0));
        cuda_fixture_compile(&f, arch);
    }
}

// ---- sums over rows

// Sums of cols, of rows and of everything, and an operation on the sum of cols.
static const char *sums_text(TileBench *b, long long n, const char *knobs) {
    return str_printf(&b->arena,
                      "tile sums stream\n  grid g = 3\n  serial t = 5\n  col c = %lld\n"
                      "  arg x: f32[%lld]\n  arg s: f32[%lld]\n  arg r: f32[15]\n"
                      "  arg a: f32[3]\n  arg m: f32[3]\n%s"
                      "  %%1 = load x[g*%lld + t*%lld + c] : f32 (g, t, c)\n"
                      "  %%2 = reduce_sum %%1 over (t) : f32 (g, c)\n"
                      "  %%3 = map sigmoid %%2 : f32 (g, c)\n"
                      "  store s[g*%lld + c] = %%3 : f32 (g, c)\n"
                      "  %%5 = reduce_sum %%1 over (c) : f32 (g, t)\n"
                      "  store r[g*5 + t] = %%5 : f32 (g, t)\n"
                      "  %%7 = reduce_sum %%1 over (t, c) : f32 (g)\n"
                      "  store a[g] = %%7 : f32 (g)\n"
                      "  %%9 = map tanh %%5 : f32 (g, t)\n"
                      "  %%10 = reduce_max %%9 over (t) : f32 (g)\n"
                      "  store m[g] = %%10 : f32 (g)\n",
                      n, 15 * n, 3 * n, knobs, 5 * n, n, n)
        .ptr;
}

static const char *softmax_rows_text(TileBench *b, long long n, const char *knobs) {
    return str_printf(&b->arena,
                      "tile softmax_rows stream\n  grid g = 2\n  serial s = 3\n  serial t = 4\n"
                      "  col c = %lld\n  arg x: f32[%lld]\n  arg y: f32[%lld]\n%s"
                      "  %%1 = load x[g*%lld + s*%lld + t*%lld + c] : f32 (g, s, t, c)\n"
                      "  %%2 = reduce_max %%1 over (s, t) : f32 (g, c)\n"
                      "  %%3 = map sub %%1, %%2 : f32 (g, s, t, c)\n"
                      "  %%4 = map exp %%3 : f32 (g, s, t, c)\n"
                      "  %%5 = reduce_sum %%4 over (s, t) : f32 (g, c)\n"
                      "  %%6 = map div %%4, %%5 : f32 (g, s, t, c)\n"
                      "  store y[g*%lld + s*%lld + t*%lld + c] = %%6 : f32 (g, s, t, c)\n",
                      n, 24 * n, 24 * n, knobs, 12 * n, 4 * n, n, 12 * n, 4 * n, n)
        .ptr;
}

static void sums_over_rows(void **state) {
    (void)state;
    static const int64_t widths[] = {1, 6, 16, 24, 90, 300};
    CudaFixture f;
    cuda_fixture_open(&f);
    for (int i = 0; i < 6; i++) {
        const char *knobs = i % 3 == 2 ? "knob keep = 0\n" : "";
        add_text(&f, sums_text(&f.bench, widths[i], knobs), CUDA_SM80, check_of(5 * widths[i]));
        add_text(&f, softmax_rows_text(&f.bench, widths[i], knobs), CUDA_SM80, check_of(12));
    }
    add_text(&f, stream_sums_text, CUDA_SM80, check_of(64));
    run_and_close(&f, CUDA_SM80);
}

// More of them than shared memory holds beside 34 scalars: one is added up where it is stored.
static void sums_without_a_place(void **state) {
    (void)state;
    enum { SCALARS = 34, SUMS = 3 };
    CudaFixture f;
    cuda_fixture_open(&f);
    StrBuf text = {0};
    strbuf_addf(&text,
                "tile overflow stream\n  grid g = 1\n  serial t = 2\n  col c = 16384\n"
                "  arg x: f32[32768]\n  arg r: f32[%d]\n",
                2 * SCALARS);
    for (int k = 0; k < SUMS; k++)
        strbuf_addf(&text, "  arg y%d: f32[16384]\n", k);
    strbuf_addz(&text, "  %1 = load x[g*32768 + t*16384 + c] : f32 (g, t, c)\n");
    for (int k = 0, id = 2; k < SCALARS; k++, id += 5)
        strbuf_addf(&text,
                    "  %%%d = const %d : f32 ()\n  %%%d = map sub %%1, %%%d : f32 (g, t, c)\n"
                    "  %%%d = map mul %%1, %%%d : f32 (g, t, c)\n"
                    "  %%%d = reduce_sum %%%d over (c) : f32 (g, t)\n"
                    "  store r[g*2 + t + %d] = %%%d : f32 (g, t)\n",
                    id, k, id + 1, id, id + 2, id + 1, id + 3, id + 2, 2 * k, id + 3);
    for (int k = 0, id = 2 + 5 * SCALARS; k < SUMS; k++, id += 3)
        strbuf_addf(&text,
                    "  %%%d = map mul %%1, %%%d : f32 (g, t, c)\n"
                    "  %%%d = reduce_sum %%%d over (t) : f32 (g, c)\n"
                    "  store y%d[g*16384 + c] = %%%d : f32 (g, c)\n",
                    id, 5 + 5 * k, id + 1, id, k, id + 1);
    add_text(&f, text.ptr, CUDA_SM80, check_of(16384));
    strbuf_release(&text);
    assert_non_null(strstr(f.cuda.kernels.ptr[0].text.ptr, " = y0_ptr + ("));
    assert_null(strstr(f.cuda.kernels.ptr[0].text.ptr, " = y1_ptr + ("));
    run_and_close(&f, CUDA_SM80);
}

// A product that is the same for all rows, in two groups of sums and then in nine of stores:
// the second pass has it from the first.
static void products_of_all_rows(void **state) {
    (void)state;
    enum { SOURCES = 34, SUM = 6 };
    CudaFixture f;
    cuda_fixture_open(&f);
    StrBuf text = {0};
    strbuf_addf(&text,
                "tile products stream\n  grid t = 3\n  col c = 64\n"
                "  arg g: f32[64]\n  arg q: f32[64]\n  arg x: f32[%d]\n  arg y: f32[%d]\n"
                "  %%1 = load g[c] : f32 (c)\n  %%2 = load q[c] : f32 (c)\n"
                "  %%3 = map mul %%1, %%2 : f32 (c)\n",
                192 * SOURCES, 192 * SOURCES);
    for (int k = 0, id = SUM - 2; k < SOURCES; k++, id += 3)
        strbuf_addf(&text,
                    "  %%%d = load x[t*64 + c + %d] : f32 (t, c)\n"
                    "  %%%d = map mul %%%d, %%3 : f32 (t, c)\n"
                    "  %%%d = reduce_sum %%%d over (c) : f32 (t)\n",
                    id, 192 * k, id + 1, id, id + 2, id + 1);
    for (int k = 0, id = SUM - 2 + 3 * SOURCES; k < SOURCES; k++, id += 3)
        strbuf_addf(&text,
                    "  %%%d = map mul %%3, %%%d : f32 (t, c)\n"
                    "  %%%d = map mul %%%d, %%%d : f32 (t, c)\n"
                    "  store y[t*64 + c + %d] = %%%d : f32 (t, c)\n",
                    id, SUM + 3 * k, id + 1, id, SUM - 2 + 3 * k, 192 * k, id + 1);
    add_text(&f, text.ptr, CUDA_SM80, check_of(64));
    strbuf_release(&text);
    const char *once = strstr(f.cuda.kernels.ptr[0].text.ptr, "float mul_3[");
    assert_non_null(once);
    assert_null(strstr(once + 1, "float mul_3["));
    run_and_close(&f, CUDA_SM80);
}

// All sums are of the one row, and the whole kernel knows them: nothing is shared.
static void sums_of_a_single_row(void **state) {
    (void)state;
    enum { SUMS = 40 };
    CudaFixture f;
    cuda_fixture_open(&f);
    StrBuf text = {0};
    strbuf_addf(&text, "tile single stream\n  col c = 1000\n  arg y: f32[1000]\n");
    for (int k = 0; k < SUMS; k++)
        strbuf_addf(&text, "  arg x%d: f32[1000]\n", k);
    for (int k = 0, id = 1; k < SUMS; k++, id += 3)
        strbuf_addf(&text,
                    "  %%%d = load x%d[c] : f32 (c)\n  %%%d = map mul %%%d, %%%d : f32 (c)\n"
                    "  %%%d = reduce_sum %%%d over (c) : f32 ()\n",
                    id, k, id + 1, id, id, id + 2, id + 1);
    int sum = 3, next = 1 + 3 * SUMS;
    for (int k = 1; k < SUMS; k++, sum = next++)
        strbuf_addf(&text, "  %%%d = map add %%%d, %%%d : f32 ()\n", next, sum, 3 + 3 * k);
    strbuf_addf(&text,
                "  %%%d = map sqrt %%%d : f32 ()\n  %%%d = map div %%1, %%%d : f32 (c)\n"
                "  store y[c] = %%%d : f32 (c)\n",
                next, sum, next + 1, next, next + 1);
    for (int arch = CUDA_SM80; arch <= CUDA_SM100A; arch++)
        add_text(&f, text.ptr, (IsaLevel)arch, check_of((int64_t)SUMS * 1000));
    strbuf_release(&text);
    assert_null(strstr(f.cuda.kernels.ptr[0].text.ptr, "for (int task"));
    run_once_and_close(&f);
}

// ---- guards, indices, tiles of cols

static void guards_and_indices(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    add_text(&f, stream_guards_text, CUDA_SM80, check_of(0));
    add_text(&f,
             "tile rotate stream\n  grid g = 3\n  grid h = 5\n  col c = 64\n"
             "  arg x: f32[960]\n  arg w: bf16[64]\n  arg y: f32[960]\n"
             "  %1 = load x[g*320 + h*64 + c + 32] if 0 <= c < 32 : f32 (g, h, c)\n"
             "  %2 = load x[g*320 + h*64 + c - 32] if 32 <= c < 64 : f32 (g, h, c)\n"
             "  %3 = map add %1, %2 : f32 (g, h, c)\n"
             "  %4 = load w[c] if 1 <= c / 16 % 2 < 2 : f32 (c)\n"
             "  %5 = map mul %3, %4 : f32 (g, h, c)\n"
             "  store y[g*320 + h*64 + c] = %5 : f32 (g, h, c)\n",
             CUDA_SM80, check_of(0));
    add_text(&f,
             "tile numbers stream\n  grid t = 6\n  col c = 50\n"
             "  arg k: i32[50]\n  arg f: bool[50]\n  arg y: i32[300]\n  arg z: f32[300]\n"
             "  arg b: bool[300]\n"
             "  %1 = index c / 3 % 7 + 2 : i32 (c)\n"
             "  %2 = index t + 1 : i32 (t)\n"
             "  %3 = map mul %1, %2 : i32 (t, c)\n"
             "  %4 = load k[c] : i32 (c)\n"
             "  %5 = map max %3, %4 : i32 (t, c)\n"
             "  %6 = load f[c] : bool (c)\n"
             "  %7 = map where %6, %5, %3 : i32 (t, c)\n"
             "  store y[t*50 + c] = %7 : i32 (t, c)\n"
             "  %9 = map cast %7 : f32 (t, c)\n"
             "  %10 = const -2.5 : f32 ()\n"
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
             "  store b[t*50 + c] = %21 : bool (t, c)\n",
             CUDA_SM80, (CudaCheck){.range = 2, .whole = 40});
    run_and_close(&f, CUDA_SM80);
}

static void tiles_and_strides(void **state) {
    (void)state;
    static const int tiles[] = {1, 64, 333};
    CudaFixture f;
    cuda_fixture_open(&f);
    for (int i = 0; i < 3; i++)
        add_text(&f,
                 str_printf(
                     &f.bench.arena,
                     "tile tiled stream\n  grid t = 3\n  serial s = 4\n  col c = 333 tile %d\n"
                     "  arg x: f32[3996]\n  arg g: bf16[333]\n  arg y: f32[3996]\n"
                     "  arg z: f32[999]\n"
                     "  %%1 = load x[t*1332 + s*333 + c] : f32 (t, s, c)\n"
                     "  %%2 = load g[332 - c] : f32 (c)\n"
                     "  %%3 = map mul %%1, %%2 : f32 (t, s, c)\n"
                     "  store y[t*1332 + s*333 + c] = %%3 : f32 (t, s, c)\n"
                     "  %%5 = reduce_sum %%3 over (s) : f32 (t, c)\n"
                     "  store z[t*333 + c] = %%5 : f32 (t, c)\n",
                     tiles[i])
                     .ptr,
                 CUDA_SM100A, check_of(4));
    add_text(&f, stream_strided_text, CUDA_SM100A, check_of(0));
    run_and_close(&f, CUDA_SM100A);
}

// More numbers of a row than registers hold are loaded where a sum of the row is used with
// them, not before it is made.
static void many_scalars_wait(void **state) {
    (void)state;
    enum { SCALARS = 40 };
    CudaFixture f;
    cuda_fixture_open(&f);
    StrBuf text = {0};
    strbuf_addf(&text,
                "tile late stream\n  grid t = 11\n  col c = 41\n  arg x: f32[451]\n"
                "  arg p: f32[%d]\n  arg y: f32[11]\n"
                "  %%1 = load x[t*41 + c] : f32 (t, c)\n"
                "  %%2 = reduce_sum %%1 over (c) : f32 (t)\n",
                11 * SCALARS);
    int id = 3;
    for (int k = 0; k < SCALARS; k++, id += 2)
        strbuf_addf(&text,
                    "  %%%d = load p[t*%d + %d] : f32 (t)\n"
                    "  %%%d = map add %%%d, %%%d : f32 (t)\n",
                    id, SCALARS, k, id + 1, k ? id - 1 : 2, id);
    strbuf_addf(&text, "  store y[t] = %%%d : f32 (t)\n", id - 1);
    add_text(&f, text.ptr, CUDA_SM90A, check_of(41 + SCALARS));
    strbuf_release(&text);
    const char *kernel = f.cuda.kernels.ptr[0].text.ptr;
    assert_true(strstr(kernel, "team_reduce<Sum>(") < strstr(kernel, "// %3 = load p"));
    run_and_close(&f, CUDA_SM90A);
}

// ---- rows by number

static void rows_by_number(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    CudaCheck check = {.range = 2, .whole = 13, .tolerance = 1e-5};
    add_text(&f,
             "tile gathers stream\n  grid t = 11\n  col c = 40\n"
             "  arg k: i32[11]\n  arg j: i32[440]\n  arg w: f32[400]\n  arg h: bf16[800]\n"
             "  arg y: f32[440]\n  arg z: f32[440]\n"
             "  %1 = load k[t] : i32 (t)\n"
             "  %2 = gather w[c] at %1*40 of 10 : f32 (t, c)\n"
             "  %3 = gather h[c*2] at %1*80 of 10 : f32 (t, c)\n"
             "  %4 = map sub %2, %3 : f32 (t, c)\n"
             "  store y[t*40 + c] = %4 : f32 (t, c)\n"
             "  %6 = load j[t*40 + c] : i32 (t, c)\n"
             "  %7 = gather w[c] at %6*40 of 10 : f32 (t, c)\n"
             "  %8 = gather h[0] at %6*1 of 10 : f32 (t, c)\n"
             "  %9 = map add %7, %8 : f32 (t, c)\n"
             "  store z[t*40 + c] = %9 : f32 (t, c)\n",
             CUDA_SM80, check);
    add_text(&f, stream_scatters_text, CUDA_SM80,
             (CudaCheck){.range = 2, .whole = 13, .tolerance = 1e-4});
    add_text(&f,
             "tile scatter stream\n  serial t = 30\n  col c = 520\n"
             "  arg k: i32[30]\n  arg x: bf16[15600]\n  arg w: f32[5200]\n"
             "  %1 = load k[t] : i32 (t)\n"
             "  %2 = load x[t*520 + c] : f32 (t, c)\n"
             "  scatter_add w[c] at %1*520 of 10 = %2 : f32 (t, c)\n",
             CUDA_SM80, (CudaCheck){.range = 2, .whole = 13, .tolerance = 1e-4});
    add_text(&f, stream_puts_text, CUDA_SM80, (CudaCheck){.range = 2, .tolerance = 1e-6});
    run_and_close(&f, CUDA_SM80);
}

// One thread stores a sum where all threads of the row load: they must all have done so.
static void scalars_in_place(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    for (int i = 0; i < 2; i++)
        add_text(&f,
                 str_printf(&f.bench.arena,
                            "tile running stream\n  grid t = 5\n  col c = %d\n"
                            "  arg x: f32[%d]\n  arg s: f32[5]\n  arg y: f32[%d]\n"
                            "  %%1 = load x[t*%d + c] : f32 (t, c)\n"
                            "  %%2 = reduce_sum %%1 over (c) : f32 (t)\n"
                            "  %%3 = load s[t] : f32 (t)\n"
                            "  %%4 = map add %%2, %%3 : f32 (t)\n"
                            "  store s[t] = %%4 : f32 (t)\n"
                            "  %%6 = map mul %%1, %%4 : f32 (t, c)\n"
                            "  store y[t*%d + c] = %%6 : f32 (t, c)\n",
                            i ? 24 : 400, i ? 120 : 2000, i ? 120 : 2000, i ? 24 : 400,
                            i ? 24 : 400)
                     .ptr,
                 CUDA_SM90A, check_of(400));
    run_and_close(&f, CUDA_SM90A);
}

// ---- the emitter

static void refuses_a_sum_that_keeps_an_inner_row(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    TileProgram *p = bench_program(&b, stream_crossed_text);
    CudaKernel kernel;
    assert_false(cuda_emit(&b.diag, &b.arena, p, (EmitOptions){.level = CUDA_SM90A}, &kernel));
    assert_diag_has(&b.diag,
                    "kernel 'crossed' sums over a row dimension outside one that it keeps");
    assert_int_equal(b.diag.fail, FAIL_ENVIRONMENT);
    bench_close(&b);
}

static void text_is_pure_and_readable(void **state) {
    (void)state;
    TileBench b;
    bench_open(&b);
    uint32_t file = diag_source_add(&b.diag, STR("model.strata"), STR("one\ntwo\nthree\n"));
    for (int arch = CUDA_SM80; arch <= CUDA_SM100A; arch++) {
        TileProgram *p = bench_program(&b, tile_text_rms_norm);
        for (uint32_t i = 1; i < p->ops.len; i++)
            p->ops.ptr[i].span = (Span){file, 4, 7};
        CudaKernel first, second;
        assert_true(
            cuda_emit(&b.diag, &b.arena, p, (EmitOptions){.level = (IsaLevel)arch}, &first));
        assert_true(
            cuda_emit(&b.diag, &b.arena, p, (EmitOptions){.level = (IsaLevel)arch}, &second));
        assert_true(str_eq(first.text, second.text));
        assert_memory_equal(&first.launch, &second.launch, sizeof first.launch);
        assert_non_null(strstr(first.text.ptr, "// %3 = reduce_sum %2 over (c) : f32 (t)\n"));
        assert_null(strstr(first.text.ptr, "#line"));
        assert_true(cuda_emit(&b.diag, &b.arena, p,
                              (EmitOptions){.level = (IsaLevel)arch, .lines = &b.diag},
                              &second));
        assert_non_null(strstr(second.text.ptr, "#line 2 \"model.strata\"\n"));
    }
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_of_every_width),
        cmocka_unit_test(softmax_of_every_shape),
        cmocka_unit_test(norms_of_every_type),
        cmocka_unit_test(copies),
        cmocka_unit_test(attention_over_depth),
        cmocka_unit_test(rows_by_the_copy_engine),
        cmocka_unit_test(attention_over_depth_of_real_size),
        cmocka_unit_test(sums_over_rows),
        cmocka_unit_test(sums_without_a_place),
        cmocka_unit_test(products_of_all_rows),
        cmocka_unit_test(sums_of_a_single_row),
        cmocka_unit_test(guards_and_indices),
        cmocka_unit_test(tiles_and_strides),
        cmocka_unit_test(many_scalars_wait),
        cmocka_unit_test(rows_by_number),
        cmocka_unit_test(scalars_in_place),
        cmocka_unit_test(refuses_a_sum_that_keeps_an_inner_row),
        cmocka_unit_test(text_is_pure_and_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
