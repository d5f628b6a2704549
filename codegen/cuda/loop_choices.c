// loop_choices.c: asks both skeletons.
#include "codegen/cuda/loop_choices.h"

#include <math.h>

#include "codegen/cuda/loop_cp.h"
#include "codegen/cuda/loop_ws.h"

// Nothing is printed by a plan, and why there is none is of no interest here.
static CudaWriter writer_of(Diag *diag, Arena *arena, const TileProgram *p, IsaLevel arch) {
    return (CudaWriter){
        .diag = diag, .arena = arena, .p = p, .arch = arch, .launch = {.cluster = 1}};
}

static uint32_t add_ws(Arena *arena, CudaWriter *w, uint32_t most, LoopChoice *out) {
    Ws plan;
    if (w->arch != CUDA_SM90A || !ws_plan(w, &plan)) return 0;
    WsTiles any = {0}, *tiles = arena_array(arena, WsTiles, most);
    uint32_t count = ws_choices(&plan.shape, &any, tiles, most);
    for (uint32_t i = 0; i < count; i++)
        out[i] = (LoopChoice){
            .is_ws = true, .ws = tiles[i], .cycles = ws_cycles(&plan.shape, &tiles[i])};
    return count;
}

static uint32_t add_cp(Arena *arena, CudaWriter *w, uint32_t most, LoopChoice *out) {
    Cp plan;
    if (!cp_plan(w, &plan)) return 0;
    CpTiles any = {0}, *tiles = arena_array(arena, CpTiles, most);
    uint32_t count = cp_choices(&plan.shape, &any, tiles, most);
    for (uint32_t i = 0; i < count; i++)
        out[i] = (LoopChoice){.cp = tiles[i], .cycles = cp_cycles(&plan.shape, &tiles[i])};
    return count;
}

// Of equals LOOP_WS comes first, and each skeleton's own order is kept.
static uint32_t merge(const LoopChoice *ws, uint32_t ws_count, const LoopChoice *cp,
                      uint32_t cp_count, LoopChoice *out) {
    uint32_t i = 0, j = 0, n = 0;
    while (i < ws_count || j < cp_count) {
        bool take_ws = j == cp_count || (i < ws_count && ws[i].cycles <= cp[j].cycles);
        out[n++] = take_ws ? ws[i++] : cp[j++];
    }
    return n;
}

uint32_t cuda_loop_choices(Arena *arena, const TileProgram *p, IsaLevel arch, uint32_t most,
                           LoopChoice **out) {
    Diag reasons;
    diag_init(&reasons, arena);
    CudaWriter w = writer_of(&reasons, arena, p, arch);
    LoopChoice *ws = arena_array(arena, LoopChoice, most),
               *cp = arena_array(arena, LoopChoice, most);
    uint32_t ws_count = add_ws(arena, &w, most, ws), cp_count = add_cp(arena, &w, most, cp);
    *out = arena_array(arena, LoopChoice, ws_count + cp_count);
    return merge(ws, ws_count, cp, cp_count, *out);
}

// A knob of LOOP_WS alone asks for it: so do the schedules that the autotuner tries.
static bool is_ws_wanted(const TileProgram *p) {
    return tile_knob(p, "consumers", 0) || tile_knob(p, "turns", 0) ||
           tile_knob(p, "cluster", 0);
}

// The estimates of two skeletons are not to be told apart more finely than this.
bool cuda_loop_is_ws(Arena *arena, const TileProgram *p, IsaLevel arch) {
    const double clearly = 0.9;
    if (arch != CUDA_SM90A || tile_knob(p, "skeleton", 0) == 1) return false;
    Diag reasons;
    diag_init(&reasons, arena);
    CudaWriter w = writer_of(&reasons, arena, p, arch);
    Ws ws;
    Cp cp;
    if (!ws_plan(&w, &ws)) return false;
    if (is_ws_wanted(p) || !cp_plan(&w, &cp)) return true;
    return clearly * ws_cycles(&ws.shape, &ws.tiles) <= cp_cycles(&cp.shape, &cp.tiles);
}

double cuda_cycles(Arena *arena, const TileProgram *p, IsaLevel arch) {
    const double start = 3000;
    if (p->skeleton == TILE_CHUNK) return start + cuda_chunk_cycles(arena, p, arch);
    if (p->skeleton != TILE_LOOP) return start + tile_bytes(p) / cp_memory_bytes(arch);
    LoopChoice *best;
    return cuda_loop_choices(arena, p, arch, 1, &best) > 0 ? best[0].cycles : (double)INFINITY;
}
