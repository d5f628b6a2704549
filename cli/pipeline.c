// pipeline.c: lists the steps from a model file to a plan.
#include "cli/pipeline.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/io.h"
#include "codegen/cuda/attend_choice.h"
#include "ir/graph/passes.h"
#include "runtime/names.h"

const char *entry_name(EntryKind kind) {
    static const char *const names[ENTRY_KINDS] = {
        [ENTRY_FORWARD] = ENTRY_NAME_FORWARD, [ENTRY_INFER] = ENTRY_NAME_INFER,
        [ENTRY_EVAL] = ENTRY_NAME_EVAL,       [ENTRY_PREFILL] = ENTRY_NAME_PREFILL,
        [ENTRY_DECODE] = ENTRY_NAME_DECODE,   [ENTRY_GRAD] = ENTRY_NAME_GRAD,
        [ENTRY_TRAIN] = ENTRY_NAME_TRAIN,     [ENTRY_ACCUMULATE] = ENTRY_NAME_ACCUMULATE,
        [ENTRY_APPLY] = ENTRY_NAME_APPLY,
    };
    return names[kind];
}

// ---- source

static Str executable_directory(Arena *arena) {
    char buffer[4096];
    ssize_t n = readlink("/proc/self/exe", buffer, sizeof buffer);
    while (n > 0 && buffer[n - 1] != '/')
        n--;
    return n > 0 ? str_copy(arena, (Str){buffer, (size_t)n}) : STR("./");
}

bool model_load(Diag *diag, Arena *arena, Str path, Settings settings, Model *out) {
    const char *user = getenv("STRATA_PATH");
    Str here = executable_directory(arena), search[4];
    uint32_t count = 0;
    if (user && *user) search[count++] = str_of(user);
    search[count++] = str_printf(arena, "%.*smodels", STR_ARG(here));
    search[count++] = str_printf(arena, "%.*s../share/strata/models", STR_ARG(here));
    search[count++] = STR(STRATA_MODELS_DIR);
    *out = (Model){.path = path, .settings = settings};
    return modules_load(diag, arena, path, (SearchPath){search, count}, &out->program);
}

// ---- outputs

static bool is_report(Str name) { return str_starts(name, STR(NAME_REPORT_PREFIX)); }

static bool wanted(EntryKind kind, Str name) {
    bool loss = str_eq(name, STR(NAME_LOSS)),
         measure = loss || is_report(name) || str_eq(name, STR(NAME_GRAD_NORM));
    switch (kind) {
    case ENTRY_FORWARD:
    case ENTRY_GRAD: return true;
    case ENTRY_INFER:
    case ENTRY_PREFILL:
    case ENTRY_DECODE: return !measure;
    case ENTRY_EVAL:
    case ENTRY_TRAIN:
    case ENTRY_ACCUMULATE: return measure;
    case ENTRY_APPLY: return str_eq(name, STR(NAME_GRAD_NORM));
    case ENTRY_KINDS: break;
    }
    BUG("no such entry");
}

static void keep_wanted(Graph *g, EntryKind kind) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->outputs.len; i++)
        if (wanted(kind, g->outputs.ptr[i].name)) g->outputs.ptr[n++] = g->outputs.ptr[i];
    g->outputs.len = n;
}

// ---- gradients and training

typedef struct {
    Diag *diag;
    Arena *arena;
    Graph *g;
    Elaboration *elaboration;
    const TrainSetup *setup;
    uint32_t count;  // of trained parameters
    uint32_t *leaves;
    ValueId *params, *grads;
} Training;

static Training training_of(Diag *diag, Arena *arena, Graph *g, Elaboration *e,
                            const TrainSetup *setup) {
    Training t = {.diag = diag, .arena = arena, .g = g, .elaboration = e, .setup = setup};
    t.leaves = arena_array(arena, uint32_t, g->leaves.len);
    t.params = arena_array(arena, ValueId, g->leaves.len);
    t.grads = arena_array(arena, ValueId, g->leaves.len);
    for (uint32_t i = 0; i < g->leaves.len; i++) {
        if (g->leaves.ptr[i].kind != OP_PARAM || !g->leaves.ptr[i].trained) continue;
        t.leaves[t.count] = i;
        t.params[t.count++] = g->leaf_values.ptr[i];
    }
    return t;
}

