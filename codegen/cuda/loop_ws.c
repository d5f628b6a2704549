// loop_ws.c: contractions of 16-bit operands on sm_90a. One warpgroup of a block, the producer,
// has the copy engine fill a ring of stages with tiles of a and b; the others, the consumers,
// multiply them by wgmma. Blocks stay and walk over tiles of the result, so that the copies for
// a tile run under the epilogue of the one before it. docs/cuda.md says more.
#include "codegen/cuda/loop_ws.h"

#include "base/check.h"
#include "base/integer.h"
#include "codegen/cuda/loop_epilogue.h"

// ---- names

// ", (point0) * 4 + point1, outer": coordinates of a tensor's dimensions 2 and 3.
static Str coordinates(const Ws *s, const WsTensor *tensor) {
    const TileProgram *p = s->w->p;
    Arena *arena = s->w->arena;
    Str at[WS_MAX_RANK] = {{0}};
    for (int d = 0; d < (int)p->dim_count; d++) {
        uint32_t part = tensor->part_of[d];
        if (part == 0) continue;
        bool outer = d == s->steps.outer_dim;
        Str index = outer ? STR("outer") : str_printf(arena, "point%d", d);
        long long extent = outer ? s->steps.outer : p->dims[d].extent;
        at[part] = at[part].len == 0 ? index
                                     : str_printf(arena, "(%.*s) * %lld + %.*s",
                                                  STR_ARG(at[part]), extent, STR_ARG(index));
    }
    const char *comma[] = {at[2].len > 0 ? ", " : "", at[3].len > 0 ? ", " : ""};
    return str_printf(arena, "%s%.*s%s%.*s", comma[0], STR_ARG(at[2]), comma[1],
                      STR_ARG(at[3]));
}

static bool is_grid(const Ws *s, uint32_t d) {
    return s->w->p->dims[d].role == DIM_GRID && s->w->p->dims[d].extent > 1;
}

// ---- before the kernel

static void blank_line(CudaWriter *w) { strbuf_addc(&w->text, '\n'); }

static long long parts(int64_t extent, int64_t part) {
    return (long long)ceil_div(extent, part);
}

static void constants_print(const Ws *s) {
    CudaWriter *w = s->w;
    const WsTiles *t = &s->tiles;
    size_t a = ws_a_bytes(t), b = ws_b_bytes(&s->shape, t);
    cuda_line(w, "enum {");
    w->indent++;
    cuda_line(w, "TILE_M = %d, TILE_N = %d, TILE_K = %d, STAGES = %d,", t->bm, t->bn, WS_TILE_K,
              t->stages);
    cuda_line(w, "CONSUMERS = %d, BLOCKS = %d,  // warpgroups; rows of 64 of each",
              t->consumers, ws_blocks(t));
    cuda_line(w, "ROWS = %lld, COLUMNS = %lld,  // of tiles%s", parts(s->shape.m, ws_height(t)),
              parts(s->shape.n, t->bn), t->cluster > 1 ? "; rows in pairs" : "");
    cuda_line(w, "TILES = %lld, STEPS = %lld,",
              (long long)s->shape.points * parts(s->shape.m, ws_height(t)) *
                  parts(s->shape.n, t->bn),
              parts(s->shape.k, WS_TILE_K));
    cuda_line(w, "A_BYTES = %zu, B_BYTES = %zu,", a, b);
    cuda_line(w, "RESULTS = %zu, BARRIERS = %zu  // where they begin in shared memory",
              (size_t)t->stages * (a + b),
              (size_t)t->stages * (a + b) + ws_staging_bytes(&s->shape, t));
    w->indent--;
    cuda_line(w, "};");
    blank_line(w);
}

// "tile, rank, m0, n0, point0": what tile_place is given.
static Str place_list(const Ws *s, const char *type) {
    StrBuf text = {0};
    for (uint32_t d = 0; d < s->w->p->dim_count; d++)
        if (is_grid(s, d)) strbuf_addf(&text, ", %spoint%u", type, d);
    Str out = str_copy(s->w->arena, strbuf_view(&text));
    strbuf_release(&text);
    return out;
}

