// chunk_value.c: CHUNK for CUDA: values at a point of a tile. A scope is a place in the text
// where the indices of a point have names; each value is computed at most once in it, for each
// role of the tokens.
#include "base/check.h"
#include "codegen/cuda/chunk.h"
#include "ir/tile/tile_access.h"

Str chunk_at(const Chunk *c, int dim) {
    return str_printf(c->w->arena, "%.*s_at", STR_ARG(cuda_dim(c->w, (uint32_t)dim)));
}

ChunkScope chunk_scope(Chunk *c) {
    ChunkScope s = {.c = c};
    for (int role = 0; role < 2; role++)
        s.known[role] = arena_array(c->w->arena, Str, c->p->ops.len);
    for (int d = c->m; d < (int)c->p->dim_count; d++)
        s.at[d] = chunk_at(c, d);
    return s;
}

Str chunk_both(const Chunk *c, Str x, Str y) {
    if (x.len == 0) return y;
    return y.len == 0 ? x : str_printf(c->w->arena, "%.*s && %.*s", STR_ARG(x), STR_ARG(y));
}

Str chunk_inside(const Chunk *c, int dim, int unit) {
    if (dim < 0) return (Str){0};
    int64_t extent = chunk_extent(c, dim);
    bool tokens = chunk_is_tokens(c, dim);
    if (extent % unit == 0 && !(tokens && c->ragged)) return (Str){0};
    Str at = chunk_at(c, dim);
    if (tokens) return str_printf(c->w->arena, "%.*s < count", STR_ARG(at));
    return str_printf(c->w->arena, "%.*s < %lld", STR_ARG(at), (long long)extent);
}

// ---- memory

Str chunk_matrix_at(const ChunkScope *s, Str name, uint32_t room, int row, int col) {
    Arena *arena = s->c->w->arena;
    if (col < 0) return str_printf(arena, "%.*s[0]", STR_ARG(name));
    if (row < 0) return str_printf(arena, "%.*s[%.*s]", STR_ARG(name), STR_ARG(s->at[col]));
    return str_printf(arena, "%.*s[%.*s * %lld + %.*s]", STR_ARG(name), STR_ARG(s->at[row]),
                      (long long)s->c->rooms.ptr[room].pitch, STR_ARG(s->at[col]));
}

Str chunk_room_at(const ChunkScope *s, uint32_t room, int row, int col) {
    const Chunk *c = s->c;
    TileId value = c->rooms.ptr[room].value;
    Str name = value.i ? cuda_name(c->w, value) : str_printf(c->w->arena, "room_%u", room);
    return chunk_matrix_at(s, name, room, row, col);
}

CudaPoint chunk_point(const ChunkScope *s, const TileOp *op) {
    const Chunk *c = s->c;
    CudaPoint at = c->grid;
    for (int d = c->m; d < (int)c->p->dim_count; d++) {
        at.at[d] = s->at[d];
        if (!chunk_is_tokens(c, d)) continue;
        at.at[d] = STR("number");
        if (op->dims >> d & 1)
            at.at[d] = str_printf(c->w->arena, "first + %.*s", STR_ARG(s->at[d]));
    }
    return at;
}

// ---- values

// The tokens' roles are exchanged.
static void scope_turn(ChunkScope *s) {
    Str at = s->at[s->c->m], *known = s->known[0];
    s->at[s->c->m] = s->at[s->c->n];
    s->at[s->c->n] = at;
    s->known[0] = s->known[1];
    s->known[1] = known;
}

static Str turned_value(ChunkScope *s, TileId v) {
    scope_turn(s);
    Str x = chunk_value(s, tile_op(s->c->p, v)->in[0]);
    scope_turn(s);
    return x;
}

static Str dot_value(ChunkScope *s) {
    ASSERT(s->sum.len > 0);
    Str x = s->summed ? STR("0.0f") : s->sum;
    s->summed = true;
    return x;
}

static Str op_value(ChunkScope *s, TileId v) {
    CudaWriter *w = s->c->w;
    const TileOp *op = tile_op(s->c->p, v);
    CudaPoint at = chunk_point(s, op);
    Str in[3] = {{0}};
    for (uint32_t k = 0; op->kind == TILE_MAP && k < op->arity; k++)
        in[k] = chunk_value(s, op->in[k]);
    switch ((int)op->kind) {
    case TILE_INDEX: return cuda_index(w, op, &at);
    case TILE_LOAD: return cuda_load(w, op, &at, (Str){0});
    case TILE_MAP: return cuda_map(w, op, in);
    default: BUG("operation %d has no value at a point", (int)op->kind);
    }
}

// Unique in the scope: a line that is computed in both roles has two names.
static Str local_name(const ChunkScope *s, TileId v) {
    CudaWriter *w = s->c->w;
    bool turned = s->at[s->c->m].len > 0 && !str_eq(s->at[s->c->m], chunk_at(s->c, s->c->m));
    return str_printf(w->arena, "%.*s_%s", STR_ARG(cuda_name(w, v)),
                      turned ? "turned" : "here");
}

Str chunk_computed(ChunkScope *s, TileId v) {
    CudaWriter *w = s->c->w;
    const TileOp *op = tile_op(s->c->p, v);
    if (op->kind == TILE_CONST) return cuda_number(w, op->number, op->type);
    if (op->kind == TILE_TURN) return turned_value(s, v);
    if (op->kind == TILE_DOT) return dot_value(s);
    Str text = op_value(s, v), name = local_name(s, v);
    cuda_line(w, "const %s %.*s = %.*s;", cuda_value_type(op->type), STR_ARG(name),
              STR_ARG(text));
    return name;
}

Str chunk_value(ChunkScope *s, TileId v) {
    const ChunkValue *x = &s->c->value[v.i];
    Str *known = &s->known[0][v.i];
    if (known->len > 0) return *known;
    *known = x->room ? chunk_room_at(s, x->room, x->row, x->col) : chunk_computed(s, v);
    return s->known[0][v.i];
}
