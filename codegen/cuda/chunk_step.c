// chunk_step.c: CHUNK for CUDA: steps. All threads fill a room, or store: element by element,
// or by products whose sums are in registers.
#include "base/check.h"
#include "base/integer.h"
#include "codegen/cuda/chunk.h"
#include "ir/tile/tile_access.h"

static int only_dim(DimSet dims) {
    int d = 0;
    while (!(dims >> d & 1))
        d++;
    return d;
}

static bool stands_at(const Chunk *c, TileId v, int dim) {
    return dim >= 0 && (tile_op(c->p, v)->dims >> dim & 1);
}

static Str parameter(const Chunk *c, int dim) {
    return dim < 0 ? STR("int")
                   : str_printf(c->w->arena, "int %.*s", STR_ARG(chunk_at(c, dim)));
}

// ---- functions of a place

static Str times(const ChunkScope *s, Str x, const ChunkFunction *f) {
    Arena *arena = s->c->w->arena;
    if (f->negate) x = str_printf(arena, "-(%.*s)", STR_ARG(x));
    if (!f->factor) return x;
    uint32_t room = f->factor->room;
    Str y = f->factor_name.len
                ? chunk_matrix_at(s, f->factor_name, room, f->factor_row, f->factor_col)
                : chunk_room_at(s, room, f->factor_row, f->factor_col);
    return str_printf(arena, "%.*s * %.*s", STR_ARG(x), STR_ARG(y));
}

void chunk_function(Chunk *c, const ChunkFunction *f) {
    CudaWriter *w = c->w;
    Str inside = {0};
    if (f->row_unit) inside = chunk_inside(c, f->row, f->row_unit);
    if (f->col_unit) inside = chunk_both(c, inside, chunk_inside(c, f->col, f->col_unit));
    if (stands_at(c, f->value, c->m) && stands_at(c, f->value, c->n))
        inside = chunk_both(c, inside,
                            str_printf(w->arena, "%.*s <= %.*s", STR_ARG(chunk_at(c, c->n)),
                                       STR_ARG(chunk_at(c, c->m))));
    cuda_open(w, "const auto %s = [&](%.*s, %.*s) -> float", f->name,
              STR_ARG(parameter(c, f->row)), STR_ARG(parameter(c, f->col)));
    if (inside.len) cuda_line(w, "if (!(%.*s)) return 0.0f;", STR_ARG(inside));
    ChunkScope s = chunk_scope(c);
    Str x = chunk_value(&s, f->value);
    cuda_line(w, "return %.*s;", STR_ARG(times(&s, x, f)));
    w->indent--;
    cuda_line(w, "};");
}

// ---- what a step fills

typedef struct {
    const TileOp *store;  // NULL: a room
    uint32_t room;
    TileId value;
    bool itself;  // the value is the room's own
    int row, col;
} Target;

static Target target_of(const Chunk *c, const ChunkStep *s) {
    const TileOp *op = chunk_op(c, s->number);
    const ChunkValue *x = &c->value[s->number];
    Target t = {.value = {s->number}, .room = x->room, .itself = true};
    if (s->kind == CHUNK_STORE) t = (Target){.store = op, .value = op->in[0]};
    if (s->kind == CHUNK_STORE) x = &c->value[op->in[0].i];
    if (s->kind == CHUNK_NEXT) x = &c->value[op->in[0].i];
    if (s->kind == CHUNK_NEXT) t = (Target){.room = x->room, .value = op->in[1]};
    if (op->kind == TILE_SOLVE) t = (Target){.room = x->room, .value = op->in[1]};
    t.row = x->row;
    t.col = x->col;
    return t;
}

static void element_print(const Target *t, ChunkScope *s) {
    Str x = t->itself ? chunk_computed(s, t->value) : chunk_value(s, t->value);
    if (t->store) {
        CudaPoint at = chunk_point(s, t->store);
        cuda_store(s->c->w, t->store, &at, x);
    } else {
        cuda_line(s->c->w, "%.*s = %.*s;", STR_ARG(chunk_room_at(s, t->room, t->row, t->col)),
                  STR_ARG(x));
    }
}

