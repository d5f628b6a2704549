// simplify_sums.c: rewrites of sums of products. A sum of x * y is a contraction if each factor
// has an axis that the other lacks; else it stays a reduction of a product, which is work on
// rows. How often the product is used does not matter: a contraction reads the factors, never
// more than a reduction reads of the product.
#include "base/check.h"
#include "ir/graph/simplify_rules.h"

#define MAX_FACTORS 8

typedef struct {
    AxisId axes[GRAPH_MAX_RANK];
    uint8_t count;
} AxisSet;

static ValueId none(void) { return (ValueId){0}; }

static void set_add(AxisSet *set, AxisId a) {
    ASSERT(set->count < GRAPH_MAX_RANK);
    set->axes[set->count++] = a;
}

static bool set_has(const AxisSet *set, AxisId a) {
    for (uint32_t i = 0; i < set->count; i++)
        if (set->axes[i].i == a.i) return true;
    return false;
}

static bool lacks_all(const Value *x, const AxisId *axes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (graph_has_axis(x, axes[i])) return false;
    return true;
}

static ValueId sum_over(Simplifier *s, const Term *at, ValueId x, const AxisSet *set) {
    if (set->count == 0) return x;
    return simplify_move(s, at, OP_REDUCE_SUM, x,
                         (GraphAttr){.along = set->axes, .along_count = set->count});
}

// x * y, also if neither has all axes of the other.
static ValueId product(Simplifier *s, const Term *at, ValueId x, ValueId y) {
    Value a = simplify_value(s, x), b = simplify_value(s, y);
    if (simplify_axes_within(&a, &b) || simplify_axes_within(&b, &a))
        return simplify_binary(s, at, OP_MUL, x, y);
    AxisSet all = {0};
    for (uint32_t i = 0; i < a.rank; i++)
        set_add(&all, a.axes[i]);
    for (uint32_t i = 0; i < b.rank; i++)
        if (!graph_has_axis(&a, b.axes[i])) set_add(&all, b.axes[i]);
    return simplify_binary(s, at, OP_MUL, simplify_fit(s, at, x, all.axes, all.count), y);
}

// ---- two factors

// A sum over `along` of x * y, the factors seen without what repeats them.
typedef struct {
    ValueId x, y;
    AxisSet shared, only_x, only_y;  // of `along`
    double repeat;                   // product of the extents that neither has
    bool known;                      // those extents are known
    bool outer;                      // each has an axis that the other lacks
} Split;

static bool has_beyond(const Value *x, const AxisSet *summed, const Value *y) {
    for (uint32_t i = 0; i < x->rank; i++)
        if (!set_has(summed, x->axes[i]) && !graph_has_axis(y, x->axes[i])) return true;
    return false;
}

static Split split_sum(const Simplifier *s, const Term *t, ValueId x, ValueId y) {
    Split p = {.x = simplify_unbroadcast(s, x),
               .y = simplify_unbroadcast(s, y),
               .repeat = 1,
               .known = true};
    Value a = simplify_value(s, p.x), b = simplify_value(s, p.y);
    for (uint32_t i = 0; i < t->attr.along_count; i++) {
        AxisId axis = t->attr.along[i];
        bool in_x = graph_has_axis(&a, axis), in_y = graph_has_axis(&b, axis);
        if (in_x) set_add(in_y ? &p.shared : &p.only_x, axis);
        if (in_y && !in_x) set_add(&p.only_y, axis);
        if (in_x || in_y) continue;
        int64_t extent = graph_axis_at(s->g, axis)->extent;
        p.known &= extent != EXTENT_UNKNOWN;
        p.repeat *= (double)extent;
    }
    p.outer = has_beyond(&a, &p.only_x, &b) && has_beyond(&b, &p.only_y, &a);
    return p;
}

// contract x, y or contract y, x: that which has the term's order of axes, if one has.
static ValueId contraction(Simplifier *s, const Term *t, ValueId x, ValueId y,
                           const AxisSet *along) {
    for (int swap = 1; swap >= 0; swap--) {
        Value a = simplify_value(s, swap ? y : x), b = simplify_value(s, swap ? x : y);
        AxisSet order = {0};
        for (uint32_t i = 0; i < a.rank; i++)
            if (!set_has(along, a.axes[i])) set_add(&order, a.axes[i]);
        for (uint32_t i = 0; i < b.rank; i++)
            if (!graph_has_axis(&a, b.axes[i])) set_add(&order, b.axes[i]);
        if (swap && !simplify_axes_equal(order.axes, order.count, t->axes, t->rank)) continue;
        Term c = {.op = OP_CONTRACT,
                  .in = (ValueId[]){swap ? y : x, swap ? x : y},
                  .arity = 2,
                  .span = t->span};
        c.attr = (GraphAttr){.along = along->axes, .along_count = along->count};
        return simplify_make(s, &c);
    }
    return none();
}

