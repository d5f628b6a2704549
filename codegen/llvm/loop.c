// loop.c: the LOOP skeleton: plan of the loop nest, and the nest around the register kernel.
//
//     for each task (a point of grid, a tile of rows and one of cols):
//       for each step of k:
//         for each run of rows that fits the cache:  pack it, if wanted
//           for each group of panels of cols:        pack them, at the first run of rows
//             for each block of rows, each panel:    register kernel, epilogue at the last step
#include "codegen/llvm/loop.h"

#include "base/check.h"
#include "base/integer.h"
#include "codegen/llvm/skeleton.h"
#include "ir/tile/tile_access.h"

enum {
    MAX_SUMS = 60,          // what one loop may carry, less a few
    INSIDE_K = 4096,        // most products that the register kernel sums at once
    CLOSE_BYTES = 1 << 25,  // most that is copied of the rows at once
    GROUP_BYTES = 1 << 18,  // of the second-level cache, for a group of panels
    FEW_ROWS = 16,
    PAIR_ROWS = 4,
    IN_PLACE_BYTES = 1 << 20,  // cols that are read in place however many the rows
    STRANDS_AHEAD = 8 << 10,   // asked for early of all strands together
};

// ---- plan

static const TileDim *dim_at(const Contract *c, int d) { return &c->p->dims[d]; }

static bool is_guarded(const TileOp *op) {
    return op->access.guard[0].dim >= 0 || op->access.guard[1].dim >= 0;
}

// The stride that most loads of the value have along d decides how packing walks it.
static bool walks_along(const Contract *c, TileId v, int d) {
    const TileOp *op = tile_op(c->p, v);
    if (op->kind == TILE_LOAD || op->kind == TILE_GATHER)
        if (op->access.stride[d] == 1) return true;
    for (uint32_t i = 0; i < op->arity; i++)
        if (walks_along(c, op->in[i], d)) return true;
    return false;
}

// A gather whose vectors lie in one row.
static bool is_by_number(const Contract *c, const Operand *o) {
    const TileOp *op = tile_op(c->p, o->value);
    int along = o->along_k ? c->k_last : o->dim;
    return op->kind == TILE_GATHER && !is_guarded(op) && op->access.stride[along] == 1 &&
           (tile_op(c->p, op->in[0])->dims & dim_bit(along)) == 0;
}

static void operand_plan(const Contract *c, Operand *o, TileId v, int dim) {
    const TileOp *op = tile_op(c->p, v);
    *o = (Operand){.value = v, .dim = dim, .type = DTYPE_F32};
    if (c->pair > 1) o->type = DTYPE_BF16;
    o->along_k = c->dot_form || (walks_along(c, v, c->k_last) && !walks_along(c, v, dim));
    o->by_number = is_by_number(c, o);
    if (op->kind != TILE_LOAD || is_guarded(op)) return;
    o->plain = true;
    if (c->dot_form && op->access.stride[c->k_last] != 1) return;
    if (!c->dot_form && dim == c->col && op->access.stride[dim] != 1 &&
        dim_at(c, dim)->extent > 1)
        return;
    o->load = op;
    o->type = c->p->args.ptr[op->access.arg].type;
}

static void k_plan(Contract *c) {
    int64_t inside = dim_at(c, c->k_last)->tile;
    c->k_inside = c->k_last;
    if (inside == dim_at(c, c->k_last)->extent)
        while (c->k_inside > c->k_first &&
               inside * dim_at(c, c->k_inside - 1)->extent <= INSIDE_K)
            inside *= dim_at(c, --c->k_inside)->extent;
    c->steps = dim_at(c, c->k_last)->tile < dim_at(c, c->k_last)->extent;
    for (int d = c->k_first; d < c->k_inside; d++)
        if (dim_at(c, d)->extent > 1) c->steps = true;
    c->k_flat[c->k_last] = 1;
    c->k_pitch = round_up(elements_of(c, dim_at(c, c->k_last)->tile), c->lanes);
    for (int d = c->k_last - 1; d >= c->k_inside; d--) {
        c->k_flat[d] = c->k_pitch;
        c->k_pitch *= dim_at(c, d)->extent;
    }
}

