// graph_to_plan.c: the pipeline from graphs to a plan, entry by entry:
//     fuse -> schedule -> tile programs -> steps over memory -> placement;  then all code at
//     once.
#include "autotune/graph_to_plan.h"

#include "autotune/candidate.h"
#include "autotune/library.h"
#include "autotune/plan_memory.h"
#include "autotune/prior.h"
#include "autotune/tune_context.h"
#include "base/check.h"
#include "ir/graph/evaluate.h"

typedef struct {
    Diag *diag;
    Arena *arena;
    const PlanRequest *request;
    Vec(PlanTensor) tensors;
    Map tensor_names;  // kind letter + name -> index + 1
    StrBuf constants;
    Map constant_at;  // hash of the data -> offset: entries share them
    ScheduleChooser chooser;
    Draft *drafts;  // one per entry
} Builder;

Hash region_hash(const Regions *regions, const Region *region) {
    Arena arena = {0};
    arena_init(&arena);
    Schedule none = schedule_none();
    TileKernels *kernels = region_to_tile(regions, region, &none, &arena);
    Hash hash = {0};
    for (uint32_t i = 0; i < kernels->kernel_count; i++)
        hash = hash_mix(hash, tile_hash(kernels->kernels[i].program));
    arena_release(&arena);
    return hash;
}

static Str hash_key(Arena *arena, Hash h) {
    return str_copy(arena, (Str){(const char *)&h, sizeof h});
}

void schedule_chooser_init(ScheduleChooser *c, Arena *arena, const PlanRequest *request) {
    IsaLevel level = request->target.level;
    CudaAnswer gpu;
    bool has_gpu =
        level_is_cuda(level) && cuda_look(NULL, arena, str_of(isa_level_text(level)), &gpu);
    TuneContext context =
        tune_context(arena, level, request->run_threads, has_gpu ? &gpu : NULL);
    *c = (ScheduleChooser){
        .arena = arena, .request = request, .context = tune_context_hash(&context)};
}

Schedule schedule_choose(ScheduleChooser *c, const Regions *regions, const Region *region) {
    const PlanRequest *request = c->request;
    Hash hash = region_hash(regions, region);
    Str key = hash_key(c->arena, hash);
    uint64_t at;
    if (map_get(&c->known, key, &at)) {
        ASSERT(at < c->schedules.len);
        return c->schedules.ptr[at];
    }
    Schedule best;
    if (!request->target.db ||
        !database_best(request->target.db, hash, c->context, &best, NULL))
        best = schedule_prior(regions, region, request->target.level, request->run_threads);
    map_set(c->arena, &c->known, key, c->schedules.len);
    vec_push(c->arena, &c->schedules, best);
    return best;
}

// ---- tensors

static Str tensor_key(Builder *b, TensorKind kind, Str name) {
    return str_printf(b->arena, "%d%.*s", (int)kind, STR_ARG(name));
}

static uint32_t tensor_add(Builder *b, PlanTensor tensor) {
    Str key = tensor_key(b, tensor.kind, tensor.name);
    uint64_t at;
    if (map_get(&b->tensor_names, key, &at)) return (uint32_t)at - 1;
    vec_push(b->arena, &b->tensors, tensor);
    map_set(b->arena, &b->tensor_names, key, b->tensors.len);
    return b->tensors.len - 1;
}

static void tensor_axes(Builder *b, const Graph *g, const AxisId *axes, uint32_t rank,
                        PlanTensor *t) {
    int64_t *shape = arena_array(b->arena, int64_t, rank);
    Str *names = arena_array(b->arena, Str, rank);
    for (uint32_t i = 0; i < rank; i++) {
        shape[i] = graph_extent(g, axes[i]);
        names[i] = str_copy(b->arena, graph_axis_at(g, axes[i])->name);
    }
    t->rank = rank;
    t->shape = shape;
    t->axes = names;
}

static uint32_t tensor_of_leaf(Builder *b, const Graph *g, const Leaf *leaf) {
    PlanTensor t = {.name = leaf->path,
                    .type = leaf->type,
                    .batch_count = leaf->batch_count,
                    .input_count = leaf->input_count};
    t.kind = leaf->kind == OP_PARAM   ? TENSOR_PARAM
             : leaf->kind == OP_STATE ? TENSOR_STATE
                                      : TENSOR_INPUT;
    tensor_axes(b, g, leaf->axes, leaf->rank, &t);
    if (leaf->index_of.i) t.index_below = graph_extent(g, leaf->index_of);
    t.init = (PlanInit){(uint8_t)leaf->init.kind, (uint8_t)leaf->init.transform, leaf->init.a,
                        leaf->init.b};
    t.tags = leaf->tags;
    t.tag_count = leaf->tag_count;
    t.trained = leaf->trained;
    return tensor_add(b, t);
}