static bool differentiate(Training *t, const Model *model) {
    ValueId loss = graph_output_find(t->g, STR(NAME_LOSS));
    if (!loss.i)
        return diag_file_error(t->diag, FAIL_INPUT, model->path,
                               "the model has no loss, so there is nothing to differentiate");
    if (!t->count)
        return diag_file_error(t->diag, FAIL_INPUT, model->path,
                               "the model has no parameters to train");
    ValueId further = graph_output_find(t->g, STR(NAME_FURTHER_LOSS));
    if (further.i) loss = graph_binary(t->g, OP_ADD, loss, further, (Span){0});
    pass_differentiate(t->g, loss, t->params, t->count, t->grads);
    return true;
}

static Str leaf_path(const Training *t, uint32_t i) {
    return t->g->leaves.ptr[t->leaves[i]].path;
}

static void output_gradients(Training *t) {
    for (uint32_t i = 0; i < t->count; i++)
        graph_output(t->g,
                     str_printf(t->arena, NAME_GRAD_PREFIX "%.*s", STR_ARG(leaf_path(t, i))),
                     t->grads[i]);
}

static ValueId scalar_input(Training *t, const char *name) {
    Leaf leaf = {.kind = OP_INPUT, .path = str_of(name), .type = DTYPE_F32};
    return graph_leaf(t->g, &leaf);
}

static ValueId op2(Training *t, GraphOp op, ValueId x, ValueId y) {
    return graph_binary(t->g, op, x, y, (Span){0});
}

// Do x and y have the same extents, so that the axes of x can be given the names of y's?
static bool same_shape(const Training *t, const Value *x, const Value *y) {
    bool same = x->rank == y->rank;
    for (uint32_t i = 0; same && i < x->rank; i++)
        same = x->axes[i].i == y->axes[i].i ||
               (graph_extent(t->g, x->axes[i]) == graph_extent(t->g, y->axes[i]) &&
                !graph_has_axis(x, y->axes[i]));
    return same;
}

static ValueId renamed_like(Training *t, ValueId x, ValueId like) {
    for (uint32_t i = 0; i < graph_value(t->g, x)->rank; i++) {
        AxisId along = graph_value(t->g, x)->axes[i], to = graph_value(t->g, like)->axes[i];
        GraphAttr attr = {.along = &along, .along_count = 1, .to = &to, .to_count = 1};
        if (along.i != to.i) x = graph_add(t->g, OP_RENAME, (Operands){&x, 1}, attr, (Span){0});
    }
    return x;
}

// The sum of squares of gradient `first` and of those after it that have its shape and are
// left: read side by side by one kernel, and not by one for each parameter.
static ValueId sum_of_squares(Training *t, uint32_t first, bool *left) {
    enum { SIDE_BY_SIDE = 16 };  // more streams than memory is read in well
    ValueId sum = {0}, like = t->grads[first];
    for (uint32_t i = first, count = 0; i < t->count && count < SIDE_BY_SIDE; i++) {
        const Value *grad = graph_value(t->g, t->grads[i]);
        if (!left[i] || !same_shape(t, grad, graph_value(t->g, like))) continue;
        ValueId x = renamed_like(t, t->grads[i], like), square = op2(t, OP_MUL, x, x);
        sum = sum.i ? op2(t, OP_ADD, sum, square) : square;
        left[i] = false;
        count++;
    }
    const Value *v = graph_value(t->g, sum);
    return v->rank ? graph_sum(t->g, sum, v->axes, v->rank, (Span){0}) : sum;
}

// All gradients times min(1, clip / their global norm).
static void clip(Training *t) {
    ValueId total = {0}, none = graph_const(t->g, 1, (Span){0});
    bool *left = arena_array(t->arena, bool, t->count);
    memset(left, true, t->count);
    for (uint32_t i = 0; i < t->count; i++) {
        if (!left[i]) continue;
        ValueId squares = sum_of_squares(t, i, left);
        total = total.i ? op2(t, OP_ADD, total, squares) : squares;
    }
    ValueId norm = graph_unary(t->g, OP_SQRT, total, (Span){0});
    graph_output(t->g, STR(NAME_GRAD_NORM), norm);
    ValueId guarded = op2(t, OP_ADD, norm, graph_const(t->g, 1e-6, (Span){0}));
    ValueId scale = op2(t, OP_MIN, none, op2(t, OP_DIV, scalar_input(t, NAME_CLIP), guarded));
    for (uint32_t i = 0; i < t->count; i++)
        t->grads[i] = op2(t, OP_MUL, t->grads[i], scale);
}