static void place_print(const Ws *s) {
    CudaWriter *w = s->w;
    cuda_line(w, "// %d rows of tiles are walked together, column by column, so that what they",
              s->tiles.order);
    cuda_line(w, "// read stays in the L2 cache.");
    cuda_open(w, "DEVICE void tile_place(int tile, int rank, int &m0, int &n0%.*s)",
              STR_ARG(place_list(s, "int &")));
    cuda_line(w, "const int inside = tile %% (ROWS * COLUMNS);");
    cuda_line(w, "const int first = inside / (%d * COLUMNS) * %d;", s->tiles.order,
              s->tiles.order);
    cuda_line(w, "const int rows = ROWS - first < %d ? ROWS - first : %d;", s->tiles.order,
              s->tiles.order);
    cuda_line(w, "const int rest = inside - first * COLUMNS;");
    cuda_line(w, "m0 = ((first + rest %% rows) * %d + rank) * TILE_M;", s->tiles.cluster);
    cuda_line(w, "n0 = rest / rows * TILE_N;");
    if (s->shape.points > 1) cuda_line(w, "int point = tile / (ROWS * COLUMNS);");
    for (uint32_t d = s->w->p->dim_count; d-- > 0;) {
        if (!is_grid(s, d)) continue;
        long long extent = (long long)s->w->p->dims[d].extent;
        cuda_line(w, "point%u = point %% %lld;", d, extent);
        cuda_line(w, "point /= %lld;", extent);
    }
    cuda_close(w);
    blank_line(w);
}

// A consumer that takes turns passes over the stages of a tile. It begins a tile when the other
// has waited for all stages of the one before: parities tell neighbouring rounds of the ring
// apart, no more.
static void skip_print(const Ws *s) {
    CudaWriter *w = s->w;
    cuda_line(w, "// Past the stages of one tile.");
    cuda_open(w, "DEVICE void stages_skip(u32 &stage, u32 &parity)");
    cuda_line(w, "stage += STEPS %% STAGES;");
    cuda_line(w, "parity ^= STEPS / STAGES %% 2 ^ (stage >= STAGES);");
    cuda_line(w, "if (stage >= STAGES) stage -= STAGES;");
    cuda_close(w);
    blank_line(w);
}

// Where results are not staged a thread has four neighbours along n, where that helps.
static bool is_gathered(const Ws *s) {
    return !s->staged && s->tiles.bn % 16 == 0 && s->shape.n % 4 == 0;
}

// Of 16 columns a thread has two pairs of neighbours, 8 columns apart. Lanes side by side
// exchange one pair each, and then have four neighbours, for wider loads and stores.
static void gather_print(const Ws *s) {
    CudaWriter *w = s->w;
    cuda_line(w, "// Four neighbours of a row for each lane, in place of two pairs.");
    cuda_open(w, "DEVICE void sums_gather(float (&d)[TILE_N / 2], bool odd)");
    cuda_line(w, "UNROLL for (int j = 0; j < TILE_N / 16; j++)");
    cuda_open(w, "UNROLL for (int i = 0; i < 4; i++)");
    cuda_line(w, "const float low = d[8 * j + i], high = d[8 * j + 4 + i];");
    cuda_line(w, "const float other = __shfl_xor_sync(~0U, odd ? low : high, 1);");
    cuda_line(w, "d[8 * j + i] = odd ? other : low;");
    cuda_line(w, "d[8 * j + 4 + i] = odd ? high : other;");
    cuda_close(w);
    cuda_close(w);
    blank_line(w);
}

static void heading_print(const Ws *s) {
    CudaWriter *w = s->w;
    const WsTiles *t = &s->tiles;
    cuda_line(w, "#define WGMMA_N %d", t->bn);
    cuda_line(w, "#include \"wgmma.cuh\"");
    cuda_line(w, "#undef WGMMA_N");
    blank_line(w);
    constants_print(s);
    place_print(s);
    if (t->turns > 1) skip_print(s);
    if (is_gathered(s)) gather_print(s);
    Str cluster = t->cluster > 1 ? str_printf(w->arena, "CLUSTER(%d) ", t->cluster) : STR("");
    cuda_line(w, "KERNEL_RESIDENT(%d, 1) %.*skernel(%.*s,", 128 * (t->consumers + 1),
              STR_ARG(cluster), STR_ARG(cuda_parameters(w)));
    cuda_open(w, "    MAP_ARGUMENT map_a, MAP_ARGUMENT map_b%s)",
              s->staged ? ", MAP_ARGUMENT map_result" : "");
}

// ---- the start

