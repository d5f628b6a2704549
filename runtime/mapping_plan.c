// mapping_plan.c: which tensor of theirs makes which of ours, with every shape checked, before
// anything is read or written.
#include "base/check.h"
#include "runtime/mapping.h"
#include "runtime/name_pattern.h"

typedef struct {
    Diag *diag;
    Arena *arena;
    MapPlan *out;
    Sizes global;  // axes of all of ours
} Planner;

// One of ours and its rule, while its moves are made.
typedef struct {
    Planner *p;
    const MapRule *rule;
    const PlanTensor *ours;
    Fill *fill;
    Sizes placeholders, axes;
} Filling;

// ---- shapes

int64_t shape_count(const Shape *s) { return extents_product(s->extents, s->rank); }

bool shape_eq(const Shape *a, const Shape *b) {
    bool same = a->rank == b->rank;
    for (uint32_t i = 0; same && i < a->rank; i++)
        same = a->extents[i] == b->extents[i];
    return same;
}

Shape shape_of(const int64_t *extents, uint32_t rank) {
    Shape s = {.rank = rank};
    for (uint32_t i = 0; i < rank; i++)
        s.extents[i] = extents[i];
    return s;
}

const char *shape_format(Arena *arena, const Shape *s) {
    StrBuf text = {0};
    strbuf_addc(&text, '[');
    for (uint32_t i = 0; i < s->rank; i++)
        strbuf_addf(&text, "%s%lld", i ? ", " : "", (long long)s->extents[i]);
    strbuf_addc(&text, ']');
    const char *copy = str_copy(arena, strbuf_view(&text)).ptr;
    strbuf_release(&text);
    return copy;
}

// An axis that took a suffix to be told from others of its name ("e.2") is known by the name.
static Str plain_name(Str axis) {
    const char *dot = memchr(axis.ptr, '.', axis.len);
    return dot ? (Str){axis.ptr, (size_t)(dot - axis.ptr)} : axis;
}

static void collect_axes(Planner *p) {
    Vec(SizeName) names = {0};
    Map known = {0};
    for (uint32_t i = 0; i < p->out->our_count; i++) {
        const PlanTensor *t = &p->out->ours[i];
        for (uint32_t a = 0; a < t->rank; a++) {
            uint64_t at;
            Str name = plain_name(t->axes[a]);
            if (map_get(&known, name, &at)) {
                ASSERT(at < names.len);
                names.ptr[at].ambiguous |= names.ptr[at].value != t->shape[a];
                continue;
            }
            map_set(p->arena, &known, name, names.len);
            vec_push(p->arena, &names, (SizeName){.name = name, .value = t->shape[a]});
        }
    }
    p->global = (Sizes){.items = names.ptr, .count = names.len};
}

// ---- one of ours

static bool evaluate(const Filling *f, Str size, int64_t *out) {
    Str why;
    if (size_evaluate(f->p->arena, size, &f->placeholders, out, &why)) return true;
    return rule_error(f->p->diag, f->p->out->mapping, f->rule, "size '%.*s': %.*s",
                      STR_ARG(size), STR_ARG(why));
}

static bool evaluate_shape(const Filling *f, const Str *sizes, uint32_t rank, Shape *out) {
    int64_t count = 1;
    *out = (Shape){.rank = rank};
    for (uint32_t i = 0; i < rank; i++) {
        int64_t *extent = &out->extents[i];
        if (!evaluate(f, sizes[i], extent)) return false;
        if (!*extent || count > INT64_MAX / 16 / *extent)
            return rule_error(f->p->diag, f->p->out->mapping, f->rule,
                              "a shape has no elements, or too many");
        count *= *extent;
    }
    return true;
}

static bool misfit(const Filling *f, const char *what, const Shape *s) {
    return rule_error(f->p->diag, f->p->out->mapping, f->rule, "%s does not fit %s", what,
                      shape_format(f->p->arena, s));
}

static bool plan_reshape(const Filling *f, Move *m) {
    if (!evaluate_shape(f, m->step->sizes, m->step->count, &m->after)) return false;
    if (shape_count(&m->before) == shape_count(&m->after)) return true;
    return rule_error(f->p->diag, f->p->out->mapping, f->rule,
                      "%s cannot be reshaped to %s: it has another number of elements",
                      shape_format(f->p->arena, &m->before),
                      shape_format(f->p->arena, &m->after));
}

static bool plan_slice(const Filling *f, Move *m) {
    int64_t end;
    if (!evaluate(f, m->step->sizes[0], &m->begin) || !evaluate(f, m->step->sizes[1], &end))
        return false;
    uint32_t axis = m->step->axis;
    if (axis >= m->before.rank || m->begin >= end || end > m->before.extents[axis]) {
        const char *what = arena_printf(f->p->arena, "the slice from %lld to %lld of axis %u",
                                        (long long)m->begin, (long long)end, axis);
        return misfit(f, what, &m->before);
    }
    m->after.extents[axis] = end - m->begin;
    return true;
}

