// stream_group.c: a pass of a block that shares its scalars (stream_scalars.c), in groups of
// what it reduces and stores. A group is computed as if it were a pass of its own, so that only
// its sums are in registers; but loads that several groups need are made once, before them.
// Attention over depth: first the sums of one source after the other, then the results of one
// query after the other.
#include "codegen/cuda/stream_pass.h"
#include "ir/tile/tile_access.h"

enum { MOST_SUMS = 32, MOST_STORES = 4 };

static uint32_t op_count(const Stream *s) { return s->plan.p->ops.len; }

// What belongs into one group: ends of one kind, and near each other those whose first load is
// the same.
typedef struct {
    uint32_t end, load;
    int kind;  // 0: sums of cols, 1: maxima, 2: stores and sums over rows
} End;

static int kind_of(const Stream *s, uint32_t i) {
    if (!scalars_shares(s, i)) return 2;
    return stream_op(s, i)->fn == OP_REDUCE_SUM ? 0 : 1;
}

static bool is_before(const End *x, const End *y) {
    if (x->kind != y->kind) return x->kind < y->kind;
    return x->load < y->load;
}

// By value: the first load, of what changes from row to row, that it is computed from.
static uint32_t *first_loads(const Pass *pass) {
    const Stream *s = pass->s;
    uint32_t n = op_count(s), *first = arena_array(s->w->arena, uint32_t, n);
    for (uint32_t i = 1; i < n; i++) {
        const TileOp *op = stream_op(s, i);
        bool row = s->plan.ops[i].home >= LEVEL_TASK && s->plan.ops[i].col;
        first[i] = pass_loads(op) && row ? i : n;
        bool source = op->kind == TILE_REDUCE && !pass_ends(pass, i);
        for (uint32_t k = 0; !source && k < op->arity; k++)
            if (s->plan.ops[op->in[k].i].col && first[op->in[k].i] < first[i])
                first[i] = first[op->in[k].i];
    }
    return first;
}

static uint32_t ends_collect(const Pass *pass, End *ends) {
    const uint32_t *first = first_loads(pass);
    uint32_t count = 0;
    for (uint32_t i = 1; i < op_count(pass->s); i++) {
        if (!pass_ends(pass, i)) continue;
        End end = {i, first[i], kind_of(pass->s, i)};
        uint32_t at = count++;
        for (; at > 0 && is_before(&end, &ends[at - 1]); at--)
            ends[at] = ends[at - 1];
        ends[at] = end;
    }
    return count;
}

// How many ends from here on have the same kind and load.
static uint32_t run_length(const End *ends, uint32_t from, uint32_t count) {
    uint32_t k = from;
    while (k < count && ends[k].kind == ends[from].kind && ends[k].load == ends[from].load)
        k++;
    return k - from;
}

void groups_plan(Pass *pass) {
    const Stream *s = pass->s;
    End *ends = arena_array(s->w->arena, End, op_count(s));
    uint32_t count = ends_collect(pass, ends), filled = 0;
    int *group = arena_array(s->w->arena, int, op_count(s)), number = -1;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t most = ends[k].kind == 2 ? MOST_STORES : MOST_SUMS, run = 1;
        bool begins = k == 0 || ends[k].kind != ends[k - 1].kind;
        if (!begins && ends[k].load != ends[k - 1].load) run = run_length(ends, k, count);
        if (begins || filled == most || (filled + run > most && run <= most))
            number++, filled = 0;
        group[ends[k].end] = number;
        filled++;
    }
    pass->group = group;
    pass->number = ALL_GROUPS;
    pass->groups = number + 1;
}

// Is the load's memory, perhaps, that of a store of another group?
static bool meets_store(const Pass *pass, uint32_t load, int group) {
    const Stream *s = pass->s;
    uint32_t in = stream_op(s, load)->access.arg;
    for (uint32_t i = 1; i < op_count(s); i++) {
        const TileOp *op = stream_op(s, i);
        if (!tile_op_writes(op->kind) || !pass_ends(pass, i) || pass->group[i] == group)
            continue;
        if (op->access.arg == in || tile_in_place(s->plan.p, in, op->access.arg)) return true;
    }
    return false;
}

static int users_of(const Pass *pass, const Pass *each, uint32_t i, int *user) {
    int users = 0;
    for (int g = 0; g < pass->groups; g++)
        if (each[g].in[i]) users++, *user = g;
    return users;
}

// Is it computed of what is the same for all rows, and of nothing else?
static bool is_of_all_rows(const Stream *s, uint32_t i) {
    const TileOp *op = stream_op(s, i);
    return op->kind == TILE_MAP && s->plan.ops[i].col && s->plan.ops[i].home == LEVEL_KERNEL;
}