// Very few rows wait for their cols alone, which come better in strands.
static int pair_of(const Contract *c) {
    bool few = dim_at(c, c->row)->tile < PAIR_ROWS && !c->dot_form;
    if (c->b->level != CPU_AVX512BF16 || few || dim_at(c, c->k_last)->extent == 1) return 1;
    return tile_dot_of_bf16(c->p, tile_op(c->p, c->dot)) ? 2 : 1;
}

// Both operands lie along k, and there are few rows or cols to share what a copy would cost.
static bool is_dot_form(const Contract *c) {
    const TileOp *a = tile_op(c->p, tile_op(c->p, c->dot)->in[0]);
    const TileOp *b = tile_op(c->p, tile_op(c->p, c->dot)->in[1]);
    if (b->kind != TILE_LOAD || is_guarded(b) || b->access.stride[c->k_last] != 1) return false;
    int64_t wish = tile_knob(c->p, "pack_b", -1), cols = dim_at(c, c->col)->extent;
    bool along_k = a->kind == TILE_LOAD && a->access.stride[c->k_last] == 1;
    if (cols * 2 <= c->lanes && along_k) return wish != 1;
    if (b->access.stride[c->col] == 1 || cols == 1) return false;
    return wish == 0 || (wish < 0 && dim_at(c, c->row)->tile <= FEW_ROWS);
}

static int64_t knob(const Contract *c, const char *name, int64_t low, int64_t high,
                    int64_t otherwise) {
    int64_t x = tile_knob(c->p, name, 0);
    if (x < low) return otherwise;
    return x > high ? high : x;
}

static void block_plan(Contract *c) {
    int64_t rows = dim_at(c, c->row)->tile, cols = dim_at(c, c->col)->tile;
    int64_t wide = ceil_div(cols, c->lanes);
    c->mr = (int)knob(c, "mr", 1, MAX_SUMS, c->dot_form ? c->lanes / 2 : 6);
    c->mr = (int)int_min(c->mr, rows);
    int64_t registers = level_is_avx512(c->b->level) ? 24 : 12;
    int64_t fit = registers / c->mr > 0 ? registers / c->mr : 1;
    c->nv = (int)knob(c, "nv", 1, MAX_SUMS, fit);
    c->nv = (int)int_min(c->nv, wide);
    if (c->mr * c->nv > MAX_SUMS) c->nv = MAX_SUMS / c->mr;
    if (c->dot_form) {
        // A matrix times one vector: a row for every lane.
        if (dim_at(c, c->col)->extent == 1) c->mr = (int)int_min(rows, c->lanes);
        c->mr = (int)int_min(c->mr, c->lanes);
        c->nv = 1;
    }
    c->ku = (int)knob(c, "ku", 1, 16, 8);
}

static bool cols_want_packing(const Contract *c) {
    int64_t wish = tile_knob(c->p, "pack_b", -1);
    if (wish >= 0) return wish == 1;
    if (dim_at(c, c->row)->tile <= 2 * (int64_t)c->mr) return false;
    int64_t bytes = (int64_t)dtype_bytes(c->cols.type);
    for (int d = 0; d < (int)c->p->dim_count; d++)
        if (c->cols.load->access.stride[d] != 0 && dim_at(c, d)->role != DIM_GRID)
            bytes *= dim_at(c, d)->extent;
    return bytes > IN_PLACE_BYTES;
}

// Rows that the second-level cache does not hold come from further away once for each group of
// panels, which it holds together with the next one. A power of two.
static int64_t group_size(const Contract *c) {
    int64_t bytes = (int64_t)c->nv * c->lanes * c->k_pitch * 4, size = 1;
    if (!c->cols.packed || !rows_stream(c)) return 1;
    while (2 * size * bytes <= GROUP_BYTES)
        size *= 2;
    return size;
}

