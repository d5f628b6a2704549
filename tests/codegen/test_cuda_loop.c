// test_cuda_loop.c: contractions by LOOP_CP: shapes with tails, all orders of strides, every
// way to fill a tile, prologues and epilogues, against the interpreter and through NVRTC.
#include "base/rng.h"
#include "tests/codegen/cuda_bench.h"

typedef struct {
    int64_t m, n, k;
    bool a_by_k, b_by_n;  // is this the dimension with stride 1
    const char *knobs, *type;
} Shape;

// Each product is exact or rounded once and each of k sums once; values are below 2 in
// magnitude.
static CudaCheck check_of(int64_t k) {
    return (CudaCheck){.range = 2, .whole = 10, .tolerance = (double)(k + 4) * 0x1p-23 * 4};
}

static IsaLevel arch_at(uint64_t i) { return (IsaLevel)(CUDA_SM80 + i % 3); }

// y = epilogue(sum of a * b), where epilogue is text that begins with operation %4 and ends in
// a store.
static const char *contraction(TileBench *b, const Shape *s, const char *args,
                               const char *epilogue) {
    const char *type = s->type ? s->type : "bf16";
    Str text = str_printf(
        &b->arena,
        "tile t loop\nm m = %lld\nn n = %lld\nk k = %lld\n"
        "arg a: %s[%lld]\narg b: %s[%lld]\narg y: %s[%lld]\n%s%s"
        "%%1 = load a[m*%lld + k*%lld] : f32 (m, k)\n"
        "%%2 = load b[n*%lld + k*%lld] : f32 (n, k)\n"
        "%%3 = dot %%1, %%2 over (k) : f32 (m, n)\n%s",
        (long long)s->m, (long long)s->n, (long long)s->k, type, (long long)s->m * s->k, type,
        (long long)s->n * s->k, type, (long long)s->m * s->n, args, s->knobs ? s->knobs : "",
        (long long)(s->a_by_k ? s->k : 1), (long long)(s->a_by_k ? 1 : s->m),
        (long long)(s->b_by_n ? 1 : s->k), (long long)(s->b_by_n ? s->n : 1), epilogue);
    return text.ptr;
}

static void add_text(CudaFixture *f, const char *text, IsaLevel arch, CudaCheck check) {
    cuda_bench_add(&f->cuda, cuda_loop_cp, bench_program(&f->bench, text), arch, check);
}

static void add_plain(CudaFixture *f, const Shape *s, IsaLevel arch) {
    Str store = str_printf(&f->bench.arena, "store y[m*%lld + n] = %%3 : f32 (m, n)\n",
                           (long long)s->n);
    add_text(f, contraction(&f->bench, s, "", store.ptr), arch, check_of(s->k));
}

// ---- shapes

static int64_t draw(uint64_t stream, uint64_t i, int64_t most) {
    return 1 + (int64_t)(rng_u64(stream, i) % (uint64_t)most);
}

static const char *const some_knobs[] = {
    "",
    "knob bm = 32\nknob bn = 32\nknob bk = 32\nknob stages = 2\n",
    "knob bm = 16\nknob bn = 64\nknob stages = 4\n",
    "knob bm = 64\nknob bn = 32\nknob bk = 16\nknob stages = 3\nknob order = 2\n",
    "knob bm = 64\nknob bn = 64\nknob bk = 32\nknob warps_m = 1\nknob warps_n = 2\n",
    "knob bm = 16\nknob bn = 32\nknob bk = 64\nknob warps_k = 4\nknob warps_n = 1\nknob stages = 2\n",
};
enum { KNOBS = sizeof some_knobs / sizeof *some_knobs };