static ValueId sum_of_two(Simplifier *s, const Term *t, ValueId x, ValueId y) {
    Split p = split_sum(s, t, x, y);
    DType type = simplify_value(s, x).type;
    bool contracts = p.outer && p.shared.count > 0;
    bool changed = p.x.i != x.i || p.y.i != y.i || p.only_x.count || p.only_y.count;
    bool stays = !changed && contracts == (t->op == OP_CONTRACT);
    if (stays || !p.known || (contracts && type != DTYPE_F32)) return none();
    ValueId a = sum_over(s, t, p.x, &p.only_x), b = sum_over(s, t, p.y, &p.only_y);
    ValueId r = contracts ? contraction(s, t, a, b, &p.shared)
                          : sum_over(s, t, product(s, t, a, b), &p.shared);
    return p.repeat == 1.0 ? r : product(s, t, r, simplify_number(s, t, p.repeat, type));
}

// contract x, y: without what repeats x or y; over rows, reduce_sum (x * y)
static ValueId contract_of(Simplifier *s, const Term *t) {
    Value x = simplify_value(s, t->in[0]), y = simplify_value(s, t->in[1]);
    bool real = x.type == DTYPE_F32 && y.type == DTYPE_F32;
    return real ? sum_of_two(s, t, t->in[0], t->in[1]) : none();
}

// ---- many factors

typedef struct {
    ValueId at[MAX_FACTORS];
    uint32_t count;
} Factors;

// The factors of a tree of products. False: too many.
static bool collect_factors(const Simplifier *s, ValueId v, Factors *f) {
    v = simplify_unbroadcast(s, v);
    Value x = simplify_value(s, v);
    if (x.op == OP_MUL) return collect_factors(s, x.in[0], f) && collect_factors(s, x.in[1], f);
    if (f->count == MAX_FACTORS) return false;
    f->at[f->count++] = v;
    return true;
}

static ValueId product_of(Simplifier *s, const Term *t, const Factors *f) {
    ValueId r = f->at[0];
    for (uint32_t i = 1; i < f->count; i++)
        r = product(s, t, r, f->at[i]);
    return r;
}

static uint32_t widest(const Simplifier *s, const Factors *f, const bool *skip) {
    uint32_t best = MAX_FACTORS, rank = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        uint32_t own = simplify_value(s, f->at[i]).rank;
        if (skip[i] || (best < MAX_FACTORS && own <= rank)) continue;
        best = i;
        rank = own;
    }
    return best;
}

// Two sides: the widest factor and the widest that does not lie within it; every other factor
// goes to the narrower side that has its axes. False: one side holds all, or two sides are not
// enough.
static bool find_sides(const Simplifier *s, const Factors *f, Factors side[2]) {
    bool within[MAX_FACTORS] = {false};
    uint32_t first = widest(s, f, within);
    Value x = simplify_value(s, f->at[first]);
    for (uint32_t i = 0; i < f->count; i++) {
        Value v = simplify_value(s, f->at[i]);
        within[i] = simplify_axes_within(&v, &x);
    }
    uint32_t second = widest(s, f, within);
    if (second == MAX_FACTORS) return false;
    Value y = simplify_value(s, f->at[second]);
    for (uint32_t i = 0; i < f->count; i++) {
        Value v = simplify_value(s, f->at[i]);
        bool in_y = i != first && simplify_axes_within(&v, &y);
        if (!within[i] && !in_y) return false;
        Factors *to = &side[in_y && (!within[i] || y.rank < x.rank)];
        to->at[to->count++] = f->at[i];
    }
    return true;
}

static bool all_known(const Simplifier *s, const Term *t) {
    for (uint32_t i = 0; i < t->attr.along_count; i++)
        if (graph_axis_at(s->g, t->attr.along[i])->extent == EXTENT_UNKNOWN) return false;
    return true;
}

