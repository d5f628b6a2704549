// stream.c: the STREAM skeleton for CUDA: the kernel, its tasks, the loops over serial
// dimensions and what is computed between the passes over the cols.
#include "codegen/cuda/stream.h"

#include "base/check.h"
#include "ir/tile/tile_access.h"

static void level_write(Stream *s, int level, const bool *target);

static uint32_t op_count(const Stream *s) { return s->plan.p->ops.len; }

// ---- scalars

// In lanes side by side the same of other places: see stream_lanes.c.
static Str load_text(Stream *s, const TileOp *op, Str row) {
    CudaWriter *w = s->w;
    int64_t step = s->scalars.step[op - s->plan.p->ops.ptr];
    if (step == 0) return cuda_load(w, op, &s->at, row);
    Str element = str_printf(w->arena, "(%.*s)[(i64)at * %lld]",
                             STR_ARG(cuda_address(w, op, &s->at, row)), (long long)step);
    Str value = cuda_widen(w, s->plan.p->args.ptr[op->access.arg].type, element);
    Str condition = cuda_access_condition(w, op, &s->at, row);
    if (condition.len == 0) return value;
    return str_printf(w->arena, "(%.*s ? %.*s : %.*s)", STR_ARG(condition), STR_ARG(value),
                      STR_ARG(cuda_number(w, 0, op->type)));
}

static Str scalar_text(Stream *s, const TileOp *op) {
    switch ((int)op->kind) {
    case TILE_INDEX: return cuda_index(s->w, op, &s->at);
    case TILE_LOAD: return load_text(s, op, (Str){0});
    case TILE_GATHER: return load_text(s, op, stream_scalar_text(s, op->in[0]));
    case TILE_MAP: {
        Str in[3] = {0};
        for (uint32_t k = 0; k < op->arity; k++)
            in[k] = stream_scalar_text(s, op->in[k]);
        return cuda_map(s->w, op, in);
    }
    default: break;
    }
    BUG("operation %d is not a scalar", (int)op->kind);
}

void stream_scalar_write(Stream *s, uint32_t i) {
    const TileOp *op = stream_op(s, i);
    cuda_comment(s->w, op);
    cuda_line(s->w, "const %s %.*s = %.*s;", cuda_value_type(op->type),
              STR_ARG(cuda_name(s->w, (TileId){i})), STR_ARG(scalar_text(s, op)));
}

// Sums over rows that get a scalar.
static void scalar_sums_write(Stream *s, const Level *l) {
    for (uint32_t i = 1; i < op_count(s); i++) {
        const TileOp *op = stream_op(s, i);
        if (op->kind != TILE_REDUCE || !stream_ends(&s->plan, &l->plan, i) ||
            s->plan.ops[op->in[0].i].col)
            continue;
        cuda_comment(s->w, op);
        Str sum = cuda_name(s->w, (TileId){i});
        cuda_line(s->w, "%.*s",
                  STR_ARG(stream_add(s->w, op, sum, stream_scalar_text(s, op->in[0]))));
    }
}

static void store_write(Stream *s, const TileOp *op, Str value) {
    CudaWriter *w = s->w;
    int64_t step = s->scalars.step[op - s->plan.p->ops.ptr];
    if (step == 0) {
        cuda_store(w, op, &s->at, value);
        return;
    }
    DType type = s->plan.p->args.ptr[op->access.arg].type;
    cuda_line(w, "(%.*s)[(i64)at * %lld] = %.*s;",
              STR_ARG(cuda_address(w, op, &s->at, (Str){0})), (long long)step,
              STR_ARG(cuda_narrow(w, type, value)));
}

void stream_scalar_store(Stream *s, uint32_t i) {
    const TileOp *op = stream_op(s, i);
    cuda_comment(s->w, op);
    Str value = stream_scalar_text(s, op->in[op->arity - 1]);
    if (op->kind == TILE_STORE) {
        store_write(s, op, value);
        return;
    }
    CudaScatter what = {.row = stream_scalar_text(s, op->in[0]), .value = value};
    cuda_scatter(s->w, op, &s->at, &what);
}

