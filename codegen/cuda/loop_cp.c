// loop_cp.c: LOOP_CP: all warps of a block load and multiply. docs/cuda.md shows the kernel.
//
//     the task: a tile of m and n at a point of the grid
//     start to fill all stages but one
//     for each step of k:
//         wait for its stage; start to fill the one that the last step left
//         sums += product of the tiles
//         compute and store what is not copied of the tiles that are being filled
//     epilogue
#include "codegen/cuda/loop_cp.h"

#include "base/check.h"
#include "base/integer.h"
#include "codegen/cuda/loop_epilogue.h"
#include "ir/tile/tile_access.h"

// ---- plan

static CpTiles wanted_tiles(const TileProgram *p) {
    return (CpTiles){.bm = (int)tile_knob(p, "bm", 0),
                     .bn = (int)tile_knob(p, "bn", 0),
                     .bk = (int)tile_knob(p, "bk", 0),
                     .stages = (int)tile_knob(p, "stages", 0),
                     .warps_m = (int)tile_knob(p, "warps_m", 0),
                     .warps_n = (int)tile_knob(p, "warps_n", 0),
                     .warps_k = (int)tile_knob(p, "warps_k", 0),
                     .order = (int)tile_knob(p, "order", 0)};
}

static int64_t extents(const TileProgram *p, TileRole role) {
    int64_t product = 1;
    for (uint32_t d = 0; d < p->dim_count; d++)
        if (p->dims[d].role == role) product *= p->dims[d].extent;
    return product;
}

static void shape_find(Cp *c) {
    const TileProgram *p = c->w->p;
    c->shape = (CpShape){.arch = c->w->arch,
                         .type = cp_operand_type(p, c->dot),
                         .points = extents(p, DIM_GRID),
                         .sharing_m = 1,
                         .sharing_k = 1,
                         .m = extents(p, DIM_M),
                         .n = extents(p, DIM_N),
                         .k = extents(p, DIM_K)};
    vec_each (const TileOp, op, &p->ops) {
        bool at_mn = (op->dims & dim_set(c->m)) && (op->dims & dim_set(c->n));
        if (tile_op_writes(op->kind) || (op->kind == TILE_LOAD && at_mn))
            c->shape.stored_bytes += (int)dtype_bytes(p->args.ptr[op->access.arg].type);
    }
}

static bool refuse(const Cp *c, const char *reason) {
    return diag_fail(c->w->diag, FAIL_ENVIRONMENT, "kernel '%.*s' has no tiles: %s",
                     STR_ARG(c->w->p->name), reason);
}

static bool tiles_choose(Cp *c) {
    CpTiles wanted = wanted_tiles(c->w->p);
    if (cp_choices(&c->shape, &wanted, &c->tiles, 1) > 0) return true;
    const char *reason = cp_illegal(&c->shape, &wanted);
    return refuse(c, reason ? reason : "its knobs do not go together");
}

static bool shares_rows(const Cp *c) { return c->limited == c->m; }
// Of a point, or of all that share rows.
static int64_t tiles_m(const Cp *c) {
    return shares_rows(c) ? cp_row_tiles(&c->shape, &c->tiles)
                          : ceil_div(c->shape.m, c->tiles.bm);
}
static int64_t tiles_n(const Cp *c) { return ceil_div(c->shape.n, c->tiles.bn); }
static int64_t steps(const Cp *c) { return ceil_div(c->shape.k, c->tiles.bk); }

static bool is_in_range(const Cp *c) {
    const int64_t most = INT32_MAX / 4;
    if (c->shape.m > most || c->shape.n > most || c->shape.k > most) return false;
    return (double)cp_row_tiles(&c->shape, &c->tiles) * (double)tiles_n(c) <= (double)most;
}

