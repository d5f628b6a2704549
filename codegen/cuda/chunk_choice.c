// chunk_choice.c: CHUNK for CUDA: how long a kernel is expected to take. The steps of a tile
// wait for each other, so each costs the time that it takes to begin and end, and its work: of
// products the slower of tensor cores and of reading fragments from shared memory.
#include <math.h>

#include "base/check.h"
#include "codegen/cuda/chunk.h"
#include "codegen/cuda/loop_choices.h"
#include "codegen/cuda/loop_cp_choice.h"

enum {
    STEP_CYCLES = 600,   // loads from shared memory, sums, a barrier
    BLOCK_CYCLES = 700,  // 16 tokens of a triangular system, one after the other
};

static double parts(double extent, double part) { return ceil(extent / part); }

static double product_cycles(const Chunk *c, const TileOp *op) {
    const CudaCard *card = cuda_card(c->w->arch);
    const ChunkValue *x = &c->value[op - c->p->ops.ptr];
    int over = 0;
    while (!(op->over >> over & 1))
        over++;
    ChunkUnits u = chunk_units(chunk_extent(c, x->row), chunk_extent(c, x->col));
    double steps = parts((double)chunk_extent(c, over), 8), units = u.rows * u.cols;
    double products = units * steps * u.um * u.un * (16 * 8 * 8) * (c->exact ? 3 : 1);
    double rounds = parts(units, 8) * 8 / units;  // warps that wait for others
    double reads = units * steps * (4 * u.um + 2 * u.un) * 1.5;
    return fmax(products / (card->mma / 2), reads) * rounds;
}

// Pairs of a block: 16 tokens, of which each lane has two, or each thread one channel.
static double decayed_cycles(const Chunk *c, const TileOp *op) {
    double width = (double)chunk_extent(c, c->value[op->in[2].i].col);
    double blocks = parts((double)c->tile, 16), halves = 0;
    for (int half = 16; half < c->tile; half *= 2)
        halves++;
    bool scores = chunk_is_pairs(c, &c->value[op - c->p->ops.ptr]);
    double inner = scores ? blocks * 2 * width / 8 * 32 : blocks * width / 32 * (136 + 48);
    return inner + halves * STEP_CYCLES + product_cycles(c, op) / 2;
}

static double op_cycles(const Chunk *c, uint32_t i) {
    const TileOp *op = chunk_op(c, i);
    const ChunkValue *x = &c->value[i];
    if (op->kind == TILE_DOT && (x->room || x->fused))
        return chunk_is_wide(c, op) ? decayed_cycles(c, op) : product_cycles(c, op);
    if (op->kind == TILE_SOLVE) return BLOCK_CYCLES * parts((double)c->tile, 16);
    return 0;
}

static double step_cycles(const Chunk *c, const ChunkStep *s) {
    uint32_t room = chunk_written(c, s);
    const ChunkValue *x =
        &c->value[s->kind == CHUNK_STORE ? chunk_op(c, s->number)->in[0].i : 0];
    double elements = room ? (double)(c->rooms.ptr[room].rows * c->rooms.ptr[room].cols)
                           : (double)(chunk_extent(c, x->row) * chunk_extent(c, x->col));
    // Some reads and a write of each, 32 a cycle.
    return STEP_CYCLES + elements / 32 * 3;
}

double cuda_chunk_cycles(Arena *arena, const TileProgram *p, IsaLevel arch) {
    Diag reasons;
    diag_init(&reasons, arena);
    CudaWriter w = {.diag = &reasons, .arena = arena, .p = p, .arch = arch};
    Chunk c;
    if (!chunk_plan(&w, &c)) return (double)INFINITY;
    double cycles = 0, points = 1;
    for (uint32_t i = 1; i < p->ops.len; i++)
        cycles += op_cycles(&c, i);
    vec_each (const ChunkStep, s, &c.steps)
        cycles += step_cycles(&c, s);
    for (int d = 0; d < c.m; d++)
        points *= (double)p->dims[d].extent;
    const CudaCard *card = cuda_card(arch);
    double resident = fmin(2, floor(card->shared_all / (double)(c.floats * 4 + 1024)));
    double waves = parts(points, card->blocks * resident);
    // Blocks beside each other hide half of each other's waiting.
    double together = points > card->blocks && resident > 1 ? 1.5 : 1;
    return waves * together * cycles * (double)tile_walked(p);
}
