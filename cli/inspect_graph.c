// inspect_graph.c: the model's graph, with means of what is to be seen as its outputs. All is
// appended before the graph is simplified: rewriting may read past a value that is marked.
#include <math.h>

#include "cli/inspect.h"
#include "ir/graph/depth_mix.h"
#include "ir/graph/passes.h"
#include "runtime/names.h"

// ---- probes

static void add_probe(Inspection *in, ValueId value, double *sum) {
    InspectProbe probe = {.value = value, .count = (uint32_t)graph_elements(in->g, value)};
    probe.sum = sum;
    vec_push(&in->cli->arena, &in->probes, probe);
}

// The mean over all axes but `kept`.
static ValueId mean_of(Graph *g, ValueId x, AxisId kept) {
    const Value v = *graph_value(g, x);
    AxisId along[GRAPH_MAX_RANK];
    uint32_t n = 0;
    double points = 1;
    for (uint32_t i = 0; i < v.rank; i++) {
        if (v.axes[i].i == kept.i) continue;
        along[n++] = v.axes[i];
        points *= (double)graph_extent(g, v.axes[i]);
    }
    if (!n) return x;
    ValueId sum = graph_sum(g, x, along, n, v.span);
    return graph_binary(g, OP_MUL, sum, graph_const(g, 1 / points, v.span), v.span);
}

static void probe_mean(Inspection *in, ValueId x, double *sum) {
    add_probe(in, mean_of(in->g, x, (AxisId){0}), sum);
}

static void probe_square(Inspection *in, ValueId x, double *sum) {
    probe_mean(in, graph_binary(in->g, OP_MUL, x, x, (Span){0}), sum);
}

// ---- sublayers

static void add_layers(Inspection *in) {
    Arena *arena = &in->cli->arena;
    uint32_t n = in->sublayers.count;
    in->layers = arena_array(arena, InspectLayer, n);
    in->layer_count = n;
    for (uint32_t i = 0; i < n; i++) {
        const Sublayer *s = &in->sublayers.items[i];
        InspectLayer *l = &in->layers[i];
        *l = (InspectLayer){s->name, NAN, NAN, NAN, NAN};
        if (s->input.i) l->input = 0, probe_square(in, s->input, &l->input);
        if (s->output.i) l->output = 0, probe_square(in, s->output, &l->output);
    }
}

static void add_gradients(Inspection *in) {
    ValueId loss = graph_output_find(in->g, STR(NAME_LOSS));
    in->loss = NAN;
    if (!loss.i) return;
    in->loss = 0;
    add_probe(in, loss, &in->loss);
    uint32_t n = 0, most = 2 * in->layer_count;
    ValueId *wrt = arena_array(&in->cli->arena, ValueId, most),
            *grads = arena_array(&in->cli->arena, ValueId, most);
    double **sums = arena_array(&in->cli->arena, double *, most);
    for (uint32_t i = 0; i < in->layer_count; i++) {
        const Sublayer *s = &in->sublayers.items[i];
        if (s->input.i) wrt[n] = s->input, sums[n++] = &in->layers[i].input_gradient;
        if (s->output.i) wrt[n] = s->output, sums[n++] = &in->layers[i].output_gradient;
    }
    if (n) pass_differentiate(in->g, loss, wrt, n, grads);
    for (uint32_t i = 0; i < n; i++) {
        *sums[i] = 0;
        probe_square(in, grads[i], sums[i]);
    }
}

// ---- weights over depth

// The path of the parameter that was declared last among those that x is made of: that of the
// call which made x.
static Str path_of(const Graph *g, Arena *arena, ValueId x) {
    bool *needed = arena_array(arena, bool, x.i + 1);
    needed[x.i] = true;
    for (uint32_t i = x.i; i > 0; i--) {
        const Value *v = graph_value(g, (ValueId){i});
        if (!needed[i]) continue;
        for (uint32_t k = 0; k < v->arity; k++)
            needed[v->in[k].i] = true;
        if (v->op != OP_PARAM) continue;
        Str path = graph_leaf_of(g, (ValueId){i})->path;
        while (path.len && path.ptr[path.len - 1] != '.')
            path.len--;
        return path.len ? (Str){path.ptr, path.len - 1} : STR("model");
    }
    return STR("constant");
}

static Str name_of_input(const Inspection *in, ValueId x) {
    for (uint32_t i = 0; i < in->sublayers.count; i++)
        if (in->sublayers.items[i].input.i == x.i) return in->sublayers.items[i].name;
    return (Str){0};
}

static Str name_of_output(const Inspection *in, ValueId x) {
    for (uint32_t i = 0; i < in->sublayers.count; i++)
        if (in->sublayers.items[i].output.i == x.i) return in->sublayers.items[i].name;
    return (Str){0};
}

static InspectRow mix_described(Inspection *in, const DepthMix *m) {
    Arena *arena = &in->cli->arena;
    const Value *stack = graph_value(in->g, m->stack);
    InspectRow mix = {.name = name_of_input(in, m->sum), .count = stack->arity};
    if (!mix.name.len) mix.name = path_of(in->g, arena, m->weights);
    Str *sources = arena_array(arena, Str, stack->arity);
    for (uint32_t i = 0; i < stack->arity; i++)
        sources[i] = name_of_output(in, stack->in[i]);
    mix.sources = sources;
    mix.values = arena_array(arena, double, stack->arity);
    return mix;
}

