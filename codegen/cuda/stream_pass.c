// stream_pass.c: one pass over the cols of a row: what it computes, what it leaves to later
// passes, and in what order its text is written.
#include "codegen/cuda/stream_pass.h"

#include "ir/tile/tile_access.h"

static const TileOp *op_at(const Pass *pass, uint32_t i) { return stream_op(pass->s, i); }
static uint32_t op_count(const Stream *s) { return s->plan.p->ops.len; }

// ---- reductions

Str stream_start(CudaWriter *w, const TileOp *reduce) {
    bool sum = reduce->fn == OP_REDUCE_SUM;
    if (reduce->type == DTYPE_F32) return sum ? STR("0.0f") : STR("-INFINITY");
    return cuda_number(w, sum ? 0 : INT32_MIN, DTYPE_I32);
}

Str stream_add(CudaWriter *w, const TileOp *reduce, Str sum, Str x) {
    if (reduce->fn == OP_REDUCE_SUM)
        return str_printf(w->arena, "%.*s += %.*s;", STR_ARG(sum), STR_ARG(x));
    return str_printf(w->arena, "%.*s = %s(%.*s, %.*s);", STR_ARG(sum),
                      reduce->type == DTYPE_F32 ? "fmaxf" : "max", STR_ARG(sum), STR_ARG(x));
}

Str stream_scalar_text(Stream *s, TileId v) {
    const TileOp *op = tile_op(s->plan.p, v);
    if (op->kind == TILE_CONST) return cuda_number(s->w, op->number, op->type);
    if (scalars_place(s, v.i)) {
        int64_t step = s->scalars.step[v.i];
        Str lane =
            step == 0 ? (Str){0} : str_printf(s->w->arena, " + at * %lld", (long long)step);
        return str_printf(s->w->arena, "scalars[%d%.*s]", s->scalars.place[v.i], STR_ARG(lane));
    }
    return cuda_name(s->w, v);
}

// ---- what belongs to a pass

static double chain_cost(const Stream *s, uint32_t i);

// Worth a register an element from one pass to the next?
static bool may_keep(const Stream *s, uint32_t i) {
    const TileOp *op = stream_op(s, i);
    if (!s->shape.resident) return false;
    if (op->kind == TILE_LOAD || op->kind == TILE_GATHER) return true;
    return op->kind == TILE_MAP && !s->shape.shares && chain_cost(s, i) >= 4;
}

// Operations that computing the value again would take.
static double chain_cost(const Stream *s, uint32_t i) {
    const TileOp *op = stream_op(s, i);
    if (op->kind != TILE_MAP || !s->plan.ops[i].col) return 0;
    double cost = op_flops(op->fn);
    for (uint32_t k = 0; k < op->arity && cost < 4; k++)
        cost += chain_cost(s, op->in[k].i);
    return cost;
}

// Is the value in registers, from an earlier pass or from before the groups?
bool pass_left(const Pass *pass, uint32_t i) {
    int first = pass->level->first[i];
    return (first >= 0 && first < pass->round) || (pass->there && pass->there[i]);
}

bool pass_ends(const Pass *pass, uint32_t i) {
    const StreamPlan *plan = &pass->s->plan;
    if (pass->group && pass->number != ALL_GROUPS && pass->group[i] != pass->number)
        return false;
    return stream_reduces(plan, &pass->level->plan, i, pass->round) ||
           stream_ends_at_cols(plan, &pass->level->plan, i, pass->round);
}

static void pass_mark(Pass *pass) {
    Stream *s = pass->s;
    for (uint32_t i = op_count(s) - 1; i > 0; i--) {
        const TileOp *op = op_at(pass, i);
        bool end = pass_ends(pass, i);
        if (!end && !pass->in[i]) continue;
        // A sum over rows is complete here: its own operand is another level's matter.
        bool source = op->kind == TILE_REDUCE && !end;
        if (source || (!end && pass_left(pass, i))) continue;
        for (uint32_t k = 0; k < op->arity; k++)
            if (s->plan.ops[op->in[k].i].col) pass->in[op->in[k].i] = true;
    }
}

