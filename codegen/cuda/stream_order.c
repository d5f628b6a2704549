// stream_order.c: in which order a thread computes many scalars. An iteration over small
// matrices and its gradient are thousands of operations whose values fit in registers only if
// each is used soon: sums that grow with the iteration are added to as it goes on, and what is
// loaded, or computed of that alone, waits for its first user.
//
// In the program's order, a sum of many terms comes at once, when all of them are known.
//
// Many results that have nothing to do with each other (updates of small weights) are computed
// one after the other instead. Of the orders that which holds fewest scalars is taken.
#include <string.h>

#include "codegen/cuda/stream.h"

// Per scalar of the round, by TileId.
typedef struct {
    Stream *s;
    const Level *l;
    int round;
    bool *here;   // it is of the round
    bool *given;  // made of nothing but what is loaded
    int *step;    // after which it is computed
} Order;

static uint32_t op_count(const Stream *s) { return s->plan.p->ops.len; }

static bool is_of_round(const Order *o, uint32_t i) {
    return stream_op(o->s, i)->kind != TILE_CONST &&
           stream_scalar(&o->s->plan, &o->l->plan, i, o->round);
}

// As soon as what is reduced allows it.
static void steps_forward(Order *o) {
    for (uint32_t i = 1; i < op_count(o->s); i++) {
        const TileOp *op = stream_op(o->s, i);
        if (!o->here[i]) continue;
        o->given[i] = true;
        for (uint32_t k = 0; k < op->arity; k++) {
            uint32_t x = op->in[k].i;
            o->given[i] &= o->here[x] ? o->given[x] : stream_op(o->s, x)->kind != TILE_REDUCE;
            if (o->here[x] && !o->given[x] && o->step[x] >= o->step[i])
                o->step[i] = o->step[x] + 1;
        }
    }
}

// Just before the first user.
static void steps_backward(Order *o) {
    uint32_t n = op_count(o->s);
    int last = 0;
    for (uint32_t i = 1; i < n; i++)
        if (o->step[i] > last) last = o->step[i];
    for (uint32_t i = 1; i < n; i++)
        if (o->here[i] && o->given[i]) o->step[i] = last + 1;
    for (uint32_t i = n - 1; i > 0; i--) {
        const TileOp *op = stream_op(o->s, i);
        for (uint32_t k = 0; o->here[i] && k < op->arity; k++) {
            uint32_t x = op->in[k].i;
            if (o->here[x] && o->given[x] && o->step[x] >= o->step[i])
                o->step[x] = o->step[i] - 1;
        }
    }
}

// The most scalars that others of the round still need, at any point of the order.
static int most_held(const Order *o, const uint32_t *order, uint32_t count) {
    uint32_t *users = arena_array(o->s->w->arena, uint32_t, op_count(o->s));
    int held = 0, most = 0;
    for (uint32_t n = 0; n < 2 * count; n++) {  // users are counted, then taken away
        uint32_t i = order[n < count ? n : n - count];
        const TileOp *op = stream_op(o->s, i);
        if (n >= count) held += users[i] > 0;
        if (held > most) most = held;
        for (uint32_t k = 0; k < op->arity; k++) {
            uint32_t x = op->in[k].i;
            if (!o->here[x]) continue;
            if (n < count)
                users[x]++;
            else
                held -= --users[x] == 0;
        }
    }
    return most;
}

// A counting sort by step.
static void order_by_step(const Order *o, uint32_t *order) {
    uint32_t n = op_count(o->s);
    int first = 0, last = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (o->step[i] < first) first = o->step[i];
        if (o->step[i] > last) last = o->step[i];
    }
    uint32_t *at = arena_array(o->s->w->arena, uint32_t, last - first + 2);
    for (uint32_t i = 1; i < n; i++)
        if (o->here[i]) at[o->step[i] - first + 1]++;
    for (int k = 0; k <= last - first; k++)
        at[k + 1] += at[k];
    for (uint32_t i = 1; i < n; i++)
        if (o->here[i]) order[at[o->step[i] - first]++] = i;
}

// Each scalar that no other needs, with what it is made of just before it.
static void order_by_result(const Order *o, uint32_t *order) {
    uint32_t n = op_count(o->s), depth = 0, count = 0,
             *stack = arena_array(o->s->w->arena, uint32_t, n);
    bool *used = arena_array(o->s->w->arena, bool, n),
         *placed = arena_array(o->s->w->arena, bool, n);
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t k = 0; o->here[i] && k < stream_op(o->s, i)->arity; k++)
            used[stream_op(o->s, i)->in[k].i] = true;
    for (uint32_t i = 1; i < n; i++) {
        if (o->here[i] && !used[i]) stack[depth++] = i;
        while (depth > 0) {
            const TileOp *op = stream_op(o->s, stack[depth - 1]);
            uint32_t k = 0;
            while (k < op->arity && (!o->here[op->in[k].i] || placed[op->in[k].i]))
                k++;
            if (k < op->arity) {
                stack[depth++] = op->in[k].i;
            } else {
                order[count++] = stack[--depth];
                placed[stack[depth]] = true;
            }
        }
    }
}

uint32_t stream_scalars_order(Stream *s, const Level *l, int round, uint32_t *order) {
    uint32_t n = op_count(s), count = 0;
    Arena *arena = s->w->arena;
    Order o = {.s = s, .l = l, .round = round, .here = arena_array(arena, bool, n)};
    for (uint32_t i = 1; i < n; i++) {
        o.here[i] = is_of_round(&o, i);
        if (o.here[i]) order[count++] = i;
    }
    if (count < MANY_SCALARS) return count;
    o.given = arena_array(arena, bool, n);
    o.step = arena_array(arena, int, n);
    steps_forward(&o);
    steps_backward(&o);
    uint32_t *other = arena_array(arena, uint32_t, count);
    void (*const kinds[])(const Order *, uint32_t *) = {order_by_step, order_by_result};
    for (int k = 0; k < 2; k++) {
        kinds[k](&o, other);
        if (most_held(&o, other, count) < most_held(&o, order, count))
            memcpy(order, other, count * sizeof *order);
    }
    return count;
}
