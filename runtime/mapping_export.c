// mapping_export.c: our tensors become theirs: every step of a rule undone, from the last to
// the first.
#include "runtime/init.h"
#include "runtime/mapping_run.h"

typedef struct {
    Diag *diag;
    Arena *arena;
    const ExportRequest *request;
    const MapPlan *plan;
    const StoredTensor **stored;  // of each of ours that is needed
    DType *types;                 // of each of theirs
    uint32_t *files;              // which file each of theirs is in
    FolderWriter folder;
    MapReport *report;
    int64_t done, total;  // bytes
} Export;

// ---- is all there?

static bool find_ours(const Export *m, uint32_t ours) {
    const PlanTensor *t = &m->plan->ours[ours];
    const TensorFile *params = m->request->params;
    const StoredTensor *stored = safetensors_find(params, t->name);
    Shape needed = shape_of(t->shape, t->rank);
    if (!stored && t->kind == TENSOR_STATE) {
        void *data = arena_alloc(m->arena, (size_t)plan_tensor_bytes(t), 1);
        StoredTensor *initial = arena_new(m->arena, StoredTensor);
        init_tensor(t, m->request->seed, data);
        *initial = stored_of(t, data);
        stored = initial;
    }
    m->stored[ours] = stored;
    if (!stored)
        return diag_file_error(m->diag, FAIL_INPUT, params->path, "parameter '%.*s' is missing",
                               STR_ARG(t->name));
    Shape has = shape_of(stored->shape, stored->rank);
    if (shape_eq(&has, &needed)) return true;
    return diag_file_error(
        m->diag, FAIL_INPUT, params->path, "tensor '%.*s' has shape %s and the model needs %s",
        STR_ARG(t->name), shape_format(m->arena, &has), shape_format(m->arena, &needed));
}

static bool find_all(const Export *m) {
    bool ok = true;
    Map known = {0};
    for (uint32_t i = 0; i < m->plan->our_count && !diag_full(m->diag); i++) {
        if (!m->plan->fills[i].parts) continue;
        map_set(m->arena, &known, m->plan->ours[i].name, 1);
        ok &= find_ours(m, i);
    }
    const TensorFile *params = m->request->params;
    for (uint32_t i = 0; i < params->tensor_count; i++)
        if (!map_get(&known, params->tensors[i].name, NULL))
            map_leave_out(m->report, params->tensors[i].name);
    return ok;
}

// ---- one of theirs

// Parts of one tensor have other places, and zero bytes where they are not.
static void join(unsigned char *to, const unsigned char *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        to[i] |= from[i];
}

static bool add_use(const Export *m, Arena *scratch, const PlanTensor *as, const MapUse *use,
                    unsigned char *out) {
    const StoredTensor *ours = m->stored[use->ours];
    size_t bytes = dtype_bytes(ours->type);
    const void *data =
        moves_back(scratch, &m->plan->fills[use->ours], use->part, bytes, ours->data);
    StoredTensor moved = {ours->name, ours->type, as->rank, as->shape, data};
    size_t n = (size_t)plan_tensor_bytes(as);
    unsigned char *converted = arena_alloc(scratch, n, 1);
    if (!safetensors_convert(m->diag, m->request->params, &moved, as, converted)) return false;
    join(out, converted, n);
    return true;
}

static bool write_theirs(Export *m, uint32_t index, FileWriter *w) {
    const Theirs *t = &m->plan->theirs.ptr[index];
    const MapWatch *watch = &m->request->watch;
    Arena scratch = {0};
    PlanTensor as = map_tensor(&scratch, t->name, m->types[index], &t->shape);
    size_t n = (size_t)plan_tensor_bytes(&as);
    unsigned char *data = arena_alloc(&scratch, n, 1);
    bool ok = !map_stopped(m->diag, watch);
    for (uint32_t i = 0; ok && i < t->uses.len; i++) {
        ArenaMark mark = arena_mark(&scratch);
        ok = add_use(m, &scratch, &as, &t->uses.ptr[i], data);
        arena_rewind(&scratch, mark);
    }
    ok = ok && io_writer_add(m->diag, w, data, n);
    arena_release(&scratch);
    m->done += (int64_t)n;
    if (watch->progress) watch->progress(watch->context, m->done, m->total);
    return ok;
}

// ---- files

