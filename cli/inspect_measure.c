// inspect_measure.c: runs the graph of probes on random windows of the data, and makes means of
// what they show.
#include <math.h>

#include "cli/inspect.h"
#include "cli/interrupt.h"
#include "cli/rank.h"
#include "runtime/checkpoint.h"
#include "runtime/model_io.h"

enum { BATCHES = 4 };

// Singular values below this share of the greatest are rounding: f32, and coefficients that are
// computed in it.
static const double rank_tolerance = 1e-5;

#define ENTRY "inspect"

static bool make_plan(Inspection *in, Plan **out) {
    Cli *cli = in->cli;
    PlanRequestEntry entry = {STR(ENTRY), in->g};
    if (!cli_database(cli, false)) return false;
    PlanRequest request = {.model = in->g->name,
                           .target = cli_target(cli),
                           .run_threads = cli->options.threads,
                           .entries = &entry,
                           .entry_count = 1};
    bool good = graph_to_plan(&cli->diag, &cli->arena, &request, out);
    progress_end(&cli->compiling);
    return good;
}

static bool read_probes(Inspection *in, Session *s, const int *tensors) {
    for (uint32_t i = 0; i < in->probes.len; i++) {
        const InspectProbe *p = &in->probes.ptr[i];
        const void *data = session_read(&in->cli->diag, s, (uint32_t)tensors[i]);
        if (!data) return false;
        DType type = session_plan(s)->tensors[tensors[i]].type;
        for (uint32_t k = 0; k < p->count; k++)
            p->sum[k] += dtype_get(type, data, k) / BATCHES;
    }
    return true;
}

static bool run_batches(Inspection *in, Session *s, const Dataset *data, const ModelIo *io) {
    Cli *cli = in->cli;
    const Plan *plan = session_plan(s);
    const PlanEntry *entry = plan_entry(plan, ENTRY);
    const volatile sig_atomic_t *stop = interrupt_catch();
    int *tensors = arena_array(&cli->arena, int, in->probes.len);
    for (uint32_t i = 0; i < in->probes.len; i++)
        tensors[i] =
            plan_tensor_find(plan, TENSOR_OUTPUT, str_printf(&cli->arena, "probe.%u", i));
    for (uint64_t step = 0; step < BATCHES; step++) {
        if (*stop) return diag_fail(&cli->diag, FAIL_INTERRUPTED, "interrupted");
        Batch batch = model_io_batch(s, io);
        dataset_sample(data, (SampleKey){.seed = cli->options.seed, .step = step}, &batch);
        if (!session_run(&cli->diag, s, entry) || !read_probes(in, s, tensors)) return false;
        in->tokens += io->rows * io->context;
    }
    return true;
}

static bool run_plan(Inspection *in, Session *s) {
    Cli *cli = in->cli;
    ModelIo io;
    if (!model_io_find(&cli->diag, session_plan(s), !isnan(in->loss), &io)) return false;
    session_init(s, cli->options.seed);
    if (!params_load(&cli->diag, s, cli->options.params)) return false;
    DatasetOptions options = {.paths = cli->options.data.ptr,
                              .path_count = cli->options.data.len,
                              .vocab = io.vocab,
                              .context = io.context};
    Dataset data = {0};
    bool good = dataset_open(&cli->diag, &cli->arena, &options, &data) &&
                run_batches(in, s, &data, &io);
    dataset_close(&data);
    return good;
}

// ---- from sums to what is shown

static void take_roots(Inspection *in) {
    for (uint32_t i = 0; i < in->layer_count; i++) {
        InspectLayer *l = &in->layers[i];
        l->input = sqrt(l->input);
        l->output = sqrt(l->output);
        l->input_gradient = sqrt(l->input_gradient);
        l->output_gradient = sqrt(l->output_gradient);
    }
}

static double input_of(const Inspection *in, Str name) {
    for (uint32_t i = 0; i < in->layer_count; i++)
        if (str_eq(in->layers[i].name, name)) return in->layers[i].input;
    return NAN;
}

double inspect_unexplained(const InspectMixing *m) {
    double worst = 0;
    for (uint32_t i = 0; i < m->row_count; i++)
        worst = fmax(worst, m->unexplained[i]);
    return worst;
}

static void judge_mixing(Inspection *in) {
    InspectMixing *m = &in->mixing;
    Arena *arena = &in->cli->arena;
    if (!m->row_count || !m->column_count) return;
    for (uint32_t i = 0; i < m->row_count; i++)
        m->unexplained[i] = sqrt(m->unexplained[i]) / input_of(in, m->rows[i]);
    size_t n = (size_t)m->row_count * m->column_count;
    m->singular = arena_array(arena, double, n);
    singular_values(m->matrix, m->row_count, m->column_count, arena_array(arena, double, n),
                    m->singular);
    m->rank = matrix_rank(m->matrix, m->row_count, m->column_count, rank_tolerance);
    m->semiseparable =
        semiseparable_rank(m->matrix, m->row_count, m->column_count, rank_tolerance);
}

bool inspect_measure(Inspection *in) {
    Plan *plan;
    Session *session = NULL;
    if (!make_plan(in, &plan)) return false;
    cli_flush(in->cli);
    bool good = session_open(&in->cli->diag, plan, in->cli->options.threads, &session) &&
                run_plan(in, session);
    session_close(session);
    if (!good) return false;
    take_roots(in);
    judge_mixing(in);
    return true;
}
