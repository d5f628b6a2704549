// sharded.c: the index names the files; the files say what is in them, and both must agree.
#include "runtime/sharded.h"

#include <string.h>

#include "base/json.h"

typedef struct {
    Diag *diag;
    Arena *arena;
    Sharded *out;
} Opening;

static bool open_file(const Opening *o, Str path) {
    Sharded *s = o->out;
    TensorFile *file = &s->files[s->count];
    if (!safetensors_open(o->diag, o->arena, path, file)) return false;
    s->count++;
    for (uint32_t i = 0; i < file->tensor_count; i++) {
        uint64_t other;
        Str name = file->tensors[i].name;
        if (map_get(&s->by_name, name, &other))
            return diag_file_error(o->diag, FAIL_INPUT, path,
                                   "tensor '%.*s' is in %.*s as well", STR_ARG(name),
                                   STR_ARG(s->files[other - 1].path));
        map_set(o->arena, &s->by_name, name, s->count);
    }
    return true;
}

static Str in_folder(const Opening *o, Str name) {
    return str_printf(o->arena, "%.*s/%.*s", STR_ARG(o->out->path), STR_ARG(name));
}

// The files lie beside the index, and nowhere else.
static bool is_file_name(const Json *json) {
    return json->kind == JSON_STRING && json->string.len && json->string.ptr[0] != '.' &&
           !memchr(json->string.ptr, '/', json->string.len);
}

static bool open_shards(const Opening *o, Str index, const Json *names) {
    o->out->files = arena_array(o->arena, TensorFile, names->count);
    Map known = {0};
    for (uint32_t i = 0; i < names->count; i++) {
        const Json *file = &names->items[i];
        if (!is_file_name(file))
            return diag_file_error(o->diag, FAIL_INPUT, index, "'%.*s' is in no file beside it",
                                   STR_ARG(names->keys[i]));
        if (map_get(&known, file->string, NULL)) continue;
        if (!open_file(o, in_folder(o, file->string))) return false;
        map_set(o->arena, &known, file->string, o->out->count);
    }
    for (uint32_t i = 0; i < names->count; i++) {
        uint64_t said = 0, found = 0;
        map_get(&known, names->items[i].string, &said);
        map_get(&o->out->by_name, names->keys[i], &found);
        if (said != found)
            return diag_file_error(o->diag, FAIL_INPUT, index, "tensor '%.*s' is not in '%.*s'",
                                   STR_ARG(names->keys[i]), STR_ARG(names->items[i].string));
    }
    return true;
}

static bool open_index(const Opening *o, Str index) {
    Str text;
    Json *json;
    if (!io_read(o->diag, o->arena, index, &text) ||
        !json_parse(o->diag, o->arena, index, text, &json))
        return false;
    const Json *names = json_get(json, "weight_map");
    if (names && names->kind == JSON_OBJECT) return open_shards(o, index, names);
    return diag_file_error(o->diag, FAIL_INPUT, index, "it has no weight_map");
}

bool sharded_open(Diag *diag, Arena *arena, Str path, Sharded *out) {
    *out = (Sharded){.path = path};
    Opening o = {diag, arena, out};
    Str index = in_folder(&o, STR(SHARD_INDEX));
    bool ok;
    if (io_is_directory(path) && io_exists(index)) {
        ok = open_index(&o, index);
    } else {
        out->files = arena_new(arena, TensorFile);
        ok = open_file(&o,
                       io_is_directory(path) ? in_folder(&o, STR("model.safetensors")) : path);
    }
    if (!ok) sharded_close(out);
    return ok;
}

void sharded_close(Sharded *s) {
    for (uint32_t i = 0; i < s->count; i++)
        safetensors_close(&s->files[i]);
    *s = (Sharded){.path = s->path};
}

const StoredTensor *sharded_find(const Sharded *s, Str name, const TensorFile **file) {
    uint64_t at;
    if (!map_get(&s->by_name, name, &at)) return NULL;
    *file = &s->files[at - 1];
    return safetensors_find(*file, name);
}