bool cp_plan(CudaWriter *w, Cp *c) {
    const TileProgram *p = w->p;
    *c = (Cp){.w = w, .m = tile_dim_of(p, DIM_M), .n = tile_dim_of(p, DIM_N)};
    c->k_first = tile_dim_of(p, DIM_K);
    c->k_last = (int)p->dim_count - 1;
    for (uint32_t i = 1; i < p->ops.len; i++)
        if (p->ops.ptr[i].kind == TILE_DOT) c->dot = (TileId){i};
    const TileOp *dot = tile_op(p, c->dot);
    shape_find(c);
    const char *reason = cp_limit_find(c);
    if (reason) return refuse(c, reason);
    c->a = (CpOperand){.letter = 'a', .value = dot->in[0], .own = c->m};
    c->b = (CpOperand){.letter = 'b', .value = dot->in[1], .own = c->n};
    CpOperand *operands[] = {&c->a, &c->b};
    for (int i = 0; i < 2; i++)
        cp_operand_plan(c, operands[i]);
    c->shape.across_a = c->a.across;
    c->shape.across_b = c->b.across;
    c->tiles.bk = 16;  // for the fills of operands, which are the same for all tiles
    for (int i = 0; i < 2; i++)
        cp_operand_tiles(c, operands[i]);
    c->shape.computed_a = c->a.fill == FILL_COMPUTED;
    c->shape.computed_b = c->b.fill == FILL_COMPUTED;
    if (!tiles_choose(c)) return false;
    for (int i = 0; i < 2; i++)
        cp_operand_tiles(c, operands[i]);
    c->b.offset = cp_a_bytes(&c->shape, &c->tiles);
    return is_in_range(c) || refuse(c, "an extent is too large");
}

// ---- the kernel's text

static bool is_copying(const Cp *c) {
    return c->a.fill != FILL_COMPUTED || c->b.fill != FILL_COMPUTED;
}

static int stage_bytes(const Cp *c) {
    return cp_a_bytes(&c->shape, &c->tiles) + cp_b_bytes(&c->shape, &c->tiles);
}

static void head_print(const Cp *c) {
    CudaWriter *w = c->w;
    const CpTiles *t = &c->tiles;
    cuda_line(
        w, "// %lld points of %lld x %lld x %lld, in tiles of %d x %d x %d by %d x %d warps.",
        (long long)c->shape.points, (long long)c->shape.m, (long long)c->shape.n,
        (long long)c->shape.k, t->bm, t->bn, t->bk, t->warps_m, t->warps_n);
    Str count = c->limited > c->m ? (Str){0}
                                  : str_printf(w->arena, "STEPS = %lld, ", (long long)steps(c));
    cuda_line(w, "enum { %.*sSTAGES = %d, STAGE_BYTES = %d };", STR_ARG(count), t->stages,
              stage_bytes(c));
    cp_operand_place(c, &c->a);
    cp_operand_place(c, &c->b);
    strbuf_addc(&w->text, '\n');
}

// Tiles of a point in groups of `order` rows, each group column by column: blocks that run
// together share what they read.
static void place_tile(const Cp *c) {
    CudaWriter *w = c->w;
    long long rows = tiles_m(c), columns = tiles_n(c), bn = c->tiles.bn;
    long long group = c->tiles.order < rows ? c->tiles.order : rows, inner = group * columns;
    Str n = columns == 1 ? STR("0") : str_printf(w->arena, "tile * %lld", bn), m = STR("0");
    if (columns == 1 && rows > 1) {
        m = STR("tile");
    } else if (rows > 1 && rows % group == 0) {
        m = str_printf(w->arena, "tile / %lld * %lld + tile %% %lld", inner, group, group);
        n = str_printf(w->arena, "tile %% %lld / %lld * %lld", inner, group, bn);
    } else if (rows > 1) {
        cuda_line(
            w,
            "const int top = tile / %lld * %lld, rows = %lld - top < %lld ? %lld - top : %lld;",
            inner, group, rows, group, rows, group);
        m = str_printf(w->arena, "top + tile %% %lld %% rows", inner);
        n = str_printf(w->arena, "tile %% %lld / rows * %lld", inner, bn);
    }
    if (shares_rows(c))
        cuda_line(w, "const int row_tile = %.*s;", STR_ARG(m));
    else
        cuda_line(w, "const int m_first = (%.*s) * %d;", STR_ARG(m), c->tiles.bm);
    cuda_line(w, "const int n_first = %.*s;", STR_ARG(n));
}

void cp_grid_print(Cp *c, const char *number, int64_t inner) {
    CudaWriter *w = c->w;
    int64_t left = c->shape.points;
    for (int d = c->m - 1; d >= 0; d--) {
        int64_t extent = cp_extent(c, d);
        c->at.at[d] = extent == 1 ? STR("0") : str_printf(w->arena, "grid%d", d);
        if (extent == 1) continue;
        Str at = inner == 1 ? str_of(number)
                            : str_printf(w->arena, "%s / %lld", number, (long long)inner);
        if (left > extent)
            at = str_printf(w->arena, "%.*s %% %lld", STR_ARG(at), (long long)extent);
        cuda_line(w, "const int grid%d = %.*s;  // %.*s", d, STR_ARG(at),
                  STR_ARG(w->p->dims[d].name));
        inner *= extent;
        left /= extent;
    }
}