static void odd_shapes(const char *type) {
    CudaFixture f;
    cuda_fixture_open(&f);
    f.cuda.quick = true;
    for (uint64_t i = 0; i < 48; i++) {
        Shape s = {.m = draw(1, i, 90), .n = draw(2, i, 90), .k = draw(3, i, 90), .type = type};
        // Half of them in multiples of 16 bytes.
        if (i & 4) {
            s.m = (s.m + 7) / 8 * 8;
            s.n = (s.n + 7) / 8 * 8;
            s.k = (s.k + 7) / 8 * 8;
        }
        s.a_by_k = i & 1;
        s.b_by_n = i & 2;
        s.knobs = some_knobs[i / 8 % KNOBS];
        add_plain(&f, &s, arch_at(i));
    }
    cuda_fixture_run(&f);
}

static void test_odd_shapes_bf16(void **state) {
    (void)state;
    odd_shapes("bf16");
}

static void test_odd_shapes_f16(void **state) {
    (void)state;
    odd_shapes("f16");
}

static void test_odd_shapes_f32(void **state) {
    (void)state;
    odd_shapes("f32");
}

static void test_extents_of_one(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    f.cuda.quick = true;
    for (int i = 0; i < 32; i++) {
        Shape s = {.m = i & 1 ? 1 : 24, .n = i & 2 ? 1 : 40, .k = i & 4 ? 1 : 48};
        s.a_by_k = i & 8;
        s.b_by_n = i & 16;
        s.type = i % 3 == 0 ? "f32" : "bf16";
        add_plain(&f, &s, arch_at((uint64_t)i));
    }
    cuda_fixture_run(&f);
}

static void test_thin(void **state) {
    (void)state;
    CudaFixture f;
    cuda_fixture_open(&f);
    f.cuda.quick = true;
    for (int i = 0; i < 12; i++) {
        Shape s = {.m = 1 + i % 9, .n = 304 + i % 2, .k = 136 + i % 3 * 8};
        s.a_by_k = !(i & 1);
        s.b_by_n = i & 2;
        s.type = i & 8 ? "f32" : "bf16";
        add_plain(&f, &s, arch_at((uint64_t)i));
        Shape turned = {.m = s.n, .n = s.m, .k = s.k, .a_by_k = s.b_by_n, .b_by_n = s.a_by_k};
        turned.type = s.type;
        add_plain(&f, &turned, arch_at((uint64_t)i));
    }
    cuda_fixture_run(&f);
}

// Every legal form of the larger tiles: two columns and three rows of them.
static void test_large_tiles(void **state) {
    (void)state;
    static const char *const knobs[] = {
        "knob bm = 128\nknob bn = 128\nknob order = 2\n",
        "knob bm = 128\nknob bn = 64\nknob bk = 64\nknob stages = 2\nknob order = 1\n",
        "knob bm = 64\nknob bn = 128\nknob bk = 32\nknob stages = 4\n",
        "knob bm = 128\nknob bn = 128\nknob bk = 32\nknob warps_m = 2\nknob warps_n = 2\n",
    };
    CudaFixture f;
    cuda_fixture_open(&f);
    for (uint64_t i = 0; i < 8; i++) {
        Shape s = {.m = 264, .n = 136, .k = 104, .a_by_k = i & 1, .b_by_n = i & 2};
        s.knobs = knobs[i % 4];
        s.type = i < 4 ? "bf16" : "f32";
        if (i == 7) s.knobs = knobs[1];  // sums of f32 need more threads
        add_plain(&f, &s, CUDA_SM90A);
    }
    cuda_fixture_run(&f);
}

// ---- batches and several k

static Str typed(CudaFixture *f, const char *text, const char *type) {
    StrBuf out = {0};
    for (const char *c = text; *c; c++)
        if (*c == '?')
            strbuf_addz(&out, type);
        else
            strbuf_addc(&out, *c);
    Str copy = str_copy(&f->bench.arena, strbuf_view(&out));
    strbuf_release(&out);
    return copy;
}

// With bf16 or f32 in place of each '?'.
static void add_both(CudaFixture *f, const char *text, int64_t k, IsaLevel arch) {
    add_text(f, typed(f, text, "bf16").ptr, arch, check_of(k));
    add_text(f, typed(f, text, "f32").ptr, arch, check_of(k));
}

