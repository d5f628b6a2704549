// loop_operand.c: LOOP_CP: from operands in global memory to tiles in shared memory.
#include "base/check.h"
#include "codegen/cuda/loop_cp.h"

enum { COPY_BYTES = 4 };  // of a narrow copy

// ---- plan

DType cp_operand_type(const TileProgram *p, TileId dot) {
    const TileOp *op = tile_op(p, dot);
    DType type = DTYPE_F32;
    for (int i = 0; i < 2; i++) {
        const TileOp *in = tile_op(p, op->in[i]);
        if (in->kind != TILE_LOAD && in->kind != TILE_GATHER) return DTYPE_F32;
        DType found = p->args.ptr[in->access.arg].type;
        if (i == 1 && found != type) return DTYPE_F32;
        type = found;
    }
    return type == DTYPE_BF16 || type == DTYPE_F16 ? type : DTYPE_F32;
}

// Do loads of the value have neighbours along d?
static bool lies_along(const Cp *c, TileId v, int d) {
    const TileOp *op = tile_op(c->w->p, v);
    if (op->kind == TILE_LOAD || op->kind == TILE_GATHER)
        return op->access.stride[d] == 1 && cp_extent(c, d) > 1;
    for (uint32_t i = 0; i < op->arity; i++)
        if (lies_along(c, op->in[i], d)) return true;
    return false;
}

// How many k dimensions there are, but for those of extent 1.
static int k_count(const Cp *c) {
    int count = 0;
    for (int d = c->k_first; d <= c->k_last; d++)
        if (cp_extent(c, d) > 1) count++;
    return count;
}

// Does a run of `width` at a multiple of it along the one index of all k stay inside a run of
// the last k?
static bool k_runs_whole(const Cp *c, int width) {
    return k_count(c) < 2 || cp_extent(c, c->k_last) % width == 0;
}

void cp_operand_plan(const Cp *c, CpOperand *o) {
    bool along_k = lies_along(c, o->value, c->k_last);
    bool along_own = lies_along(c, o->value, o->own);
    int chunk = CP_CHUNK_BYTES / cp_element_bytes(c);
    o->across = (along_own && !along_k) || !k_runs_whole(c, chunk);
    const TileOp *op = tile_op(c->w->p, o->value);
    if (!along_own && !along_k && !(op->dims & dim_set(c->k_last))) o->across = true;
}

// Can `unit` neighbours along the tile's rows be copied as they are?
static bool is_copied(const Cp *c, const CpOperand *o, int unit) {
    const TileProgram *p = c->w->p;
    const TileOp *op = tile_op(p, o->value);
    int along = o->across ? o->own : c->k_last;
    if (op->kind != TILE_LOAD && op->kind != TILE_GATHER) return false;
    if (p->args.ptr[op->access.arg].type != c->shape.type) return false;
    return unit == 1 || (cp_extent(c, along) % unit == 0 && access_is_wide(p, op, along, unit));
}

void cp_operand_tiles(const Cp *c, CpOperand *o) {
    int points = o->own == c->m ? c->tiles.bm : c->tiles.bn;
    o->rows = o->across ? c->tiles.bk : points;
    o->cols = o->across ? points : c->tiles.bk;
    int chunk = CP_CHUNK_BYTES / cp_element_bytes(c), narrow = COPY_BYTES / cp_element_bytes(c);
    o->fill = is_copied(c, o, chunk)    ? FILL_WIDE
              : is_copied(c, o, narrow) ? FILL_NARROW
                                        : FILL_COMPUTED;
    o->unit = o->fill == FILL_NARROW ? narrow : chunk;
}

// ---- places in a stage

// 8 lanes that read one chunk each of 8 rows, or of every fourth of 32 (FMA), find them in 8
// different sixteenths of 128 bytes.
void cp_operand_place(const Cp *c, const CpOperand *o) {
    int row_bytes = o->cols * cp_element_bytes(c), chunks = row_bytes / CP_CHUNK_BYTES;
    int mixed = chunks < 8 ? chunks : 8, divide = 8 / mixed;
    if (!cp_is_mma(&c->shape)) divide = 4;
    StrBuf chunk = {0};
    if (mixed > 1 && (cp_is_mma(&c->shape) || !o->across)) {
        strbuf_addz(&chunk, "(chunk ^ row");
        if (divide > 1) strbuf_addf(&chunk, " / %d", divide);
        strbuf_addf(&chunk, " %% %d)", mixed);
    } else {
        strbuf_addz(&chunk, "chunk");
    }
    cuda_line(c->w, "// Where 16 bytes of %c's tile are in a stage: %d rows of %d bytes.",
              o->letter, o->rows, row_bytes);
    Str offset = o->offset ? str_printf(c->w->arena, "%d + ", o->offset) : (Str){0};
    cuda_line(c->w,
              "DEVICE u32 place_%c(u32 row, u32 chunk) { return %.*srow * %d + %.*s * 16; }",
              o->letter, STR_ARG(offset), row_bytes, STR_ARG(strbuf_view(&chunk)));
    strbuf_release(&chunk);
}