static bool stores_scalar(const Stream *s, const Level *l, uint32_t i) {
    return tile_op_writes(stream_op(s, i)->kind) && !s->plan.ops[i].col &&
           stream_ends(&s->plan, &l->plan, i);
}

static bool is_met_by_load(const Stream *s, uint32_t out) {
    bool *asked = arena_array(s->w->arena, bool, s->plan.p->args.len);
    for (uint32_t i = 1; i < op_count(s); i++) {
        const TileOp *op = stream_op(s, i);
        if ((op->kind != TILE_LOAD && op->kind != TILE_GATHER) || s->plan.ops[i].col) continue;
        uint32_t in = op->access.arg;
        if (in == out || (!asked[in] && tile_in_place(s->plan.p, in, out))) return true;
        asked[in] = true;
    }
    return false;
}

// May a thread of the team still have to load what this store writes? Then the memory is also
// that of a load without cols, which every thread makes.
static bool store_waits(Stream *s, const TileOp *store) {
    StreamMeeting *met = &s->met[store->access.arg];
    if (*met == MEETING_UNKNOWN)
        *met = is_met_by_load(s, store->access.arg) ? MEETING_LOAD : MEETING_NONE;
    return store->kind == TILE_SCATTER || *met == MEETING_LOAD;
}

static void stores_write(Stream *s, const uint32_t *stores, int count) {
    if (count == 0) return;
    if (s->shape.threads > 1) cuda_open(s->w, "if (lane == 0)");
    for (int k = 0; k < count; k++)
        stream_scalar_store(s, stores[k]);
    if (s->shape.threads > 1) cuda_close(s->w);
}

// One thread stores what all have computed.
static void scalar_stores_write(Stream *s, const Level *l) {
    uint32_t *stores = arena_array(s->w->arena, uint32_t, op_count(s));
    int count = 0;
    bool waits = false;
    for (uint32_t i = 1; i < op_count(s); i++) {
        if (!stores_scalar(s, l, i) || l->stored[i]) continue;
        stores[count++] = i;
        waits = waits || store_waits(s, stream_op(s, i));
    }
    if (count == 0) return;
    if (waits && s->shape.threads > 1) cuda_line(s->w, "team_sync<%d>();", s->shape.threads);
    if (s->shape.shares)
        scalars_store(s, stores, count);
    else
        stores_write(s, stores, count);
}

// Stores of these scalars that need not wait for what other threads load.
static void stores_at_once(Stream *s, Level *l, const uint32_t *scalars,
                           uint32_t scalar_count) {
    uint32_t *stores = arena_array(s->w->arena, uint32_t, op_count(s));
    bool *among = arena_array(s->w->arena, bool, op_count(s));
    int count = 0;
    for (uint32_t k = 0; k < scalar_count; k++)
        among[scalars[k]] = true;
    for (uint32_t i = 1; i < op_count(s); i++) {
        const TileOp *op = stream_op(s, i);
        if (op->kind != TILE_STORE || !among[op->in[0].i] || !stores_scalar(s, l, i) ||
            store_waits(s, op))
            continue;
        l->stored[i] = true;
        stores[count++] = i;
    }
    stores_write(s, stores, count);
}

// Many scalars, such as those of an iteration, are stored as they are computed: registers would
// not hold all of them to the end.
static void scalars_write(Stream *s, Level *l, int round) {
    enum { AT_A_TIME = 64 };
    if (s->shape.shares) {
        scalars_write_shared(s, l, round);
        return;
    }
    uint32_t *order = arena_array(s->w->arena, uint32_t, op_count(s)),
             count = stream_scalars_order(s, l, round, order);
    for (uint32_t k = 0; k < count; k++) {
        stream_scalar_write(s, order[k]);
        bool full = (k + 1) % AT_A_TIME == 0 || k + 1 == count;
        uint32_t first = k - k % AT_A_TIME;
        if (count >= MANY_SCALARS && full) stores_at_once(s, l, order + first, k - first + 1);
    }
}

