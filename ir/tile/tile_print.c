// tile_print.c: tile programs as text (docs/tile_ir.md), and their hash.
#include "base/check.h"
#include "ir/tile/tile_access.h"
#include "ir/tile/tile_text.h"

static const char *const role_words[] = {
    [DIM_GRID] = "grid", [DIM_SERIAL] = "serial", [DIM_COL] = "col",
    [DIM_M] = "m",       [DIM_N] = "n",           [DIM_K] = "k",
};

const char *tile_role_text(TileRole role) { return role_words[role]; }

const char *tile_skeleton_text(TileSkeleton skeleton) {
    switch (skeleton) {
    case TILE_STREAM: return "stream";
    case TILE_LOOP: return "loop";
    case TILE_ATTEND: return "attend";
    case TILE_CHUNK: return "chunk";
    }
    BUG("skeleton %d", (int)skeleton);
}

static const char *const way_words[] = {
    [WAY_UPTO] = "upto", [WAY_BEFORE] = "before", [WAY_AFTER] = "after",
    [WAY_FROM] = "from", [WAY_ALL] = "all",       [WAY_TRANSPOSED] = "transposed",
};

const char *tile_way_text(TileWay way) { return way_words[way]; }

int64_t tile_usual_tile(TileRole role, int64_t extent) {
    return role == DIM_GRID || role == DIM_SERIAL ? 1 : extent;
}

int64_t tile_usual_mod(int64_t extent, int64_t div) { return (extent - 1) / div + 1; }

// " + 5", or "5" where nothing stands before.
static void print_signed(StrBuf *out, int64_t number, bool first) {
    if (first) {
        strbuf_addf(out, "%lld", (long long)number);
        return;
    }
    strbuf_addf(out, number < 0 ? " - %lld" : " + %lld",
                number < 0 ? -(long long)number : (long long)number);
}

static void print_term(StrBuf *out, Str dim, int64_t stride, bool first) {
    int64_t size = stride < 0 ? -stride : stride;
    strbuf_addz(out, stride < 0 ? (first ? "-" : " - ") : (first ? "" : " + "));
    strbuf_add(out, dim);
    if (size != 1) strbuf_addf(out, "*%lld", (long long)size);
}

// dim / 64 % 4 + 2
static void print_index(const TileProgram *p, const TileGuard *g, StrBuf *out) {
    const TileDim *dim = &p->dims[g->dim];
    strbuf_add(out, dim->name);
    if (g->div != 1) strbuf_addf(out, " / %lld", (long long)g->div);
    if (g->mod != tile_usual_mod(dim->extent, g->div))
        strbuf_addf(out, " %% %lld", (long long)g->mod);
    if (g->shift) print_signed(out, g->shift, false);
}

// x[g*1024 + c - 3]
static void print_place(const TileProgram *p, const TileAccess *access, StrBuf *out) {
    strbuf_addf(out, "%.*s[", STR_ARG(p->args.ptr[access->arg].name));
    bool first = true;
    for (uint32_t d = 0; d < p->dim_count; d++) {
        if (!access->stride[d]) continue;
        print_term(out, p->dims[d].name, access->stride[d], first);
        first = false;
    }
    if (access->offset || first) print_signed(out, access->offset, first);
    strbuf_addc(out, ']');
}

static void print_row_number(const TileOp *op, StrBuf *out) {
    strbuf_addf(out, " at %%%u*%lld of %lld", op->in[0].i, (long long)op->index_stride,
                (long long)op->index_count);
}

static void print_guards(const TileProgram *p, const TileAccess *access, StrBuf *out) {
    const char *word = " if ";
    for (uint32_t i = 0; i < 2; i++) {
        const TileGuard *g = &access->guard[i];
        if (g->dim < 0) continue;
        strbuf_addf(out, "%s%lld <= ", word, (long long)g->lo);
        print_index(p, g, out);
        strbuf_addf(out, " < %lld", (long long)g->hi);
        word = " and ";
    }
}

static void print_dims(const TileProgram *p, DimSet dims, StrBuf *out) {
    const char *between = "";
    strbuf_addc(out, '(');
    for (uint32_t d = 0; d < p->dim_count; d++) {
        if (!(dims >> d & 1)) continue;
        strbuf_addf(out, "%s%.*s", between, STR_ARG(p->dims[d].name));
        between = ", ";
    }
    strbuf_addc(out, ')');
}

static void print_operands(const TileOp *op, StrBuf *out) {
    for (uint32_t i = 0; i < op->arity; i++)
        strbuf_addf(out, "%s%%%u", i ? ", " : " ", op->in[i].i);
}

static void print_over(const TileProgram *p, const TileOp *op, StrBuf *out) {
    strbuf_addz(out, " over ");
    print_dims(p, op->over, out);
}

static void print_dot(const TileProgram *p, const TileOp *op, StrBuf *out) {
    strbuf_addf(out, "dot %%%u, %%%u", op->in[0].i, op->in[1].i);
    if (op->arity == 3) strbuf_addf(out, " decayed %%%u", op->in[2].i);
    print_over(p, op, out);
}