// ---- filling

static const char *own_name(const Cp *c, const CpOperand *o) {
    return o->own == c->m ? "m" : "n";
}

// One copy or chunk of this thread, and the point where it begins.
typedef struct {
    const Cp *c;
    const CpOperand *o;
    Str inside;  // a condition; empty: always
    Str early;   // the index along a chunk that may end within it; empty: none
    int64_t end;
    CudaPoint at;
} Piece;

static Str both(CudaWriter *w, Str x, Str y) {
    if (x.len == 0) return y;
    return y.len == 0 ? x : str_printf(w->arena, "%.*s && %.*s", STR_ARG(x), STR_ARG(y));
}

static Str below(CudaWriter *w, const char *name, int64_t extent) {
    return str_printf(w->arena, "%s < %lld", name, (long long)extent);
}

static void conditions_find(Piece *x) {
    const Cp *c = x->c;
    CudaWriter *w = c->w;
    const CpOperand *o = x->o;
    int64_t points = cp_extent(c, o->own), k = c->shape.k, tile = o->across ? o->cols : o->rows;
    const char *own = own_name(c, o);
    bool own_early = o->across && points % o->unit != 0,
         k_early = !o->across && k % o->unit != 0;
    x->end = k_early ? k : points;
    if (own_early)
        x->early = str_of(own);
    else if (points % tile != 0)
        x->inside = below(w, own, points);
    if (k_early)
        x->early = STR("k");
    else if (k % c->tiles.bk != 0)
        x->inside = both(w, x->inside, below(w, "k", k));
}

// `k` counts all points of the k dimensions; their own indices are k1, k2, ...
static void k_indices(Piece *x) {
    const Cp *c = x->c;
    CudaWriter *w = c->w;
    int64_t inner = c->shape.k;
    for (int d = c->k_first; d <= c->k_last; d++) {
        int64_t extent = cp_extent(c, d);
        inner /= extent;
        x->at.at[d] = extent == 1 ? STR("0") : STR("k");
        if (extent == 1 || k_count(c) == 1) continue;
        x->at.at[d] = str_printf(w->arena, "k%d", d - c->k_first + 1);
        StrBuf text = {0};
        strbuf_addf(&text, "const int %.*s = (int)((u32)k", STR_ARG(x->at.at[d]));
        if (inner > 1) strbuf_addf(&text, " / %lld", (long long)inner);
        if (inner * extent < c->shape.k) strbuf_addf(&text, " %% %lld", (long long)extent);
        cuda_line(w, "%.*s);  // %.*s", STR_ARG(strbuf_view(&text)),
                  STR_ARG(w->p->dims[d].name));
        strbuf_release(&text);
    }
}

static int piece_bytes(const Piece *x) { return x->o->unit * cp_element_bytes(x->c); }
static int row_pieces(const Piece *x) { return x->o->cols / x->o->unit; }
static int thread_pieces(const Piece *x) {
    int all = x->o->rows * row_pieces(x), threads = cp_threads(&x->c->tiles);
    return (all + threads - 1) / threads;
}

// Opens the loop over this thread's pieces of the tile; names the piece's place.
static void pieces_open(Piece *x) {
    CudaWriter *w = x->c->w;
    int threads = cp_threads(&x->c->tiles), all = x->o->rows * row_pieces(x);
    bool many = x->o->fill == FILL_NARROW && thread_pieces(x) > 4;
    cuda_open(w, "%s for (int i = 0; i < %d; i++)", many ? "_Pragma(\"unroll 4\")" : "UNROLL",
              thread_pieces(x));
    Str scale = x->o->unit == 1 ? (Str){0} : str_printf(w->arena, " * %d", x->o->unit);
    cuda_line(w, "const int piece = thread + i * %d, row = piece / %d, col = piece %% %d%.*s;",
              threads, row_pieces(x), row_pieces(x), STR_ARG(scale));
    if (all % threads != 0) cuda_line(w, "if (piece >= %d) break;", all);
}

static void pieces_close(const Piece *x) { cuda_close(x->c->w); }

static Str place_text(const Piece *x) {
    CudaWriter *w = x->c->w;
    int chunk = CP_CHUNK_BYTES / cp_element_bytes(x->c);
    Str place = str_printf(w->arena, "place_%c(row, col / %d)", x->o->letter, chunk);
    if (x->o->fill != FILL_NARROW) return place;
    return str_printf(w->arena, "%.*s + col %% %d * %d", STR_ARG(place), chunk,
                      cp_element_bytes(x->c));
}