static uint32_t tensor_of_output(Builder *b, const Graph *g, const GraphOutput *output) {
    const Value *v = graph_value(g, output->value);
    PlanTensor t = {.kind = TENSOR_OUTPUT, .name = output->name, .type = v->type};
    tensor_axes(b, g, v->axes, v->rank, &t);
    return tensor_add(b, t);
}

// ---- memory of values

static uint32_t memory_add(Draft *d, Memory m) {
    vec_push(d->arena, &d->memory, m);
    return d->memory.len - 1;
}

static int64_t value_bytes(const Graph *g, ValueId v) {
    return graph_elements(g, v) * (int64_t)dtype_bytes(graph_value(g, v)->type);
}

static uint32_t constant_memory(Builder *b, Draft *d, ValueId v) {
    DType type = graph_value(d->graph, v)->type;
    int64_t n = graph_elements(d->graph, v), bytes = value_bytes(d->graph, v);
    ArenaMark mark = arena_mark(b->arena);
    Evaluation e;
    evaluation_init(&e, d->graph, b->arena);
    const double *x = evaluation_value(&e, v);
    char *data = arena_alloc(b->arena, (size_t)n, dtype_bytes(type));
    for (int64_t i = 0; i < n; i++)
        dtype_set(type, data, i, x[i]);
    Hash hash = hash_bytes(data, (size_t)bytes);
    uint64_t start = (b->constants.len + 63) / 64 * 64;
    bool known = map_get(&b->constant_at, (Str){(const char *)&hash, sizeof hash}, &start);
    while (!known && b->constants.len < start)
        strbuf_addc(&b->constants, 0);
    if (!known) strbuf_add(&b->constants, (Str){data, (size_t)bytes});
    arena_rewind(b->arena, mark);
    if (!known) map_set(b->arena, &b->constant_at, hash_key(b->arena, hash), start);
    return memory_add(
        d, (Memory){.kind = BUFFER_CONSTANT, .offset = (int64_t)start, .bytes = bytes});
}

// An operand's place in the memory of the stack that it lies in.
static Memory part_of_stack(const Draft *d, ValueId stack, ValueId operand, uint32_t whole) {
    const Value *s = graph_value(d->graph, stack);
    Memory m = {.kind = BUFFER_ARENA, .whole = whole + 1};
    m.bytes = value_bytes(d->graph, operand);
    for (uint32_t k = 0; s->in[k].i != operand.i; k++)
        m.offset += m.bytes;
    return m;
}

static uint32_t memory_of(Builder *b, Draft *d, ValueId v) {
    if (d->memory_of[v.i]) return d->memory_of[v.i] - 1;
    ValueHome home = d->regions->homes[v.i];
    ValueId stack = d->regions->laid_in[v.i];
    Memory m = {.kind = BUFFER_ARENA, .bytes = value_bytes(d->graph, v)};
    if (stack.i) m = part_of_stack(d, stack, v, memory_of(b, d, stack));
    uint32_t at;
    if (home == HOME_CONSTANT) {
        at = constant_memory(b, d, v);
    } else {
        if (home == HOME_LEAF)
            m.kind = BUFFER_TENSOR,
            m.tensor = tensor_of_leaf(b, d->graph, graph_leaf_of(d->graph, v));
        at = memory_add(d, m);
    }
    d->memory_of[v.i] = at + 1;
    return at;
}

// ---- steps

// Its arguments are copied.
static void step_add(Draft *d, DraftStep step) {
    uint32_t *copy = arena_array(d->arena, uint32_t, step.arg_count);
    memcpy(copy, step.args, step.arg_count * sizeof *copy);
    step.args = copy;
    vec_push(d->arena, &d->steps, step);
}

static void copy_step(Draft *d, uint32_t from, uint32_t to) {
    step_add(d, (DraftStep){.kind = STEP_COPY, .args = (uint32_t[]){from, to}, .arg_count = 2});
}