static void start_print(const Ws *s) {
    CudaWriter *w = s->w;
    bool cluster = s->tiles.cluster > 1;
    cuda_line(w, "DYNAMIC_SHARED(shared);");
    cuda_line(
        w, "const u32 tiles_a = shared_address(shared), tiles_b = tiles_a + STAGES * A_BYTES;");
    cuda_line(w, "const u32 full = tiles_a + BARRIERS, empty = full + 8 * STAGES;");
    if (s->tiles.turns > 1) cuda_line(w, "const u32 turns = empty + 8 * STAGES;");
    cuda_line(w, "const int group = threadIdx.x / 128, thread = threadIdx.x %% 128;");
    cuda_line(w, "const int lane = threadIdx.x %% 32;");
    cuda_line(w,
              cluster ? "const int rank = cluster_rank(), first_tile = blockIdx.x / %d;"
                      : "const int rank = 0, first_tile = blockIdx.x;",
              s->tiles.cluster);
    cuda_line(w, "const int more_tiles = gridDim.x / %d;", s->tiles.cluster);
    cuda_open(w, "if (threadIdx.x == 0)");
    cuda_line(w, "tensor_map_prefetch(&map_a);");
    cuda_line(w, "tensor_map_prefetch(&map_b);");
    if (s->staged) cuda_line(w, "tensor_map_prefetch(&map_result);");
    cuda_open(w, "for (int i = 0; i < STAGES; i++)");
    cuda_line(w, "barrier_init(full + 8 * i, 1);");
    cuda_line(w, "barrier_init(empty + 8 * i, %d);  // warps that read it",
              4 * ws_sharers(&s->tiles) * s->tiles.cluster);
    cuda_close(w);
    if (s->tiles.turns > 1) cuda_line(w, "barrier_init(turns, 4), barrier_init(turns + 8, 4);");
    cuda_line(w, "barrier_init_done();");
    cuda_close(w);
    cuda_line(w, cluster ? "cluster_sync();" : "__syncthreads();");
}

// Opens the loop over tiles.
static void tiles_open(const Ws *s, bool in_turn) {
    CudaWriter *w = s->w;
    cuda_open(w, "NO_UNROLL for (int tile = first_tile%s; tile < TILES; tile += %smore_tiles)",
              in_turn ? " + group * more_tiles" : "", in_turn ? "2 * " : "");
    cuda_line(w, "int m0, n0%.*s;", STR_ARG(place_list(s, "")));
    cuda_line(w, "tile_place(tile, rank, m0, n0%.*s);", STR_ARG(place_list(s, "")));
}

static void stage_advance(const Ws *s) {
    cuda_open(s->w, "if (++stage == STAGES)");
    cuda_line(s->w, "stage = 0;");
    cuda_line(s->w, "parity ^= 1;");
    cuda_close(s->w);
}

// ---- the producer

static void copy_a_print(const Ws *s) {
    CudaWriter *w = s->w;
    Str points = coordinates(s, &s->a.tensor);
    if (!s->a.across) {
        cuda_line(w, "tensor_load(a, &map_a, ready, inner, m0%.*s);", STR_ARG(points));
        return;
    }
    cuda_line(w, "UNROLL for (int i = 0; i < TILE_M / 64; i++)");
    cuda_line(w, "    tensor_load(a + 8192 * i, &map_a, ready, m0 + 64 * i, inner%.*s);",
              STR_ARG(points));
}

// In a cluster each block fetches half of the tile for both.
static void copy_b_print(const Ws *s) {
    CudaWriter *w = s->w;
    Str points = coordinates(s, &s->b.tensor);
    bool shared = s->tiles.cluster > 1;
    const char *load = shared ? "tensor_load_shared" : "tensor_load";
    const char *blocks = shared ? "ready, 3" : "ready";
    if (!s->b.across) {
        cuda_line(w, "%s(b%s, &map_b, %s, inner, n0%s%.*s);", load,
                  shared ? " + rank * (B_BYTES / 2)" : "", blocks,
                  shared ? " + rank * (TILE_N / 2)" : "", STR_ARG(points));
        return;
    }
    cuda_line(w, "UNROLL for (int i = 0; i < B_BYTES / 8192; i++)");
    cuda_line(w, "    %s(b + 8192 * i%s, &map_b, %s, n0 + 64 * i, inner%s%.*s);", load,
              shared ? " + 4096 * rank" : "", blocks, shared ? " + 32 * rank" : "",
              STR_ARG(points));
}