// Tasks number the points of the grid, and for each of them the tiles of m and n; or all tiles
// of rows that points share, and for each of them those of n.
static void task_print(Cp *c) {
    CudaWriter *w = c->w;
    int64_t inner = tiles_m(c) * tiles_n(c);
    bool alone = c->shape.points == 1 || shares_rows(c);
    cuda_line(w, "const int thread = (int)threadIdx.x, lane = thread %% 32;");
    if (alone)
        cuda_line(w, "const int tile = (int)blockIdx.x;");
    else
        cuda_line(w, "const int task = (int)blockIdx.x, tile = task %% %lld;",
                  (long long)inner);
    if (!shares_rows(c)) cp_grid_print(c, "task", inner);
    place_tile(c);
    if (shares_rows(c)) {
        cp_group_find(c);
        cp_grid_print(c, "point", 1);
    } else if (c->limited >= 0) {
        cp_steps_find(c);
    }
}

// This thread's part of the tile, and its sums.
static void thread_print(const Cp *c) {
    CudaWriter *w = c->w;
    const CpTiles *t = &c->tiles;
    int wide = t->bn / t->warps_n, high = t->bm / t->warps_m;
    int warps = t->warps_m * t->warps_n;
    if (t->warps_k > 1 && warps == 1)
        cuda_line(w, "const int warp_k = thread / 32;  // part of k");
    else if (t->warps_k > 1)
        cuda_line(w, "const int warp = thread / 32 %% %d, warp_k = thread / %d;  // part of k",
                  warps, warps * 32);
    else
        cuda_line(w, "const int warp = thread / 32;");
    Str m = t->warps_m == 1   ? STR("0")
            : t->warps_n == 1 ? str_printf(w->arena, "warp * %d", high)
                              : str_printf(w->arena, "warp / %d * %d", t->warps_n, high);
    Str n = t->warps_n == 1   ? STR("0")
            : t->warps_m == 1 ? str_printf(w->arena, "warp * %d", wide)
                              : str_printf(w->arena, "warp %% %d * %d", t->warps_n, wide);
    cuda_line(w, "const int warp_m = %.*s, warp_n = %.*s;", STR_ARG(m), STR_ARG(n));
    if (cp_is_mma(&c->shape)) {
        cuda_line(w, "const int row_m = warp_m + lane / 4, col_n = warp_n + lane %% 4 * 2;");
        cuda_line(w,
                  "float sums[%d][%d][4] = {};  // [16 rows][8 columns][part of the fragment]",
                  high / 16, wide / 8);
    } else {
        int group_m = high / 4 < 4 ? high / 4 : 4, group_n = wide / 8 < 4 ? wide / 8 : 4;
        cuda_line(w,
                  "const int row_m = warp_m + lane / 8 * %d, col_n = warp_n + lane %% 8 * %d;",
                  group_m, group_n);
        cuda_line(w, "float sums[%d][%d] = {};", high / 4, wide / 8);
    }
}

static void parts_print(Cp *c) {
    CudaWriter *w = c->w;
    cp_operands_fixed(c);
    cp_operand_registers(c, &c->a);
    cp_operand_registers(c, &c->b);
    cuda_line(w, "// Starts to fill the stage of a step with its tiles of both operands.");
    cuda_open(w, "auto fetch = [&](int step)");
    cuda_line(w, "const int k_first = step * %d;", c->tiles.bk);
    if (is_copying(c)) cuda_line(w, "const u32 stage = (u32)step %% STAGES * STAGE_BYTES;");
    cp_operand_fetch(c, &c->a);
    cp_operand_fetch(c, &c->b);
    w->indent--;
    cuda_line(w, "};");
    if (c->shape.computed_a || c->shape.computed_b) {
        cuda_line(w, "// Stores what is computed of what was loaded for it.");
        cuda_open(w, "auto put = [&](int step)");
        cuda_line(w, "const int k_first = step * %d;", c->tiles.bk);
        cuda_line(w, "const u32 stage = (u32)step %% STAGES * STAGE_BYTES;");
        cp_operand_put(c, &c->a);
        cp_operand_put(c, &c->b);
        w->indent--;
        cuda_line(w, "};");
    }
    cuda_comment(w, tile_op(w->p, c->dot));
    cuda_open(w, "auto multiply = [&](int step)");
    cuda_line(w, "const u32 stage = (u32)step %% STAGES * STAGE_BYTES;");
    if (cp_is_mma(&c->shape))
        cp_multiply_mma(c);
    else
        cp_multiply_fma(c);
    w->indent--;
    cuda_line(w, "};");
}

