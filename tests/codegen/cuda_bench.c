// cuda_bench.c: see cuda_bench.h.
#include "tests/codegen/cuda_bench.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "tests/simt/simt.h"

enum { MAX_ARGS = 640 };

static void fail_diag(const Diag *diag, Str text) {
    StrBuf out = {0};
    diag_render(diag, &out);
    print_error("%s\n", out.ptr ? out.ptr : "no reason given");
    if (text.len > 0) print_error("%.*s", STR_ARG(text));
    strbuf_release(&out);
    fail();
}

void cuda_bench_add(CudaBench *b, CudaSkeleton skeleton, const TileProgram *p, IsaLevel arch,
                    CudaCheck check) {
    Arena *arena = &b->bench->arena;
    CudaWriter w = {.diag = &b->bench->diag,
                    .arena = arena,
                    .p = p,
                    .arch = arch,
                    .launch = {.cluster = 1}};
    cuda_line(&w, "#include \"prelude.cuh\"");
    bool ok = skeleton(&w);
    Str text = str_copy(arena, strbuf_view(&w.text));
    strbuf_release(&w.text);
    if (!ok) fail_diag(&b->bench->diag, text);
    CudaCase added = {p, check};
    vec_push(arena, &b->cases, added);
    CudaKernel kernel = {.text = text, .launch = w.launch};
    vec_push(arena, &b->kernels, kernel);
}

// ---- on the CPU

static void fill(const TileArg *arg, void *data, const CudaCheck *check, uint64_t stream) {
    for (int64_t i = 0; i < arg->elements; i++) {
        double u = rng_uniform(stream, (uint64_t)i), x = (2 * u - 1) * check->range;
        if (arg->type == DTYPE_BOOL)
            x = u < 0.5;
        else if (!dtype_is_float(arg->type))
            x = floor(u * (double)check->whole);
        dtype_set(arg->type, data, i, x);
    }
}

typedef struct {
    void *data[MAX_ARGS];
} Arguments;

static Arguments arguments_new(Arena *arena, const CudaCase *c) {
    Arguments a = {{0}};
    const TileProgram *p = c->program;
    assert_true(p->args.len <= MAX_ARGS);
    for (uint32_t i = 0; i < p->args.len; i++) {
        const TileArg *arg = &p->args.ptr[i];
        a.data[i] = arena_alloc(arena, (size_t)arg->elements + 1, dtype_bytes(arg->type));
        fill(arg, a.data[i], &c->check, i);
    }
    if (c->check.prepare) c->check.prepare(p, a.data);
    const int *same = c->check.in_place;
    if (same[0] != same[1]) a.data[same[1]] = a.data[same[0]];
    return a;
}

// A unit in the last place: what lies beside a tie may be rounded either way.
static double rounding_of(DType t) {
    return t == DTYPE_BF16 ? 0x1p-7 : t == DTYPE_F16 ? 0x1p-10 : 0;
}

static double limit_of(const CudaCase *c, const TileArg *arg, double expected,
                       const void *limits, int64_t k) {
    double rounding = rounding_of(arg->type);
    if (!c->check.limits) return (c->check.tolerance + rounding) * (1 + fabs(expected));
    // Also the number expected has been rounded.
    double own = arg->type == DTYPE_F32 ? 0x1p-24 : rounding;
    return dtype_get(arg->type, limits, k) * (1 + rounding) + own * fabs(expected);
}

typedef struct {
    const void *got, *expected, *limits;
} Results;

static void compare(const CudaCase *c, const CudaKernel *kernel, uint32_t i, Results r) {
    const TileArg *arg = &c->program->args.ptr[i];
    for (int64_t k = 0; k < arg->elements; k++) {
        double g = dtype_get(arg->type, r.got, k), e = dtype_get(arg->type, r.expected, k);
        if (g == e || (isnan(g) && isnan(e))) continue;
        double limit = limit_of(c, arg, e, r.limits, k);
        if (dtype_is_float(arg->type) && fabs(g - e) <= limit) continue;
        print_error("%.*s\n", STR_ARG(kernel->text));
        fail_msg("%.*s: %.*s[%lld] is %.9g instead of %.9g within %.3g",
                 STR_ARG(c->program->name), STR_ARG(arg->name), (long long)k, g, e, limit);
    }
}