static void add_batches(CudaFixture *f, IsaLevel arch) {
    add_both(f,
             "tile t loop\ngrid g = 3\ngrid h = 2\nm m = 24\nn n = 40\nk k = 16\n"
             "arg a: ?[2304]\narg b: ?[1280]\narg y: ?[5760]\n"
             "%1 = load a[g*768 + m*32 + h*16 + k] : f32 (g, h, m, k)\n"
             "%2 = load b[h*640 + n*16 + k] : f32 (h, n, k)\n"
             "%3 = dot %1, %2 over (k) : f32 (g, h, m, n)\n"
             "store y[g*1920 + m*80 + h*40 + n] = %3 : f32 (g, h, m, n)\n",
             16, arch);
}

static void add_several_k(CudaFixture *f, IsaLevel arch) {
    static const char text[] = "tile t loop\nm m = 13\nn n = %d\nk j = 6 tile 1\nk k = %d\n"
                               "arg a: ?[%d]\narg b: ?[%d]\narg y: f32[%d]\n"
                               "%%1 = load a[m*%d + j*%d + k] : f32 (m, j, k)\n"
                               "%%2 = load b[j*%d + k*%d + n*%d] : f32 (n, j, k)\n"
                               "%%3 = dot %%1, %%2 over (j, k) : f32 (m, n)\n"
                               "store y[m*%d + n] = %%3 : f32 (m, n)\n";
    for (int i = 0; i < 4; i++) {
        int n = 40, k = i & 1 ? 24 : 19;
        bool by_n = i & 2;
        Str filled = str_printf(&f->bench.arena, text, n, k, 13 * 6 * k, n * 6 * k, 13 * n, k,
                                13 * k, n * k, by_n ? n : 1, by_n ? 1 : k, n);
        add_both(f, filled.ptr, (int64_t)6 * k, arch);
    }
}

static void add_three_k(CudaFixture *f, IsaLevel arch) {
    add_both(f,
             "tile t loop\nm m = 5\nn n = 18\nk i = 3 tile 1\nk j = 5 tile 1\nk k = 8\n"
             "arg a: ?[600]\narg b: ?[2160]\narg y: f32[90]\n"
             "%1 = load a[m*120 + i*40 + j*8 + k] : f32 (m, i, j, k)\n"
             "%2 = load b[i*720 + j*144 + k*18 + n] : f32 (n, i, j, k)\n"
             "%3 = dot %1, %2 over (i, j, k) : f32 (m, n)\n"
             "store y[m*18 + n] = %3 : f32 (m, n)\n",
             120, arch);
}

// ---- what stands after the dot

static void add_epilogue(CudaFixture *f, const char *args, const char *epilogue, IsaLevel arch,
                         CudaCheck more) {
    static const char *const types[] = {"bf16", "f32"};
    for (int i = 0; i < 6; i++) {
        Shape s = {.m = 23, .n = i % 2 ? 56 : 53, .k = 32, .a_by_k = true, .b_by_n = true};
        s.type = types[i / 3];
        s.knobs = some_knobs[i % 3];
        Str n = str_printf(&f->bench.arena, "%d", (int)s.n);
        Str of = str_printf(&f->bench.arena, "%d", (int)(s.m * s.n));
        // '#' stands for n, '$' for m * n.
        Str texts[2] = {str_of(args), str_of(epilogue)};
        for (int t = 0; t < 2; t++) {
            StrBuf out = {0};
            for (size_t c = 0; c < texts[t].len; c++)
                if (texts[t].ptr[c] == '#')
                    strbuf_add(&out, n);
                else if (texts[t].ptr[c] == '$')
                    strbuf_add(&out, of);
                else
                    strbuf_addc(&out, texts[t].ptr[c]);
            texts[t] = str_copy(&f->bench.arena, strbuf_view(&out));
            strbuf_release(&out);
        }
        CudaCheck check = check_of(s.k);
        memcpy(check.in_place, more.in_place, sizeof check.in_place);
        add_text(f, contraction(&f->bench, &s, texts[0].ptr, texts[1].ptr), arch, check);
    }
}