// The library's call, if the schedule asks for it and the program is nothing else.
static bool library_step(Builder *b, Draft *d, const Schedule *schedule,
                         const TileKernels *kernels, const uint32_t *args) {
    IsaLevel level = b->request->target.level;
    PlanGemm gemm;
    uint32_t operands[3];
    if (!schedule->library || kernels->kernel_count != 1) return false;
    if (!library_gemm(kernels->kernels[0].program, &gemm, operands) ||
        !library_takes(level, &gemm))
        return false;
    uint32_t chosen[3];
    for (int i = 0; i < 3; i++)
        chosen[i] = args[operands[i]];
    step_add(d, (DraftStep){.kind = STEP_GEMM, .args = chosen, .arg_count = 3, .gemm = gemm});
    return true;
}

// What a kernel that writes only a part of its output finds in the rest.
static void start_output(Builder *b, Draft *d, const TileKernel *kernel, uint32_t memory,
                         Span span) {
    if (!kernel->starts_as.i) {
        step_add(
            d, (DraftStep){.kind = STEP_CLEAR, .args = &memory, .arg_count = 1, .span = span});
        return;
    }
    uint32_t from = memory_of(b, d, kernel->starts_as);
    if (from != memory) copy_step(d, from, memory);
}

static void region_steps(Builder *b, Draft *d, const Region *region) {
    Schedule schedule = schedule_choose(&b->chooser, d->regions, region);
    TileKernels *kernels = region_to_tile(d->regions, region, &schedule, d->arena);
    uint32_t *partials = arena_array(d->arena, uint32_t, kernels->partial_count);
    for (uint32_t i = 0; i < kernels->partial_count; i++)
        partials[i] =
            memory_add(d, (Memory){.kind = BUFFER_ARENA, .bytes = kernels->partial_bytes[i]});
    Span span = graph_value(d->graph, region->values[0])->span;
    for (uint32_t k = 0; k < kernels->kernel_count; k++) {
        const TileKernel *kernel = &kernels->kernels[k];
        uint32_t count = kernel->program->args.len,
                 *args = arena_array(d->arena, uint32_t, count);
        for (uint32_t i = 0; i < count; i++) {
            const TileBinding *binding = &kernel->bindings[i];
            args[i] = binding->kind == BIND_PARTIAL ? partials[binding->partial]
                                                    : memory_of(b, d, binding->value);
            if (kernel->clear_first && kernel->program->args.ptr[i].written)
                start_output(b, d, kernel, args[i], span);
        }
        if (!library_step(b, d, &schedule, kernels, args))
            step_add(d, (DraftStep){.kind = STEP_LAUNCH,
                                    .program = kernel->program,
                                    .args = args,
                                    .arg_count = count});
        d->steps.ptr[d->steps.len - 1].span = span;
    }
}

// A computed output is written straight to its tensor; one that is a leaf or constant, or has a
// tensor already, is copied.
static void claim_outputs(Builder *b, Draft *d) {
    for (uint32_t i = 0; i < d->graph->outputs.len; i++) {
        const GraphOutput *output = &d->graph->outputs.ptr[i];
        uint32_t tensor = tensor_of_output(b, d->graph, output);
        ValueHome home = d->regions->homes[output->value.i];
        if (home == HOME_LEAF || home == HOME_CONSTANT || d->memory_of[output->value.i])
            continue;
        Memory m = {.kind = BUFFER_TENSOR,
                    .tensor = tensor,
                    .bytes = value_bytes(d->graph, output->value)};
        d->memory_of[output->value.i] = memory_add(d, m) + 1;
    }
}

static void copy_outputs(Builder *b, Draft *d) {
    for (uint32_t i = 0; i < d->graph->outputs.len; i++) {
        const GraphOutput *output = &d->graph->outputs.ptr[i];
        uint32_t tensor = tensor_of_output(b, d->graph, output),
                 from = memory_of(b, d, output->value);
        const Memory *m = &d->memory.ptr[from];
        if (m->kind == BUFFER_TENSOR && m->tensor == tensor) continue;
        copy_step(d, from,
                  memory_add(
                      d, (Memory){.kind = BUFFER_TENSOR, .tensor = tensor, .bytes = m->bytes}));
    }
}