static bool optimise(Training *t) {
    clip(t);
    OptimizerRequest request = {.name = t->setup->optimizer,
                                .overrides = t->setup->overrides,
                                .leaves = t->leaves,
                                .grads = t->grads,
                                .count = t->count};
    request.lr = scalar_input(t, NAME_LR);
    request.step = scalar_input(t, NAME_STEP);
    return elaborate_optimizer(t->elaboration, t->g, &request);
}

static ValueId state_like(Training *t, Str path, const Leaf *like) {
    Leaf leaf = {.kind = OP_STATE, .path = path, .type = DTYPE_F32};
    if (like)
        leaf.rank = like->rank, leaf.axes = like->axes, leaf.batch_count = like->batch_count,
        leaf.input_count = like->input_count;
    return graph_leaf(t->g, &leaf);
}

static uint32_t leaf_number(const Graph *g, ValueId v) { return graph_value(g, v)->attr.leaf; }

// The sums of gradients, and the count of micro-batches in them.
static ValueId accumulator(Training *t, uint32_t i) {
    Leaf like = t->g->leaves.ptr[t->leaves[i]];
    return state_like(
        t, str_printf(t->arena, NAME_ACCUMULATED_PREFIX "%.*s", STR_ARG(like.path)), &like);
}

static void accumulate(Training *t) {
    for (uint32_t i = 0; i < t->count; i++) {
        ValueId sum = accumulator(t, i);
        graph_update(t->g, leaf_number(t->g, sum), op2(t, OP_ADD, sum, t->grads[i]));
    }
    ValueId micro = state_like(t, STR(NAME_MICRO), NULL);
    graph_update(t->g, leaf_number(t->g, micro),
                 op2(t, OP_ADD, micro, graph_const(t->g, 1, (Span){0})));
}

static bool apply(Training *t) {
    ValueId *sums = arena_array(t->arena, ValueId, t->count);
    for (uint32_t i = 0; i < t->count; i++)
        sums[i] = accumulator(t, i);
    ValueId micro = state_like(t, STR(NAME_MICRO), NULL),
            zero = graph_const(t->g, 0, (Span){0});
    ValueId share = op2(t, OP_DIV, graph_const(t->g, 1, (Span){0}), micro);
    for (uint32_t i = 0; i < t->count; i++)
        t->grads[i] = op2(t, OP_MUL, sums[i], share);
    t->g->updates.len = 0;  // the states of the model were updated with the micro-batches
    if (!optimise(t)) return false;
    for (uint32_t i = 0; i < t->count; i++) {
        const Value *v = graph_value(t->g, sums[i]);
        GraphAttr like = {.to = v->axes, .to_count = v->rank};
        graph_update(t->g, leaf_number(t->g, sums[i]),
                     graph_add(t->g, OP_BROADCAST, (Operands){&zero, 1}, like, (Span){0}));
    }
    graph_update(t->g, leaf_number(t->g, micro), zero);
    return true;
}

static bool add_training(Training *t, const Model *model, EntryKind kind) {
    if (kind == ENTRY_APPLY) return apply(t);
    if (!differentiate(t, model)) return false;
    if (kind == ENTRY_GRAD) output_gradients(t);
    if (kind == ENTRY_ACCUMULATE) accumulate(t);
    return kind != ENTRY_TRAIN || optimise(t);
}

// ---- graphs and plans

// What keeping a byte of the forward pass for the backward pass costs, in bytes moved. Above 1:
// what is elementwise and would be written once more is made again, which keeps a third less of
// a transformer.
#define HELD_COST 1.5

bool graph_bind_axes(Graph *g, Bindings bindings) {
    for (uint32_t i = 0; i < bindings.count; i++) {
        AxisId axis = graph_axis_find(g, bindings.items[i].name);
        if (axis.i && graph_axis_at(g, axis)->runtime)
            graph_bind(g, axis, bindings.items[i].extent);
    }
    for (uint32_t a = 1; a < g->axes.len; a++)
        if (g->axes.ptr[a].extent == EXTENT_UNKNOWN) return false;
    return true;
}

// Marks go through the passes as outputs, two for each sublayer.
#define MARK_PREFIX "sublayer."

static void add_marks(Graph *g, Arena *arena, Sublayers sublayers) {
    for (uint32_t i = 0; i < sublayers.count; i++) {
        const Sublayer *s = &sublayers.items[i];
        if (s->input.i) graph_output(g, str_printf(arena, MARK_PREFIX "%u.in", i), s->input);
        if (s->output.i) graph_output(g, str_printf(arena, MARK_PREFIX "%u.out", i), s->output);
    }
}