static void add_gate(CudaFixture *f, IsaLevel arch) {
    add_epilogue(f, "arg up: bf16[$]\n",
                 "%4 = map sigmoid %3 : f32 (m, n)\n"
                 "%5 = map mul %3, %4 : f32 (m, n)\n"
                 "%6 = load up[m*# + n] : f32 (m, n)\n"
                 "%7 = map mul %5, %6 : f32 (m, n)\n"
                 "store y[m*# + n] = %7 : f32 (m, n)\n",
                 arch, (CudaCheck){0});
}

static void add_residual_in_place(CudaFixture *f, IsaLevel arch) {
    add_epilogue(f, "arg r: f32[$]\narg z: f32[$]\n",
                 "%4 = load y[m*# + n] : f32 (m, n)\n"
                 "%5 = map add %3, %4 : f32 (m, n)\n"
                 "store y[m*# + n] = %5 : f32 (m, n)\n"
                 "%7 = load r[m*# + n] : f32 (m, n)\n"
                 "%8 = map add %7, %3 : f32 (m, n)\n"
                 "store z[m*# + n] = %8 : f32 (m, n)\n",
                 arch, (CudaCheck){.in_place = {3, 4}});
}

static void add_bias_and_scale(CudaFixture *f, IsaLevel arch) {
    add_epilogue(f, "arg bias: bf16[#]\narg scale: f32[23]\narg all: f32[1]\n",
                 "%4 = load bias[n] : f32 (n)\n"
                 "%5 = load scale[m] : f32 (m)\n"
                 "%6 = load all[0] : f32 ()\n"
                 "%7 = map tanh %5 : f32 (m)\n"
                 "%8 = map mul %6, %7 : f32 (m)\n"
                 "%9 = map mul %3, %8 : f32 (m, n)\n"
                 "%10 = map add %9, %4 : f32 (m, n)\n"
                 "store y[m + n*23] = %10 : f32 (m, n)\n",
                 arch, (CudaCheck){0});
}

static void add_mask_by_index(CudaFixture *f, IsaLevel arch) {
    add_epilogue(f, "arg w: f32[106]\narg j: i32[#]\narg v: bf16[$]\narg row: i32[23]\n",
                 "%4 = index m : i32 (m)\n"
                 "%5 = index n / 2 % 20 + 3 : i32 (n)\n"
                 "%6 = map lt %4, %5 : bool (m, n)\n"
                 "%7 = const -3 : f32 ()\n"
                 "%8 = map where %6, %3, %7 : f32 (m, n)\n"
                 "%9 = load j[n] : i32 (n)\n"
                 "%10 = gather w[m] at %9*7 of 9 : f32 (m, n)\n"
                 "%11 = load w[m + n - 1] if 1 <= n < 40 and 2 <= m < 20 : f32 (m, n)\n"
                 "%12 = map add %8, %10 : f32 (m, n)\n"
                 "%13 = map add %12, %11 : f32 (m, n)\n"
                 "%14 = load row[m] : i32 (m)\n"
                 "%15 = gather v[n] at %14*# of 8 : f32 (m, n)\n"
                 "%16 = load v[m*# + n] if 3 <= m < 9 : f32 (m, n)\n"
                 "%17 = map sub %15, %16 : f32 (m, n)\n"
                 "%18 = map add %13, %17 : f32 (m, n)\n"
                 "store y[m*# + n] = %18 : f32 (m, n)\n",
                 arch, (CudaCheck){0});
}

// ---- what stands before it