// Rows that lie densely along k, each somewhere.
static bool are_rows_gathered(const Contract *c) {
    const TileOp *op = tile_op(c->p, c->rows.value);
    if (!c->rows.by_number || !c->rows.along_k || c->dot_form || c->k_inside < c->k_last)
        return false;
    bool whole = c->pair > 1 || c->p->args.ptr[op->access.arg].type == DTYPE_F32;
    for (int d = c->k_first; d <= c->k_last; d++)
        whole = whole && (tile_op(c->p, op->in[0])->dims & dim_bit(d)) == 0;
    return whole;
}

// Rows as they lie in memory: pairs only if they are neighbours there.
static bool is_row_in_place(const Contract *c) {
    const TileOp *load = c->rows.load;
    return load != NULL && (c->pair == 1 || load->access.stride[c->k_last] == 1);
}

// Elements of a row that its walk over one step of k spans.
static int64_t row_elements(const Contract *c) {
    return c->strand > 0 ? round_up(dim_at(c, c->k_last)->extent, c->lanes) : c->k_pitch;
}

static void packing_plan(Contract *c) {
    Builder *b = c->b;
    const TileDim *row = dim_at(c, c->row), *col = dim_at(c, c->col);
    bool gathered = are_rows_gathered(c), in_place = is_row_in_place(c) || gathered;
    c->rows.packed = !in_place || tile_knob(c->p, "pack_a", -1) == 1;
    c->cols.packed = c->cols.load == NULL || (!c->dot_form && cols_want_packing(c));
    c->strand = strand_length(c);
    if (gathered && !c->rows.packed) c->no_row = build_scratch(b, row_elements(c) * 4);
    // Rows in place stream by for every panel, which stays in the cache; copies of rows do
    // better to stay there themselves.
    c->block_rows = round_up(row->tile, c->mr);
    if (c->rows.packed)
        c->block_rows =
            int_min(c->block_rows, round_up(CLOSE_BYTES / (c->k_pitch * 4) + 1, c->mr));
    int64_t panels = round_up(col->tile, (int64_t)c->nv * c->lanes);
    c->row_pitch = c->k_pitch + c->lanes;
    if (c->rows.packed) c->rows.copy = build_scratch(b, c->block_rows * c->row_pitch * 4);
    c->one_group = c->block_rows >= row->tile;
    c->group = group_size(c);
    int64_t copied = c->one_group ? c->group * c->nv * c->lanes : panels;
    if (blocks_copy(c)) copied *= 2;
    if (c->cols.packed) c->cols.copy = build_scratch(b, copied * c->k_pitch * 4);
    if (c->steps) c->partial = build_scratch(b, round_up(row->tile, c->mr) * panels * 4);
    if (c->dot_form) c->turned = build_scratch(b, (int64_t)c->lanes * c->lanes * 4);
    c->rolled = epilogue_is_costly(c);
    if (c->rolled) c->spill = build_scratch(b, (int64_t)c->mr * c->nv * c->lanes * 4);
}

static void after_dot_mark(Contract *c) {
    c->after_dot = arena_array(c->b->arena, bool, c->p->ops.len);
    for (uint32_t i = 1; i < c->p->ops.len; i++) {
        const TileOp *op = &c->p->ops.ptr[i];
        c->after_dot[i] = op->kind == TILE_DOT;
        for (uint32_t k = 0; k < op->arity; k++)
            if (c->after_dot[op->in[k].i]) c->after_dot[i] = true;
    }
}

static void limit_plan(Contract *c) {
    c->limited = -1;
    for (uint32_t i = 1; i < c->p->ops.len; i++) {
        const TileOp *op = &c->p->ops.ptr[i];
        if (op->kind != TILE_LIMIT) continue;
        c->limit = op->in[0];
        c->limited = op->over == dim_bit(c->row) ? c->row : c->k_last;
        ASSERT(op->over == dim_bit(c->limited));
    }
}