// Registers of a thread: the producer's and a consumer's. A lone consumer needs no more than
// it has.
static void registers_print(const Ws *s, bool consumer) {
    if (s->tiles.consumers == 1) return;
    bool two = s->tiles.consumers == 2;
    if (consumer)
        cuda_line(s->w, "registers_grow<%d>();", two ? 232 : 160);
    else
        cuda_line(s->w, "registers_shrink<%d>();", two ? 40 : 32);
}

static void conversion_note(const Ws *s, int operand) {
    const WsOperand *o = operand == 0 ? &s->a : &s->b;
    cuda_convert(
        s->w, tile_op(s->w->p, s->dot)->in[operand],
        o->across ? STR("copied by the copy engine, read by wgmma, turned")
                  : STR("copied by the copy engine, read by wgmma"),
        s->tiles.stages,
        (int64_t)(operand == 0 ? ws_a_bytes(&s->tiles) : ws_b_bytes(&s->shape, &s->tiles)));
}

static void producer_print(const Ws *s) {
    CudaWriter *w = s->w;
    conversion_note(s, 0);
    conversion_note(s, 1);
    cuda_line(w, "// The producer: one thread keeps the ring full.");
    cuda_open(w, "if (group == CONSUMERS)");
    registers_print(s, false);
    cuda_open(w, "if (thread == 0)");
    cuda_line(w, "u32 stage = 0, parity = 1;");
    tiles_open(s, false);
    cuda_open(w, "NO_UNROLL for (int k = 0; k < STEPS; k++)");
    long long inside = parts(s->steps.inner, WS_TILE_K);
    if (s->steps.outer > 1)
        cuda_line(w, "const int outer = k / %lld, inner = k %% %lld * TILE_K;", inside, inside);
    else
        cuda_line(w, "const int inner = k * TILE_K;");
    cuda_line(w, "const u32 a = tiles_a + stage * A_BYTES, b = tiles_b + stage * B_BYTES;");
    cuda_line(w, "const u32 ready = full + 8 * stage;");
    cuda_line(w, "barrier_wait(empty + 8 * stage, parity);");
    cuda_line(w, "barrier_expect(ready, A_BYTES + B_BYTES);");
    copy_a_print(s);
    copy_b_print(s);
    stage_advance(s);
    cuda_close(w);
    cuda_close(w);
    cuda_close(w);
    w->indent--;
    cuda_open(w, "} else");
}

// ---- the consumers

static void release_print(const Ws *s, const char *condition) {
    if (s->tiles.cluster > 1)
        cuda_line(s->w, "if (%slane < 2) barrier_arrive_at(empty + 8 * before, lane);",
                  condition);
    else
        cuda_line(s->w, "if (%slane == 0) barrier_arrive(empty + 8 * before);", condition);
}

// A step of 16 k is 32 bytes along the rows of a tile, or 16 rows of 128 bytes; descriptors
// count in 16 bytes. 64 rows of a are 8192 bytes in both.
static void multiply_print(const Ws *s) {
    CudaWriter *w = s->w;
    const char *type = s->type == DTYPE_BF16 ? "bf16" : "f16";
    cuda_line(w, "const u32 at_a = tiles_a + stage * A_BYTES + first_row * 128;");
    cuda_line(w, "const u32 at_b = tiles_b + stage * B_BYTES;");
    cuda_line(w, "const u64 a = %s;",
              s->a.across ? "wgmma_tile_across_k(at_a, 8192)" : "wgmma_tile_along_k(at_a)");
    cuda_line(w, "const u64 b = %s;",
              s->b.across ? "wgmma_tile_across_k(at_b, 8192)" : "wgmma_tile_along_k(at_b)");
    cuda_line(w, "barrier_wait(full + 8 * stage, parity);");
    cuda_line(w, "UNROLL for (int i = 0; i < BLOCKS; i++) wgmma_hold(sums[i]);");
    cuda_line(w, "wgmma_fence();");
    cuda_line(w, "UNROLL for (int j = 0; j < TILE_K / 16; j++)");
    cuda_line(w, "    UNROLL for (int i = 0; i < BLOCKS; i++)");
    cuda_line(w, "        wgmma_%s<TILE_N, %d, %d>(sums[i], a + 512 * i + %d * j, b + %d * j,",
              type, s->a.across, s->b.across, s->a.across ? 128 : 2, s->b.across ? 128 : 2);
    cuda_line(w, "                                 k > 0 || j > 0);");
    cuda_line(w, "wgmma_commit();");
    cuda_line(w, "UNROLL for (int i = 0; i < BLOCKS; i++) wgmma_hold(sums[i]);");
}

