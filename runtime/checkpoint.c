// checkpoint.c: the state of a training run to a file and back.
//
// Order on disk: the new checkpoint under its own name, then the link `latest`, then the old
// ones go. Each is synced before the next begins, so that `latest` names a whole checkpoint
// whenever it exists.
#include "runtime/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/hash.h"
#include "runtime/names.h"

#define KEY_FORMAT "strata.checkpoint"
#define KEY_HASH   "strata.hash"
#define KEY_MODEL  "model_hash"

enum { OWN_METADATA = 6 };

static bool is_ours(const PlanTensor *t) {
    return t->kind == TENSOR_PARAM || t->kind == TENSOR_STATE;
}

// Sums of gradients are zero between steps, where checkpoints are made.
static bool is_accumulated(const Plan *plan, const PlanTensor *t) {
    const Str prefix = STR(NAME_ACCUMULATED_PREFIX);
    if (str_eq(t->name, STR(NAME_MICRO))) return true;
    if (!str_starts(t->name, prefix)) return false;
    Str rest = {t->name.ptr + prefix.len, t->name.len - prefix.len};
    return plan_tensor_find(plan, TENSOR_PARAM, rest) >= 0;
}

static bool is_saved(const Plan *plan, const PlanTensor *t) {
    return is_ours(t) && !(t->kind == TENSOR_STATE && is_accumulated(plan, t));
}

// ---- hashes

static void hash_add(Hash *total, Str text) {
    *total = hash_mix(*total, hash_bytes(text.ptr, text.len));
}

// Names, types and shapes of what is saved.
static Hash model_hash(const Plan *plan) {
    Hash total = {0};
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        const PlanTensor *t = &plan->tensors[i];
        if (!is_saved(plan, t)) continue;
        hash_add(&total, t->name);
        hash_add(&total, str_of(dtype_safetensors(t->type)));
        hash_add(&total, (Str){(const char *)t->shape, t->rank * sizeof *t->shape});
    }
    return total;
}

// Of everything in the file but the hash itself.
static Hash content_hash(const TensorFile *file) {
    Hash total = {0};
    for (uint32_t i = 0; i < file->metadata_count; i++) {
        if (str_eq(file->metadata[i].key, STR(KEY_HASH))) continue;
        // A sum, because readers of JSON need not keep the order of keys.
        Hash h = hash_bytes(file->metadata[i].key.ptr, file->metadata[i].key.len);
        hash_add(&h, file->metadata[i].value);
        total.lo += h.lo;
        total.hi += h.hi;
    }
    for (uint32_t i = 0; i < file->tensor_count; i++) {
        const StoredTensor *t = &file->tensors[i];
        hash_add(&total, t->name);
        size_t bytes = (size_t)stored_count(t) * dtype_bytes(t->type);
        hash_add(&total, (Str){t->data, bytes});
    }
    return total;
}

static Str hash_str(Arena *arena, Hash h) {
    char text[HASH_TEXT];
    hash_text(h, text);
    return str_copy(arena, str_of(text));
}

// ---- writing

Str checkpoint_path(Arena *arena, Str directory, int64_t step) {
    return str_printf(arena, "%.*s/checkpoint-%lld.safetensors", STR_ARG(directory),
                      (long long)step);
}

// NaN would be refused when the file is read.
static bool check_numbers(Diag *diag, const TensorFile *file, const PlanTensor *t,
                          const void *data) {
    int64_t count = dtype_is_float(t->type) ? plan_tensor_count(t) : 0;
    for (int64_t i = 0; i < count; i++) {
        if (!isnan(dtype_get(t->type, data, i))) continue;
        StrBuf place = {0};
        plan_tensor_position(t, i, &place);
        diag_file_error(diag, FAIL_INPUT, file->path, "%s is NaN; nothing is saved", place.ptr);
        strbuf_release(&place);
        return false;
    }
    return true;
}

static bool add_tensor(Diag *diag, Session *s, uint32_t index, TensorFile *file) {
    const PlanTensor *t = &session_plan(s)->tensors[index];
    const void *data = session_read(diag, s, index);
    if (!data || !check_numbers(diag, file, t, data)) return false;
    file->tensors[file->tensor_count++] = stored_of(t, data);
    return true;
}

static void add_text(TensorFile *file, const char *key, Str value) {
    file->metadata[file->metadata_count++] = (StoredText){str_of(key), value};
}

static void describe(Arena *arena, const Plan *plan, const Checkpoint *c, TensorFile *file) {
    file->metadata = arena_array(arena, StoredText, OWN_METADATA + c->setting_count);
    add_text(file, KEY_FORMAT, STR("1"));
    add_text(file, "step", str_printf(arena, "%lld", (long long)c->step));
    add_text(file, "tokens", str_printf(arena, "%lld", (long long)c->tokens));
    add_text(file, "seed", str_printf(arena, "%llu", (unsigned long long)c->seed));
    add_text(file, KEY_MODEL, hash_str(arena, model_hash(plan)));
    for (uint32_t i = 0; i < c->setting_count; i++)
        add_text(file, c->settings[i].key, c->settings[i].value);
    add_text(file, KEY_HASH, hash_str(arena, content_hash(file)));
}