// An update to another leaf's old value must see it before that leaf is updated itself.
static void save_leaves(Builder *b, Draft *d, uint32_t *saved) {
    for (uint32_t i = 0; i < d->graph->updates.len; i++) {
        ValueId v = d->graph->updates.ptr[i].value;
        if (d->regions->homes[v.i] != HOME_LEAF) continue;
        uint32_t from = memory_of(b, d, v);
        ASSERT(from < d->memory.len);
        Memory copy = {.kind = BUFFER_ARENA, .bytes = d->memory.ptr[from].bytes};
        saved[i] = memory_add(d, copy) + 1;
        copy_step(d, from, saved[i] - 1);
    }
}

// A state into which rows are placed, and which nothing else reads as it was, is written where
// it lies.
static void place_in_leaves(Builder *b, Draft *d) {
    const Graph *g = d->graph;
    uint32_t *uses = arena_array(d->arena, uint32_t, g->values.len);
    for (uint32_t i = 1; i < g->values.len; i++) {
        const Value *v = graph_value(g, (ValueId){i});
        for (uint32_t k = 0; d->regions->homes[i] != HOME_NONE && k < v->arity; k++)
            uses[v->in[k].i]++;
    }
    vec_each (const GraphOutput, o, &g->outputs)
        uses[o->value.i]++;
    vec_each (const GraphUpdate, u, &g->updates) {
        const Value *v = graph_value(g, u->value);
        ValueId leaf = g->leaf_values.ptr[u->leaf];
        if (v->op != OP_PLACE || v->in[0].i != leaf.i || uses[leaf.i] != 1) continue;
        if (!d->memory_of[u->value.i]) d->memory_of[u->value.i] = memory_of(b, d, leaf) + 1;
    }
}

static void write_updates(Builder *b, Draft *d, const uint32_t *saved) {
    for (uint32_t i = 0; i < d->graph->updates.len; i++) {
        const GraphUpdate *update = &d->graph->updates.ptr[i];
        uint32_t tensor = tensor_of_leaf(b, d->graph, &d->graph->leaves.ptr[update->leaf]);
        uint32_t from = saved[i] ? saved[i] - 1 : memory_of(b, d, update->value);
        const Memory *m = &d->memory.ptr[from];
        if (m->kind == BUFFER_TENSOR && m->tensor == tensor) continue;
        if (!saved[i] && draft_update_in_place(d, from, tensor)) continue;
        copy_step(d, from,
                  memory_add(d, (Memory){.kind = BUFFER_TENSOR,
                                         .tensor = tensor,
                                         .bytes = d->memory.ptr[from].bytes}));
    }
}

static void draft_entry(Builder *b, Draft *d, const PlanRequestEntry *entry) {
    const Graph *g = entry->graph;
    *d = (Draft){
        .name = entry->name, .graph = g, .arena = b->arena, .regions = pass_fuse(g, b->arena)};
    d->memory_of = arena_array(b->arena, uint32_t, g->values.len);
    for (uint32_t i = 0; i < g->leaves.len; i++)
        tensor_of_leaf(b, g, &g->leaves.ptr[i]);
    claim_outputs(b, d);
    uint32_t *saved = arena_array(b->arena, uint32_t, g->updates.len);
    save_leaves(b, d, saved);
    place_in_leaves(b, d);
    for (uint32_t i = 0; i < d->regions->count; i++)
        region_steps(b, d, &d->regions->regions[i]);
    copy_outputs(b, d);
    write_updates(b, d, saved);
    draft_place(d);
}

// ---- the plan

// Compiles every program once and says which kernel each launch uses.
static bool plan_kernels(Builder *b, Plan *plan, Map *kernel_of) {
    Vec(const TileProgram *) programs = {0};
    for (uint32_t e = 0; e < b->request->entry_count; e++) {
        for (uint32_t i = 0; i < b->drafts[e].steps.len; i++) {
            const TileProgram *p = b->drafts[e].steps.ptr[i].program;
            if (!p || map_get(kernel_of, hash_key(b->arena, tile_hash(p)), NULL)) continue;
            map_set(b->arena, kernel_of, hash_key(b->arena, tile_hash(p)), programs.len);
            vec_push(b->arena, &programs, p);
        }
    }
    const EmittedKernel *code =
        compile_kernels(b->diag, b->arena, &b->request->target, programs.ptr, programs.len);
    if (!code) return false;
    plan->kernels = arena_array(b->arena, PlanKernel, programs.len);
    plan->kernel_count = programs.len;
    for (uint32_t i = 0; i < programs.len; i++) {
        plan->kernels[i] = (PlanKernel){
            .name = programs.ptr[i]->name,
            .object = code[i].object,
            .hash = hash_bytes(code[i].object.ptr, code[i].object.len),
            .tasks = code[i].tasks,
            .scratch_bytes = code[i].scratch_bytes,
            .launch = code[i].launch,
            .flops = tile_flops(programs.ptr[i]),
            .bytes = tile_bytes(programs.ptr[i]),
            .f32_flops = program_f32_flops(programs.ptr[i], b->request->target.level)};
    }
    return true;
}