// ---- tasks

static Str index_name(Stream *s, uint32_t d) {
    return str_printf(s->w->arena, "%.*s_at", STR_ARG(cuda_dim(s->w, d)));
}

static int64_t cols_tiles(const Stream *s) {
    if (s->plan.col < 0) return 1;
    return (s->plan.p->dims[s->plan.col].extent - 1) / s->shape.tile + 1;
}

int64_t stream_tasks(const Stream *s) {
    int64_t tasks = cols_tiles(s);
    for (uint32_t d = 0; d < s->plan.p->dim_count; d++)
        if (s->plan.p->dims[d].role == DIM_GRID) tasks *= s->plan.p->dims[d].extent;
    return tasks;
}

// `task / after % extent`, without what does nothing.
static Str digit(Stream *s, int64_t after, int64_t extent, int64_t tasks) {
    StrBuf text = {0};
    strbuf_addz(&text, after > 1 || after * extent < tasks ? "(int)((u32)task" : "task");
    if (after > 1) strbuf_addf(&text, " / %lld", (long long)after);
    if (after * extent < tasks) strbuf_addf(&text, " %% %lld", (long long)extent);
    if (after > 1 || after * extent < tasks) strbuf_addc(&text, ')');
    Str out = str_copy(s->w->arena, strbuf_view(&text));
    strbuf_release(&text);
    return out;
}

// Task numbers run row-major over the dimensions in their order.
void task_indices_write(Stream *s) {
    int64_t tasks = stream_tasks(s), after = tasks;
    for (uint32_t d = 0; d < s->plan.p->dim_count; d++) {
        const TileDim *dim = &s->plan.p->dims[d];
        Str name = index_name(s, d);
        bool col = (int)d == s->plan.col;
        s->at.at[d] = col || dim->role == DIM_SERIAL || dim->extent > 1 ? name : STR("0");
        int64_t extent = col ? cols_tiles(s) : dim->role == DIM_GRID ? dim->extent : 1;
        if (extent == 1) continue;
        after /= extent;
        Str index = digit(s, after, extent, tasks);
        if (!col) {
            cuda_line(s->w, "const int %.*s = %.*s;", STR_ARG(name), STR_ARG(index));
            continue;
        }
        cuda_line(s->w, "const int %.*s_first = %.*s * %lld;", STR_ARG(name), STR_ARG(index),
                  (long long)s->shape.tile);
        s->col_first = str_printf(s->w->arena, "%.*s_first + ", STR_ARG(name));
    }
}

static void tasks_write(Stream *s, const bool *target) {
    int teams = s->shape.teams;
    const char *team = s->shape.threads == 1
                           ? "threadIdx.x"
                           : arena_printf(s->w->arena, "threadIdx.x / %d", s->shape.threads);
    const char *first = teams == 1
                            ? "blockIdx.x"
                            : arena_printf(s->w->arena, "blockIdx.x * %d + %s", teams, team);
    const char *step =
        teams == 1 ? "gridDim.x" : arena_printf(s->w->arena, "gridDim.x * %d", teams);
    // No loop around a single row: the compiler would keep what it loads for the next one.
    if (stream_tasks(s) == 1)
        cuda_open(s->w, "if (const int task = %s; task < 1)", first);
    else
        cuda_open(s->w, "NO_UNROLL for (int task = %s; task < %lld; task += %s)", first,
                  (long long)stream_tasks(s), step);
    task_indices_write(s);
    level_write(s, LEVEL_TASK, target);
    cuda_close(s->w);
}

// ---- loops inside a level

