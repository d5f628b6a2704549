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
//
// What is loaded stays in registers as it is while the step before is multiplied; what is made
// of it follows, so that nothing waits for memory.

// Operations by the time when they are printed: loads and what their addresses need, or the
// rest; and whether they stand along the chunk.
typedef struct {
    bool *once, *each, *all;  // `all` of one time
} Part;

static void address_mark(const TileProgram *p, const TileOp *op, bool *which) {
    for (uint32_t i = 0; i < op->arity; i++) {
        if (which[op->in[i].i]) continue;
        which[op->in[i].i] = true;
        address_mark(p, tile_op(p, op->in[i]), which);
    }
}

static Part part_find(const Piece *x, bool loads) {
    const TileProgram *p = x->c->w->p;
    Arena *arena = x->c->w->arena;
    uint32_t count = p->ops.len;
    Part part = {arena_array(arena, bool, count), arena_array(arena, bool, count),
                 arena_array(arena, bool, count)};
    int along = x->o->across ? x->o->own : x->c->k_last;
    const bool *unknown = unknown_find(x);
    bool *early = arena_array(arena, bool, count);
    for (uint32_t i = count; i-- > 1;) {
        const TileOp *op = &p->ops.ptr[i];
        if (!unknown[i] || (op->kind != TILE_LOAD && op->kind != TILE_GATHER)) continue;
        early[i] = true;
        address_mark(p, op, early);
    }
    for (uint32_t i = 1; i < count; i++) {
        part.all[i] = unknown[i] && early[i] == loads && p->ops.ptr[i].kind != TILE_CONST;
        bool stands = p->ops.ptr[i].dims & dim_set(along);
        part.once[i] = part.all[i] && !stands;
        part.each[i] = part.all[i] && stands;
    }
    return part;
}

// Elements along a chunk.
static Run chunk_run(const Piece *x) {
    const Cp *c = x->c;
    int along = x->o->across ? x->o->own : c->k_last;
    Run run = {.along = along, .width = x->o->unit, .first = x->at};
    if (x->early.len > 0)
        run.only =
            str_printf(c->w->arena, "%.*s + e < %lld", STR_ARG(x->early), (long long)x->end);
    run.wide = x->early.len == 0 && cp_extent(c, along) % x->o->unit == 0;
    return run;
}

static Run loads_run(const Piece *x) {
    Run run = chunk_run(x);
    run.slot = STR("i][e");
    run.raw = true;
    return run;
}

// Both operands may be made of one value, at other points.
static Str letter_of(const CpOperand *o) { return o->letter == 'a' ? STR("_a") : STR("_b"); }

void cp_operand_registers(const Cp *c, CpOperand *o) {
    if (o->fill != FILL_COMPUTED) return;
    CudaWriter *w = c->w;
    Piece x = {.c = c, .o = o};
    w->own = letter_of(o);
    conditions_find(&x);
    Part part = part_find(&x, true);
    int slots = thread_pieces(&x);
    cuda_line(w, "// What %c's next tile is made of.", o->letter);
    values_declare(w, part.once, part.once, slots);
    Values v = values_inside(&o->fixed);
    for (uint32_t i = 1; i < w->p->ops.len; i++)
        if (part.once[i]) v.known[i] = STR("here");
    Run run = loads_run(&x);
    const bool *wide = values_word_loads(&v, &run, part.each);
    bool *scalars = arena_array(w->arena, bool, w->p->ops.len);
    for (uint32_t i = 1; i < w->p->ops.len; i++)
        scalars[i] = part.each[i] && !wide[i];
    values_declare_words(w, wide, o->unit, slots);
    for (uint32_t i = 1; i < w->p->ops.len; i++)
        if (scalars[i])
            cuda_line(w, "%s %.*s_run%.*s[%d][%d];", cuda_value_type(w->p->ops.ptr[i].type),
                      STR_ARG(cuda_name(w, (TileId){i})), STR_ARG(w->own), slots, o->unit);
    w->own = (Str){0};
}