static bool contract_plan(Contract *c, Builder *b) {
    *c = (Contract){.b = b, .p = b->program, .lanes = b->lanes};
    c->row = tile_dim_of(c->p, DIM_M);
    c->col = tile_dim_of(c->p, DIM_N);
    c->k_first = tile_dim_of(c->p, DIM_K);
    c->k_last = (int)c->p->dim_count - 1;
    for (uint32_t d = 0; d < c->p->dim_count; d++)
        if (c->p->dims[d].extent > INT32_MAX / 2)
            return diag_fail(b->diag, FAIL_ENVIRONMENT, "kernel '%.*s' has a loop of %lld",
                             STR_ARG(c->p->name), (long long)c->p->dims[d].extent);
    for (uint32_t i = 1; i < c->p->ops.len; i++)
        if (c->p->ops.ptr[i].kind == TILE_DOT) c->dot = (TileId){i};
    limit_plan(c);
    after_dot_mark(c);
    c->dot_form = is_dot_form(c);
    c->pair = pair_of(c);
    k_plan(c);
    operand_plan(c, &c->rows, tile_op(c->p, c->dot)->in[0], c->row);
    operand_plan(c, &c->cols, tile_op(c->p, c->dot)->in[1], c->col);
    block_plan(c);
    packing_plan(c);
    numbers_plan(c);
    return true;
}

// ---- the nest

static IrValue smaller(Builder *b, IrValue x, IrValue y) {
    return build_select(b, build_icmp(b, LLVMIntSLT, x, y), x, y);
}

// Points of the tile that begins at `start`; a constant if all tiles are alike.
static IrValue tile_points_from(Builder *b, const TileDim *dim, IrValue start) {
    IrValue tile = build_i64(b, dim->tile);
    if (dim->extent % dim->tile == 0) return tile;
    return smaller(b, tile, LLVMBuildNSWSub(b->at, build_i64(b, dim->extent), start, ""));
}

// What may be left of a tile after pieces of `piece`: at most two different numbers but 0.
static int remainders(const TileDim *dim, int64_t piece, int64_t out[2]) {
    int count = 0;
    int64_t usual = dim->tile % piece, last = dim->extent % dim->tile % piece;
    if (usual != 0) out[count++] = usual;
    if (last != 0 && last != usual) out[count++] = last;
    return count;
}

// Begins what is done only if count % piece == rest.
static Branch rest_begin(Builder *b, IrValue count, int64_t piece, int64_t rest) {
    IrValue left = LLVMBuildURem(b->at, count, build_i64(b, piece), "");
    return branch_begin(b, build_icmp(b, LLVMIntEQ, left, build_i64(b, rest)));
}

static IrValue whole_pieces(Builder *b, IrValue count, int64_t piece) {
    IrValue left = LLVMBuildURem(b->at, count, build_i64(b, piece), "");
    return LLVMBuildNSWSub(b->at, count, left, "");
}

// `run`: rows [from, from + count) of the task.
typedef struct {
    IrValue from, count;
} Run;

// Panels that each block of rows meets one after the other: the cols [at, end), or one panel
// that is not whole. Whole panels end at `whole`.
typedef struct {
    IrValue at, end, whole;
    Width width;
    bool is_whole;
} Group;

static int64_t panel_cols(const Contract *c) { return (int64_t)c->nv * c->lanes; }

// Where the cols of the panel after the one at `col` begin in memory. Behind the last panel it
// is the first one of the next step of k; of groups, which have but one, mostly of the next
// group. Of strands it is what comes next in each.
static IrValue next_in_place(const Contract *c, IrValue col) {
    Builder *b = c->b;
    const Operand *o = &c->cols;
    bool in_place = o->load != NULL && o->load->access.stride[c->col] == 1;
    if (c->dot_form || (!in_place && !any_blocks_ask(c))) return NULL;
    if (c->strand > 0)
        return build_gep_bytes(b, walk_in_place(c, o, col).base,
                               STRANDS_AHEAD / dim_at(c, c->k_last)->tile);
    IrValue end = build_iadd(b, col, build_i64(b, c->group * panel_cols(c)));
    IrValue over = LLVMBuildNSWSub(b->at, end, c->col_count, "");
    Walk first = walk_in_place(c, o, c->group > 1 ? over : build_i64(b, 0));
    IrValue step = walk_on(c, &first, first.base, whole_elements(c, c->k_count), c->k_last);
    return build_select(b, build_icmp(b, LLVMIntSLT, end, c->col_count),
                        walk_in_place(c, o, end).base, step);
}