static void sum_start(Stream *s, uint32_t i) {
    if (s->plan.ops[i].col) {
        col_sums_start(s, i);
        return;
    }
    const TileOp *op = stream_op(s, i);
    cuda_line(s->w, "%s %.*s = %.*s;", cuda_value_type(op->type),
              STR_ARG(cuda_name(s->w, (TileId){i})), STR_ARG(stream_start(s->w, op)));
}

// Where rows are only added up, those of several iterations are loaded at once.
static bool loop_only_sums(const Stream *s, const bool *target) {
    for (uint32_t i = 1; i < op_count(s); i++) {
        if (target[i] && tile_op_writes(stream_op(s, i)->kind)) return false;
        if (stream_op(s, i)->kind == TILE_REDUCE && !s->plan.ops[i].over_serial) return false;
    }
    return true;
}

static void serial_write(Stream *s, const Level *l, const bool *target) {
    int d = s->plan.serial[l->plan.level - LEVEL_TASK];
    Str name = index_name(s, (uint32_t)d);
    bool sums = loop_only_sums(s, target), apart = s->shape.shares && !sums;
    Str loop = apart ? str_printf(s->w->arena, "%.*s_row", STR_ARG(name)) : name;
    cuda_open(s->w, "%s for (int %.*s = 0; %.*s < %lld; %.*s++)",
              sums ? "UNROLL_4" : "NO_UNROLL", STR_ARG(loop), STR_ARG(loop),
              (long long)s->plan.p->dims[d].extent, STR_ARG(loop));
    if (apart)
        cuda_line(s->w, "const int %.*s = row_alone(%.*s);", STR_ARG(name), STR_ARG(loop));
    level_write(s, l->plan.level + 1, target);
    cuda_close(s->w);
}

// One run through the loop of the next level: the sums over rows that it completes, and in its
// last round all deeper stores.
static void inner_write(Stream *s, const Level *l, int round) {
    const bool *target = stream_inner_targets(&s->plan, &l->plan, round);
    if (target == NULL) return;
    int opened = 0;
    for (uint32_t i = 1; i < op_count(s); i++) {
        if (!stream_sums(&s->plan, &l->plan, i, round)) continue;
        sum_start(s, i);
        opened += s->plan.ops[i].col;
    }
    s->open_sums += opened;
    if (l->plan.level == LEVEL_KERNEL)
        tasks_write(s, target);
    else
        serial_write(s, l, target);
    s->scalars.waited = false;
}

static void level_write(Stream *s, int level, const bool *target) {
    Level l = {.plan = stream_level(&s->plan, level, target)};
    stream_level_delay(&s->plan, &l.plan);
    l.stored = arena_array(s->w->arena, bool, op_count(s));
    rounds_plan(s, &l);
    int open_sums = s->open_sums;
    s->scalars.waited = false;
    for (int round = 0; round <= l.plan.last; round++) {
        scalars_write(s, &l, round);
        if (stream_pass_due(&s->plan, &l.plan, round)) pass_write(s, &l, round);
        if (round <= l.plan.last_inner) inner_write(s, &l, round);
    }
    scalar_sums_write(s, &l);
    scalar_stores_write(s, &l);
    s->open_sums = open_sums;
}

// ---- the kernel

static void team_declare(Stream *s) {
    const StreamShape *shape = &s->shape;
    if (shape->threads == 1) return;
    cuda_line(s->w,
              shape->teams == 1 ? "const int lane = threadIdx.x;"
                                : "const int lane = threadIdx.x %% %d;",
              shape->threads);
    if (s->needs.reduced == 0) return;
    if (shape->threads <= 32) {
        cuda_line(s->w, "Team<%d> team = {};", shape->threads);
        return;
    }
    int half = stream_reduction_words(s);
    cuda_line(s->w, "__shared__ u32 team_words[%d];", 2 * half);
    cuda_line(s->w, "Team<%d> team = {team_words, %d, 0};", shape->threads, half);
}