// Which file each tensor goes to, in order.
static void assign_files(Export *m) {
    uint32_t file = 0;
    int64_t held = 0;
    for (uint32_t i = 0; i < m->plan->theirs.len; i++) {
        const Theirs *t = &m->plan->theirs.ptr[i];
        DType stored = m->stored[t->uses.ptr[0].ours]->type;
        m->types[i] = t->rule->has_type                                ? t->rule->type
                      : m->request->has_type && dtype_is_float(stored) ? m->request->type
                                                                       : stored;
        int64_t bytes = shape_count(&t->shape) * (int64_t)dtype_bytes(m->types[i]);
        if (held && held + bytes > m->request->shard_bytes) {
            file++;
            held = 0;
        }
        held += bytes;
        m->total += bytes;
        m->report->elements += shape_count(&t->shape);
        m->files[i] = file;
    }
    m->report->files = file + 1;
    m->report->tensors = m->plan->theirs.len;
}

static Str shard_name(const Export *m, uint32_t file) {
    return str_printf(m->arena, "model-%05u-of-%05u.safetensors", file + 1, m->report->files);
}

// Theirs from `first` to before `end`.
static bool write_shard(Export *m, uint32_t first, uint32_t end) {
    StoredText format = {STR("format"), STR("pt")};  // readers of PyTorch's want it
    TensorFile file = {.metadata = &format, .metadata_count = 1};
    Str name = shard_name(m, m->files[first]);
    file.path = str_printf(m->arena, "%.*s/%.*s", STR_ARG(m->folder.temporary), STR_ARG(name));
    file.tensors = arena_array(m->arena, StoredTensor, end - first);
    for (uint32_t i = first; i < end; i++) {
        const Theirs *t = &m->plan->theirs.ptr[i];
        PlanTensor as = map_tensor(m->arena, t->name, m->types[i], &t->shape);
        file.tensors[file.tensor_count++] = stored_of(&as, NULL);
    }
    FileWriter w;
    bool ok = safetensors_begin(m->diag, &file, &w);
    for (uint32_t i = first; ok && i < end; i++)
        ok = write_theirs(m, i, &w);
    ok = ok && io_writer_commit(m->diag, &w);
    io_writer_abort(&w);
    return ok;
}

static bool write_index(const Export *m) {
    StrBuf text = {0};
    JsonWriter w;
    json_init(&w, &text, true);
    json_object(&w);
    json_key(&w, "metadata");
    json_object(&w);
    json_key(&w, "total_size");
    json_int(&w, m->total);
    json_end(&w);
    json_key(&w, "weight_map");
    json_object(&w);
    for (uint32_t i = 0; i < m->plan->theirs.len; i++) {
        json_key_str(&w, m->plan->theirs.ptr[i].name);
        json_string(&w, shard_name(m, m->files[i]));
    }
    json_end(&w);
    json_end(&w);
    strbuf_addc(&text, '\n');
    Str path = str_printf(m->arena, "%.*s/" SHARD_INDEX, STR_ARG(m->folder.temporary));
    bool ok = io_write(m->diag, path, text.ptr, text.len);
    strbuf_release(&text);
    return ok;
}

static bool write_folder(Export *m) {
    bool ok = io_folder_open(m->diag, m->arena, m->request->out, &m->folder);
    uint32_t count = m->plan->theirs.len;
    for (uint32_t first = 0, end = 0; ok && end < count; first = end) {
        while (end < count && m->files[end] == m->files[first])
            end++;
        ok = write_shard(m, first, end);
    }
    ok = ok && write_index(m) && io_folder_commit(m->diag, &m->folder);
    io_folder_abort(&m->folder);
    return ok;
}

bool mapping_export(Diag *diag, const ExportRequest *request, MapReport *report) {
    const MapPlan *plan = request->plan;
    Arena arena = {0};
    Export m = {.diag = diag, .arena = &arena, .request = request, .plan = plan};
    *report = (MapReport){0};
    m.report = report;
    m.stored = arena_array(&arena, const StoredTensor *, plan->our_count);
    m.types = arena_array(&arena, DType, plan->theirs.len);
    m.files = arena_array(&arena, uint32_t, plan->theirs.len);
    bool ok = find_all(&m);
    if (ok) {
        assign_files(&m);
        ok = write_folder(&m);
    }
    arena_release(&arena);
    return ok;
}