static Pass pass_new(Stream *s, Level *l, int round) {
    uint32_t n = op_count(s);
    Pass pass = {.s = s, .level = l, .round = round};
    pass.in = arena_array(s->w->arena, bool, n);
    pass.stored = arena_array(s->w->arena, bool, n);
    pass.form = arena_array(s->w->arena, Form, n);
    pass_mark(&pass);
    for (uint32_t i = 1; i < n; i++) {
        if (!pass.in[i]) continue;
        if (ring_has(s, i)) ring_reads(s, round);
        if (l->last[i] < round) l->last[i] = round;
        if (l->first[i] < 0 && may_keep(s, i)) l->first[i] = round;
    }
    return pass;
}

void rounds_plan(Stream *s, Level *l) {
    l->first = arena_array(s->w->arena, int, op_count(s));
    l->last = arena_array(s->w->arena, int, op_count(s));
    for (uint32_t i = 0; i < op_count(s); i++)
        l->first[i] = l->last[i] = -1;
    for (int round = 0; round <= l->plan.last_col; round++)
        if (stream_pass_due(&s->plan, &l->plan, round)) pass_new(s, l, round);
}

// Loads whose address needs no value of this pass: they all come first.
bool pass_early(const Pass *pass, uint32_t i) {
    const TileOp *op = op_at(pass, i);
    if (pass->s->shape.stashed) return false;
    return op->kind == TILE_LOAD ||
           (op->kind == TILE_GATHER && !pass->s->plan.ops[op->in[0].i].col);
}

static bool is_kept(const Pass *pass, uint32_t i) {
    return pass->level->first[i] == pass->round && pass->level->last[i] > pass->round;
}

static Form form_of(const Pass *pass, uint32_t i) {
    const TileOp *op = op_at(pass, i);
    bool early = pass_loads(op) && pass_early(pass, i);
    if (early && stream_is_packed(pass->s, i)) return FORM_PACKED;
    bool array = early || op->kind == TILE_REDUCE || pass_left(pass, i) || is_kept(pass, i) ||
                 pass->stored[i];
    return array ? FORM_ARRAY : FORM_LOCAL;
}

static void stored_set(Pass *pass) {
    for (uint32_t i = 1; i < op_count(pass->s); i++) {
        if (!tile_op_writes(op_at(pass, i)->kind) || !pass_ends(pass, i)) continue;
        for (uint32_t k = 0; k < op_at(pass, i)->arity; k++)
            pass->stored[op_at(pass, i)->in[k].i] = true;
    }
}

Pass pass_of_group(const Pass *pass, int group, const bool *there) {
    Pass part = *pass;
    part.number = group;
    part.there = there;
    part.in = arena_array(pass->s->w->arena, bool, op_count(pass->s));
    part.stored = arena_array(pass->s->w->arena, bool, op_count(pass->s));
    pass_mark(&part);
    stored_set(&part);
    return part;
}

Pass pass_of_values(const Pass *pass, bool *there, const bool *values) {
    Pass part = *pass;
    uint32_t n = op_count(pass->s);
    part.number = pass->groups;  // no group's
    part.in = arena_array(pass->s->w->arena, bool, n);
    part.stored = arena_array(pass->s->w->arena, bool, n);
    for (uint32_t i = 1; i < n; i++) {
        part.in[i] = there[i] || values[i];
        there[i] = part.in[i];
        if (values[i]) part.form[i] = FORM_ARRAY;
    }
    pass_mark(&part);
    return part;
}

static void forms_set(Pass *pass) {
    Stream *s = pass->s;
    stored_set(pass);
    for (uint32_t i = 1; i < op_count(s); i++)
        if (pass->in[i]) pass->form[i] = form_of(pass, i);
}

// ---- measuring

static double form_registers(const Pass *pass, uint32_t i) {
    return pass->form[i] == FORM_PACKED ? 0.5 : pass->form[i] == FORM_ARRAY ? 1 : 0;
}

// Values without cols that the elements of the pass need.
static int scalars_used(const Pass *pass) {
    const Stream *s = pass->s;
    bool *used = arena_array(s->w->arena, bool, op_count(s));
    int count = 0;
    for (uint32_t i = 1; i < op_count(s); i++) {
        const TileOp *op = op_at(pass, i);
        bool here = (pass->in[i] && !pass_left(pass, i)) || pass_ends(pass, i);
        for (uint32_t k = 0; here && k < op->arity; k++) {
            uint32_t in = op->in[k].i;
            if (s->plan.ops[in].col || used[in] || op_at(pass, in)->kind == TILE_CONST ||
                s->scalars.place[in] >= 0)
                continue;
            used[in] = true;
            count++;
        }
    }
    return count;
}