static void point_print(Piece *x) {
    const char *own = own_name(x->c, x->o);
    cuda_line(x->c->w, "const int %s = %s_first + %s, k = k_first + %s;", own, own,
              x->o->across ? "col" : "row", x->o->across ? "row" : "col");
    x->at = x->c->at;
    x->at.at[x->o->own] = str_of(own);
    k_indices(x);
    conditions_find(x);
}

// ---- values that no k moves

static bool moves_along_k(const Cp *c, const TileOp *op) {
    for (int d = c->k_first; d <= c->k_last; d++)
        if (op->dims & dim_set(d)) return true;
    return false;
}

// Of what the operand is made: what stands at the grid alone, and what else no k moves. Rows
// across k are other points of k at every step, so there the latter saves nothing.
static void fixed_find(const Cp *c, const CpOperand *o, bool *at_grid, bool *at_own) {
    const TileProgram *p = c->w->p;
    bool *wanted = arena_array(c->w->arena, bool, p->ops.len);
    values_mark(p, o->value, wanted);
    for (uint32_t i = 1; i < p->ops.len; i++) {
        const TileOp *op = &p->ops.ptr[i];
        if (!wanted[i] || moves_along_k(c, op)) continue;
        if (!(op->dims & dim_set(o->own)))
            at_grid[i] = true;
        else if (!o->across)
            at_own[i] = true;
    }
}

static void fixed_by_rows(const Cp *c, CpOperand *o, const bool *which) {
    CudaWriter *w = c->w;
    bool some = false;
    bool *kept = arena_array(w->arena, bool, w->p->ops.len);
    for (uint32_t i = 1; i < w->p->ops.len; i++) {
        some = some || which[i];
        kept[i] = true;
    }
    if (!some) return;
    Piece x = {.c = c, .o = o};
    values_declare(w, which, kept, thread_pieces(&x));
    pieces_open(&x);
    const char *own = own_name(c, o);
    cuda_line(w, "const int %s = %s_first + row;", own, own);
    Run run = {.along = -1, .width = 1, .first = c->at, .slot = STR("i")};
    run.first.at[o->own] = str_of(own);
    if (cp_extent(c, o->own) % o->rows != 0) run.only = below(w, own, cp_extent(c, o->own));
    values_print(&o->fixed, &run, which, kept);
    pieces_close(&x);
}

void cp_operands_fixed(Cp *c) {
    CudaWriter *w = c->w;
    CpOperand *operands[] = {&c->a, &c->b};
    bool *at_grid = arena_array(w->arena, bool, w->p->ops.len), *at_own[2];
    for (int k = 0; k < 2; k++) {
        at_own[k] = arena_array(w->arena, bool, w->p->ops.len);
        fixed_find(c, operands[k], at_grid, at_own[k]);
    }
    Values all = values_new(w);
    Run grid = {.along = -1, .width = 1, .first = c->at};
    values_print(&all, &grid, at_grid, at_grid);
    for (int k = 0; k < 2; k++) {
        operands[k]->fixed = values_inside(&all);
        fixed_by_rows(c, operands[k], at_own[k]);
    }
}

// What the operand is made of and what is not known yet.
static bool *unknown_find(const Piece *x) {
    const TileProgram *p = x->c->w->p;
    bool *wanted = arena_array(x->c->w->arena, bool, p->ops.len);
    values_mark(p, x->o->value, wanted);
    for (uint32_t i = 1; i < p->ops.len; i++)
        if (x->o->fixed.known[i].len > 0) wanted[i] = false;
    return wanted;
}

// ---- copies

// The row number that a copy's address needs, as far as it is not known: none outside.
static Str row_number(const Piece *x) {
    CudaWriter *w = x->c->w;
    const TileOp *op = tile_op(w->p, x->o->value);
    if (op->kind != TILE_GATHER) return (Str){0};
    Values v = values_inside(&x->o->fixed);
    if (v.known[op->in[0].i].len > 0) return v.known[op->in[0].i];
    bool *which = unknown_find(x);
    which[x->o->value.i] = false;
    Run point = {.along = -1, .width = 1, .first = x->at};
    if (x->inside.len == 0) {
        values_print(&v, &point, which, which);
        return v.known[op->in[0].i];
    }
    cuda_line(w, "int picked = -1;");
    cuda_open(w, "if (%.*s)", STR_ARG(x->inside));
    values_print(&v, &point, which, which);
    cuda_line(w, "picked = %.*s;", STR_ARG(v.known[op->in[0].i]));
    cuda_close(w);
    return STR("picked");
}

