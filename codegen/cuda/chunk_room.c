// chunk_room.c: CHUNK for CUDA: where in shared memory values are, each only as long as it is
// needed, and the barriers between steps.
#include "base/check.h"
#include "codegen/cuda/chunk.h"
#include "codegen/cuda/loop_cp_choice.h"

// ---- what steps read and write

static void value_reads(const Chunk *c, TileId v, bool here, ChunkRead *read, void *context) {
    const TileOp *op = tile_op(c->p, v);
    if (c->value[v.i].room) {
        read(context, c->value[v.i].room, here);
        return;
    }
    if (op->kind == TILE_DOT && op->arity == 3)
        read(context, chunk_factor(c, op->in[2], 0)->room, false);
    uint32_t operands = op->kind == TILE_DOT ? 2 : op->arity;
    for (uint32_t k = 0; k < operands; k++)
        value_reads(c, op->in[k], here && op->kind != TILE_DOT, read, context);
}

static void decay_reads(const Chunk *c, const TileOp *dot, ChunkRead *read, void *context) {
    bool wide = chunk_is_wide(c, dot);
    if (wide) read(context, c->value[dot->in[2].i].room, false);
    vec_each (const ChunkFactor, f, &c->factors)
        if (f->alpha.i == dot->in[2].i && (f->half > 0) == wide) read(context, f->room, false);
}

// A scan of a matrix goes down its columns, each of which one thread has.
static bool is_here(const TileOp *op, uint32_t k) {
    if (op->kind == TILE_SCAN) return op->way != WAY_ALL;
    return op->kind == TILE_MAP || op->kind == TILE_LOAD || op->kind == TILE_STORE ||
           (op->kind == TILE_NEXT && k == 1) || (op->kind == TILE_SOLVE && k == 1);
}

void chunk_reads(const Chunk *c, const ChunkStep *s, ChunkRead *read, void *context) {
    if (s->kind == CHUNK_FACTOR) {
        read(context, c->value[c->factors.ptr[s->number].alpha.i].room, false);
        return;
    }
    const TileOp *op = chunk_op(c, s->number);
    uint32_t operands = op->kind == TILE_DOT ? 2 : op->arity;
    for (uint32_t k = 0; k < operands; k++)
        if (op->kind != TILE_NEXT || k == 1)
            value_reads(c, op->in[k], is_here(op, k), read, context);
    if (op->kind == TILE_DOT && op->arity == 3) decay_reads(c, op, read, context);
}

uint32_t chunk_written(const Chunk *c, const ChunkStep *s) {
    switch (s->kind) {
    case CHUNK_KEEP: return c->value[s->number].room;
    case CHUNK_FACTOR: return c->factors.ptr[s->number].room;
    case CHUNK_NEXT: return c->value[chunk_op(c, s->number)->in[0].i].room;
    case CHUNK_STORE: break;
    }
    return 0;
}

// ---- places

typedef struct {
    Chunk *c;
    int step;
} Alive;

static void reads_last(void *context, uint32_t room, bool here) {
    const Alive *a = context;
    (void)here;
    a->c->rooms.ptr[room].last = a->step;
}

static void lives_plan(Chunk *c) {
    int steps = (int)c->steps.len;
    for (int i = 0; i < steps; i++) {
        uint32_t to = chunk_written(c, &c->steps.ptr[i]);
        if (to && c->steps.ptr[i].kind != CHUNK_NEXT)
            c->rooms.ptr[to].first = c->rooms.ptr[to].last = i;
        chunk_reads(c, &c->steps.ptr[i], reads_last, &(Alive){c, i});
    }
    for (uint32_t i = 1; i < c->p->ops.len; i++)
        if (chunk_op(c, i)->kind == TILE_CARRY && c->value[i].room) {
            c->rooms.ptr[c->value[i].room].first = -1;
            c->rooms.ptr[c->value[i].room].last = steps;
        }
}

typedef struct {
    uint32_t room;
    bool read, elsewhere;
} Reading;

static void reading_note(void *context, uint32_t room, bool here) {
    Reading *r = context;
    if (room != r->room) return;
    r->read = true;
    r->elsewhere = r->elsewhere || !here;
}

static int64_t floats_of(const ChunkRoom *r) { return (r->rows * r->pitch + 3) / 4 * 4; }

// May the new one take the very place of the old, whose elements the same threads read last?
static bool may_replace(const Chunk *c, uint32_t old, uint32_t new) {
    const ChunkRoom *x = &c->rooms.ptr[old], *y = &c->rooms.ptr[new];
    if (x->last != y->first || x->rows != y->rows || x->cols != y->cols) return false;
    Reading r = {.room = old};
    chunk_reads(c, &c->steps.ptr[x->last], reading_note, &r);
    return r.read && !r.elsewhere;
}