static bool plan_stack(const Filling *f, Move *m) {
    uint32_t axis = m->step->axis;
    if (axis > m->before.rank || m->before.rank == PLAN_RANK_MAX)
        return misfit(f, "the stack's axis", &m->before);
    if (!evaluate(f, m->step->sizes[0], &f->fill->parts)) return false;
    if (f->fill->parts < 1 || f->fill->parts > INT32_MAX)
        return rule_error(f->p->diag, f->p->out->mapping, f->rule,
                          "a stack needs a count from 1");
    m->after.rank++;
    for (uint32_t i = m->before.rank; i > axis; i--)
        m->after.extents[i] = m->before.extents[i - 1];
    m->after.extents[axis] = f->fill->parts;
    return true;
}

static bool plan_move(const Filling *f, Move *m) {
    m->after = m->before;
    switch (m->step->kind) {
    case MAP_RESHAPE: return plan_reshape(f, m);
    case MAP_SLICE: return plan_slice(f, m);
    case MAP_STACK: return plan_stack(f, m);
    case MAP_TRANSPOSE: break;
    }
    if (m->step->count != m->before.rank) return misfit(f, "the transpose", &m->before);
    for (uint32_t i = 0; i < m->step->count; i++)
        m->after.extents[i] = m->before.extents[m->step->order[i]];
    return true;
}

static bool plan_moves(const Filling *f) {
    Fill *fill = f->fill;
    Shape ours = shape_of(f->ours->shape, f->ours->rank), now = ours;
    if (f->rule->has_shape && !evaluate_shape(f, f->rule->shape, f->rule->rank, &now))
        return false;
    fill->theirs = now;
    fill->parts = 1;
    fill->move_count = f->rule->step_count;
    fill->moves = arena_array(f->p->arena, Move, fill->move_count);
    for (uint32_t i = 0; i < fill->move_count; i++) {
        fill->moves[i] = (Move){.step = &f->rule->steps[i], .before = now};
        if (!plan_move(f, &fill->moves[i])) return false;
        now = fill->moves[i].after;
    }
    if (shape_eq(&now, &ours)) return true;
    return rule_error(f->p->diag, f->p->out->mapping, f->rule,
                      "it makes %s, and '%.*s' has shape %s", shape_format(f->p->arena, &now),
                      STR_ARG(f->ours->name), shape_format(f->p->arena, &ours));
}

bool fill_is_stack(const Fill *fill) {
    return fill->move_count && fill->moves[fill->move_count - 1].step->kind == MAP_STACK;
}

// ---- theirs

// Rules that take parts of one tensor must agree on what it is.
static bool check_agreement(const Filling *f, const Theirs *t) {
    const Mapping *m = f->p->out->mapping;
    if (!shape_eq(&t->shape, &f->fill->theirs))
        return rule_error(f->p->diag, m, f->rule, "'%.*s' has shape %s here and %s in rule %u",
                          STR_ARG(t->name), shape_format(f->p->arena, &f->fill->theirs),
                          shape_format(f->p->arena, &t->shape), t->rule->number);
    if (t->rule->has_type == f->rule->has_type && t->rule->type == f->rule->type) return true;
    return rule_error(f->p->diag, m, f->rule, "'%.*s' has another dtype here than in rule %u",
                      STR_ARG(t->name), t->rule->number);
}

static bool add_source(const Filling *f, int64_t part) {
    MapPlan *plan = f->p->out;
    Sizes sizes = f->placeholders;
    SizeName over;
    if (fill_is_stack(f->fill)) {
        over = (SizeName){.name = f->rule->steps[f->fill->move_count - 1].over, .value = part};
        sizes = (Sizes){.items = &over, .count = 1, .outer = &f->placeholders};
    }
    Str name, why;
    uint64_t at;
    if (!pattern_expand(f->p->arena, f->rule->name, &sizes, &name, &why))
        return rule_error(f->p->diag, plan->mapping, f->rule, "name '%.*s': %.*s",
                          STR_ARG(f->rule->name), STR_ARG(why));
    if (!map_get(&plan->by_name, name, &at)) {
        at = plan->theirs.len + 1;
        vec_push(f->p->arena, &plan->theirs,
                 (Theirs){.name = name, .shape = f->fill->theirs, .rule = f->rule});
        map_set(f->p->arena, &plan->by_name, name, at);
    }
    Theirs *t = &plan->theirs.ptr[at - 1];
    MapUse use = {.ours = (uint32_t)(f->ours - plan->ours), .part = part};
    vec_push(f->p->arena, &t->uses, use);
    f->fill->sources[part] = (uint32_t)at - 1;
    return check_agreement(f, t);
}