static void print_action(const TileProgram *p, const TileOp *op, StrBuf *out) {
    switch (op->kind) {
    case TILE_NONE: BUG("an operation without a kind");
    case TILE_CONST:
        strbuf_addz(out, "const ");
        strbuf_add_double(out, op->number);
        return;
    case TILE_INDEX:
        strbuf_addz(out, "index ");
        print_index(p, &op->access.guard[0], out);
        return;
    case TILE_LOAD:
        strbuf_addz(out, "load ");
        print_place(p, &op->access, out);
        print_guards(p, &op->access, out);
        return;
    case TILE_GATHER:
        strbuf_addz(out, "gather ");
        print_place(p, &op->access, out);
        print_row_number(op, out);
        print_guards(p, &op->access, out);
        return;
    case TILE_MAP:
        strbuf_addf(out, "map %s", op_text(op->fn));
        print_operands(op, out);
        return;
    case TILE_REDUCE:
        strbuf_addz(out, op_text(op->fn));
        print_operands(op, out);
        print_over(p, op, out);
        return;
    case TILE_DOT: print_dot(p, op, out); return;
    case TILE_STORE:
        strbuf_addz(out, "store ");
        print_place(p, &op->access, out);
        print_guards(p, &op->access, out);
        strbuf_addf(out, " = %%%u", op->in[0].i);
        return;
    case TILE_SCATTER:
        strbuf_addz(out, op->fn == OP_ADD ? "scatter_add " : "scatter_put ");
        print_place(p, &op->access, out);
        print_row_number(op, out);
        print_guards(p, &op->access, out);
        strbuf_addf(out, " = %%%u", op->in[1].i);
        return;
    case TILE_LIMIT:
    case TILE_START:
        strbuf_addf(out, "%s %%%u", op->kind == TILE_LIMIT ? "limit" : "start", op->in[0].i);
        if (op->over) print_over(p, op, out);
        return;
    case TILE_SORT:
        strbuf_addz(out, "sort ");
        print_place(p, &op->access, out);
        strbuf_addf(out, " = %%%u by %%%u of %lld", op->in[1].i, op->in[0].i,
                    (long long)op->index_count);
        return;
    case TILE_CARRY:
    case TILE_TURN:
        strbuf_addz(out, op->kind == TILE_CARRY ? "carry" : "turn");
        print_operands(op, out);
        return;
    case TILE_NEXT: strbuf_addf(out, "next %%%u = %%%u", op->in[0].i, op->in[1].i); return;
    case TILE_SCAN:
        strbuf_addf(out, "scan %s %%%u %s ", op_text(op->fn), op->in[0].i, way_words[op->way]);
        print_dims(p, op->over, out);
        return;
    case TILE_SOLVE:
        strbuf_addz(out, "solve");
        print_operands(op, out);
        if (op->way == WAY_TRANSPOSED) strbuf_addz(out, " transposed");
        return;
    }
}

void tile_print_op(const TileProgram *p, uint32_t number, StrBuf *out) {
    const TileOp *op = &p->ops.ptr[number];
    if (tile_op_has_value(op->kind)) strbuf_addf(out, "%%%u = ", number);
    print_action(p, op, out);
    strbuf_addf(out, " : %s ", dtype_text(op->type));
    print_dims(p, op->dims, out);
}

static void print_dim(const TileDim *dim, StrBuf *out) {
    strbuf_addf(out, "  %s %.*s = %lld", tile_role_text(dim->role), STR_ARG(dim->name),
                (long long)dim->extent);
    if (dim->tile != tile_usual_tile(dim->role, dim->extent))
        strbuf_addf(out, " tile %lld", (long long)dim->tile);
    strbuf_addc(out, '\n');
}

static void print_body(const TileProgram *p, StrBuf *out) {
    for (uint32_t d = 0; d < p->dim_count; d++)
        print_dim(&p->dims[d], out);
    if (p->skeleton == TILE_ATTEND) {
        strbuf_addz(out, "  ");
        band_print(&p->band, out);
        strbuf_addc(out, '\n');
    }
    if (p->deal) strbuf_addf(out, "  deal %lld\n", (long long)p->deal);
    if (p->reverse) strbuf_addz(out, "  reverse\n");
    if (p->segments) strbuf_addz(out, "  segments\n");
    vec_each (const TileArg, arg, &p->args)
        strbuf_addf(out, "  arg %.*s: %s[%lld]\n", STR_ARG(arg->name), dtype_text(arg->type),
                    (long long)arg->elements);
    vec_each (const TileKnob, knob, &p->knobs)
        strbuf_addf(out, "  knob %.*s = %lld\n", STR_ARG(knob->name), (long long)knob->value);
    for (uint32_t i = 1; i < p->ops.len; i++) {
        strbuf_addz(out, "  ");
        tile_print_op(p, i, out);
        strbuf_addc(out, '\n');
    }
}

void tile_print(const TileProgram *p, StrBuf *out) {
    strbuf_addf(out, "tile %.*s %s\n", STR_ARG(p->name), tile_skeleton_text(p->skeleton));
    print_body(p, out);
}

Hash tile_hash(const TileProgram *p) {
    StrBuf text = {0};
    strbuf_addf(&text, "%s\n", tile_skeleton_text(p->skeleton));
    print_body(p, &text);
    Hash hash = hash_bytes(text.ptr, text.len);
    strbuf_release(&text);
    return hash;
}