static Str extent_text(const Chunk *c, int dim) {
    if (chunk_is_tokens(c, dim)) return STR("count");
    return str_printf(c->w->arena, "%lld", (long long)chunk_extent(c, dim));
}

// Does computing the operation, but not what is kept, load from memory?
static bool loads_memory(const Chunk *c, const TileOp *op) {
    if (op->kind == TILE_LOAD) return true;
    for (uint32_t k = 0; k < op->arity; k++)
        if (!c->value[op->in[k].i].room && loads_memory(c, tile_op(c->p, op->in[k])))
            return true;
    return false;
}

static bool target_loads(const Chunk *c, const Target *t) {
    bool kept = !t->itself && c->value[t->value.i].room;
    return !kept && loads_memory(c, tile_op(c->p, t->value));
}

static void elements_print(Chunk *c, const Target *t) {
    CudaWriter *w = c->w;
    ChunkScope s = chunk_scope(c);
    if (t->col < 0) {
        cuda_open(w, "if (thread == 0)");
        element_print(t, &s);
        cuda_close(w);
        return;
    }
    Str col = chunk_at(c, t->col), cols = extent_text(c, t->col);
    if (t->row < 0) {
        cuda_open(w, "NO_UNROLL for (int %.*s = thread; %.*s < %.*s; %.*s += CHUNK_THREADS)",
                  STR_ARG(col), STR_ARG(col), STR_ARG(cols), STR_ARG(col));
    } else {
        Str row = chunk_at(c, t->row), rows = extent_text(c, t->row);
        // Memory is far, and several loads are to be under way; text is time to compile.
        cuda_open(w, "%s for (int i = thread; i < %.*s * %.*s; i += CHUNK_THREADS)",
                  target_loads(c, t) ? "UNROLL_SOME" : "UNROLL_PAIR", STR_ARG(rows),
                  STR_ARG(cols));
        cuda_line(w, "const int %.*s = i / %.*s, %.*s = i %% %.*s;", STR_ARG(row),
                  STR_ARG(cols), STR_ARG(col), STR_ARG(cols));
        if (t->row == c->m && t->col == c->n)
            cuda_line(w, "if (%.*s > %.*s) continue;", STR_ARG(col), STR_ARG(row));
    }
    element_print(t, &s);
    cuda_close(w);
}

// ---- products

enum { MOST_DOTS = 8 };

typedef struct {
    TileId dot[MOST_DOTS];
    bool negate[MOST_DOTS];  // against the first
    int count;
} Dots;

static void dots_find(const Chunk *c, TileId v, bool negate, Dots *d) {
    const TileOp *op = tile_op(c->p, v);
    if (op->kind == TILE_DOT) {
        ASSERT(d->count < MOST_DOTS);
        d->dot[d->count] = v;
        d->negate[d->count++] = negate;
    }
    if (op->kind != TILE_MAP && op->kind != TILE_TURN) return;
    for (uint32_t k = 0; k < op->arity; k++) {
        bool minus = op->fn == OP_NEG || (op->fn == OP_SUB && k == 1);
        if (!c->value[op->in[k].i].room)
            dots_find(c, op->in[k], negate != (chunk_is_additive(op) && minus), d);
    }
}

static Dots dots_of(const Chunk *c, const Target *t) {
    Dots d = {.count = 0};
    if (t->itself || !c->value[t->value.i].room) dots_find(c, t->value, false, &d);
    for (int i = d.count; i-- > 0;)
        d.negate[i] = d.negate[i] != d.negate[0];
    return d;
}