void needs_measure(Pass *pass) {
    Stream *s = pass->s;
    const Level *l = pass->level;
    double left = s->open_sums, loaded = 0;
    int reduced = 0, stored = 0, shared = 0;
    for (uint32_t i = 1; i < op_count(s); i++) {
        if (stream_reduces(&s->plan, &l->plan, i, pass->round) && pass_ends(pass, i)) {
            if (scalars_shares(s, i))
                shared++;
            else
                reduced++;
        }
        bool later = l->first[i] >= 0 && l->first[i] <= pass->round && l->last[i] > pass->round;
        bool there = pass->there && pass->there[i];
        if (pass_left(pass, i) && (there || l->last[i] >= pass->round))
            left += stream_is_packed(s, i) ? 0.5 : 1;
        else if (pass->in[i] && pass_loads(op_at(pass, i)))
            loaded += form_registers(pass, i);
        else if (later)
            left += 1;
        stored += pass->stored[i] && pass->in[i];
    }
    // Results take the place of what was loaded, but not quite in step.
    double most = loaded > stored ? loaded : stored, least = loaded + stored - most;
    double live = left + most + least / 4;
    int scalars = scalars_used(pass) + shared;
    if (live > s->measured.live) s->measured.live = live;
    if (scalars > s->measured.scalars) s->measured.scalars = scalars;
    if (reduced > s->measured.reduced) s->measured.reduced = reduced;
    if (stored > s->measured.stored) s->measured.stored = stored;
}

// ---- the pass

void pass_part(Pass *pass) {
    pass_arrays(pass);
    pass_load_all(pass);
    pass_elements(pass);
    pass_store_all(pass);
}

static void pass_body(Pass *pass) {
    Stream *s = pass->s;
    s->stash_used = 0;
    bool ring = s->ring.bytes > 0 && pass->level->plan.level == LEVEL_TASK;
    if (ring && pass->group) {
        ring_wait(s, pass->round);
        groups_write(pass);
        ring_release(s, pass->round);
        return;
    }
    if (pass->group) {
        groups_write(pass);
        return;
    }
    pass_arrays(pass);
    if (ring) ring_wait(s, pass->round);
    pass_load_all(pass);
    if (ring) ring_release(s, pass->round);
    pass_elements(pass);
    pass_store_all(pass);
}

// Opens the loop over the parts of a row that does not stay; its vectors begin at the base.
static void parts_open(Stream *s) {
    if (s->shape.resident) return;
    Str base = str_printf(s->w->arena, "%.*s_base", STR_ARG(cols_name(s)));
    int64_t step = (int64_t)s->shape.threads * s->shape.width * s->shape.steps;
    cuda_open(s->w, "NO_UNROLL for (int %.*s = 0; %.*s < %lld; %.*s += %lld)", STR_ARG(base),
              STR_ARG(base), (long long)s->plan.p->dims[s->plan.col].extent, STR_ARG(base),
              (long long)step);
    s->col_first = str_printf(s->w->arena, "%.*s + ", STR_ARG(base));
    if (s->ring.bytes > 0)
        cuda_line(s->w, "const int part = %.*s / %lld;", STR_ARG(base), (long long)step);
}

static void parts_close(Stream *s) {
    if (s->shape.resident) return;
    s->col_first = (Str){0};
    cuda_close(s->w);
}

void pass_write(Stream *s, Level *l, int round) {
    Pass pass = pass_new(s, l, round);
    forms_set(&pass);
    if (s->shape.shares)
        groups_plan(&pass);
    else
        needs_measure(&pass);
    pass_reduces_declare(&pass);
    parts_open(s);
    pass_body(&pass);
    parts_close(s);
    if (s->ring.bytes > 0 && l->plan.level == LEVEL_TASK) ring_pass_end(s, round);
    pass_team_reduces(&pass);
    scalars_of_block(s);
}

// ---- sums over rows

// Elements of a sum in shared memory: whole vectors of every thread.
int64_t stream_sum_cols(const Stream *s) {
    int64_t step = (int64_t)s->shape.threads * s->shape.width * s->shape.steps;
    return ((s->plan.p->dims[s->plan.col].extent - 1) / step + 1) * step;
}