static void shape_comment(Stream *s) {
    const StreamShape *shape = &s->shape;
    if (s->plan.col < 0) {
        cuda_line(s->w, "// One thread a task.");
        return;
    }
    cuda_line(
        s->w,
        "// %d thread%s a row of %lld cols, each with %d x %d of them%s; %d row%s a block.",
        shape->threads, shape->threads > 1 ? "s" : "", (long long)shape->tile, shape->steps,
        shape->width, shape->resident ? "" : " at a time", shape->teams,
        shape->teams > 1 ? "s" : "");
}

static void kernel_write(Stream *s) {
    CudaWriter *w = s->w;
    cuda_line(w, "#include \"stream.cuh\"");
    cuda_line(w, "%s", "");
    shape_comment(s);
    int threads = s->shape.threads * s->shape.teams;
    Str parameters = cuda_parameters(w);
    if (s->shape.shares)
        cuda_open(w, "KERNEL_RESIDENT(%d, %lld) kernel(%.*s)", threads,
                  (long long)stream_blocks_of_unit(s), STR_ARG(parameters));
    else if (stream_tasks(s) == 1)  // no second block is worth a spilled register
        cuda_open(w, "KERNEL_RESIDENT(%d, 1) kernel(%.*s)", threads, STR_ARG(parameters));
    else
        cuda_open(w, "KERNEL(%d) kernel(%.*s)", threads, STR_ARG(parameters));
    if (s->plan.col >= 0 && stream_shared_words(s) > 0) cuda_line(w, "DYNAMIC_SHARED(shared);");
    s->sums_used = 0;
    s->sums_out = 0;
    team_declare(s);
    scalars_start(s);
    if (s->ring.bytes > 0) ring_start(s);
    level_write(s, LEVEL_KERNEL, stream_targets(&s->plan));
    cuda_close(w);
}

static void shape_set(Stream *s, StreamShape shape) {
    s->shape = shape;
    s->ring = (StreamRing){0};
    s->col_first = (Str){0};
    if (s->plan.col < 0) return;
    s->at.at[s->plan.col] = index_name(s, (uint32_t)s->plan.col);
    int64_t extent = s->plan.p->dims[s->plan.col].extent;
    s->needs_tail = extent % ((int64_t)shape.threads * shape.width * shape.steps) != 0;
}

// Writes the kernel, only to see what it needs.
static StreamNeeds needs_of(Stream *s, StreamShape shape) {
    uint32_t conversions = s->w->conversions.len;
    s->measured = (StreamNeeds){0};
    shape_set(s, shape);
    s->w->silent = true;
    kernel_write(s);
    s->w->silent = false;
    s->w->conversions.len = conversions;
    return s->measured;
}

// With teams of some size.
static void needs_find(Stream *s, StreamShape shape) {
    shape.threads = shape.shares ? 64 : 32;
    shape.teams = shape.steps = 1;
    shape.tile = s->plan.col < 0 ? 1 : s->plan.p->dims[s->plan.col].extent;
    s->needs = (StreamNeeds){0};
    s->needs = needs_of(s, shape);
}

// What warps share depends on how many there are.
static bool shared_fits(Stream *s) {
    StreamNeeds needs = needs_of(s, s->shape);
    s->needs.shared_scalars = needs.shared_scalars;
    s->needs.shared_sums = needs.shared_sums;
    return stream_shared_left(s) >= 0;
}

static bool shape_find(Stream *s, StreamShape kind, bool strict) {
    if (kind.resident && tile_knob(s->plan.p, "keep", -1) == 0) return false;
    int least = kind.width > 1 ? kind.width : 1;
    for (int width = stream_width(&s->plan); width >= least; width /= 2) {
        StreamShape shape;
        kind.width = width;
        needs_find(s, kind);
        if (!stream_shape_choose(s, strict, &shape)) continue;
        shape_set(s, shape);
        if (!shape.shares || shared_fits(s)) return true;
    }
    return false;
}