// The largest of which every warp has one, or else the smallest.
ChunkUnits chunk_units(int64_t rows, int64_t cols) {
    enum { WARPS = 8 };
    static const int sizes[][2] = {{2, 8}, {2, 4}, {1, 4}, {1, 2}, {1, 1}};
    ChunkUnits u = {0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && u.rows * u.cols < WARPS; i++) {
        int um = sizes[i][0], un = sizes[i][1];
        u = (ChunkUnits){um, un, (int)ceil_div(rows, (int64_t)16 * um),
                         (int)ceil_div(cols, (int64_t)8 * un)};
    }
    return u;
}

static void operands_print(Chunk *c, const Dots *d, int i, const ChunkUnits *u) {
    Arena *arena = c->w->arena;
    const TileOp *op = tile_op(c->p, d->dot[i]);
    const ChunkValue *x = &c->value[d->dot[i].i];
    int over = only_dim(op->over);
    bool swap = stands_at(c, op->in[1], x->row) || stands_at(c, op->in[0], x->col);
    const ChunkValue *left = &c->value[op->in[swap].i];
    ChunkFunction a = {.name = str_printf(arena, "left_%u", d->dot[i].i).ptr,
                       .value = op->in[swap],
                       .row = x->row,
                       .col = over,
                       .row_unit = 16 * u->um,
                       .col_unit = 8,
                       .negate = d->negate[i]};
    ChunkFunction b = {.name = str_printf(arena, "right_%u", d->dot[i].i).ptr,
                       .value = op->in[!swap],
                       .row = over,
                       .col = x->col,
                       .row_unit = 8,
                       .col_unit = 8 * u->un};
    if (op->arity == 3 && chunk_is_pairs(c, left)) {
        a.factor = chunk_factor(c, op->in[2], 0);
        a.factor_row = c->m;
        a.factor_col = c->n;
    }
    cuda_comment(c->w, op);
    chunk_function(c, &a);
    chunk_function(c, &b);
}

static void multiply_print(const Chunk *c, TileId dot, const ChunkUnits *u) {
    Arena *arena = c->w->arena;
    const TileOp *op = tile_op(c->p, dot);
    int over = only_dim(op->over), rows = 16 * u->um;
    long long end = (long long)round_up(chunk_extent(c, over), 8);
    bool pairs = stands_at(c, op->in[0], c->m) && stands_at(c, op->in[0], c->n);
    Str from = STR("0"), to = str_printf(arena, "%lld", end);
    // A pair of a row t has no s behind it, one of a row s no t before it.
    if (pairs && over == c->n)
        to = str_printf(arena, "row + %d < %lld ? row + %d : %lld", rows, end, rows, end);
    if (pairs && over == c->m) from = STR("row");
    cuda_line(c->w, "%sunit_multiply<%s>(sums, row, col, %.*s, %.*s, left_%u, right_%u);",
              chunk_is_pairs(c, &c->value[dot.i])
                  ? str_printf(arena, "if (col < row + %d) ", rows).ptr
                  : "",
              c->exact ? "true" : "false", STR_ARG(from), STR_ARG(to), dot.i, dot.i);
}

static Str sum_text(ChunkScope *s, TileId dot) {
    const Chunk *c = s->c;
    const TileOp *op = tile_op(c->p, dot);
    if (op->arity < 3 || !chunk_is_pairs(c, &c->value[dot.i])) return STR("sum");
    return str_printf(
        c->w->arena, "(sum * %.*s)",
        STR_ARG(chunk_room_at(s, chunk_factor(c, op->in[2], 0)->room, c->m, c->n)));
}

