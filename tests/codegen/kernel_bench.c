// kernel_bench.c: see kernel_bench.h.
#include "tests/codegen/kernel_bench.h"

#include <math.h>
#include <sys/mman.h>

#include "base/rng.h"
#include "runtime/object.h"

enum { PAGE = 4096, MAX_ARGS = 24 };

KernelCheck kernel_check_usual(void) {
    return (KernelCheck){.high = 10, .range = 2, .tolerance = 1e-5, .seed = 1};
}

GuardedMemory guarded_new(size_t bytes, bool aligned) {
    size_t pages = (bytes + PAGE - 1) / PAGE * PAGE;
    GuardedMemory m = {.bytes = pages + 2 * (size_t)PAGE};
    m.base = mmap(NULL, m.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(m.base != MAP_FAILED);
    char *usable = (char *)m.base + PAGE;
    if (pages > 0) assert_int_equal(mprotect(usable, pages, PROT_READ | PROT_WRITE), 0);
    m.data = aligned ? usable : usable + (pages - bytes);
    return m;
}

void guarded_release(GuardedMemory *m) {
    munmap(m->base, m->bytes);
    *m = (GuardedMemory){0};
}

static void fail_diag(const Diag *diag) {
    StrBuf out = {0};
    diag_render(diag, &out);
    print_error("%s", out.ptr ? out.ptr : "no reason given\n");
    strbuf_release(&out);
    fail();
}

void kernel_need_compiler(void) {
    Arena arena = {0};
    bool there = !str_eq(emitter_version(&arena, cpu_level_here()), STR("none"));
    arena_release(&arena);
    if (!there) skip();
}

typedef struct {
    GuardedMemory args[MAX_ARGS];
    void *data[MAX_ARGS];
} Arguments;

static void fill(const TileArg *arg, void *data, const KernelCheck *check, uint64_t stream) {
    for (int64_t i = 0; i < arg->elements; i++) {
        double u = rng_uniform(check->seed * 1000 + stream, (uint64_t)i);
        double x = (2 * u - 1) * check->range;
        if (arg->type == DTYPE_BOOL)
            x = u < 0.5;
        else if (!dtype_is_float(arg->type))
            x = floor((double)check->low + u * (double)(check->high - check->low));
        dtype_set(arg->type, data, i, x);
    }
}

static Arguments arguments_new(const TileProgram *p, const KernelCheck *check) {
    Arguments a = {0};
    assert_true(p->args.len <= MAX_ARGS);
    for (uint32_t i = 0; i < p->args.len; i++) {
        const TileArg *arg = &p->args.ptr[i];
        a.args[i] = guarded_new((size_t)arg->elements * dtype_bytes(arg->type), check->aligned);
        a.data[i] = a.args[i].data;
        fill(arg, a.data[i], check, i);
    }
    if (check->prepare) check->prepare(p, a.data);
    return a;
}

static void arguments_release(const TileProgram *p, Arguments *a) {
    for (uint32_t i = 0; i < p->args.len; i++)
        guarded_release(&a->args[i]);
}

// Unit in the last place of 1, halved.
static double rounding_of(DType t) {
    return t == DTYPE_BF16 ? 0x1p-8 : t == DTYPE_F16 ? 0x1p-11 : 0;
}

static void compare(const TileArg *arg, IsaLevel level, const void *got, const void *expected,
                    double tolerance) {
    tolerance += rounding_of(arg->type);
    for (int64_t i = 0; i < arg->elements; i++) {
        double g = dtype_get(arg->type, got, i), e = dtype_get(arg->type, expected, i);
        if (g == e || (isnan(g) && isnan(e))) continue;
        bool exact = !dtype_is_float(arg->type);
        if (!exact && fabs(g - e) <= tolerance * (1 + fabs(e))) continue;
        fail_msg("%s: %.*s[%lld] is %.9g instead of %.9g", isa_level_text(level),
                 STR_ARG(arg->name), (long long)i, g, e);
    }
}

void kernel_run(TileBench *b, const TileProgram *p, IsaLevel level, void *const *args) {
    EmittedKernel kernel;
    if (!emit_kernel(&b->diag, &b->arena, p, (EmitOptions){.level = level}, &kernel))
        fail_diag(&b->diag);
    assert_int_equal(kernel.tasks, tile_task_count(p));
    Object object;
    if (!object_load(&b->diag, p->name, kernel.object, &object)) fail_diag(&b->diag);
    GuardedMemory scratch = guarded_new((size_t)kernel.scratch_bytes, false);
    assert_int_equal((uintptr_t)scratch.data % 64, 0);
    memset(scratch.data, 0xff, (size_t)kernel.scratch_bytes);
    // In two parts, as two threads would.
    int64_t middle = kernel.tasks / 3;
    object.entry(args, middle, kernel.tasks, scratch.data);
    object.entry(args, 0, middle, scratch.data);
    guarded_release(&scratch);
    object_unload(&object);
}

void kernel_check(TileBench *b, const TileProgram *p, KernelCheck check) {
    Arguments expected = arguments_new(p, &check);
    tile_interpret(p, expected.data);
    for (int level = CPU_PORTABLE; level <= (int)cpu_level_here(); level++) {
        Arguments got = arguments_new(p, &check);
        kernel_run(b, p, (IsaLevel)level, got.data);
        for (uint32_t i = 0; i < p->args.len; i++)
            compare(&p->args.ptr[i], (IsaLevel)level, got.data[i], expected.data[i],
                    check.tolerance);
        arguments_release(p, &got);
    }
    arguments_release(p, &expected);
}

void kernel_check_text(TileBench *b, const char *text, KernelCheck check) {
    kernel_check(b, bench_program(b, text), check);
}