static void steps_print(const Ws *s) {
    CudaWriter *w = s->w;
    bool in_turn = s->tiles.turns > 1;
    if (in_turn) {
        cuda_line(w, "barrier_wait(turns + 8 * group, turn);");
        cuda_line(w, "turn ^= 1;");
    }
    cuda_line(w, "u32 before = 0;");
    cuda_open(w, "NO_UNROLL for (int k = 0; k < STEPS; k++)");
    multiply_print(s);
    cuda_line(w, "wgmma_wait<1>();  // the products of the step before");
    release_print(s, "k > 0 && ");
    cuda_line(w, "before = stage;");
    stage_advance(s);
    cuda_close(w);
    if (in_turn) cuda_line(w, "if (lane == 0) barrier_arrive(turns + 8 * (1 - group));");
    cuda_line(w, "wgmma_wait<0>();");
    cuda_line(w, "UNROLL for (int i = 0; i < BLOCKS; i++) wgmma_hold(sums[i]);");
    release_print(s, "");
}

static bool has_loads(const TileProgram *p, TileId v) {
    const TileOp *op = tile_op(p, v);
    if (op->kind == TILE_LOAD || op->kind == TILE_GATHER) return true;
    bool some = false;
    for (uint32_t i = 0; i < op->arity && op->kind != TILE_DOT; i++)
        some = some || has_loads(p, op->in[i]);
    return some;
}

// The rest of the program, on the accumulators. Results that are staged take their place.
static void epilogue_print(const Ws *s) {
    CudaWriter *w = s->w;
    if (s->staged && s->stored.i == s->dot.i) return;
    bool unguarded = s->staged && !has_loads(w->p, s->stored), gathered = is_gathered(s);
    CudaSums sums = {.rows = 2 * ws_blocks(&s->tiles),
                     .runs = s->tiles.bn / (gathered ? 16 : 8),
                     .width = gathered ? 4 : 2,
                     .m = STR("m0 + row + i / 2 * 64 + i % 2 * 8"),
                     .n = gathered ? STR("n0 + column + j * 16") : STR("n0 + column + j * 8"),
                     .sum = gathered ? STR("sums[i / 2][j * 8 + e / 2 * 4 + i % 2 * 2 + e % 2]")
                                     : STR("sums[i / 2][j * 4 + i % 2 * 2 + e]"),
                     .m_whole = unguarded || s->shape.m % ws_height(&s->tiles) == 0,
                     .n_whole = unguarded || s->shape.n % s->tiles.bn == 0};
    if (s->staged) sums.into = sums.sum;
    for (uint32_t d = 0; d < w->p->dim_count; d++)
        sums.at.at[d] = is_grid(s, d) ? str_printf(w->arena, "point%u", d) : STR("0");
    cuda_line(w, "{");
    w->indent++;
    if (gathered) {
        cuda_convert(w, s->dot, STR("pairs of a fragment made four neighbours"), 0, 0);
        cuda_line(w,
                  "UNROLL for (int i = 0; i < BLOCKS; i++) sums_gather(sums[i], lane %% 2);");
    }
    cuda_line(w, "const int row = first_row + thread / 32 * 16 + lane / 4;");
    cuda_line(w, gathered ? "const int column = lane %% 2 * 8 + lane / 2 %% 2 * 4;"
                          : "const int column = lane %% 4 * 2;");
    cuda_epilogue(w, &sums);
    cuda_close(w);
}