static void sums_print(Chunk *c, const Target *t, TileId first, const ChunkUnits *u) {
    CudaWriter *w = c->w;
    ChunkScope s = chunk_scope(c);
    Str row = t->row < 0 ? STR("row_at") : chunk_at(c, t->row);
    Str inside = t->row < 0 ? STR("row_at == 0") : chunk_inside(c, t->row, 16 * u->um);
    inside = chunk_both(c, inside, chunk_inside(c, t->col, 8 * u->un));
    if (t->row == c->m && t->col == c->n)
        inside = chunk_both(
            c, inside,
            str_printf(w->arena, "%.*s <= %.*s", STR_ARG(chunk_at(c, c->n)), STR_ARG(row)));
    cuda_open(w, "unit_each(sums, row, col, [&](int %.*s, int %.*s, float sum)", STR_ARG(row),
              STR_ARG(chunk_at(c, t->col)));
    if (inside.len) cuda_line(w, "if (!(%.*s)) return;", STR_ARG(inside));
    s.sum = sum_text(&s, first);
    element_print(t, &s);
    w->indent--;
    cuda_line(w, "});");
}

static void product_print(Chunk *c, const Target *t, const Dots *d) {
    CudaWriter *w = c->w;
    ChunkUnits u = chunk_units(chunk_extent(c, t->row), chunk_extent(c, t->col));
    cuda_line(w, "{");
    w->indent++;
    for (int i = 0; i < d->count; i++)
        operands_print(c, d, i, &u);
    cuda_open(w, "NO_UNROLL for (int unit = warp; unit < %d; unit += CHUNK_WARPS)",
              u.rows * u.cols);
    cuda_line(w, "const int row = unit / %d * %d, col = unit %% %d * %d;", u.cols, 16 * u.um,
              u.cols, 8 * u.un);
    cuda_line(w, "float sums[%d][%d][4] = {};", u.um, u.un);
    for (int i = 0; i < d->count; i++)
        multiply_print(c, d->dot[i], &u);
    sums_print(c, t, d->dot[0], &u);
    cuda_close(w);
    cuda_close(w);
}

static void fill_print(Chunk *c, const Target *t) {
    Dots d = dots_of(c, t);
    if (d.count > 0)
        product_print(c, t, &d);
    else
        elements_print(c, t);
}

// ---- sums and scans

// Rows by warps, whose lanes share the columns; columns by threads.
static void reduce_print(Chunk *c, TileId v) {
    CudaWriter *w = c->w;
    const TileOp *op = tile_op(c->p, v);
    const ChunkValue *x = &c->value[op->in[0].i];
    int over = only_dim(op->over), kept = over == x->col ? x->row : x->col;
    bool lanes = over == x->col;
    ChunkScope s = chunk_scope(c);
    Str at = kept < 0 ? (Str){0} : chunk_at(c, kept), along = chunk_at(c, over);
    if (kept < 0)
        cuda_open(w, "if (warp == 0)");
    else
        cuda_open(w, "NO_UNROLL for (int %.*s = %s; %.*s < %.*s; %.*s += %s)", STR_ARG(at),
                  lanes ? "warp" : "thread", STR_ARG(at), STR_ARG(extent_text(c, kept)),
                  STR_ARG(at), lanes ? "CHUNK_WARPS" : "CHUNK_THREADS");
    cuda_line(w, "float sum = 0.0f;");
    cuda_open(w, "UNROLL_SOME for (int %.*s = %s; %.*s < %.*s; %.*s += %d)", STR_ARG(along),
              lanes ? "lane" : "0", STR_ARG(along), STR_ARG(extent_text(c, over)),
              STR_ARG(along), lanes ? 32 : 1);
    cuda_line(w, "sum += %.*s;", STR_ARG(chunk_value(&s, op->in[0])));
    cuda_close(w);
    if (lanes) {
        cuda_line(w, "UNROLL for (int lanes = 16; lanes > 0; lanes /= 2)");
        cuda_line(w, "    sum += __shfl_xor_sync(~0U, sum, lanes);");
    }
    cuda_line(
        w, "%s%.*s = sum;", lanes ? "if (lane == 0) " : "",
        STR_ARG(chunk_room_at(&s, c->value[v.i].room, c->value[v.i].row, c->value[v.i].col)));
    cuda_close(w);
}