static void loads_print(Piece *x, CpOperand *o) {
    CudaWriter *w = x->c->w;
    Part part = part_find(x, true);
    pieces_open(x);
    point_print(x);
    if (x->inside.len > 0) cuda_open(w, "if (%.*s)", STR_ARG(x->inside));
    o->fetched = values_inside(&o->fixed);
    Run point = {.along = -1, .width = 1, .first = x->at, .slot = STR("i")};
    values_print(&o->fetched, &point, part.once, part.once);
    Run run = loads_run(x);
    values_print(&o->fetched, &run, part.each, part.each);
    if (x->inside.len > 0) cuda_close(w);
    pieces_close(x);
}

static Str word_text(const Piece *x, int q) {
    CudaWriter *w = x->c->w;
    if (!cp_is_mma(&x->c->shape)) return str_printf(w->arena, "__float_as_uint(chunk[%d])", q);
    return str_printf(w->arena, "%s_pair(chunk[%d], chunk[%d])",
                      x->c->shape.type == DTYPE_BF16 ? "bf16" : "f16", 2 * q, 2 * q + 1);
}

// The chunk as elements, then as words.
static void chunk_print(Piece *x) {
    CudaWriter *w = x->c->w;
    Part part = part_find(x, false);
    Values v = values_inside(&x->o->fetched);
    Run point = {.along = -1, .width = 1, .first = x->at};
    values_print(&v, &point, part.once, part.once);
    Run run = chunk_run(x);
    run.slot = STR("e");
    bool *kept = arena_array(w->arena, bool, w->p->ops.len);
    kept[x->o->value.i] = true;
    values_declare(w, part.each, kept, x->o->unit);
    values_print(&v, &run, part.each, kept);
    cuda_line(w, "float chunk[%d] = {};", x->o->unit);
    cuda_open(w, "UNROLL for (int e = 0; e < %d; e++)", x->o->unit);
    if (run.only.len > 0) cuda_open(w, "if (%.*s)", STR_ARG(run.only));
    cuda_line(w, "chunk[e] = %.*s;", STR_ARG(v.known[x->o->value.i]));
    if (run.only.len > 0) cuda_close(w);
    cuda_close(w);
    StrBuf words = {0};
    for (int q = 0; q < 4; q++)
        strbuf_addf(&words, "%s%.*s", q ? ", " : "", STR_ARG(word_text(x, q)));
    cuda_line(w, "words = Words<4>{{%.*s}};", STR_ARG(strbuf_view(&words)));
    strbuf_release(&words);
}

// Rows that run across k are turned on the way from shared memory to the registers.
static void conversion_note(const Cp *c, const CpOperand *o) {
    static const char *const fills[] = {
        [FILL_WIDE] = "copied 16 bytes at a time",
        [FILL_NARROW] = "copied 4 bytes at a time",
        [FILL_COMPUTED] = "computed in registers",
    };
    const char *read = !cp_is_mma(&c->shape) ? "plain loads"
                       : o->across           ? "ldmatrix, turned"
                                             : "ldmatrix";
    int64_t bytes = (int64_t)o->rows * o->cols * cp_element_bytes(c);
    cuda_convert(c->w, o->value,
                 str_printf(c->w->arena, "%s, read by %s", fills[o->fill], read),
                 c->tiles.stages, bytes);
}

void cp_operand_fetch(const Cp *c, CpOperand *o) {
    Piece x = {.c = c, .o = o};
    conversion_note(c, o);
    c->w->own = letter_of(o);
    if (o->fill == FILL_COMPUTED)
        loads_print(&x, o);
    else
        copies_print(&x);
    c->w->own = (Str){0};
}

void cp_operand_put(const Cp *c, const CpOperand *o) {
    if (o->fill != FILL_COMPUTED) return;
    CudaWriter *w = c->w;
    Piece x = {.c = c, .o = o};
    w->own = letter_of(o);
    pieces_open(&x);
    point_print(&x);
    cuda_line(w, "Words<4> words = {};");
    if (x.inside.len > 0) cuda_open(w, "if (%.*s)", STR_ARG(x.inside));
    chunk_print(&x);
    if (x.inside.len > 0) cuda_close(w);
    cuda_line(w, "store_words(shared + stage + %.*s, words);", STR_ARG(place_text(&x)));
    pieces_close(&x);
    w->own = (Str){0};
}