// The row comes through shared memory, for passes that load it again and again.
static bool ring_find(Stream *s, StreamShape kind) {
    if (s->plan.col < 0 || tile_knob(s->plan.p, "ring", 0) < 0) return false;
    return shape_find(s, kind, true) && !s->shape.stashed && ring_plan(s);
}

// Would scalars fill the registers of every thread?
static bool has_many_scalars(Stream *s) {
    enum { MOST_SCALARS = 32 };
    if (s->plan.col < 0) return false;
    needs_find(s, (StreamShape){.width = 1, .resident = true});
    return s->needs.reduced > MOST_SCALARS || s->needs.scalars > MOST_SCALARS;
}

// Of a kernel with many scalars. Vectors count for more than warps: what each thread does
// beside its elements is much.
static bool shape_of_many(Stream *s) {
    StreamShape kept = {.resident = true, .width = 4}, shared = {.shares = true};
    StreamShape shared_kept = {.shares = true, .resident = true, .width = 4},
                shared_pairs = {.shares = true, .resident = true, .width = 2},
                shared_wide = {.shares = true, .width = 4},
                shared_out = {.shares = true, .overflows = true};
    return shape_find(s, kept, true) || ring_find(s, shared) ||
           shape_find(s, shared_kept, true) || shape_find(s, shared_kept, false) ||
           shape_find(s, shared_pairs, false) || shape_find(s, shared_wide, true) ||
           shape_find(s, shared, false) || shape_find(s, shared_out, false);
}

static bool shape_of_kernel(Stream *s) {
    StreamShape resident = {.resident = true}, passes = {0};
    if (tile_knob(s->plan.p, "ring", 0) > 0 && ring_find(s, passes)) return true;
    if (has_many_scalars(s) && shape_of_many(s)) return true;
    return shape_find(s, resident, true) || shape_find(s, resident, false) ||
           ring_find(s, passes) || shape_find(s, passes, true) || shape_find(s, passes, false);
}

// Tasks and indices are of type int in the kernel.
static bool is_small(const Stream *s) {
    double points = tile_points(s->plan.p, (DimSet)-1);
    for (uint32_t d = 0; d < s->plan.p->dim_count; d++)
        if (s->plan.p->dims[d].role == DIM_SERIAL) points /= (double)s->plan.p->dims[d].extent;
    return points < INT32_MAX;
}

static void launch_set(Stream *s) {
    Launch *launch = &s->w->launch;
    int64_t tasks = stream_tasks(s), knob = tile_knob(s->w->p, "blocks", 0);
    int64_t blocks = (tasks - 1) / s->shape.teams + 1;
    if (knob <= 0 && s->ring.bytes > 0) knob = stream_blocks_at_once(s);
    launch->blocks = (uint32_t)(knob > 0 && knob < blocks ? knob : blocks);
    launch->threads = (uint32_t)(s->shape.threads * s->shape.teams);
    launch->shared_bytes = s->plan.col < 0 ? 0 : (uint32_t)(stream_shared_words(s) * 4);
}

bool cuda_stream(CudaWriter *w) {
    Stream s = {.w = w};
    if (!stream_plan_make(w->diag, w->arena, w->p, &s.plan)) return false;
    w->p = s.plan.p;
    s.met = arena_array(w->arena, StreamMeeting, w->p->args.len);
    s.met_any = arena_array(w->arena, StreamMeeting, w->p->ops.len);
    if (!is_small(&s))
        return diag_fail(w->diag, FAIL_ENVIRONMENT, "kernel '%.*s' has more than 2^31 points",
                         STR_ARG(w->p->name));
    if (!shape_of_kernel(&s))
        return diag_fail(w->diag, FAIL_ENVIRONMENT,
                         "kernel '%.*s' keeps more sums of rows than shared memory holds",
                         STR_ARG(w->p->name));
    kernel_write(&s);
    launch_set(&s);
    return true;
}
