// run_decode.c: one evaluation of a model position by position, through the graph of one
// position. Inputs and outputs over positions are taken apart and put together again.
#include "cli/leaves.h"
#include "cli/run_command.h"
#include "runtime/checkpoint.h"
#include "runtime/names.h"

#define PREFIX ENTRY_NAME_DECODE "."

// An input or output: as the entry has it, and as files do.
typedef struct {
    uint32_t index;  // tensor of the plan, or leaf or output of the graph
    PlanTensor part, whole;
    int axis;             // of positions; -1: it has none
    unsigned char *data;  // of `whole`
    void *piece;          // room for `part`
} Stream;

typedef struct {
    Run *run;
    int64_t length;  // positions
    Str time;        // the name of their axis
    Vec(Stream) inputs, outputs;
} Decoding;

// ---- streams

static void add_stream(Decoding *d, uint32_t index, const PlanTensor *t) {
    Arena *arena = d->run->arena;
    Stream s = {.index = index, .part = *t, .whole = *t, .axis = -1};
    Str prefix = STR(PREFIX);
    if (str_starts(t->name, prefix))
        s.whole.name = (Str){t->name.ptr + prefix.len, t->name.len - prefix.len};
    int64_t *shape = arena_array(arena, int64_t, t->rank + 1);
    for (uint32_t i = 0; i < t->rank; i++) {
        bool positions = s.whole.name.len != t->name.len && str_eq(t->axes[i], d->time);
        shape[i] = positions ? d->length : t->shape[i];
        if (positions) s.axis = (int)i;
    }
    s.whole.shape = shape;
    s.data = arena_alloc(arena, (size_t)plan_tensor_bytes(&s.whole), 1);
    s.piece = arena_alloc(arena, (size_t)plan_tensor_bytes(t), 1);
    if (t->kind == TENSOR_INPUT)
        vec_push(arena, &d->inputs, s);
    else
        vec_push(arena, &d->outputs, s);
}

// Between position `at` of the whole and the part.
static void copy_position(const Stream *s, int64_t at, void *part) {
    size_t inner = dtype_bytes(s->part.type);
    int64_t outer = 1, n = s->axis < 0 ? 1 : s->whole.shape[s->axis];
    for (int i = 0; i < (int)s->part.rank; i++) {
        if (i < s->axis)
            outer *= s->part.shape[i];
        else if (i != s->axis)
            inner *= (size_t)s->part.shape[i];
    }
    for (int64_t i = 0; i < outer; i++) {
        unsigned char *whole = s->data + (size_t)(i * n + (s->axis < 0 ? 0 : at)) * inner,
                      *piece = (unsigned char *)part + (size_t)i * inner;
        bool in = s->part.kind == TENSOR_INPUT;
        memcpy(in ? piece : whole, in ? whole : piece, inner);
    }
}

static bool is_place(const PlanTensor *t) {
    return str_eq(t->name, STR(NAME_POSITION)) || str_eq(t->name, STR(NAME_COUNT));
}

// What the entry reads at position `at`.
static void fill_input(const Stream *s, int64_t at, void *part) {
    if (!is_place(&s->part)) {
        copy_position(s, at, part);
        return;
    }
    bool position = str_eq(s->part.name, STR(NAME_POSITION));
    for (int64_t i = 0; i < s->part.shape[0]; i++)
        dtype_set(s->part.type, part, i, position ? (double)at : 1);
}

static bool read_inputs(Decoding *d) {
    const TensorFile *file = &d->run->inputs;
    vec_each (Stream, s, &d->inputs) {
        if (is_place(&s->part)) continue;
        const StoredTensor *stored = safetensors_find(file, s->whole.name);
        if (!stored)
            return diag_file_error(d->run->diag, FAIL_INPUT, file->path,
                                   "there is no tensor '%.*s'", STR_ARG(s->whole.name));
        if (!safetensors_convert(d->run->diag, file, stored, &s->whole, s->data)) return false;
    }
    return true;
}

static bool write_outputs(Decoding *d) {
    vec_each (Stream, s, &d->outputs)
        vec_push(d->run->arena, &d->run->results, stored_of(&s->whole, s->data));
    return run_write_results(d->run);
}

// The tokens say how many positions there are; `tokens` is the input of one.
static bool find_length(Decoding *d, const PlanTensor *tokens) {
    const TensorFile *file = &d->run->inputs;
    const StoredTensor *stored = safetensors_find(file, STR(NAME_TOKENS));
    if (!stored || stored->rank != 2)
        return diag_file_error(d->run->diag, FAIL_INPUT, file->path,
                               "there is no tensor '" NAME_TOKENS "' of two axes");
    d->time = tokens->axes[1];
    d->length = stored->shape[1];
    return true;
}

// ---- compiled

static bool find_tensors(Decoding *d, const Plan *plan) {
    const PlanEntry *entry = plan_entry(plan, ENTRY_NAME_DECODE);
    int tokens = plan_tensor_find(plan, TENSOR_INPUT, STR(PREFIX NAME_TOKENS)),
        position = plan_tensor_find(plan, TENSOR_INPUT, STR(NAME_POSITION));
    if (!entry || tokens < 0 || position < 0)
        return diag_fail(d->run->diag, FAIL_INPUT, "model '%.*s' was compiled without '%s'",
                         STR_ARG(plan->model), ENTRY_NAME_DECODE);
    if (!find_length(d, &plan->tensors[tokens])) return false;
    int64_t most = plan->tensors[position].index_below;
    if (d->length > most)
        return diag_file_error(d->run->diag, FAIL_INPUT, d->run->inputs.path,
                               "there are %lld positions; the artifact takes %lld",
                               (long long)d->length, (long long)most);
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        const PlanTensor *t = &plan->tensors[i];
        bool data = t->kind == TENSOR_INPUT || t->kind == TENSOR_OUTPUT;
        if (data && plan_entry_uses(entry, i)) add_stream(d, i, t);
    }
    return read_inputs(d);
}