// Sanitizers see the emitters and the emulation, but not what a schedule changes: kernels.
#ifdef __SANITIZE_ADDRESS__
static const bool is_sanitized = true;
#else
static const bool is_sanitized = false;
#endif

static void case_run(CudaBench *b, const Simt *simt, uint32_t number) {
    const CudaCase *c = &b->cases.ptr[number];
    const TileProgram *p = c->program;
    Arena arena = {0};
    Arguments expected = arguments_new(&arena, c), got = arguments_new(&arena, c), limits = {0};
    if (c->check.limits) {
        limits = arguments_new(&arena, c);
        c->check.limits(p, expected.data, limits.data);
    }
    tile_interpret(p, expected.data);
    SimtArg list[MAX_ARGS];
    for (uint32_t i = 0; i < p->args.len; i++)
        list[i] = (SimtArg){str_copy(&arena, p->args.ptr[i].name).ptr, got.data[i],
                            (size_t)p->args.ptr[i].elements * dtype_bytes(p->args.ptr[i].type)};
    SimtArgs args = {list, p->args.len};
    SimtSchedule one = {SIMT_RANDOM, SIMT_LATE, 1};
    bool ok = b->quick || is_sanitized ? simt_launch(&b->bench->diag, simt, number, args, one)
                                       : simt_check(&b->bench->diag, simt, number, args);
    if (!ok) fail_diag(&b->bench->diag, b->kernels.ptr[number].text);
    for (uint32_t i = 0; i < p->args.len; i++)
        compare(c, &b->kernels.ptr[number], i,
                (Results){got.data[i], expected.data[i], limits.data[i]});
    arena_release(&arena);
}

// skip() does not return.
static void skip_rest(CudaBench *b) {
    bench_close(b->bench);
    skip();
}

void cuda_bench_run(CudaBench *b) {
    if (!simt_available()) skip_rest(b);
    Simt *simt;
    if (!simt_build(&b->bench->diag, &b->bench->arena, b->kernels.ptr, b->kernels.len, &simt))
        fail_diag(&b->bench->diag, (Str){0});
    for (uint32_t i = 0; i < b->cases.len; i++)
        case_run(b, simt, i);
    simt_close(simt);
}

// ---- NVRTC

void cuda_bench_compile(CudaBench *b, IsaLevel arch) {
    if (nvrtc_version(&b->bench->arena).len == 0) skip_rest(b);
    for (uint32_t i = 0; i < b->kernels.len; i++) {
        Str text = b->kernels.ptr[i].text;
        CudaCode code;
        if (!nvrtc_compile(&b->bench->diag, &b->bench->arena, text, arch, &code))
            fail_diag(&b->bench->diag, text);
        if (code.spill_bytes == 0 && code.stack_bytes == 0 && code.notes.len == 0) continue;
        print_error("%.*s\n", STR_ARG(text));
        fail_msg("%s: %u registers, %u bytes of stack, %u of spills; %.*s",
                 isa_level_text(arch), code.registers, code.stack_bytes, code.spill_bytes,
                 STR_ARG(code.notes));
    }
}

// ---- fixtures

void cuda_fixture_open(CudaFixture *f) {
    bench_open(&f->bench);
    f->cuda = (CudaBench){.bench = &f->bench};
}

void cuda_fixture_run(CudaFixture *f) {
    cuda_bench_run(&f->cuda);
    bench_close(&f->bench);
}

void cuda_fixture_compile(CudaFixture *f, IsaLevel arch) {
    cuda_bench_compile(&f->cuda, arch);
    bench_close(&f->bench);
}
