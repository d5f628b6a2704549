// simt_bench.h: what the tests of the machine share: hand-written kernels, in one line.
#pragma once

#include "tests/simt/simt.h"
#include "tests/test.h"

typedef struct {
    Arena arena;
    Diag diag;
} Fixture;

// The text of a kernel. Each comma and semicolon stands; lines are lost.
#define TEXT(...) "#include \"prelude.cuh\"\n#include \"wgmma.cuh\"\n" #__VA_ARGS__

static inline int fixture_open(void **state) {
    static Fixture f;
    arena_init(&f.arena);
    diag_init(&f.diag, &f.arena);
    *state = &f;
    return 0;
}

static inline int fixture_close(void **state) {
    Fixture *f = *state;
    arena_release(&f->arena);
    return 0;
}

static inline void expect(Fixture *f, bool ok) {
    StrBuf out = {0};
    if (!ok) diag_render(&f->diag, &out);
    if (!ok) print_error("%s\n", out.ptr);
    strbuf_release(&out);
    assert_true(ok);
}

// Builds and runs one kernel in every schedule.
static inline void run_text(Fixture *f, const char *text, Launch launch, const SimtArg *args,
                            uint32_t count) {
    if (!launch.cluster) launch.cluster = 1;
    CudaKernel kernel = {.text = str_of(text), .launch = launch};
    Simt *simt;
    expect(f, simt_build(&f->diag, &f->arena, &kernel, 1, &simt));
    expect(f, simt_check(&f->diag, simt, 0, args, count));
    simt_close(simt);
}

// Small whole numbers: their products and sums are exact in every format and order.
static inline float small_number(size_t i) { return (float)(i * 2654435761U >> 13 & 7) - 3; }
static inline void fill_bf16(uint16_t *x, size_t count, size_t seed) {
    for (size_t i = 0; i < count; i++)
        x[i] = bf16_of(small_number(i + seed));
}
