// loop_choices.h: the tiles that a LOOP program may have in either skeleton, best first; for
// the autotuner.
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