// Panel of the next group that a panel of this one helps. Behind the last whole panel nothing
// is to be copied: this panel once more does no harm.
static void next_help(const Contract *c, const Group *g, Block *block) {
    Builder *b = c->b;
    IrValue next = build_iadd(b, block->col, build_i64(b, c->group * panel_cols(c)));
    if (blocks_copy(c)) block->next_copy = panel_copy(c, next);
    next = build_select(b, build_icmp(b, LLVMIntSLT, next, g->whole), next, block->col);
    block->next = walk_in_place(c, &c->cols, next).base;
}

// Can the first block of rows copy the cols that it reads?
static bool first_block_copies(const Contract *c) {
    const TileDim *row = dim_at(c, c->row);
    int64_t last = row->extent % row->tile;
    return c->cols.packed && c->cols.load != NULL && !c->cols.along_k && c->one_group &&
           row->tile >= c->mr && (last == 0 || last >= c->mr);
}

typedef enum { BLOCK_USUAL, BLOCK_HELPS, BLOCK_COPIES } BlockRole;

// Begins what is done for each panel of a group; loop->index is its first col.
static void panels_begin(const Contract *c, const Group *g, Loop *loop) {
    *loop = (Loop){.index = g->at};
    if (g->is_whole && c->group > 1) loop_begin(c->b, loop, g->at, g->end, panel_cols(c));
}

static void panels_end(const Contract *c, const Group *g, Loop *loop) {
    if (g->is_whole && c->group > 1) loop_end(c->b, loop);
}

// One block of rows, every panel of the group.
static void group_block(Contract *c, const Group *g, Block *block, BlockRole role) {
    Loop loop;
    panels_begin(c, g, &loop);
    block->col = loop.index;
    block->next = block->next_copy = NULL;
    block->copies = role == BLOCK_COPIES;
    if (role == BLOCK_HELPS)
        next_help(c, g, block);
    else if (!c->cols.packed || any_blocks_ask(c))
        block->next = next_in_place(c, block->col);
    block_emit(c, block);
    panels_end(c, g, &loop);
}

// Blocks of mr rows from [from, to) of the run.
static void blocks_emit(Contract *c, const Group *g, Block *block, const IrValue rows[2],
                        BlockRole role) {
    Builder *b = c->b;
    Loop loop = {.count = 0};
    loop_begin(b, &loop, rows[0], rows[1], c->mr);
    block->row = build_iadd(b, block->block, loop.index);
    block->number = LLVMBuildUDiv(b->at, loop.index, build_i64(b, c->mr), "");
    group_block(c, g, block, role);
    loop_end(b, &loop);
}

// The first blocks may have more to do; returns the row behind them.
static IrValue first_blocks_emit(Contract *c, const Group *g, Block *block) {
    Builder *b = c->b;
    IrValue rows[2] = {build_i64(b, 0), build_i64(b, 0)};
    if (g->is_whole && helping_blocks(c) > 0) {
        rows[1] = build_i64(b, (int64_t)helping_blocks(c) * c->mr);
        blocks_emit(c, g, block, rows, BLOCK_HELPS);
    } else if (first_block_copies(c)) {
        rows[1] = build_i64(b, c->mr);
        blocks_emit(c, g, block, rows, BLOCK_COPIES);
    }
    return rows[1];
}