// One barrier a step: who passes it knows that the step's tiles are complete, and that all have
// done with those of the step before, whose stage is filled next.
static void steps_print(const Cp *c) {
    CudaWriter *w = c->w;
    bool puts = c->shape.computed_a || c->shape.computed_b;
    const char *count = c->limited > c->m ? "steps" : "STEPS";
    strbuf_addc(&w->text, '\n');
    cuda_open(w, "NO_UNROLL for (int step = 0; step < STAGES - 1; step++)");
    cuda_line(w, "if (step < %s) fetch(step)%s;", count, puts ? ", put(step)" : "");
    if (is_copying(c)) cuda_line(w, "copy_async_commit();");
    cuda_close(w);
    cuda_open(w, "NO_UNROLL for (int step = 0; step < %s; step++)", count);
    if (is_copying(c)) cuda_line(w, "copy_async_wait<STAGES - 2>();");
    cuda_line(w, "__syncthreads();");
    cuda_line(w, "const int next = step + STAGES - 1;");
    cuda_line(w, "if (next < %s) fetch(next);", count);
    if (is_copying(c)) cuda_line(w, "copy_async_commit();");
    cuda_line(w, "multiply(step);");
    if (puts) cuda_line(w, "if (next < %s) put(next);", count);
    cuda_close(w);
    strbuf_addc(&w->text, '\n');
}

// The first part of k gets the sums of the others, in their order.
static void parts_of_k_join(const Cp *c) {
    CudaWriter *w = c->w;
    const CpTiles *t = &c->tiles;
    int wide = t->bn / t->warps_n, high = t->bm / t->warps_m,
        threads = t->warps_m * t->warps_n * 32;
    bool mma = cp_is_mma(&c->shape);
    int i = mma ? high / 16 : high / 4, j = wide / 8, e = mma ? 4 : 1;
    const char *sum = mma ? "sums[i][j][e]" : "sums[i][j]";
    Str loops =
        str_printf(w->arena,
                   "UNROLL for (int i = 0; i < %d; i++) UNROLL for (int j = 0; j < %d; j++) "
                   "UNROLL for (int e = 0; e < %d; e++)",
                   i, j, e);
    Str place = str_printf(w->arena, "(i * %d + j * %d + e) * %d + thread %% %d", j * e, e,
                           threads, threads);
    int part = i * j * e * threads;
    cuda_convert(w, c->dot, STR("parts of k added up"), t->warps_k - 1,
                 (int64_t)part * (int64_t)sizeof(float));
    cuda_line(w, "float *parts = (float *)shared;");
    cuda_line(w, "__syncthreads();");
    cuda_line(w, "if (warp_k > 0)");
    cuda_line(w, "    %.*s", STR_ARG(loops));
    cuda_line(w, "        parts[(warp_k - 1) * %d + %.*s] = %s;", part, STR_ARG(place), sum);
    cuda_line(w, "__syncthreads();");
    cuda_line(w, "if (warp_k > 0) return;");
    cuda_line(w, "UNROLL for (int part = 0; part < %d; part++)", t->warps_k - 1);
    cuda_line(w, "    %.*s", STR_ARG(loops));
    cuda_line(w, "        %s += parts[part * %d + %.*s];", sum, part, STR_ARG(place));
}

// Are elements of 16 bits loaded or stored at m and n, four at a time?
static bool is_quad_wanted(const Cp *c) {
    const TileProgram *p = c->w->p;
    if (c->shape.n % 4 != 0 || c->tiles.bn / c->tiles.warps_n % 16 != 0) return false;
    vec_each (const TileOp, op, &p->ops) {
        bool at_mn = (op->dims & dim_set(c->m)) && (op->dims & dim_set(c->n));
        if (!tile_op_writes(op->kind) && !(tile_op_accesses(op->kind) && at_mn)) continue;
        if (dtype_bytes(p->args.ptr[op->access.arg].type) != 2) continue;
        if (access_is_wide(p, op, c->n, 4)) return true;
    }
    return false;
}