// The sum over t's `along` of the product of f, which has every one of these axes somewhere.
static ValueId sum_of_factors(Simplifier *s, const Term *t, const Factors *f) {
    Factors side[2] = {0};
    if (f->count > 1 && find_sides(s, f, side)) {
        ValueId x = product_of(s, t, &side[0]), y = product_of(s, t, &side[1]);
        ValueId r = sum_of_two(s, t, x, y);
        if (r.i) return r;
    }
    return simplify_move(
        s, t, OP_REDUCE_SUM, product_of(s, t, f),
        (GraphAttr){.along = t->attr.along, .along_count = t->attr.along_count});
}

static bool has_every(const Simplifier *s, const Factors *f, const AxisId *axes,
                      uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        bool found = false;
        for (uint32_t k = 0; k < f->count && !found; k++) {
            Value v = simplify_value(s, f->at[k]);
            found = graph_has_axis(&v, axes[i]);
        }
        if (!found) return false;
    }
    return true;
}

// sum of three or more factors: those without any axis of `along` leave the sum, the others
// become two sides.
static ValueId sum_of_many(Simplifier *s, const Term *t, ValueId v) {
    Factors all = {0}, outside = {0}, inside = {0}, side[2] = {0};
    if (!collect_factors(s, v, &all) || all.count < 3 || !all_known(s, t)) return none();
    for (uint32_t i = 0; i < all.count; i++) {
        Value x = simplify_value(s, all.at[i]);
        Factors *to = lacks_all(&x, t->attr.along, t->attr.along_count) ? &outside : &inside;
        to->at[to->count++] = all.at[i];
    }
    if (!has_every(s, &inside, t->attr.along, t->attr.along_count)) return none();
    bool sides = inside.count > 1 && find_sides(s, &inside, side);
    if (outside.count == 0 && !(sides && simplify_value(s, v).type == DTYPE_F32)) return none();
    ValueId r = sum_of_factors(s, t, &inside);
    return outside.count ? product(s, t, r, product_of(s, t, &outside)) : r;
}

static ValueId sum_of_product(Simplifier *s, const Term *t) {
    Value x = simplify_value(s, t->in[0]);
    if (x.op != OP_MUL) return none();
    ValueId r = sum_of_many(s, t, t->in[0]);
    return r.i ? r : sum_of_two(s, t, x.in[0], x.in[1]);
}

// ---- others

// reduce_sum (-x) -> -(reduce_sum x)
static ValueId sum_of_negative(Simplifier *s, const Term *t) {
    Value x = simplify_value(s, t->in[0]);
    if (x.op != OP_NEG) return none();
    return simplify_unary(s, t, OP_NEG, simplify_move(s, t, OP_REDUCE_SUM, x.in[0], t->attr));
}

// reduce_sum (broadcast x) -> reduce_sum x * repetitions;  reduce_max (broadcast x) ->
// reduce_max x
static ValueId reduce_of_broadcast(Simplifier *s, const Term *t) {
    ValueId base = simplify_unbroadcast(s, t->in[0]);
    if (base.i == t->in[0].i) return none();
    Value x = simplify_value(s, base);
    AxisSet present = {0};
    double repeat = 1;
    for (uint32_t i = 0; i < t->attr.along_count; i++) {
        int64_t extent = graph_axis_at(s->g, t->attr.along[i])->extent;
        if (graph_has_axis(&x, t->attr.along[i]))
            set_add(&present, t->attr.along[i]);
        else if (extent == EXTENT_UNKNOWN && t->op == OP_REDUCE_SUM)
            return none();
        else
            repeat *= (double)extent;
    }
    // What repeats i32 may be more than i32 can say.
    if (t->op == OP_REDUCE_SUM && t->type == DTYPE_I32 && repeat > INT32_MAX) return none();
    ValueId r = base;
    if (present.count)
        r = simplify_move(s, t, t->op, base,
                          (GraphAttr){.along = present.axes, .along_count = present.count});
    bool once = t->op == OP_REDUCE_MAX || repeat == 1.0;
    return once ? r : product(s, t, r, simplify_number(s, t, repeat, t->type));
}

const SimplifyRow simplify_sum_rows[] = {
    {OP_REDUCE_SUM, reduce_of_broadcast}, {OP_REDUCE_MAX, reduce_of_broadcast},
    {OP_REDUCE_SUM, sum_of_negative},     {OP_REDUCE_SUM, sum_of_product},
    {OP_CONTRACT, contract_of},           {OP_NONE, NULL},
};