static void scan_print(Chunk *c, TileId v) {
    CudaWriter *w = c->w;
    const TileOp *op = tile_op(c->p, v);
    const ChunkValue *x = &c->value[op->in[0].i], *to = &c->value[v.i];
    bool back = op->way == WAY_AFTER || op->way == WAY_FROM, all = op->way == WAY_ALL;
    bool without = op->way == WAY_AFTER || op->way == WAY_BEFORE;
    if (x->row < 0) {
        cuda_open(w, "if (thread == 0)");
    } else {
        Str col = chunk_at(c, x->col);
        cuda_open(w, "NO_UNROLL for (int %.*s = thread; %.*s < %lld; %.*s += CHUNK_THREADS)",
                  STR_ARG(col), STR_ARG(col), (long long)chunk_extent(c, x->col), STR_ARG(col));
    }
    ChunkScope s = chunk_scope(c);
    Str t = chunk_at(c, c->m), result = chunk_room_at(&s, to->room, to->row, to->col);
    cuda_open(w, "const auto load = [&](int %.*s) -> float", STR_ARG(t));
    cuda_line(w, "return %.*s;", STR_ARG(chunk_value(&s, op->in[0])));
    w->indent--;
    cuda_line(w, "};");
    Str call = str_printf(w->arena, "scan<%lld, %s, %s>(count, load, ", (long long)c->tile,
                          op->fn == OP_MUL ? "true" : "false", back ? "true" : "false");
    if (all)
        cuda_line(w, "%.*s = %.*s[](int, float, float) {});", STR_ARG(result), STR_ARG(call));
    else
        cuda_line(w, "%.*s[&](int %.*s, float before, float with) { %.*s = %s; });",
                  STR_ARG(call), STR_ARG(t), STR_ARG(result), without ? "before" : "with");
    cuda_close(w);
}

// ---- solve: blocks of 16 tokens in their order, or TRANSPOSED from the last on: what the
// others have given is taken away, then each column is solved by a thread

static void solve_functions(Chunk *c, const TileOp *op, const ChunkUnits *u, bool transposed) {
    int k = only_dim((DimSet)(op->dims & ~tile_tokens(c->p) & tile_role_dims(c->p, DIM_K)));
    CudaWriter *w = c->w;
    ChunkFunction a = {.name = "factor",
                       .value = op->in[0],
                       .row = c->m,
                       .col = c->n,
                       .row_unit = 16,
                       .col_unit = 16};
    chunk_function(c, &a);
    if (transposed)
        cuda_line(w, "const auto left = [&](int s, int t) -> float { return factor(t, s); };");
    else
        cuda_line(w, "const auto left = [&](int t, int s) -> float { return factor(t, s); };");
    ChunkScope s = chunk_scope(c);
    Str inside = chunk_both(c, chunk_inside(c, c->m, 16), chunk_inside(c, k, 8 * u->un));
    cuda_open(w, "const auto right = [&](int %.*s, int %.*s) -> float",
              STR_ARG(chunk_at(c, c->m)), STR_ARG(chunk_at(c, k)));
    if (inside.len) cuda_line(w, "if (!(%.*s)) return 0.0f;", STR_ARG(inside));
    TileId v = {(uint32_t)(op - c->p->ops.ptr)};
    cuda_line(w, "return %.*s;", STR_ARG(chunk_value(&s, v)));
    w->indent--;
    cuda_line(w, "};");
}