static bool fits_at(const Chunk *c, uint32_t room, int64_t offset) {
    const ChunkRoom *x = &c->rooms.ptr[room];
    for (uint32_t i = 1; i < c->rooms.len; i++) {
        const ChunkRoom *y = &c->rooms.ptr[i];
        bool placed = y->first < x->first || (y->first == x->first && i < room);
        if (i == room || !placed || y->last < x->first) continue;
        bool apart = offset + floats_of(x) <= y->offset || y->offset + floats_of(y) <= offset;
        bool replaces = offset == y->offset && may_replace(c, i, room);
        if (!apart && !replaces) return false;
    }
    return true;
}

// In the place of what ends there, or the lowest.
static int64_t place_of(const Chunk *c, uint32_t room) {
    int64_t best = -1;
    for (uint32_t i = 1; i < c->rooms.len; i++) {
        const ChunkRoom *y = &c->rooms.ptr[i];
        if (i == room || y->first >= c->rooms.ptr[room].first) continue;
        if (may_replace(c, i, room) && fits_at(c, room, y->offset)) return y->offset;
        int64_t end = y->offset + floats_of(y);
        if (fits_at(c, room, end) && (best < 0 || end < best)) best = end;
    }
    return fits_at(c, room, 0) ? 0 : best;
}

static int by_first(const Chunk *c, int step) {
    for (uint32_t i = 1; i < c->rooms.len; i++)
        if (c->rooms.ptr[i].first == step) return (int)i;
    return 0;
}

bool chunk_rooms_place(Chunk *c) {
    lives_plan(c);
    int steps = (int)c->steps.len;
    for (int step = -1; step < steps; step++) {
        int room = by_first(c, step);
        if (!room) continue;
        c->rooms.ptr[room].offset = place_of(c, (uint32_t)room);
        int64_t end = c->rooms.ptr[room].offset + floats_of(&c->rooms.ptr[room]);
        if (end > c->floats) c->floats = end;
    }
    int most = cuda_card(c->w->arch)->shared_all - 1024;
    if (c->floats * 4 <= most) return true;
    return diag_fail(c->w->diag, FAIL_ENVIRONMENT,
                     "kernel '%.*s' needs %lld bytes of shared memory, of which %s has %d",
                     STR_ARG(c->p->name), (long long)c->floats * 4, isa_level_text(c->w->arch),
                     most);
}

// ---- barriers

void chunk_synced(Chunk *c) { c->pending.len = 0; }

static bool overlaps(const ChunkRoom *x, const ChunkRoom *y) {
    return x->offset < y->offset + floats_of(y) && y->offset < x->offset + floats_of(x);
}

typedef struct {
    Chunk *c;
    bool wanted;
} Barrier;

// Against what is pending: one of both writes.
static void access_check(Barrier *b, uint32_t room, bool write) {
    vec_each (const ChunkRoom, other, &b->c->pending)
        if ((write || other->first) && overlaps(other, &b->c->rooms.ptr[room]))
            b->wanted = true;
}

static void read_check(void *context, uint32_t room, bool here) {
    (void)here;
    access_check(context, room, false);
}

static void access_add(Chunk *c, uint32_t room, bool write) {
    ChunkRoom access = c->rooms.ptr[room];
    access.first = write;
    vec_push(c->w->arena, &c->pending, access);
}

static void read_add(void *context, uint32_t room, bool here) {
    (void)here;
    access_add(context, room, false);
}

// What another thread loads must be there before it is stored to.
static bool stores_to_loaded(const Chunk *c, const ChunkStep *s) {
    for (uint32_t i = 0; s->kind == CHUNK_STORE && i < c->p->args.len; i++)
        if (c->p->args.ptr[i].read &&
            tile_in_place(c->p, i, chunk_op(c, s->number)->access.arg))
            return true;
    return false;
}

void chunk_barrier(Chunk *c, const ChunkStep *s) {
    Barrier b = {c, c->pending.len > 0 && stores_to_loaded(c, s)};
    uint32_t to = chunk_written(c, s);
    chunk_reads(c, s, read_check, &b);
    if (to) access_check(&b, to, true);
    if (b.wanted) {
        cuda_line(c->w, "__syncthreads();");
        chunk_synced(c);
    }
    chunk_reads(c, s, read_add, c);
    if (to) access_add(c, to, true);
}