// A thread has two neighbours of each fragment, which is half of what memory moves at once.
// Lanes side by side swap: the even one has four of the first of two fragments then, the odd
// one of the second.
static void quads_print(const Cp *c, CudaSums *sums) {
    CudaWriter *w = c->w;
    int high = c->tiles.bm / c->tiles.warps_m, wide = c->tiles.bn / c->tiles.warps_n;
    cuda_convert(w, c->dot, STR("pairs of a fragment made four neighbours"), 0, 0);
    cuda_line(w, "const bool odd = lane %% 2 != 0;");
    cuda_open(w, "UNROLL for (int i = 0; i < %d; i++)", high / 16);
    cuda_open(w, "UNROLL for (int j = 0; j < %d; j += 2)", wide / 8);
    cuda_open(w, "UNROLL for (int e = 0; e < 4; e++)");
    cuda_line(w, "float &first = sums[i][j][e], &second = sums[i][j + 1][e];");
    cuda_line(w, "const float taken = __shfl_xor_sync(~0U, odd ? first : second, 1);");
    cuda_line(w, "if (odd)");
    cuda_line(w, "    first = taken;");
    cuda_line(w, "else");
    cuda_line(w, "    second = taken;");
    for (int i = 0; i < 3; i++)
        cuda_close(w);
    cuda_line(w, "const int quad_n = warp_n + lane %% 2 * 8 + lane %% 4 / 2 * 4;");
    sums->runs = wide / 16;
    sums->width = 4;
    sums->n = STR("n_first + quad_n + j * 16");
    sums->sum = STR("sums[i / 2][j * 2 + e / 2][i % 2 * 2 + e % 2]");
}

static void epilogue_print(const Cp *c) {
    CudaWriter *w = c->w;
    const CpTiles *t = &c->tiles;
    int wide = t->bn / t->warps_n, high = t->bm / t->warps_m;
    CudaSums sums = {
        .at = c->at, .m_whole = c->shape.m % t->bm == 0, .n_whole = c->shape.n % t->bn == 0};
    cuda_line(w, "{  // the rest of the program, on this thread's sums");
    w->indent++;
    if (cp_is_mma(&c->shape)) {
        sums.rows = high / 8;
        sums.runs = wide / 8;
        sums.width = 2;
        sums.m = STR("m_first + row_m + i * 8");
        sums.n = STR("n_first + col_n + j * 8");
        sums.sum = STR("sums[i / 2][j][i % 2 * 2 + e]");
        if (is_quad_wanted(c)) quads_print(c, &sums);
    } else {
        int rows = high / 4, cols = wide / 8;
        int group_m = rows < 4 ? rows : 4, group_n = cols < 4 ? cols : 4;
        sums.rows = rows;
        sums.runs = cols / group_n;
        sums.width = group_n;
        sums.m = str_printf(w->arena, "m_first + row_m + i / %d * %d + i %% %d", group_m,
                            group_m * 4, group_m);
        sums.n = str_printf(w->arena, "n_first + col_n + j * %d", group_n * 8);
        sums.sum = str_printf(w->arena, "sums[i][j * %d + e]", group_n);
    }
    cuda_epilogue(w, &sums);
    cuda_close(w);
}

// Left to itself, ptxas may spill a few registers for one more block on a multiprocessor.
static int least_blocks(const Cp *c) {
    int resident = cp_resident(&c->shape, &c->tiles), most = 512 / cp_threads(&c->tiles);
    return resident < most ? resident : most > 1 ? most : 1;
}

bool cuda_loop_cp(CudaWriter *w) {
    Cp c;
    if (!cp_plan(w, &c)) return false;
    head_print(&c);
    cuda_open(w, "KERNEL_RESIDENT(%d, %d) kernel(%.*s)", cp_threads(&c.tiles), least_blocks(&c),
              STR_ARG(cuda_parameters(w)));
    cuda_line(w, "DYNAMIC_SHARED(shared);");
    if (is_copying(&c) || cp_is_mma(&c.shape))
        cuda_line(w, "const u32 stages = shared_address(shared);");
    task_print(&c);
    thread_print(&c);
    parts_print(&c);
    steps_print(&c);
    if (c.tiles.warps_k > 1) parts_of_k_join(&c);
    epilogue_print(&c);
    cuda_close(w);
    w->launch.blocks = (uint32_t)(cp_row_tiles(&c.shape, &c.tiles) * tiles_n(&c));
    w->launch.threads = (uint32_t)cp_threads(&c.tiles);
    w->launch.cluster = 1;
    w->launch.shared_bytes = (uint32_t)cp_shared_bytes(&c.shape, &c.tiles);
    return true;
}