int64_t stream_shared_words(const Stream *s) {
    bool keeps = !s->shape.resident && s->needs.kept_sums > 0;  // only where there are cols
    int64_t sums = keeps ? s->needs.kept_sums - stream_sums_out(s) : 0;
    int64_t words = sums > 0 ? sums * stream_sum_cols(s) : 0;
    return s->ring.bytes / 4 + words +
           (s->shape.stashed ? s->needs.stored * s->shape.threads : 0) + scalars_words(s);
}

// Is the memory that of other accesses too?
static bool find_met(const Stream *s, const TileOp *store) {
    for (uint32_t i = 1; i < op_count(s); i++) {
        const TileOp *op = stream_op(s, i);
        if (op == store || !tile_op_accesses(op->kind)) continue;
        uint32_t arg = op->access.arg, to = store->access.arg;
        bool reads = !tile_op_writes(op->kind);
        if (arg == to || (reads && tile_in_place(s->plan.p, arg, to))) return true;
    }
    return false;
}

static bool is_met(const Stream *s, uint32_t store) {
    StreamMeeting *met = &s->met_any[store];
    if (*met == MEETING_UNKNOWN)
        *met = find_met(s, stream_op(s, store)) ? MEETING_ANY : MEETING_NONE;
    return *met == MEETING_ANY;
}

// A store of a sum over rows whose elements can be added up where it puts them; NULL: there is
// none. A thread adds to and stores the same cols.
static const TileOp *loose_store(const Stream *s, uint32_t sum) {
    DimSet dims = stream_op(s, sum)->dims;
    if (stream_op(s, sum)->type != DTYPE_F32) return NULL;
    for (uint32_t i = 1; i < op_count(s); i++) {
        const TileOp *op = stream_op(s, i);
        if (op->kind != TILE_STORE || op->in[0].i != sum) continue;
        bool fits = s->plan.p->args.ptr[op->access.arg].type == DTYPE_F32 &&
                    op->access.stride[s->plan.col] == 1 && !is_met(s, i) &&
                    op->access.guard[0].dim < 0 && op->access.guard[1].dim < 0;
        for (uint32_t d = 0; d < s->plan.p->dim_count; d++)
            fits = fits && (dims >> d & 1 || op->access.stride[d] == 0);
        if (fits) return op;
    }
    return NULL;
}

static void sum_at_store(Stream *s, Str name, const TileOp *store) {
    CudaPoint first = s->at;
    first.at[s->plan.col] = STR("0");
    cuda_line(s->w, "float *const %.*s = %.*s;", STR_ARG(name),
              STR_ARG(cuda_address(s->w, store, &first, (Str){0})));
}

void col_sums_start(Stream *s, uint32_t i) {
    const TileOp *op = stream_op(s, i);
    Str name = cuda_name(s->w, (TileId){i}), start = stream_start(s->w, op);
    const char *type = cuda_value_type(op->type);
    s->measured.kept_sums++;
    if (s->shape.resident) {
        int elements = s->shape.width * s->shape.steps;
        cuda_line(s->w, "%s %.*s[%d];", type, STR_ARG(name), elements);
        cuda_line(s->w, "UNROLL for (int i = 0; i < %d; i++) %.*s[i] = %.*s;", elements,
                  STR_ARG(name), STR_ARG(start));
        return;
    }
    const TileOp *store = loose_store(s, i);
    s->measured.loose_sums += store != NULL;
    if (store && s->sums_out < stream_sums_out(s)) {
        s->sums_out++;
        sum_at_store(s, name, store);
    } else {
        cuda_convert(s->w, (TileId){i}, STR("summed over rows at its cols"), 1,
                     stream_sum_cols(s) * 4);
        cuda_line(s->w, "%s *const %.*s = (%s *)shared + %lld;", type, STR_ARG(name), type,
                  (long long)s->sums_used * stream_sum_cols(s));
        s->sums_used++;
    }
    parts_open(s);
    cols_open(s);
    cols_singles_open(s);
    Str col = s->shape.width == 1 ? cols_name(s)
                                  : str_printf(s->w->arena, "%.*s + v", STR_ARG(cols_name(s)));
    cuda_line(s->w, "%.*s[%.*s] = %.*s;", STR_ARG(name), STR_ARG(col), STR_ARG(start));
    cols_singles_close(s);
    cuda_close(s->w);
    parts_close(s);
}