static void group_blocks(Contract *c, const Run *run, const Group *g) {
    Builder *b = c->b;
    Block block = {.block = run->from, .rows = c->mr, .width = g->width};
    IrValue whole = whole_pieces(b, run->count, c->mr);
    IrValue rows[2] = {first_blocks_emit(c, g, &block), whole};
    blocks_emit(c, g, &block, rows, BLOCK_USUAL);
    block.number = LLVMBuildUDiv(b->at, whole, build_i64(b, c->mr), "");
    int64_t rests[2];
    for (int i = remainders(dim_at(c, c->row), c->mr, rests); i-- > 0;) {
        Branch some = rest_begin(b, run->count, c->mr, rests[i]);
        block.row = build_iadd(b, run->from, whole);
        block.rows = (int)rests[i];
        group_block(c, g, &block, BLOCK_USUAL);
        branch_end(b, some);
    }
}

// Copies the panels at once, unless blocks of rows do that.
static void group_pack(Contract *c, const Run *run, const Group *g) {
    Builder *b = c->b;
    bool by_blocks = g->is_whole && blocks_copy(c);
    if (!by_blocks && first_block_copies(c)) return;
    IrValue begins = by_blocks ? g->at : run->from;
    Branch first = branch_begin(b, build_icmp(b, LLVMIntEQ, begins, build_i64(b, 0)));
    Loop loop;
    panels_begin(c, g, &loop);
    pack_panel(c, loop.index, g->width);
    panels_end(c, g, &loop);
    branch_end(b, first);
}

static void group_emit(Contract *c, const Run *run, Group *g, int64_t cols) {
    g->width.vectors = (int)ceil_div(cols, c->lanes);
    g->width.tail = (int)(cols - (int64_t)(g->width.vectors - 1) * c->lanes);
    if (c->cols.packed) group_pack(c, run, g);
    group_blocks(c, run, g);
}

static void run_groups(Contract *c, const Run *run) {
    Builder *b = c->b;
    int64_t panel = panel_cols(c);
    IrValue whole = whole_pieces(b, c->col_count, panel);
    if (dim_at(c, c->col)->tile >= panel) {
        Loop loop = {.count = 0};
        loop_begin(b, &loop, build_i64(b, 0), whole, c->group * panel);
        IrValue end = build_iadd(b, loop.index, build_i64(b, c->group * panel));
        Group g = {
            .at = loop.index, .end = smaller(b, end, whole), .whole = whole, .is_whole = true};
        group_emit(c, run, &g, panel);
        loop_end(b, &loop);
    }
    int64_t rests[2];
    for (int i = remainders(dim_at(c, c->col), panel, rests); i-- > 0;) {
        Branch some = rest_begin(b, c->col_count, panel, rests[i]);
        Group g = {.at = whole, .whole = whole};
        group_emit(c, run, &g, rests[i]);
        branch_end(b, some);
    }
}

static void step_runs(Contract *c) {
    Builder *b = c->b;
    Loop loop = {.count = 0};
    bool single = c->block_rows >= dim_at(c, c->row)->tile;
    Run run = {.from = build_i64(b, 0), .count = c->row_count};
    if (!single) {
        loop_begin(b, &loop, build_i64(b, 0), c->row_count, c->block_rows);
        run.from = loop.index;
        run.count = smaller(b, build_i64(b, c->block_rows),
                            LLVMBuildNSWSub(b->at, c->row_count, loop.index, ""));
    }
    if (c->rows.packed) pack_rows(c, run.from, run.count);
    run_groups(c, &run);
    if (!single) loop_end(b, &loop);
}

static IrValue both(Builder *b, IrValue x, IrValue y) { return LLVMBuildAnd(b->at, x, y, ""); }