static Sublayers take_marks(Graph *g, Arena *arena, Sublayers sublayers) {
    Sublayer *marked = arena_array(arena, Sublayer, sublayers.count);
    for (uint32_t i = 0; i < sublayers.count; i++)
        marked[i] = (Sublayer){
            .name = sublayers.items[i].name,
            .input = graph_output_find(g, str_printf(arena, MARK_PREFIX "%u.in", i)),
            .output = graph_output_find(g, str_printf(arena, MARK_PREFIX "%u.out", i))};
    while (g->outputs.len &&
           str_starts(g->outputs.ptr[g->outputs.len - 1].name, STR(MARK_PREFIX)))
        g->outputs.len--;
    return (Sublayers){marked, sublayers.count};
}

static bool is_incremental(EntryKind kind) {
    return kind == ENTRY_PREFILL || kind == ENTRY_DECODE;
}

// requires: attention found, every axis bound.
static bool make_incremental(Diag *diag, Arena *arena, const ModelGraphRequest *request,
                             Graph **g) {
    bool prefill = request->kind == ENTRY_PREFILL, cuda = level_is_cuda(request->level);
    IncrementalRequest chunk = {.chunk = prefill ? PREFILL_CHUNK : 1,
                                .live = request->live,
                                .attend_kept = cuda ? ATTEND_MOST_KEPT : INT64_MAX,
                                .attend_values = cuda ? ATTEND_MOST_VALUES : INT64_MAX,
                                .cache = request->storage,
                                .prefix = prefill ? STR(ENTRY_NAME_PREFILL ".")
                                                  : STR(ENTRY_NAME_DECODE "."),
                                .tokens = STR(NAME_TOKENS),
                                .position = STR(NAME_POSITION),
                                .count = STR(NAME_COUNT),
                                .states = STR(NAME_CACHE_PREFIX)};
    Graph *made = pass_incremental(diag, arena, pass_absorb(*g, arena), &chunk);
    if (!made) return false;
    *g = pass_simplify(made, arena);
    *g = pass_simplify(pass_grouped(*g, arena), arena);
    return true;
}

static bool graph_of(Diag *diag, Arena *arena, const ModelGraphRequest *request, Graph **out,
                     Sublayers *sublayers) {
    const Model *model = request->model;
    EntryKind kind = request->kind;
    Elaboration *e;
    if (!ast_to_graph(diag, arena, model->program, model->settings, &e)) return false;
    Graph *g = elaboration_graph(e);
    keep_wanted(g, kind);
    if (kind != ENTRY_FORWARD && kind < ENTRY_GRAD) g->updates.len = 0;
    Sublayers marks = elaboration_sublayers(e);
    if (sublayers) add_marks(g, arena, marks);
    bool bound = graph_bind_axes(g, request->bindings), chunk = is_incremental(kind);
    if (bound) {
        pass_axes(g);
        g = pass_simplify(g, arena);
    }
    // Of a chunk other tokens are grouped than of a whole sequence.
    if (bound && !chunk) g = pass_grouped(g, arena);
    if (bound) {
        g = pass_depth(g, arena, request->two_phase, kind >= ENTRY_GRAD);
        g = pass_simplify(g, arena);
    }
    bool cuda = level_is_cuda(request->level);
    if (bound) g = pass_attend(g, arena, cuda && !chunk ? ATTEND_MOST_WIDTH : INT64_MAX);
    if (bound && chunk && !make_incremental(diag, arena, request, &g)) return false;
    Training t = training_of(diag, arena, g, e, request->setup);
    if (kind >= ENTRY_GRAD && !add_training(&t, model, kind)) return false;
    *out = g;
    if (!bound) return true;
    if (kind >= ENTRY_GRAD) {
        g = pass_simplify(pass_flat(pass_simplify(g, arena), arena), arena);
        *out = pass_recompute(g, arena, HELD_COST);
    }
    if (request->storage == DTYPE_BF16) *out = pass_precision(*out, arena);
    if (sublayers) *sublayers = take_marks(*out, arena, marks);
    return true;
}

bool model_graph(Diag *diag, Arena *arena, const ModelGraphRequest *request, Graph **out) {
    return graph_of(diag, arena, request, out, NULL);
}

