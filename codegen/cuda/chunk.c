// chunk.c: CHUNK for CUDA: a block walks over the tiles of one point of grid. Values that are
// read more than once, or by products, are in shared memory, the carry for the whole walk.
#include "codegen/cuda/chunk.h"

#include "base/check.h"
#include "ir/tile/tile_access.h"

static void task_print(Chunk *c) {
    CudaWriter *w = c->w;
    long long inner = 1;
    for (int d = 0; d < c->m; d++)
        inner *= (long long)c->p->dims[d].extent;
    w->launch.blocks = (uint32_t)inner;
    for (int d = 0; d < c->m; d++) {
        const TileDim *dim = &c->p->dims[d];
        c->grid.at[d] = dim->extent == 1 ? STR("0") : str_printf(w->arena, "grid%d", d);
        inner /= (long long)dim->extent;
        if (dim->extent > 1)
            cuda_line(w, "const int grid%d = (int)blockIdx.x / %lld %% %lld;  // %.*s", d,
                      inner, (long long)dim->extent, STR_ARG(dim->name));
    }
}

static void rooms_print(Chunk *c) {
    CudaWriter *w = c->w;
    cuda_line(w, "DYNAMIC_SHARED(shared);");
    cuda_line(w, "float *const memory = (float *)shared;");
    for (uint32_t i = 1; i < c->rooms.len; i++) {
        const ChunkRoom *r = &c->rooms.ptr[i];
        Str name = str_printf(w->arena, "room_%u", i);
        if (r->value.i) name = cuda_name(w, r->value);
        cuda_line(w, "float *const %.*s = memory + %lld;", STR_ARG(name), (long long)r->offset);
        if (r->value.i)
            cuda_convert(w, r->value, STR("kept for products, scans and several readers"), 1,
                         r->rows * r->pitch * 4);
    }
}

// Everything of a carry's room, whose elements all stand at no token.
static void carry_print(Chunk *c, uint32_t i) {
    CudaWriter *w = c->w;
    const ChunkRoom *r = &c->rooms.ptr[c->value[i].room];
    ChunkScope s = chunk_scope(c);
    const ChunkValue *x = &c->value[i];
    cuda_comment(w, chunk_op(c, i));
    cuda_open(w, "UNROLL_SOME for (int i = thread; i < %lld; i += CHUNK_THREADS)",
              (long long)r->rows * r->cols);
    if (x->row >= 0)
        cuda_line(w, "const int %.*s = i / %lld;", STR_ARG(s.at[x->row]), (long long)r->cols);
    if (x->col >= 0)
        cuda_line(w, "const int %.*s = i %% %lld;", STR_ARG(s.at[x->col]), (long long)r->cols);
    Str value = chunk_value(&s, chunk_op(c, i)->in[0]);
    cuda_line(w, "%.*s = %.*s;", STR_ARG(chunk_room_at(&s, x->room, x->row, x->col)),
              STR_ARG(value));
    cuda_close(w);
}

static bool is_final(const Chunk *c, const TileOp *op) {
    return op->kind == TILE_STORE && !(op->dims & tile_tokens(c->p)) &&
           !tile_by_tiles(c->p, op);
}

// The first tile of the block's segment, or of the next; a block without one has all tiles.
static Str segment_begin(const Chunk *c, bool next) {
    Arena *arena = c->w->arena;
    long long tiles = (long long)tile_chunks(c->p);
    int dealt = tile_dealt_to(c->p);
    if (dealt < 0) return str_printf(arena, "%lld", next ? tiles : 0);
    return str_printf(arena, "(int)((%.*s + %lldLL) * %lld / %lld)", STR_ARG(c->grid.at[dealt]),
                      next ? 1LL : 0LL, tiles, (long long)c->p->dims[dealt].extent);
}

static void tiles_print(Chunk *c) {
    CudaWriter *w = c->w;
    long long tile = (long long)c->tile, tokens = (long long)c->p->dims[c->m].extent;
    cuda_line(w, "const int begin = %.*s, end = %.*s;", STR_ARG(segment_begin(c, false)),
              STR_ARG(segment_begin(c, true)));
    cuda_open(w, c->p->reverse
                     ? "NO_UNROLL for (int number = end - 1; number >= begin; number--)"
                     : "NO_UNROLL for (int number = begin; number < end; number++)");
    cuda_line(w, "const int first = number * %lld;", tile);
    if (c->ragged)
        cuda_line(w, "const int count = %lld - first < %lld ? %lld - first : %lld;", tokens,
                  tile, tokens, tile);
    else
        cuda_line(w, "const int count = %lld;", tile);
    cuda_line(w, "__syncthreads();");
    chunk_synced(c);
    vec_each (const ChunkStep, step, &c->steps)
        chunk_step_print(c, step);
    cuda_close(w);
}

bool cuda_chunk(CudaWriter *w) {
    Chunk c;
    if (!chunk_plan(w, &c)) return false;
    cuda_line(w, "#include \"chunk.cuh\"");
    cuda_line(w, "// %lld tokens, %lld at a time.", (long long)c.p->dims[c.m].extent,
              (long long)c.tile);
    cuda_open(w, "KERNEL_RESIDENT(CHUNK_THREADS, 1) kernel(%.*s)", STR_ARG(cuda_parameters(w)));
    cuda_line(w,
              "const int thread = (int)threadIdx.x, lane = thread %% 32, warp = thread / 32;");
    rooms_print(&c);
    task_print(&c);
    for (uint32_t i = 1; i < c.p->ops.len; i++)
        if (chunk_op(&c, i)->kind == TILE_CARRY && c.value[i].room) carry_print(&c, i);
    tiles_print(&c);
    cuda_line(w, "__syncthreads();");
    chunk_synced(&c);
    vec_each (const TileOp, op, &c.p->ops) {
        if (!is_final(&c, op)) continue;
        ChunkStep step = {CHUNK_STORE, (uint32_t)(op - c.p->ops.ptr)};
        chunk_step_print(&c, &step);
    }
    cuda_close(w);
    w->launch.threads = 256;
    w->launch.shared_bytes = (uint32_t)(c.floats * 4);
    return true;
}