static void sync_directory(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

static bool move_latest(Diag *diag, Arena *arena, Str directory, int64_t step) {
    const char *link = arena_printf(arena, "%.*s/latest", STR_ARG(directory));
    const char *next = arena_printf(arena, "%s.%ld.tmp", link, (long)getpid());
    const char *target = arena_printf(arena, "checkpoint-%lld.safetensors", (long long)step);
    unlink(next);
    if (symlink(target, next) < 0 || rename(next, link) < 0) {
        int error = errno;
        unlink(next);
        return diag_file_error(diag, FAIL_ENVIRONMENT, str_of(link), "cannot write: %s",
                               strerror(error));
    }
    sync_directory(arena_strndup(arena, directory.ptr, directory.len));
    return true;
}

bool checkpoint_write(Diag *diag, Session *s, Str directory, const Checkpoint *c) {
    Arena arena = {0};
    const Plan *plan = session_plan(s);
    TensorFile file = {.path = checkpoint_path(&arena, directory, c->step)};
    file.tensors = arena_array(&arena, StoredTensor, plan->tensor_count);
    bool ok = true;
    for (uint32_t i = 0; ok && i < plan->tensor_count; i++) {
        if (is_saved(plan, &plan->tensors[i])) ok = add_tensor(diag, s, i, &file);
    }
    if (ok) describe(&arena, plan, c, &file);
    ok = ok && safetensors_write(diag, &file) && move_latest(diag, &arena, directory, c->step);
    arena_release(&arena);
    return ok;
}

bool checkpoint_write_params(Diag *diag, Session *s, Str path) {
    Arena arena = {0};
    const Plan *plan = session_plan(s);
    TensorFile file = {.path = path};
    file.tensors = arena_array(&arena, StoredTensor, plan->tensor_count);
    bool ok = true;
    for (uint32_t i = 0; ok && i < plan->tensor_count; i++) {
        const PlanTensor *t = &plan->tensors[i];
        bool optimiser = t->kind == TENSOR_STATE && str_starts(t->name, STR("optim."));
        if (is_ours(t) && !optimiser) ok = add_tensor(diag, s, i, &file);
    }
    ok = ok && safetensors_write(diag, &file);
    arena_release(&arena);
    return ok;
}

// ---- reading

static const char *path_text(Arena *arena, Str path) {
    return arena_strndup(arena, path.ptr, path.len);
}

bool checkpoint_find(Diag *diag, Arena *arena, Str path, Str *out) {
    struct stat status;
    if (stat(path_text(arena, path), &status) < 0)
        return diag_file_error(diag, FAIL_INPUT, path, "cannot read: %s", strerror(errno));
    *out = str_copy(arena, path);
    if (!S_ISDIR(status.st_mode)) return true;
    const char *link = arena_printf(arena, "%.*s/latest", STR_ARG(path));
    char target[256];
    ssize_t n = readlink(link, target, sizeof target);
    if (n < 0 || (size_t)n == sizeof target) {
        return diag_file_error(diag, FAIL_INPUT, path,
                               "no checkpoint is here: there is no link 'latest'");
    }
    // What messages name is the file itself; a link that a user made may lead elsewhere.
    Str name = {target, (size_t)n};
    bool beside = !memchr(target, '/', (size_t)n);
    *out = beside ? str_printf(arena, "%.*s/%.*s", STR_ARG(path), STR_ARG(name)) : str_of(link);
    return true;
}

static bool check_content(Diag *diag, const TensorFile *file) {
    Str stored;
    char text[HASH_TEXT];
    hash_text(content_hash(file), text);
    if (!safetensors_metadata(file, KEY_HASH, &stored) || !str_eq(stored, str_of(text))) {
        return diag_file_error(diag, FAIL_INPUT, file->path,
                               "the checkpoint is damaged: its checksum is wrong");
    }
    return true;
}

static bool is_same(const StoredTensor *stored, const PlanTensor *t) {
    return stored && stored->type == t->type && stored->rank == t->rank &&
           (!t->rank || !memcmp(stored->shape, t->shape, t->rank * sizeof *t->shape));
}

static void add_form(StrBuf *out, DType type, const int64_t *shape, uint32_t rank) {
    strbuf_addf(out, "%s[", dtype_text(type));
    for (uint32_t i = 0; i < rank; i++)
        strbuf_addf(out, "%s%lld", i ? ", " : "", (long long)shape[i]);
    strbuf_addc(out, ']');
}

static bool differs(Diag *diag, const TensorFile *file, const StoredTensor *stored,
                    const PlanTensor *t) {
    StrBuf text = {0};
    if (stored) {
        strbuf_addz(&text, "is ");
        add_form(&text, stored->type, stored->shape, stored->rank);
        strbuf_addz(&text, " in the checkpoint and ");
        add_form(&text, t->type, t->shape, t->rank);
        strbuf_addz(&text, " in the model");
    } else {
        strbuf_addz(&text, "is in the model but not in the checkpoint");
    }
    diag_file_error(diag, FAIL_INPUT, file->path, "'%.*s' %s", STR_ARG(t->name), text.ptr);
    strbuf_release(&text);
    return false;
}

// The same tensors, of the same types and shapes, on both sides.
static bool check_model(Diag *diag, const TensorFile *file, const Plan *plan) {
    bool ok = true;
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->tensor_count && !diag_full(diag); i++) {
        const PlanTensor *t = &plan->tensors[i];
        if (!is_saved(plan, t)) continue;
        const StoredTensor *stored = safetensors_find(file, t->name);
        if (!is_same(stored, t)) ok = differs(diag, file, stored, t);
        count++;
    }
    if (!ok || count == file->tensor_count) return ok;
    for (uint32_t i = 0; i < file->tensor_count; i++) {
        Str name = file->tensors[i].name;
        if (plan_tensor_find(plan, TENSOR_PARAM, name) >= 0 ||
            plan_tensor_find(plan, TENSOR_STATE, name) >= 0)
            continue;
        return diag_file_error(diag, FAIL_INPUT, file->path,
                               "'%.*s' is in the checkpoint but not in the model",
                               STR_ARG(name));
    }
    return diag_file_error(diag, FAIL_INPUT, file->path, "it has other tensors than the model");
}