bool model_marked_graph(Diag *diag, Arena *arena, const ModelGraphRequest *request, Graph **out,
                        Sublayers *sublayers) {
    ASSERT(request->kind < ENTRY_GRAD);
    return graph_of(diag, arena, request, out, sublayers);
}

static bool all_bound(Diag *diag, const Model *model, const Graph *g) {
    for (uint32_t a = 1; a < g->axes.len; a++)
        if (g->axes.ptr[a].extent == EXTENT_UNKNOWN)
            return diag_file_error(diag, FAIL_INPUT, model->path,
                                   "the extent of run-time axis '%.*s' is not given",
                                   STR_ARG(g->axes.ptr[a].name));
    return true;
}

typedef Vec(PlanRequestEntry) EntryList;

// How many positions the states have room for; 0: the graph is not one of a chunk.
static int64_t context_of(const Graph *g) {
    vec_each (const Leaf, leaf, &g->leaves)
        if (str_eq(leaf->path, STR(NAME_POSITION))) return graph_extent(g, leaf->index_of);
    return 0;
}

// Does attention have scores of all positions?
static bool has_scores(const Graph *g, int64_t context) {
    vec_each (const Value, v, &g->values)
        if (v->op == OP_SOFTMAX && graph_extent(g, v->attr.along[0]) == context) return true;
    return false;
}

static bool add_entry(Diag *diag, Arena *arena, ModelGraphRequest *one, EntryList *out) {
    Graph *g;
    one->live = 0;
    if (!model_graph(diag, arena, one, &g) || !all_bound(diag, one->model, g)) return false;
    const char *name = entry_name(one->kind);
    vec_push(arena, out, (PlanRequestEntry){str_of(name), g});
    int64_t context = is_incremental(one->kind) ? context_of(g) : 0;
    if (!has_scores(g, context)) return true;
    for (one->live = LIVE_LEAST; one->live < context; one->live *= LIVE_STEP) {
        if (!model_graph(diag, arena, one, &g)) return false;
        Str fewer = str_printf(arena, "%s.%lld", name, (long long)one->live);
        vec_push(arena, out, (PlanRequestEntry){fewer, g});
    }
    return true;
}

// Entries that train nothing keep parameters as their kernels read them: one type in all.
static void keep_weights_low(Arena *arena, EntryList *entries) {
    Map paths = {0};
    Vec(WeightUse) all = {0};
    for (int pass = 0; pass < 2; pass++)
        vec_each (PlanRequestEntry, entry, entries) {
            const Graph *g = entry->graph;
            WeightUse *use = arena_array(arena, WeightUse, g->leaves.len);
            if (pass == 0) weights_find(g, use);
            for (uint32_t i = 0; i < g->leaves.len; i++) {
                uint64_t at = all.len;
                if (!map_get(&paths, g->leaves.ptr[i].path, &at)) {
                    map_set(arena, &paths, g->leaves.ptr[i].path, at);
                    vec_push(arena, &all, (WeightUse){0});
                }
                ASSERT(at < all.len);
                all.ptr[at].low = all.ptr[at].low || use[i].low;
                all.ptr[at].high = all.ptr[at].high || use[i].high;
                use[i] = all.ptr[at];
            }
            if (pass == 1) entry->graph = pass_weights(g, arena, use);
        }
}

bool model_plan(Diag *diag, Arena *arena, const Model *model, const ModelPlanRequest *request,
                Plan **out) {
    EntryList entries = {0};
    ASSERT(request->entry_count > 0);
    for (uint32_t i = 0; i < request->entry_count; i++) {
        ModelGraphRequest one = {.model = model,
                                 .kind = request->entries[i],
                                 .bindings = request->bindings,
                                 .setup = &request->setup,
                                 .storage = request->storage,
                                 .level = request->target.level,
                                 .two_phase = request->two_phase};
        if (!add_entry(diag, arena, &one, &entries)) return false;
    }
    bool trains = false;
    for (uint32_t i = 0; i < request->entry_count; i++)
        trains = trains || request->entries[i] >= ENTRY_GRAD;
    if (request->storage == DTYPE_BF16 && !trains) keep_weights_low(arena, &entries);
    PlanRequest plan = {.target = request->target,
                        .run_threads = request->run_threads,
                        .entries = entries.ptr,
                        .entry_count = entries.len};
    plan.model = entries.ptr[0].graph->name;
    return graph_to_plan(diag, arena, &plan, out);
}
