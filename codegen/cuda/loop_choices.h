// loop_choices.h: which of the two skeletons a LOOP program gets; the tiles that it may have in
// either, best first, and what programs are expected to take, for the autotuner.
#pragma once

#include "codegen/cuda/loop_cp_choice.h"
#include "codegen/cuda/loop_ws_choice.h"

typedef struct {
    bool is_ws;  // `ws` counts, else `cp`
    WsTiles ws;
    CpTiles cp;
    double cycles;  // expected
} LoopChoice;

// At most `most` of each skeleton, by their estimates; the knobs of the program count as they
// do for cuda_emit. The result lives in the arena.
uint32_t cuda_loop_choices(Arena *arena, const TileProgram *p, IsaLevel arch, uint32_t most,
                           LoopChoice **out);

// LOOP_WS: on sm_90a if it is possible and LOOP_CP is not expected to be clearly faster, each
// with the program's knobs. `skeleton` = 1 is LOOP_CP in any case, a knob of LOOP_WS alone
// LOOP_WS.
bool cuda_loop_is_ws(Arena *arena, const TileProgram *p, IsaLevel arch);

// Expected cycles of a CHUNK program's kernel. Infinite: its values do not fit shared memory.
double cuda_chunk_cycles(Arena *arena, const TileProgram *p, IsaLevel arch);

// Expected cycles of the program's kernel: of a LOOP with its best tiles, of a CHUNK by its
// steps, of others at the speed of memory. Infinite: it has no form.
double cuda_cycles(Arena *arena, const TileProgram *p, IsaLevel arch);
