// fuzz_tile_read.c: any bytes either give a program, which prints and reads back the same, or
// one error. What the verifier then calls sound can be run: the interpreter checks every
// access.
#include <stdint.h>

#include "base/check.h"
#include "ir/tile/tile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Enough points and elements for a run, and no more than a run may take.
#define MOST 2000

static bool is_small(const TileProgram *p) {
    double points = 1, elements = 0;
    for (uint32_t d = 0; d < p->dim_count; d++)
        points *= (double)p->dims[d].extent;
    vec_each (const TileArg, arg, &p->args)
        elements += (double)arg->elements;
    return points * p->ops.len <= MOST && elements <= MOST;
}

static void run(const TileProgram *p) {
    void *args[MOST] = {0};
    if (!is_small(p) || p->args.len > MOST) return;
    Arena arena = {0};
    for (uint32_t i = 0; i < p->args.len; i++)
        args[i] = arena_alloc(&arena, (size_t)p->args.ptr[i].elements + 1,
                              dtype_bytes(p->args.ptr[i].type));
    tile_interpret(p, args);
    arena_release(&arena);
}

static void check(Diag *diag, Arena *arena, const TileProgram *p) {
    StrBuf once = {0}, twice = {0};
    TileProgram *again = NULL;
    tile_print(p, &once);
    ASSERT(tile_read(diag, arena, diag_source_add(diag, STR("again"), strbuf_view(&once)),
                     &again));
    tile_print(again, &twice);
    ASSERT(str_eq(strbuf_view(&once), strbuf_view(&twice)));
    strbuf_release(&once);
    strbuf_release(&twice);
    if (!tile_verify(diag, p)) {
        ASSERT(diag->error_count == 1);
        return;
    }
    ASSERT(tile_task_count(p) >= 1 && tile_flops(p) >= 0 && tile_bytes(p) >= 0);
    run(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    uint32_t file = diag_source_add(&diag, STR("input"), (Str){(const char *)data, size});
    TileProgram *p = NULL;
    if (tile_read(&diag, &arena, file, &p))
        check(&diag, &arena, p);
    else
        ASSERT(diag.error_count == 1);
    arena_release(&arena);
    return 0;
}