static void copies_print(Piece *x) {
    CudaWriter *w = x->c->w;
    const TileOp *op = tile_op(w->p, x->o->value);
    pieces_open(x);
    point_print(x);
    int bytes = piece_bytes(x);
    Str row = row_number(x);
    Str condition = both(w, x->inside, cuda_access_condition(w, op, &x->at, row));
    Str read = condition.len == 0
                   ? str_printf(w->arena, "%d", bytes)
                   : str_printf(w->arena, "%.*s ? %d : 0", STR_ARG(condition), bytes);
    cuda_comment(w, op);
    cuda_line(w, "copy_async%d(stages + stage + %.*s, %.*s, %.*s);", bytes,
              STR_ARG(place_text(x)), STR_ARG(cuda_address(w, op, &x->at, row)), STR_ARG(read));
    pieces_close(x);
}

// ---- computed tiles

void cp_operand_registers(const Cp *c, const CpOperand *o) {
    if (o->fill != FILL_COMPUTED) return;
    Piece x = {.c = c, .o = o};
    cuda_line(c->w, "Words<4> next_%c[%d];  // of %c's next tile", o->letter, thread_pieces(&x),
              o->letter);
}

// Element e of the operand, in text.
static Str element_text(const Piece *x, const Values *v, int e) {
    CudaWriter *w = x->c->w;
    TileId id = x->o->value;
    const TileOp *op = tile_op(w->p, id);
    int along = x->o->across ? x->o->own : x->c->k_last;
    if (op->kind == TILE_CONST || !(op->dims & dim_set(along))) {
        Str value = v->known[id.i];
        if (x->early.len == 0) return value;
        return str_printf(w->arena, "(%.*s + %d < %lld ? %.*s : 0.0f)", STR_ARG(x->early), e,
                          (long long)x->end, STR_ARG(value));
    }
    return values_kept(w, id, e);
}

static Str word_text(const Piece *x, const Values *v, int q) {
    CudaWriter *w = x->c->w;
    if (!cp_is_mma(&x->c->shape))
        return str_printf(w->arena, "__float_as_uint(%.*s)", STR_ARG(element_text(x, v, q)));
    return str_printf(
        w->arena, "%s_pair(%.*s, %.*s)", x->c->shape.type == DTYPE_BF16 ? "bf16" : "f16",
        STR_ARG(element_text(x, v, 2 * q)), STR_ARG(element_text(x, v, 2 * q + 1)));
}

// What does not stand along the chunk once, the rest for each of its elements.
static void chunk_print(Piece *x) {
    const Cp *c = x->c;
    CudaWriter *w = c->w;
    uint32_t count = w->p->ops.len;
    bool *once = unknown_find(x), *each = arena_array(w->arena, bool, count);
    bool *kept = arena_array(w->arena, bool, count);
    int along = x->o->across ? x->o->own : c->k_last;
    kept[x->o->value.i] = true;
    for (uint32_t i = 1; i < count; i++) {
        each[i] = once[i] && (w->p->ops.ptr[i].dims & dim_set(along));
        if (each[i]) once[i] = false;
    }
    Values v = values_inside(&x->o->fixed);
    Run point = {.along = -1, .width = 1, .first = x->at};
    values_print(&v, &point, once, kept);
    Run run = {.along = along, .width = x->o->unit, .first = x->at, .slot = STR("e")};
    if (x->early.len > 0)
        run.only =
            str_printf(w->arena, "%.*s + e < %lld", STR_ARG(x->early), (long long)x->end);
    run.wide = x->early.len == 0 && cp_extent(c, along) % x->o->unit == 0;
    values_declare(w, each, kept, x->o->unit);
    values_print(&v, &run, each, kept);
    StrBuf words = {0};
    for (int q = 0; q < 4; q++)
        strbuf_addf(&words, "%s%.*s", q ? ", " : "", STR_ARG(word_text(x, &v, q)));
    cuda_line(w, "next_%c[i] = Words<4>{{%.*s}};", x->o->letter, STR_ARG(strbuf_view(&words)));
    strbuf_release(&words);
}

static void computed_print(Piece *x) {
    CudaWriter *w = x->c->w;
    pieces_open(x);
    point_print(x);
    if (x->inside.len > 0) {
        cuda_line(w, "next_%c[i] = Words<4>{{0, 0, 0, 0}};", x->o->letter);
        cuda_open(w, "if (%.*s)", STR_ARG(x->inside));
    }
    chunk_print(x);
    if (x->inside.len > 0) cuda_close(w);
    pieces_close(x);
}

void cp_operand_fetch(const Cp *c, const CpOperand *o) {
    Piece x = {.c = c, .o = o};
    if (o->fill == FILL_COMPUTED)
        computed_print(&x);
    else
        copies_print(&x);
}

void cp_operand_put(const Cp *c, const CpOperand *o) {
    if (o->fill != FILL_COMPUTED) return;
    Piece x = {.c = c, .o = o};
    pieces_open(&x);
    cuda_line(c->w, "store_words(shared + stage + %.*s, next_%c[i]);", STR_ARG(place_text(&x)),
              o->letter);
    pieces_close(&x);
}