static void solve_others(Chunk *c, const TileOp *op, const ChunkUnits *u, bool transposed) {
    CudaWriter *w = c->w;
    TileId v = {(uint32_t)(op - c->p->ops.ptr)};
    const ChunkValue *x = &c->value[v.i];
    ChunkScope s = chunk_scope(c);
    long long blocks = (long long)round_up(c->tile, 16);
    cuda_open(w, transposed ? "if (block + 16 < %lld)" : "if (block > 0)", blocks);
    cuda_open(w, "NO_UNROLL for (int unit = warp; unit < %d; unit += CHUNK_WARPS)", u->cols);
    cuda_line(w, "const int col = unit * %d;", 8 * u->un);
    cuda_line(w, "float sums[1][%d][4] = {};", u->un);
    cuda_line(w, "unit_multiply<%s>(sums, block, col, %s, left, right);",
              c->exact ? "true" : "false",
              transposed ? str_printf(w->arena, "block + 16, %lld", blocks).ptr : "0, block");
    cuda_open(w, "unit_each(sums, block, col, [&](int %.*s, int %.*s, float sum)",
              STR_ARG(chunk_at(c, x->row)), STR_ARG(chunk_at(c, x->col)));
    Str inside = chunk_both(c, chunk_inside(c, x->row, 16), chunk_inside(c, x->col, 8 * u->un));
    if (inside.len) cuda_line(w, "if (!(%.*s)) return;", STR_ARG(inside));
    cuda_line(w, "%.*s -= sum;", STR_ARG(chunk_room_at(&s, x->room, x->row, x->col)));
    w->indent--;
    cuda_line(w, "});");
    cuda_close(w);
    cuda_line(w, "__syncthreads();");
    cuda_close(w);
}

static void solve_print(Chunk *c, TileId v) {
    CudaWriter *w = c->w;
    const TileOp *op = tile_op(c->p, v);
    const ChunkValue *x = &c->value[v.i];
    bool transposed = op->way == WAY_TRANSPOSED;
    int64_t cols = chunk_extent(c, x->col), blocks = ceil_div(c->tile, 16);
    ChunkUnits u = chunk_units(16, cols);
    u = (ChunkUnits){1, u.un, 1, (int)ceil_div(cols, (int64_t)8 * u.un)};
    cuda_line(w, "__syncthreads();");
    cuda_line(w, "{");
    w->indent++;
    solve_functions(c, op, &u, transposed);
    if (transposed)
        cuda_open(w, "NO_UNROLL for (int block = %lld; block >= 0; block -= 16)",
                  (long long)(blocks - 1) * 16);
    else
        cuda_open(w, "NO_UNROLL for (int block = 0; block < %lld; block += 16)",
                  (long long)blocks * 16);
    if (blocks > 1) solve_others(c, op, &u, transposed);
    cuda_open(w, "NO_UNROLL for (int col = thread; col < %lld; col += CHUNK_THREADS)",
              (long long)cols);
    cuda_line(w, "solve_block<%s>([&](int t, int s) { return factor(block + t, block + s); },",
              transposed ? "true" : "false");
    cuda_line(w, "    %.*s + block * %lld + col, %lld, count - block);",
              STR_ARG(cuda_name(w, v)), (long long)c->rooms.ptr[x->room].pitch,
              (long long)c->rooms.ptr[x->room].pitch);
    cuda_close(w);
    cuda_line(w, "__syncthreads();");
    cuda_close(w);
    cuda_close(w);
    chunk_synced(c);
}

void chunk_step_print(Chunk *c, const ChunkStep *s) {
    chunk_barrier(c, s);
    if (s->kind == CHUNK_FACTOR) {
        chunk_factor_print(c, &c->factors.ptr[s->number]);
        return;
    }
    const TileOp *op = chunk_op(c, s->number);
    TileId v = {s->number};
    cuda_comment(c->w, op);
    Target t = target_of(c, s);
    if (op->kind == TILE_SCAN) {
        scan_print(c, v);
    } else if (op->kind == TILE_REDUCE) {
        reduce_print(c, v);
    } else if (chunk_is_wide(c, op)) {
        chunk_decayed_print(c, v);
    } else {
        fill_print(c, &t);
        if (op->kind == TILE_SOLVE) solve_print(c, v);
    }
}