static void add_prologue(CudaFixture *f, IsaLevel arch) {
    static const char text[] = "tile t loop\nm m = 14\nn n = %d\nk k = %d\n"
                               "arg a: f32[%d]\narg b: bf16[%d]\narg y: f32[%d]\n"
                               "arg s: f32[14]\narg g: f32[%d]\narg h: f32[%d]\n%s"
                               "%%1 = load a[m*%d + k*%d] : f32 (m, k)\n"
                               "%%2 = load s[m] : f32 (m)\n"
                               "%%3 = map mul %%1, %%2 : f32 (m, k)\n"
                               "%%4 = load g[k] : f32 (k)\n"
                               "%%5 = map mul %%3, %%4 : f32 (m, k)\n"
                               "%%6 = load b[n*%d + k*%d] : f32 (n, k)\n"
                               "%%7 = load h[n] : f32 (n)\n"
                               "%%8 = map sigmoid %%7 : f32 (n)\n"
                               "%%9 = map mul %%6, %%8 : f32 (n, k)\n"
                               "%%10 = load g[k] if 0 <= k - 3 < 30 : f32 (k)\n"
                               "%%11 = map add %%9, %%10 : f32 (n, k)\n"
                               "%%12 = dot %%5, %%11 over (k) : f32 (m, n)\n"
                               "store y[m*%d + n] = %%12 : f32 (m, n)\n";
    for (int i = 0; i < 8; i++) {
        int n = i & 4 ? 40 : 37, k = i & 4 ? 48 : 41;
        Str filled = str_printf(&f->bench.arena, text, n, k, 14 * k, n * k, 14 * n, k, n,
                                i & 4 ? some_knobs[1] : "", i & 1 ? 1 : k, i & 1 ? 14 : 1,
                                i & 2 ? 1 : k, i & 2 ? n : 1, n);
        CudaCheck check = check_of((int64_t)16 * k);
        add_text(f, filled.ptr, arch, check);
    }
}

// Rows of both operands picked by an index, as in a mixture of experts; two of them shifted.
static void add_gathers(CudaFixture *f, IsaLevel arch) {
    add_both(f,
             "tile t loop\ngrid e = 3\nm m = 7\nn n = 24\nk k = 16\n"
             "arg x: ?[160]\narg j: i32[7]\narg w: ?[3840]\narg pick: i32[3]\narg y: f32[504]\n"
             "%1 = load j[m] : i32 (m)\n"
             "%2 = gather x[k] at %1*16 of 8 : f32 (m, k)\n"
             "%3 = load pick[e] : i32 (e)\n"
             "%4 = gather w[k*24 + n] at %3*384 of 10 : f32 (e, n, k)\n"
             "%5 = dot %2, %4 over (k) : f32 (e, m, n)\n"
             "store y[e*168 + m*24 + n] = %5 : f32 (e, m, n)\n",
             16, arch);
    add_both(f,
             "tile t loop\nm m = 20\nn n = 24\nk k = 16\n"
             "arg x: ?[320]\narg j: i32[16]\narg w: ?[240]\narg y: f32[480]\n"
             "%1 = load x[m*16 + k - 32] if 2 <= m < 20 : f32 (m, k)\n"
             "%2 = load j[k] : i32 (k)\n"
             "%3 = gather w[n] at %2*24 of 9 : f32 (n, k)\n"
             "%4 = dot %1, %3 over (k) : f32 (m, n)\n"
             "store y[m*24 + n] = %4 : f32 (m, n)\n",
             16, arch);
}

static void add_operands_without_rows(CudaFixture *f, IsaLevel arch) {
    add_both(f,
             "tile t loop\ngrid g = 4\nm m = 1\nn n = 1\nk k = 33\n"
             "arg a: ?[132]\narg b: ?[33]\narg y: f32[4]\n"
             "%1 = load a[g*33 + k] : f32 (g, k)\n"
             "%2 = load b[k] : f32 (k)\n"
             "%3 = dot %1, %2 over (k) : f32 (g)\n"
             "%4 = map neg %3 : f32 (g)\n"
             "store y[g] = %4 : f32 (g)\n",
             33, arch);
    add_both(f,
             "tile t loop\nm m = 6\nn n = 24\nk k = 5\n"
             "arg a: ?[5]\narg b: ?[5]\narg r: f32[144]\narg y: f32[144]\n"
             "%1 = load a[k] : f32 (k)\n"
             "%2 = load b[k] : f32 (k)\n"
             "%3 = dot %1, %2 over (k) : f32 ()\n"
             "%4 = map neg %3 : f32 ()\n"
             "%5 = load r[m*24 + n] : f32 (m, n)\n"
             "%6 = map mul %4, %5 : f32 (m, n)\n"
             "store y[m*24 + n] = %6 : f32 (m, n)\n",
             5, arch);
}