static bool fill_by(Planner *p, const MapRule *rule, const Placeholders *numbers,
                    uint32_t index) {
    const PlanTensor *t = &p->out->ours[index];
    SizeName axes[PLAN_RANK_MAX];
    for (uint32_t a = 0; a < t->rank; a++)
        axes[a] = (SizeName){.name = plain_name(t->axes[a]), .value = t->shape[a]};
    Filling f = {.p = p, .rule = rule, .ours = t, .fill = &p->out->fills[index]};
    f.axes = (Sizes){.items = axes, .count = t->rank, .outer = &p->global};
    f.placeholders = (Sizes){numbers->items, numbers->count, &f.axes};
    f.fill->rule = rule;
    if (!rule->name.len) return true;
    if (!plan_moves(&f)) return false;
    f.fill->sources = arena_array(p->arena, uint32_t, f.fill->parts);
    for (int64_t part = 0; part < f.fill->parts; part++)
        if (!add_source(&f, part)) return false;
    return true;
}

static bool find_rule(Planner *p, uint32_t index) {
    const PlanTensor *t = &p->out->ours[index];
    const Mapping *m = p->out->mapping;
    const MapRule *found = NULL;
    Placeholders numbers = {0}, tried;
    for (uint32_t i = 0; i < m->rule_count; i++) {
        if (!pattern_match(m->rules[i].ours, t->name, &tried)) continue;
        if (found)
            return rule_error(p->diag, m, &m->rules[i], "'%.*s' is filled by rule %u already",
                              STR_ARG(t->name), found->number);
        found = &m->rules[i];
        numbers = tried;
    }
    if (found) return fill_by(p, found, &numbers, index);
    if (t->kind == TENSOR_STATE) return true;
    Shape shape = shape_of(t->shape, t->rank);
    return diag_file_error(p->diag, FAIL_INPUT, m->path,
                           "no rule fills the parameter '%.*s' of shape %s", STR_ARG(t->name),
                           shape_format(p->arena, &shape));
}

// ---- is every element of theirs taken, once?

// Elements that a use takes; one part of a stack is like any other.
static int64_t taken_count(const Planner *p, const MapUse *use) {
    const Fill *fill = &p->out->fills[use->ours];
    return plan_tensor_count(&p->out->ours[use->ours]) / fill->parts;
}

// Marks what use number `by` takes; an element that has a mark is an error.
static bool mark_taken(const Planner *p, const Theirs *t, uint32_t by, uint32_t *taken) {
    const MapUse *use = &t->uses.ptr[by];
    Fill fill = p->out->fills[use->ours];
    fill.move_count -= fill_is_stack(&fill);
    Arena scratch = {0};
    size_t count = (size_t)taken_count(p, use);
    uint8_t *ones = arena_alloc(&scratch, count, 1);
    memset(ones, 1, count);
    const uint8_t *marks = moves_back(&scratch, &fill, 0, 1, ones);
    uint32_t other = 0;
    for (int64_t i = 0; i < shape_count(&t->shape); i++) {
        if (!marks[i]) continue;
        if (taken[i]) other = taken[i];
        taken[i] = by + 1;
    }
    arena_release(&scratch);
    if (!other) return true;
    const MapRule *rule = p->out->fills[t->uses.ptr[other - 1].ours].rule;
    return rule_error(p->diag, p->out->mapping, fill.rule,
                      "it and rule %u take the same elements of '%.*s' %s", rule->number,
                      STR_ARG(t->name), shape_format(p->arena, &t->shape));
}

// Parts that have as many elements as the whole, none of them twice, are the whole.
static bool check_cover(const Planner *p, const Theirs *t) {
    int64_t count = shape_count(&t->shape), sum = 0;
    for (uint32_t i = 0; i < t->uses.len; i++)
        sum += taken_count(p, &t->uses.ptr[i]);
    if (sum < count)
        return rule_error(p->diag, p->out->mapping, t->rule,
                          "of the %lld elements of '%.*s' %s the rules take %lld",
                          (long long)count, STR_ARG(t->name), shape_format(p->arena, &t->shape),
                          (long long)sum);
    if (t->uses.len == 1) return true;
    Arena scratch = {0};
    uint32_t *taken = arena_array(&scratch, uint32_t, count);
    bool ok = true;
    for (uint32_t i = 0; ok && i < t->uses.len; i++)
        ok = mark_taken(p, t, i, taken);
    arena_release(&scratch);
    return ok;
}

bool map_plan_make(Diag *diag, Arena *arena, MapPlan *plan) {
    plan->fills = arena_array(arena, Fill, plan->our_count);
    Planner p = {.diag = diag, .arena = arena, .out = plan};
    collect_axes(&p);
    bool ok = true;
    for (uint32_t i = 0; i < plan->our_count && !diag_full(diag); i++)
        ok &= find_rule(&p, i);
    for (uint32_t i = 0; ok && i < plan->theirs.len; i++)
        ok = check_cover(&p, &plan->theirs.ptr[i]);
    return ok;
}
