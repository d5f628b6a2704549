// mapping_import.c: their tensors become ours.
#include "runtime/init.h"
#include "runtime/mapping_run.h"

typedef struct {
    Diag *diag;
    Arena *arena;
    const ImportRequest *request;
    const MapPlan *plan;
    MapReport *report;
} Import;

bool map_stopped(Diag *diag, const MapWatch *watch) {
    if (!watch->stop || !*watch->stop) return false;
    diag_fail(diag, FAIL_INTERRUPTED, "interrupted; nothing was written");
    return true;
}

void map_leave_out(MapReport *report, Str name) {
    enum { NAMED = 8 };
    if (report->left_out_count < NAMED)
        strbuf_addf(&report->left_out, "%s%.*s", report->left_out_count ? ", " : "",
                    STR_ARG(name));
    else if (report->left_out_count == NAMED)
        strbuf_addz(&report->left_out, ", ...");
    report->left_out_count++;
}

PlanTensor map_tensor(Arena *arena, Str name, DType type, const Shape *shape) {
    Str *axes = arena_array(arena, Str, shape->rank);
    int64_t *extents = arena_array(arena, int64_t, shape->rank);
    for (uint32_t i = 0; i < shape->rank; i++) {
        axes[i] = str_printf(arena, "%u", i);
        extents[i] = shape->extents[i];
    }
    return (PlanTensor){
        .name = name, .type = type, .rank = shape->rank, .shape = extents, .axes = axes};
}

// ---- is all there, of the right shape?

static bool check_source(const Import *m, uint32_t ours, const Theirs *t, bool *absent) {
    const TensorFile *file;
    const StoredTensor *stored = sharded_find(m->request->from, t->name, &file);
    const MapRule *rule = m->plan->fills[ours].rule;
    Str name = m->plan->ours[ours].name;
    *absent = !stored;
    if (!stored && rule->init) return true;
    if (!stored)
        return diag_file_error(m->diag, FAIL_INPUT, m->request->from->path,
                               "tensor '%.*s' is missing, of which rule %u makes '%.*s'",
                               STR_ARG(t->name), rule->number, STR_ARG(name));
    Shape has = shape_of(stored->shape, stored->rank);
    if (shape_eq(&has, &t->shape)) return true;
    return diag_file_error(m->diag, FAIL_INPUT, file->path,
                           "tensor '%.*s' has shape %s, and rule %u, which makes '%.*s' of it, "
                           "needs %s",
                           STR_ARG(t->name), shape_format(m->arena, &has), rule->number,
                           STR_ARG(name), shape_format(m->arena, &t->shape));
}

// A fill whose tensors are all absent, and may be, becomes the initial value.
static bool check_fill(const Import *m, uint32_t ours) {
    Fill *fill = &m->plan->fills[ours];
    int64_t absent_count = 0;
    for (int64_t i = 0; i < fill->parts; i++) {
        bool absent;
        if (!check_source(m, ours, &m->plan->theirs.ptr[fill->sources[i]], &absent))
            return false;
        absent_count += absent;
    }
    if (!absent_count) return true;
    if (absent_count != fill->parts)
        return diag_file_error(m->diag, FAIL_INPUT, m->request->from->path,
                               "some tensors of '%.*s' are missing and some are there",
                               STR_ARG(m->plan->ours[ours].name));
    fill->parts = 0;
    return true;
}

static bool check_unused(const Import *m) {
    const Sharded *from = m->request->from;
    bool ok = true;
    for (uint32_t f = 0; f < from->count; f++) {
        const TensorFile *file = &from->files[f];
        for (uint32_t i = 0; i < file->tensor_count && !diag_full(m->diag); i++) {
            const StoredTensor *t = &file->tensors[i];
            if (map_get(&m->plan->by_name, t->name, NULL)) continue;
            if (mapping_ignores(m->plan->mapping, t->name)) {
                map_leave_out(m->report, t->name);
                continue;
            }
            Shape shape = shape_of(t->shape, t->rank);
            ok = diag_file_error(m->diag, FAIL_INPUT, file->path,
                                 "tensor '%.*s' %s is neither used by a rule nor ignored",
                                 STR_ARG(t->name), shape_format(m->arena, &shape));
        }
    }
    return ok;
}