// Such values that several groups need, for what is not of their kind.
static void values_of_all_rows(const Pass *pass, const Pass *each, bool *before) {
    const Stream *s = pass->s;
    for (uint32_t i = 1; i < op_count(s); i++) {
        const TileOp *op = stream_op(s, i);
        bool user = (pass->in[i] || pass_ends(pass, i)) && !is_of_all_rows(s, i);
        for (uint32_t k = 0; user && k < op->arity; k++) {
            uint32_t in = op->in[k].i;
            int group;
            if (is_of_all_rows(s, in) && users_of(pass, each, in, &group) > 1)
                before[in] = true;
        }
    }
}

// By TileId: is it an operand of one operation in some group, and of another in another?
static bool *operands_apart(const Pass *pass, const Pass *each) {
    const Stream *s = pass->s;
    bool *apart = arena_array(s->w->arena, bool, op_count(s));
    uint32_t *user = arena_array(s->w->arena, uint32_t, op_count(s));
    for (uint32_t i = 1; i < op_count(s); i++) {
        int group;
        bool end = pass_ends(pass, i);
        if (!end && users_of(pass, each, i, &group) == 0) continue;
        for (uint32_t k = 0; k < stream_op(s, i)->arity; k++) {
            uint32_t in = stream_op(s, i)->in[k].i;
            apart[in] = apart[in] || (user[in] && user[in] != i);
            user[in] = i;
        }
    }
    return apart;
}

// Values that take much work and that several groups need: the mix that a gradient goes
// through.
static void values_of_much_work(const Pass *pass, const Pass *each, bool *before) {
    enum { LEAST_WORK = 16 };
    const Stream *s = pass->s;
    const bool *apart = operands_apart(pass, each);
    int *work = arena_array(s->w->arena, int, op_count(s));
    for (uint32_t i = 1; i < op_count(s); i++) {
        const TileOp *op = stream_op(s, i);
        if (op->kind != TILE_MAP || !s->plan.ops[i].col || !pass->in[i] || before[i]) continue;
        work[i] = 1;
        for (uint32_t k = 0; k < op->arity; k++)
            work[i] += work[i] < LEAST_WORK ? work[op->in[k].i] : 0;
        int group;
        if (work[i] < LEAST_WORK || !apart[i] || users_of(pass, each, i, &group) < 2) continue;
        before[i] = true;
        work[i] = 0;
    }
}

// Loads that are made before all groups.
static bool *loads_before(const Pass *pass, const Pass *each) {
    const Stream *s = pass->s;
    bool *before = arena_array(s->w->arena, bool, op_count(s));
    for (uint32_t i = 1; i < op_count(s); i++) {
        if (!pass->in[i] || !pass_loads(stream_op(s, i)) || !pass_early(pass, i) ||
            pass_left(pass, i))
            continue;
        int user = 0, users = users_of(pass, each, i, &user);
        bool outlives = pass->level->first[i] >= 0 && pass->level->last[i] > pass->round;
        bool again = users > 1 && !ring_has(s, i);
        before[i] = outlives || again || (users > 0 && meets_store(pass, i, user));
    }
    return before;
}

static void group_write(Pass *pass, Str first) {
    Stream *s = pass->s;
    uint32_t *sums = arena_array(s->w->arena, uint32_t, MOST_SUMS);
    int count = 0;
    cuda_open(s->w, "/* %d */", pass->number + 1);
    for (uint32_t i = 1; i < op_count(s); i++)
        if (pass_ends(pass, i) && scalars_shares(s, i)) sums[count++] = i;
    pass_reduces_declare(pass);
    pass_part(pass);
    if (count > 0) scalars_of_warp(s, sums, count, first);
    cuda_close(s->w);
}

// They stay for later passes, which would declare them again.
static void values_keep(const Pass *pass, const bool *values) {
    if (!pass->s->shape.resident) return;
    for (uint32_t i = 1; i < op_count(pass->s); i++)
        if (values[i] && pass->level->first[i] < 0) pass->level->first[i] = pass->round;
}

void groups_write(Pass *pass) {
    Stream *s = pass->s;
    Pass *each = arena_array(s->w->arena, Pass, (size_t)pass->groups + 1);
    for (int g = 0; g < pass->groups; g++)
        each[g] = pass_of_group(pass, g, NULL);
    bool *values = arena_array(s->w->arena, bool, op_count(s));
    values_of_all_rows(pass, each, values);
    values_of_much_work(pass, each, values);
    for (int g = 0; g < pass->groups; g++)
        each[g] = pass_of_group(pass, g, values);
    bool *there = loads_before(pass, each);
    Pass before = pass_of_values(pass, there, values);
    pass_part(&before);
    values_keep(pass, values);
    Str first = s->shape.resident
                    ? STR("true")
                    : str_printf(s->w->arena, "%.*s_base == 0", STR_ARG(cols_name(s)));
    for (int g = 0; g < pass->groups; g++) {
        each[g].there = there;
        needs_measure(&each[g]);
        group_write(&each[g], first);
    }
}