static void add_mixes(Inspection *in) {
    DepthMixes found = depth_mixes(in->g, &in->cli->arena);
    in->mixes = arena_array(&in->cli->arena, InspectRow, found.count);
    in->mix_count = found.count;
    for (uint32_t i = 0; i < found.count; i++) {
        const DepthMix *m = &found.items[i];
        in->mixes[i] = mix_described(in, m);
        add_probe(in, mean_of(in->g, m->weights, m->axis), in->mixes[i].values);
    }
}

// ---- what the model reports itself: numbers and lists

static void add_reports(Inspection *in) {
    in->reports = arena_array(&in->cli->arena, InspectRow, in->g->outputs.len);
    vec_each (const GraphOutput, o, &in->g->outputs) {
        Str prefix = STR(NAME_REPORT_PREFIX);
        bool shown = str_starts(o->name, prefix) && graph_value(in->g, o->value)->rank <= 1;
        if (!shown || str_eq(o->name, STR(NAME_FURTHER_LOSS))) continue;
        InspectRow *r = &in->reports[in->report_count++];
        r->name = (Str){o->name.ptr + prefix.len, o->name.len - prefix.len};
        r->count = (uint32_t)graph_elements(in->g, o->value);
        r->values = arena_array(&in->cli->arena, double, r->count);
        add_probe(in, o->value, r->values);
    }
}

// ---- the mixing matrix

static bool same_axes(const Graph *g, ValueId x, ValueId y) {
    const Value *a = graph_value(g, x), *b = graph_value(g, y);
    bool same = a->rank == b->rank;
    for (uint32_t i = 0; i < a->rank && same; i++)
        same = graph_has_axis(b, a->axes[i]);
    return same;
}

// What of `read` is not the sum of responses times sources; {0} if that cannot be said.
static ValueId remainder_of(Inspection *in, const LinearPart *part, ValueId read,
                            const ValueId *responses) {
    Graph *g = in->g;
    ValueId rest = read;
    for (uint32_t i = 0; i < part->source_count; i++) {
        if (!responses[i].i) continue;
        if (!same_axes(g, part->sources[i], read)) return (ValueId){0};
        ValueId term = graph_binary(g, OP_MUL, part->sources[i], responses[i], (Span){0});
        rest = graph_binary(g, OP_SUB, rest, term, (Span){0});
    }
    return rest;
}

static void add_row(Inspection *in, const LinearPart *part, ValueId read) {
    InspectMixing *m = &in->mixing;
    uint32_t row = m->row_count++;
    ValueId *responses = arena_array(&in->cli->arena, ValueId, m->column_count);
    linear_responses(part, read, responses);
    for (uint32_t i = 0; i < m->column_count; i++)
        if (responses[i].i)
            probe_mean(in, responses[i], &m->matrix[(size_t)row * m->column_count + i]);
    ValueId rest = remainder_of(in, part, read, responses);
    if (rest.i)
        probe_square(in, rest, &m->unexplained[row]);
    else
        m->unexplained[row] = NAN;
}

static void add_mixing(Inspection *in) {
    Arena *arena = &in->cli->arena;
    InspectMixing *m = &in->mixing;
    uint32_t n = in->sublayers.count;
    ValueId *sources = arena_array(arena, ValueId, n);
    m->rows = arena_array(arena, Str, n);
    m->columns = arena_array(arena, Str, n);
    for (uint32_t i = 0; i < n; i++) {
        const Sublayer *s = &in->sublayers.items[i];
        if (!s->output.i) continue;
        m->columns[m->column_count] = s->name;
        sources[m->column_count++] = s->output;
    }
    m->matrix = arena_array(arena, double, (size_t)n * m->column_count);
    m->unexplained = arena_array(arena, double, n);
    LinearPart part = linear_part(in->g, arena, sources, m->column_count);
    for (uint32_t i = 0; i < n; i++) {
        const Sublayer *s = &in->sublayers.items[i];
        if (!s->input.i) continue;
        m->rows[m->row_count] = s->name;
        add_row(in, &part, s->input);
    }
}

// ---- the graph

// The model's outputs and updates are replaced by the probes.
static void make_outputs(Inspection *in) {
    in->g->outputs.len = 0;
    in->g->updates.len = 0;
    for (uint32_t i = 0; i < in->probes.len; i++)
        graph_output(in->g, str_printf(&in->cli->arena, "probe.%u", i),
                     in->probes.ptr[i].value);
}

bool inspect_graph(Inspection *in) {
    Cli *cli = in->cli;
    Model model;
    Elaboration *e;
    if (!cli_model(cli, &model) ||
        !ast_to_graph(&cli->diag, &cli->arena, model.program, model.settings, &e))
        return false;
    in->g = elaboration_graph(e);
    in->sublayers = elaboration_sublayers(e);
    graph_bind_axes(in->g, cli_bindings(cli, TRAIN_BATCH));
    if (!cli_all_bound(cli, in->g)) return false;
    // The mixing comes first: it looks at the model's values alone.
    add_mixes(in);
    add_mixing(in);
    add_layers(in);
    add_reports(in);
    add_gradients(in);
    if (!in->layer_count && !in->mix_count && !in->report_count)
        return diag_file_error(&cli->diag, FAIL_INPUT, model.path,
                               "the model mixes nothing over its depth, reports nothing and "
                               "marks no sublayers (sublayer_input, sublayer_output)");
    make_outputs(in);
    in->g = pass_simplify(in->g, &cli->arena);
    if (cli_storage(cli) == DTYPE_BF16) in->g = pass_precision(in->g, &cli->arena);
    return true;
}