// ---- one of ours

// A part of theirs, moved and converted, into `out`, which holds all parts.
static bool make_part(const Import *m, Arena *scratch, uint32_t ours, int64_t part, void *out) {
    const Fill *fill = &m->plan->fills[ours];
    DType type = m->plan->ours[ours].type;
    size_t bytes = dtype_bytes(type);
    const TensorFile *file;
    const Theirs *t = &m->plan->theirs.ptr[fill->sources[part]];
    const StoredTensor *stored = sharded_find(m->request->from, t->name, &file);
    PlanTensor as = map_tensor(scratch, t->name, type, &t->shape);
    void *x = fill->move_count ? arena_alloc(scratch, (size_t)plan_tensor_bytes(&as), 1) : out;
    if (!safetensors_convert(m->diag, file, stored, &as, x)) return false;
    for (uint32_t i = 0; i < fill->move_count; i++) {
        const Move *move = &fill->moves[i];
        bool last = i + 1 == fill->move_count;
        if (!last && move->step->kind == MAP_RESHAPE) continue;
        void *to = last ? out : arena_alloc(scratch, (size_t)shape_count(&move->after), bytes);
        move_forward(move, part, bytes, x, to);
        x = to;
    }
    return true;
}

static bool make_ours(const Import *m, Arena *scratch, uint32_t ours, void *out) {
    const Fill *fill = &m->plan->fills[ours];
    if (!fill->parts) init_tensor(&m->plan->ours[ours], m->request->seed, out);
    for (int64_t part = 0; part < fill->parts; part++) {
        ArenaMark mark = arena_mark(scratch);
        bool ok =
            !map_stopped(m->diag, &m->request->watch) && make_part(m, scratch, ours, part, out);
        arena_rewind(scratch, mark);
        if (!ok) return false;
    }
    return true;
}

static bool write_ours(const Import *m, uint32_t ours, FileWriter *w) {
    Arena scratch = {0};
    size_t bytes = (size_t)plan_tensor_bytes(&m->plan->ours[ours]);
    void *data = arena_alloc(&scratch, bytes, 1);
    bool ok = make_ours(m, &scratch, ours, data) && io_writer_add(m->diag, w, data, bytes);
    arena_release(&scratch);
    return ok;
}

static bool write_all(const Import *m, const TensorFile *file, int64_t total) {
    const MapWatch *watch = &m->request->watch;
    FileWriter w;
    int64_t done = 0;
    bool ok = safetensors_begin(m->diag, file, &w);
    for (uint32_t i = 0; ok && i < m->plan->our_count; i++) {
        if (!m->plan->fills[i].rule) continue;
        if (watch->progress) watch->progress(watch->context, done, total);
        ok = write_ours(m, i, &w);
        done += plan_tensor_bytes(&m->plan->ours[i]);
    }
    ok = ok && io_writer_commit(m->diag, &w);
    io_writer_abort(&w);
    return ok;
}

bool mapping_import(Diag *diag, const ImportRequest *request, MapReport *report) {
    const MapPlan *plan = request->plan;
    Arena arena = {0};
    Import m = {diag, &arena, request, plan, report};
    *report = (MapReport){.files = 1};
    TensorFile file = {.path = request->out};
    file.tensors = arena_array(&arena, StoredTensor, plan->our_count);
    int64_t total = 0;
    bool ok = true;
    for (uint32_t i = 0; i < plan->our_count && !diag_full(diag); i++) {
        if (!plan->fills[i].rule) continue;
        ok &= check_fill(&m, i);
        file.tensors[file.tensor_count++] = stored_of(&plan->ours[i], NULL);
        report->initial += !plan->fills[i].parts;
        report->elements += plan_tensor_count(&plan->ours[i]);
        total += plan_tensor_bytes(&plan->ours[i]);
    }
    report->tensors = file.tensor_count;
    ok = ok && check_unused(&m) && write_all(&m, &file, total);
    arena_release(&arena);
    return ok;
}