static bool read_count(Diag *diag, const TensorFile *file, const char *key, int64_t *out) {
    Str text;
    if (safetensors_metadata(file, key, &text) && str_to_int64(text, out) && *out >= 0)
        return true;
    return diag_file_error(diag, FAIL_INPUT, file->path, "the checkpoint has no valid '%s'",
                           key);
}

static bool check_setting(Diag *diag, const TensorFile *file,
                          const CheckpointSetting *setting) {
    Str was = STR("nothing");
    safetensors_metadata(file, setting->key, &was);
    if (str_eq(was, setting->value)) return true;
    if (setting->strict) {
        return diag_file_error(diag, FAIL_INPUT, file->path,
                               "the run has %s %.*s and cannot go on with %.*s", setting->key,
                               STR_ARG(was), STR_ARG(setting->value));
    }
    diag_warning(diag, (Span){0}, "%.*s: the run had %s %.*s until now and goes on with %.*s",
                 STR_ARG(file->path), setting->key, STR_ARG(was), STR_ARG(setting->value));
    return true;
}

static bool check_settings(Diag *diag, const TensorFile *file, const Checkpoint *c) {
    char seed[32];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)c->seed);
    CheckpointSetting own = {.key = "seed", .value = str_of(seed), .strict = true};
    bool ok = check_setting(diag, file, &own);
    for (uint32_t i = 0; i < c->setting_count; i++)
        ok &= check_setting(diag, file, &c->settings[i]);
    return ok;
}

static bool read_checkpoint(Diag *diag, const TensorFile *file, Session *s, Checkpoint *c) {
    const Plan *plan = session_plan(s);
    Str format;
    if (!safetensors_metadata(file, KEY_FORMAT, &format)) {
        return diag_file_error(diag, FAIL_INPUT, file->path,
                               "it is no checkpoint of a training run");
    }
    if (!str_eq(format, STR("1"))) {
        return diag_file_error(diag, FAIL_INPUT, file->path,
                               "its format '%.*s' is of another version", STR_ARG(format));
    }
    if (!check_content(diag, file) || !check_model(diag, file, plan)) return false;
    if (!read_count(diag, file, "step", &c->step)) return false;
    if (!read_count(diag, file, "tokens", &c->tokens)) return false;
    if (!check_settings(diag, file, c)) return false;
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        const PlanTensor *t = &plan->tensors[i];
        if (!is_saved(plan, t)) continue;
        const StoredTensor *stored = safetensors_find(file, t->name);
        if (!safetensors_convert(diag, file, stored, t, session_write(s, i))) return false;
    }
    return true;
}

bool checkpoint_load(Diag *diag, Session *s, Str path, Checkpoint *c) {
    Arena arena = {0};
    TensorFile file;
    bool ok = safetensors_open(diag, &arena, path, &file);
    if (ok) {
        ok = read_checkpoint(diag, &file, s, c);
        safetensors_close(&file);
    }
    arena_release(&arena);
    return ok;
}

static bool read_params(Diag *diag, const TensorFile *file, Session *s) {
    // A checkpoint holds the optimiser's states as well, which nobody needs to be told.
    bool checkpoint = safetensors_metadata(file, KEY_FORMAT, &(Str){0});
    LoadKinds kinds = {
        .required = LOAD(TENSOR_PARAM), .optional = LOAD(TENSOR_STATE), .quiet = checkpoint};
    if (checkpoint && !check_content(diag, file)) return false;
    return safetensors_load_into(diag, file, s, kinds);
}

bool params_load(Diag *diag, Session *s, Str path) {
    Arena arena = {0};
    TensorFile file;
    bool ok = safetensors_open(diag, &arena, path, &file);
    if (ok) {
        ok = read_params(diag, &file, s);
        safetensors_close(&file);
    }
    arena_release(&arena);
    return ok;
}