// An operand that is a number: a sum over k.
static void add_sum_by_dot(CudaFixture *f, IsaLevel arch) {
    add_both(f,
             "tile t loop\nm m = 19\nn n = 1\nk k = 43\narg a: ?[817]\narg y: f32[19]\n"
             "%1 = load a[m*43 + k] : f32 (m, k)\n"
             "%2 = index k : i32 (k)\n"
             "%3 = map cast %2 : f32 (k)\n"
             "%4 = dot %1, %3 over (k) : f32 (m)\n"
             "store y[m] = %4 : f32 (m)\n",
             (int64_t)43 * 43, arch);
}

typedef void (*Adder)(CudaFixture *f, IsaLevel arch);
static const Adder adders[] = {
    add_batches,        add_several_k,     add_three_k,  add_gate,    add_residual_in_place,
    add_bias_and_scale, add_mask_by_index, add_prologue, add_gathers, add_operands_without_rows,
    add_sum_by_dot,
};
enum { ADDERS = sizeof adders / sizeof *adders };

static void test_forms(void **state) {
    (void)state;
    for (uint64_t i = 0; i < ADDERS; i++) {
        CudaFixture f;
        cuda_fixture_open(&f);
        adders[i](&f, arch_at(i));
        cuda_fixture_run(&f);
    }
}

// ---- NVRTC

static void compile_shapes(CudaFixture *f, IsaLevel arch) {
    static const Shape shapes[] = {
        {.m = 4096, .n = 4096, .k = 4096, .a_by_k = true, .b_by_n = false},
        {.m = 1000, .n = 1000, .k = 1000, .a_by_k = false, .b_by_n = true},
        {.m = 1, .n = 4096, .k = 4096, .a_by_k = true, .b_by_n = true},
        {.m = 333, .n = 77, .k = 501, .a_by_k = true, .b_by_n = true},
    };
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes; i++) {
        Shape s = shapes[i / 2];
        s.type = i % 2 ? "f32" : "bf16";
        add_plain(f, &s, arch);
    }
}

static void compile_all(IsaLevel arch) {
    CudaFixture f;
    cuda_fixture_open(&f);
    compile_shapes(&f, arch);
    for (int i = 0; i < ADDERS; i++) {
        uint32_t before = f.cuda.kernels.len;
        adders[i](&f, arch);
        // One of each type is enough.
        if (f.cuda.kernels.len > before + 2) {
            f.cuda.kernels.ptr[before + 1] = f.cuda.kernels.ptr[f.cuda.kernels.len - 1];
            f.cuda.kernels.len = before + 2;
        }
    }
    cuda_fixture_compile(&f, arch);
}

static void test_compiles_sm_80(void **state) {
    (void)state;
    compile_all(CUDA_SM80);
}

static void test_compiles_sm_90a(void **state) {
    (void)state;
    compile_all(CUDA_SM90A);
}

static void test_compiles_sm_100a(void **state) {
    (void)state;
    compile_all(CUDA_SM100A);
}

// One argument: a pattern of the tests to run.
int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_shapes_bf16),
        cmocka_unit_test(test_odd_shapes_f16),
        cmocka_unit_test(test_odd_shapes_f32),
        cmocka_unit_test(test_extents_of_one),
        cmocka_unit_test(test_thin),
        cmocka_unit_test(test_large_tiles),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_compiles_sm_80),
        cmocka_unit_test(test_compiles_sm_90a),
        cmocka_unit_test(test_compiles_sm_100a),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