// Steps of k dimension d and those inside it.
static void k_steps(Contract *c, int d) {
    Builder *b = c->b;
    if (d >= c->k_inside && d < c->k_last) {
        // The nests of packing and of the register kernel start these at 0.
        c->at.index[d] = build_i64(b, 0);
        k_steps(c, d + 1);
        return;
    }
    const TileDim *dim = dim_at(c, d);
    bool innermost = d == c->k_last;
    IrValue outer_first = c->is_first, outer_last = c->is_last;
    Loop loop = {.count = 0};
    IrValue last = innermost ? c->k_end : build_i64(b, dim->extent);
    loop_begin(b, &loop, build_i64(b, 0), last, dim->tile);
    c->at.index[d] = loop.index;
    if (innermost && c->strand > 0)
        c->at.index[d] = LLVMBuildExactUDiv(b->at, loop.index, build_i64(b, dim->tile), "");
    IrValue end = build_iadd(b, loop.index, build_i64(b, dim->tile));
    c->is_first = both(b, outer_first, build_icmp(b, LLVMIntEQ, loop.index, build_i64(b, 0)));
    c->is_last = both(b, outer_last, build_icmp(b, LLVMIntSGE, end, last));
    if (innermost) {
        c->k_count = tile_points_from(b, dim, loop.index);
        if (c->limited == d)
            c->k_count = smaller(b, c->k_count, LLVMBuildNSWSub(b->at, last, loop.index, ""));
        numbers_fill(c, d, c->k_count);
        step_runs(c);
    } else {
        k_steps(c, d + 1);
    }
    loop_end(b, &loop);
    c->is_first = outer_first;
    c->is_last = outer_last;
}

static void task_place(Contract *c, IrValue task) {
    Builder *b = c->b;
    for (int d = c->col; d >= 0; d--) {
        const TileDim *dim = dim_at(c, d);
        int64_t tiles = ceil_div(dim->extent, dim->tile);
        IrValue count = build_i64(b, tiles);
        IrValue number = d == 0 ? task : LLVMBuildURem(b->at, task, count, "");
        c->at.index[d] = tiles == 1 ? build_i64(b, 0) : build_imul(b, number, dim->tile);
        if (tiles > 1) task = LLVMBuildUDiv(b->at, task, count, "");
    }
    c->row_count = tile_points_from(b, dim_at(c, c->row), c->at.index[c->row]);
    c->col_count = tile_points_from(b, dim_at(c, c->col), c->at.index[c->col]);
    c->k_end = build_i64(b, dim_at(c, c->k_last)->extent);
}

// Rows and k behind the limit do no harm, so that blocks stay whole. At least some k: what has
// nothing to sum is stored all the same.
static void task_limit(Contract *c) {
    Builder *b = c->b;
    if (c->limited < 0) return;
    Place at = place_inside(c, &c->at);
    IrValue count = LLVMBuildSExt(b->at, value_one(c, c->limit, &at), b->i64, "");
    int64_t piece = c->limited == c->row ? c->mr : c->ku * c->pair;
    IrValue *points = c->limited == c->row ? &c->row_count : &c->k_end;
    if (c->limited == c->row)
        count = LLVMBuildNSWSub(b->at, count, c->at.index[c->row], "");
    else
        count = build_select(b, build_icmp(b, LLVMIntSGT, count, build_i64(b, 0)), count,
                             build_i64(b, 1));
    IrValue up = build_iadd(b, count, build_i64(b, piece - 1));
    *points = smaller(b, *points, whole_pieces(b, up, piece));
}

static void no_row_clear(const Contract *c) {
    Builder *b = c->b;
    if (c->no_row == NULL) return;
    Loop loop = {.count = 0};
    loop_begin(b, &loop, build_i64(b, 0), build_i64(b, row_elements(c)), c->lanes);
    build_store(b, build_f32(b, 0, c->lanes), build_gep(b, b->f32, c->no_row, loop.index),
                (unsigned)c->lanes * 4);
    loop_end(b, &loop);
}

bool loop_emit(Builder *b) {
    Contract c;
    if (!contract_plan(&c, b)) return false;
    no_row_clear(&c);
    Loop task = {.count = 0};
    loop_begin(b, &task, b->begin, b->end, 1);
    c.at = place_new(&c);
    task_place(&c, task.index);
    task_limit(&c);
    c.is_first = c.is_last = build_mask_first(b, 1, 1);
    Branch some = branch_begin(b, build_icmp(b, LLVMIntSGT, c.row_count, build_i64(b, 0)));
    numbers_fill(&c, c.row, c.row_count);
    k_steps(&c, c.k_first);
    branch_end(b, some);
    loop_end(b, &task);
    return true;
}