static void plan_entry_of(Builder *b, const Draft *d, const Map *kernel_of, PlanEntry *out) {
    *out = (PlanEntry){.name = d->name,
                       .step_count = d->steps.len,
                       .buffer_count = d->memory.len,
                       .arena_bytes = d->arena_bytes};
    out->buffers = arena_array(b->arena, PlanBuffer, d->memory.len);
    for (uint32_t i = 0; i < d->memory.len; i++) {
        const Memory *m = &d->memory.ptr[i];
        out->buffers[i] = (PlanBuffer){m->kind, m->kind == BUFFER_TENSOR ? m->tensor : 0,
                                       m->kind == BUFFER_TENSOR ? 0 : m->offset, m->bytes};
    }
    out->steps = arena_array(b->arena, PlanStep, d->steps.len);
    for (uint32_t i = 0; i < d->steps.len; i++) {
        const DraftStep *s = &d->steps.ptr[i];
        out->steps[i] = (PlanStep){
            .kind = s->kind, .args = s->args, .arg_count = s->arg_count, .gemm = s->gemm};
        uint64_t kernel = 0;
        if (s->program) map_get(kernel_of, hash_key(b->arena, tile_hash(s->program)), &kernel);
        out->steps[i].kernel = (uint32_t)kernel;
        uint32_t column;
        if (s->span.file) diag_line_column(b->diag, s->span, &out->steps[i].line, &column);
    }
}

static void plan_target(Builder *b, Plan *plan) {
    IsaLevel level = b->request->target.level;
    plan->target = level_is_cuda(level) ? str_printf(b->arena, "cuda:%s", isa_level_text(level))
                                        : STR("cpu");
    if (level_is_cuda(level)) return;
    plan->cpu_features = level == CPU_PORTABLE ? STR("sse2")  // every x86-64 has it
                                               : str_of(isa_level_text(level));
}

static void plan_extents(Builder *b, Plan *plan) {
    const Graph *g = b->request->entries[0].graph;
    plan->extents = arena_array(b->arena, PlanExtent, g->axes.len);
    for (uint32_t a = 1; a < g->axes.len; a++)
        if (g->axes.ptr[a].runtime)
            plan->extents[plan->extent_count++] =
                (PlanExtent){str_copy(b->arena, g->axes.ptr[a].name), g->axes.ptr[a].extent};
}

bool graph_to_plan(Diag *diag, Arena *arena, const PlanRequest *request, Plan **out) {
    ASSERT(request->entry_count > 0);
    Builder b = {.diag = diag,
                 .arena = arena,
                 .request = request,
                 .drafts = arena_array(arena, Draft, request->entry_count)};
    schedule_chooser_init(&b.chooser, arena, request);
    for (uint32_t i = 0; i < request->entry_count; i++)
        draft_entry(&b, &b.drafts[i], &request->entries[i]);
    Plan *plan = arena_new(arena, Plan);
    Map kernel_of = {0};
    bool ok = plan_kernels(&b, plan, &kernel_of);
    if (ok) {
        plan->model = request->model;
        plan_target(&b, plan);
        plan_extents(&b, plan);
        plan->tensors = b.tensors.ptr;
        plan->tensor_count = b.tensors.len;
        plan->entries = arena_array(arena, PlanEntry, request->entry_count);
        plan->entry_count = request->entry_count;
        for (uint32_t i = 0; i < request->entry_count; i++)
            plan_entry_of(&b, &b.drafts[i], &kernel_of, &plan->entries[i]);
        plan->constants = str_copy(arena, strbuf_view(&b.constants));
        *out = plan;
    }
    strbuf_release(&b.constants);
    return ok;
}