static bool step(Decoding *d, Session *s, int64_t at) {
    vec_each (Stream, input, &d->inputs)
        fill_input(input, at, session_write(s, input->index));
    if (!session_run(d->run->diag, s, plan_entry(session_plan(s), ENTRY_NAME_DECODE)))
        return false;
    vec_each (Stream, output, &d->outputs) {
        const void *data = session_read(d->run->diag, s, output->index);
        if (!data) return false;
        memcpy(output->piece, data, (size_t)plan_tensor_bytes(&output->part));
        copy_position(output, at, output->piece);
    }
    return true;
}

static bool run_session(Decoding *d, Session *s) {
    const Options *o = &d->run->cli->options;
    session_init(s, o->seed);
    if (!find_tensors(d, session_plan(s)) || !params_load(d->run->diag, s, o->params))
        return false;
    for (int64_t at = 0; at < d->length; at++)
        if (!step(d, s, at)) return false;
    return write_outputs(d);
}

static bool decode_compiled(Decoding *d) {
    Cli *cli = d->run->cli;
    EntryKind kind = ENTRY_DECODE;
    Plan *plan;
    if (cli_is_artifact(cli->options.model)) {
        if (!cli_artifact(cli, (EntryKinds){&kind, 1}, &plan)) return false;
    } else {
        Model model;
        Bindings bindings;
        if (!cli_model(cli, &model) || !run_bindings(d->run, &model, &bindings) ||
            !cli_plan(cli, &model, (EntryKinds){&kind, 1}, bindings, &plan))
            return false;
    }
    Session *s;
    if (!session_open(d->run->diag, plan, cli->options.threads, &s)) return false;
    bool good = run_session(d, s);
    session_close(s);
    return good;
}

// ---- by the reference evaluator

// The leaves' elements, which stay from position to position.
static bool reference_leaves(Decoding *d, const Graph *g, double **leaves) {
    Evaluation e;
    evaluation_init(&e, g, d->run->arena);
    for (uint32_t i = 0; i < g->leaves.len; i++) {
        bool input = g->leaves.ptr[i].kind == OP_INPUT;
        if (!input && !run_reference_leaf(d->run, &e, i)) return false;
        leaves[i] = evaluation_leaf(&e, i);
    }
    vec_each (const Stream, s, &d->inputs) {
        double *all = arena_array(d->run->arena, double, plan_tensor_count(&s->whole));
        for (int64_t i = 0; i < plan_tensor_count(&s->whole); i++)
            all[i] = dtype_get(s->whole.type, s->data, i);
        if (!is_place(&s->part) && !run_check_indices(d->run, &s->whole, all)) return false;
    }
    return true;
}

static void reference_step(Decoding *d, const Graph *g, double **leaves, int64_t at) {
    Arena *arena = d->run->arena;
    ArenaMark mark = arena_mark(arena);
    Evaluation e;
    evaluation_init(&e, g, arena);
    vec_each (Stream, s, &d->inputs) {
        fill_input(s, at, s->piece);
        for (int64_t i = 0; i < plan_tensor_count(&s->part); i++)
            leaves[s->index][i] = dtype_get(s->part.type, s->piece, i);
    }
    for (uint32_t i = 0; i < g->leaves.len; i++)
        e.data[g->leaf_values.ptr[i].i] = leaves[i];
    vec_each (Stream, s, &d->outputs) {
        const double *x = evaluation_value(&e, g->outputs.ptr[s->index].value);
        for (int64_t i = 0; i < plan_tensor_count(&s->part); i++)
            dtype_set(s->part.type, s->piece, i, x[i]);
        copy_position(s, at, s->piece);
    }
    vec_each (const GraphUpdate, u, &g->updates)
        evaluation_value(&e, u->value);
    vec_each (const GraphUpdate, u, &g->updates)
        memcpy(leaves[u->leaf], e.data[u->value.i],
               (size_t)graph_elements(g, u->value) * sizeof(double));
    arena_rewind(arena, mark);
}

static bool decode_reference(Decoding *d) {
    Run *r = d->run;
    Model model;
    Bindings bindings;
    Graph *g;
    if (!cli_model(r->cli, &model) || !run_bindings(r, &model, &bindings) ||
        !cli_graph(r->cli, &model, ENTRY_DECODE, bindings, &g))
        return false;
    PlanTensor *leaves = arena_array(r->arena, PlanTensor, g->leaves.len);
    for (uint32_t i = 0; i < g->leaves.len; i++) {
        leaves[i] = leaf_tensor(r->arena, g, &g->leaves.ptr[i]);
        if (str_eq(leaves[i].name, STR(PREFIX NAME_TOKENS)) && !find_length(d, &leaves[i]))
            return false;
    }
    for (uint32_t i = 0; i < g->leaves.len; i++)
        if (leaves[i].kind == TENSOR_INPUT) add_stream(d, i, &leaves[i]);
    for (uint32_t i = 0; i < g->outputs.len; i++) {
        PlanTensor t = output_tensor(r->arena, g, &g->outputs.ptr[i]);
        add_stream(d, i, &t);
    }
    double **data = arena_array(r->arena, double *, g->leaves.len);
    if (!read_inputs(d) || !reference_leaves(d, g, data)) return false;
    for (int64_t at = 0; at < d->length; at++)
        reference_step(d, g, data, at);
    return write_outputs(d);
}

bool run_decode(Run *r) {
    Decoding d = {.run = r};
    return r->cli->options.reference ? decode_reference(&d) : decode_compiled(&d);
}