// 64 x 64 results at a time go to one of two buffers of the warpgroup and from there to memory.
// Where 64 does not divide TILE_N the last columns overlap those before them.
static void results_print(const Ws *s) {
    CudaWriter *w = s->w;
    cuda_convert(w, s->stored,
                 STR("fragments made rows by stmatrix, stored by the copy engine"),
                 (int64_t)2 * s->tiles.consumers, WS_SLICE_BYTES);
    const char *pair = s->result.map.type == DTYPE_BF16 ? "bf16_pair" : "f16_pair";
    cuda_line(w, "UNROLL for (int i = 0; i < BLOCKS; i++)");
    cuda_open(w, "UNROLL for (int q = 0; q < (TILE_N + 63) / 64; q++)");
    cuda_line(w, "const int column = 64 * q < TILE_N - 64 ? 64 * q : TILE_N - 64;");
    cuda_line(w, "const u32 slice = tiles_a + RESULTS + (2 * group + buffer) * %d;",
              WS_SLICE_BYTES);
    cuda_line(w, "buffer ^= 1;");
    cuda_line(w, "if (thread == 0) bulk_wait_read<1>();");
    cuda_line(w, "named_barrier_sync(1 + group, 128);");
    cuda_open(w, "UNROLL for (int j = 0; j < 4; j++)");
    cuda_line(w, "const float *d = &sums[i][column / 2 + 8 * j];");
    cuda_line(w, "const u32 chunk = (u32)(2 * j + lane / 16) ^ (u32)(lane %% 8);");
    cuda_line(
        w, "matrix_store_x4(slice + (u32)(thread / 32 * 16 + lane %% 16) * 128 + chunk * 16,");
    cuda_line(w, "                %s(d[0], d[1]), %s(d[2], d[3]),", pair, pair);
    cuda_line(w, "                %s(d[4], d[5]), %s(d[6], d[7]));", pair, pair);
    cuda_close(w);
    cuda_line(w, "async_fence();");
    cuda_line(w, "named_barrier_sync(1 + group, 128);");
    cuda_open(w, "if (thread == 0)");
    cuda_line(w, "tensor_store(&map_result, slice, n0 + column,");
    cuda_line(w, "             m0 + first_row + 64 * i%.*s);",
              STR_ARG(coordinates(s, &s->result)));
    cuda_line(w, "bulk_commit();");
    cuda_close(w);
    cuda_close(w);
}

static void consumers_print(const Ws *s) {
    CudaWriter *w = s->w;
    registers_print(s, true);
    bool in_turn = s->tiles.turns > 1;
    cuda_line(w, "const int first_row = %s;", in_turn ? "0" : "group * (BLOCKS * 64)");
    cuda_line(w, "float sums[BLOCKS][TILE_N / 2];");
    cuda_line(w, "u32 stage = 0, parity = 0;");
    if (in_turn) {
        cuda_line(w, "u32 turn = group == 0;  // parity; the first consumer need not wait");
        cuda_line(w, "if (group == 1) stages_skip(stage, parity);");
    }
    if (s->staged) cuda_line(w, "u32 buffer = 0;  // the one that is used next");
    tiles_open(s, in_turn);
    steps_print(s);
    if (in_turn) cuda_line(w, "stages_skip(stage, parity);  // the other consumer's");
    epilogue_print(s);
    if (s->staged) results_print(s);
    cuda_close(w);
    if (s->staged) cuda_line(w, "if (thread == 0) bulk_wait<0>();");
    cuda_close(w);
}

// ---- the kernel

static void launch_set(const Ws *s) {
    const WsTiles *t = &s->tiles;
    int64_t tiles =
        s->shape.points * parts(s->shape.m, ws_height(t)) * parts(s->shape.n, t->bn);
    int64_t most = WS_BLOCKS / t->cluster, clusters = tiles < most ? tiles : most;
    s->w->launch = (Launch){.blocks = (uint32_t)(clusters * t->cluster),
                            .threads = (uint32_t)(128 * (t->consumers + 1)),
                            .cluster = (uint32_t)t->cluster,
                            .shared_bytes = (uint32_t)ws_shared_bytes(&s->shape, t),
                            .map_count = s->staged ? 3 : 2,
                            .maps = {s->a.tensor.map, s->b.tensor.map}};
    if (s->staged) s->w->launch.maps[2] = s->result.map;
}

bool cuda_loop_ws(CudaWriter *w) {
    Ws s;
    if (!ws_plan(w, &s)) return false;
    heading_print(&s);
    start_print(&s);
    producer_print(&s);
    consumers_print(&s);
    if (s.tiles.cluster > 1) {
        cuda_line(w, "// No block ends while the other may still write or arrive here.");
        cuda_line(w, "cluster_sync();");
    }
    cuda_close(w);
    launch_set(&s);
    return true;
}
