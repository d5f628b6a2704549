// safetensors.c: reading files that anybody may have made, and writing our own.
//
//     | u64 n | n bytes of JSON | data |
//     {"__metadata__": {"k": "v"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets":
//     [0, 24]}, ...}
//
// Requirements on a file: the data of the tensors, in order of offsets, follow one another
// without overlap or gap and fill the file; each has as many bytes as its shape and type say.
#include "runtime/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"

enum {
    LENGTH_BYTES = 8,
    HEADER_MAX = 100 << 20,  // as other readers of the format have it
    DATA_ALIGN = 64,         // of the data in files that we write
};

typedef struct {
    Diag *diag;
    Arena *arena;
    TensorFile *file;
    const char *data;
    uint64_t data_bytes;
} Parser;

// What sorting needs to know of a tensor.
typedef struct {
    uint64_t begin, end;
    StoredTensor tensor;
} Placed;

static bool bad_tensor(const Parser *p, Str name, const char *what) {
    return diag_file_error(p->diag, FAIL_INPUT, p->file->path, "tensor '%.*s': %s",
                           STR_ARG(name), what);
}

// Text that goes into messages must not drive the terminal.
static bool is_printable(Str s) {
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f) return false;
    }
    return true;
}

static bool read_shape(const Parser *p, const Json *shape, StoredTensor *t, uint64_t *bytes) {
    if (!shape || shape->kind != JSON_ARRAY) return bad_tensor(p, t->name, "it has no shape");
    if (shape->count > PLAN_RANK_MAX) return bad_tensor(p, t->name, "it has too many axes");
    int64_t *extents = arena_array(p->arena, int64_t, shape->count);
    uint64_t total = dtype_bytes(t->type);
    bool is_empty = false;
    for (uint32_t i = 0; i < shape->count; i++) {
        const Json *extent = &shape->items[i];
        if (extent->kind != JSON_INT || extent->integer < 0)
            return bad_tensor(p, t->name, "an extent is no natural number");
        extents[i] = extent->integer;
        is_empty |= extents[i] == 0;
        if (extents[i] && total > (uint64_t)INT64_MAX / (uint64_t)extents[i])
            return bad_tensor(p, t->name, "its shape is too large");
        if (extents[i]) total *= (uint64_t)extents[i];
    }
    t->rank = shape->count;
    t->shape = extents;
    *bytes = is_empty ? 0 : total;
    return true;
}

static bool read_offsets(const Parser *p, const Json *offsets, Placed *out) {
    Str name = out->tensor.name;
    bool ok = offsets && offsets->kind == JSON_ARRAY && offsets->count == 2 &&
              offsets->items[0].kind == JSON_INT && offsets->items[1].kind == JSON_INT &&
              offsets->items[0].integer >= 0 &&
              offsets->items[1].integer >= offsets->items[0].integer;
    if (!ok) return bad_tensor(p, name, "its data_offsets are not two rising natural numbers");
    out->begin = (uint64_t)offsets->items[0].integer;
    out->end = (uint64_t)offsets->items[1].integer;
    if (out->end > p->data_bytes)
        return bad_tensor(p, name, "its data reach past the end of the file");
    return true;
}

static bool read_tensor(const Parser *p, Str name, const Json *json, Placed *out) {
    out->tensor = (StoredTensor){.name = name};
    if (!name.len || !is_printable(name)) {
        return diag_file_error(p->diag, FAIL_INPUT, p->file->path,
                               "a tensor has no name that could be printed");
    }
    if (json->kind != JSON_OBJECT) return bad_tensor(p, name, "it is described by no object");
    const Json *type = json_get(json, "dtype");
    if (!type || type->kind != JSON_STRING || !is_printable(type->string))
        return bad_tensor(p, name, "it has no dtype");
    if (!dtype_parse_safetensors(type->string, &out->tensor.type)) {
        return diag_file_error(p->diag, FAIL_INPUT, p->file->path,
                               "tensor '%.*s': dtype '%.*s' is not supported", STR_ARG(name),
                               STR_ARG(type->string));
    }
    uint64_t bytes = 0;
    if (!read_shape(p, json_get(json, "shape"), &out->tensor, &bytes)) return false;
    if (!read_offsets(p, json_get(json, "data_offsets"), out)) return false;
    if (out->end - out->begin != bytes) {
        return diag_file_error(
            p->diag, FAIL_INPUT, p->file->path,
            "tensor '%.*s': its shape needs %llu bytes and its data_offsets give %llu",
            STR_ARG(name), (unsigned long long)bytes,
            (unsigned long long)(out->end - out->begin));
    }
    out->tensor.data = p->data + out->begin;
    return true;
}

static bool read_metadata(const Parser *p, const Json *json) {
    if (json->kind != JSON_OBJECT)
        return diag_file_error(p->diag, FAIL_INPUT, p->file->path, "__metadata__ is no object");
    TensorFile *file = p->file;
    file->metadata = arena_array(p->arena, StoredText, json->count);
    for (uint32_t i = 0; i < json->count; i++) {
        if (json->items[i].kind != JSON_STRING) {
            return diag_file_error(p->diag, FAIL_INPUT, file->path,
                                   "__metadata__ entry %u is no string", i);
        }
        file->metadata[i] = (StoredText){json->keys[i], json->items[i].string};
    }
    file->metadata_count = json->count;
    return true;
}

static int compare_placed(const void *left, const void *right) {
    const Placed *a = left, *b = right;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end) return a->end < b->end ? -1 : 1;
    return str_cmp(a->tensor.name, b->tensor.name);
}

// requires: sorted     ensures: the tensors tile the data
static bool check_tiling(const Parser *p, const Placed *placed, uint32_t count) {
    uint64_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (placed[i].begin < end)
            return bad_tensor(p, placed[i].tensor.name,
                              "its data overlap those of another tensor");
        if (placed[i].begin > end)
            return bad_tensor(p, placed[i].tensor.name, "there is a gap before its data");
        end = placed[i].end;
    }
    if (end == p->data_bytes) return true;
    return diag_file_error(p->diag, FAIL_INPUT, p->file->path,
                           "%llu bytes after the last tensor belong to nothing",
                           (unsigned long long)(p->data_bytes - end));
}

static bool read_tensors(const Parser *p, const Json *header) {
    TensorFile *file = p->file;
    Placed *placed = arena_array(p->arena, Placed, header->count);
    uint32_t count = 0;
    for (uint32_t i = 0; i < header->count; i++) {
        Str name = header->keys[i];
        const Json *value = &header->items[i];
        bool is_metadata = str_eq(name, STR("__metadata__"));
        bool ok =
            is_metadata ? read_metadata(p, value) : read_tensor(p, name, value, &placed[count]);
        if (!ok) return false;
        count += !is_metadata;
    }
    if (count) qsort(placed, count, sizeof *placed, compare_placed);
    if (!check_tiling(p, placed, count)) return false;
    file->tensors = arena_array(p->arena, StoredTensor, count);
    file->tensor_count = count;
    for (uint32_t i = 0; i < count; i++) {
        file->tensors[i] = placed[i].tensor;
        map_set(p->arena, &file->by_name, placed[i].tensor.name, i + 1);
    }
    return true;
}

bool safetensors_parse(Diag *diag, Arena *arena, Str path, Str bytes, TensorFile *out) {
    *out = (TensorFile){.path = path};
    if (bytes.len < LENGTH_BYTES) {
        return diag_file_error(diag, FAIL_INPUT, path,
                               "no safetensors file: it is shorter than 8 bytes");
    }
    uint64_t length = 0;
    for (int i = 0; i < LENGTH_BYTES; i++)
        length |= (uint64_t)(unsigned char)bytes.ptr[i] << 8 * i;
    if (length > HEADER_MAX || length > bytes.len - LENGTH_BYTES) {
        return diag_file_error(
            diag, FAIL_INPUT, path,
            "no safetensors file: its header of %llu bytes is longer than %s",
            (unsigned long long)length, length > HEADER_MAX ? "100 MiB" : "the file");
    }
    Str text = {bytes.ptr + LENGTH_BYTES, length};
    Json *header = NULL;
    if (!json_parse(diag, arena, path, text, &header)) return false;
    if (header->kind != JSON_OBJECT)
        return diag_file_error(diag, FAIL_INPUT, path,
                               "no safetensors file: its header is no object");
    Parser p = {.diag = diag,
                .arena = arena,
                .file = out,
                .data = text.ptr + length,
                .data_bytes = bytes.len - LENGTH_BYTES - length};
    return read_tensors(&p, header);
}

bool safetensors_open(Diag *diag, Arena *arena, Str path, TensorFile *out) {
    *out = (TensorFile){.path = path};
    FileMap map;
    if (!io_map(diag, path, &map)) return false;
    Str bytes = {(const char *)map.data, map.size};
    bool ok = safetensors_parse(diag, arena, str_copy(arena, path), bytes, out);
    out->map = map;
    if (!ok) safetensors_close(out);
    return ok;
}

void safetensors_close(TensorFile *file) {
    io_unmap(&file->map);
    *file = (TensorFile){.path = file->path};
}

const StoredTensor *safetensors_find(const TensorFile *file, Str name) {
    uint64_t index;
    return map_get(&file->by_name, name, &index) ? &file->tensors[index - 1] : NULL;
}

bool safetensors_metadata(const TensorFile *file, const char *key, Str *value) {
    for (uint32_t i = 0; i < file->metadata_count; i++) {
        if (!str_eq(file->metadata[i].key, str_of(key))) continue;
        *value = file->metadata[i].value;
        return true;
    }
    return false;
}

int64_t stored_count(const StoredTensor *t) { return extents_product(t->shape, t->rank); }

StoredTensor stored_of(const PlanTensor *t, const void *data) {
    return (StoredTensor){
        .name = t->name, .type = t->type, .rank = t->rank, .shape = t->shape, .data = data};
}

// ---- writing

static uint64_t stored_bytes(const StoredTensor *t) {
    return (uint64_t)stored_count(t) * dtype_bytes(t->type);
}

static void write_header(const TensorFile *file, StrBuf *out) {
    JsonWriter w;
    json_init(&w, out, false);
    json_object(&w);
    if (file->metadata_count) {
        json_key(&w, "__metadata__");
        json_object(&w);
        for (uint32_t i = 0; i < file->metadata_count; i++) {
            json_key_str(&w, file->metadata[i].key);
            json_string(&w, file->metadata[i].value);
        }
        json_end(&w);
    }
    uint64_t begin = 0;
    for (uint32_t i = 0; i < file->tensor_count; i++) {
        const StoredTensor *t = &file->tensors[i];
        json_key_str(&w, t->name);
        json_object(&w);
        json_key(&w, "dtype");
        json_string(&w, str_of(dtype_safetensors(t->type)));
        json_key(&w, "shape");
        json_array(&w);
        for (uint32_t axis = 0; axis < t->rank; axis++)
            json_int(&w, t->shape[axis]);
        json_end(&w);
        json_key(&w, "data_offsets");
        json_array(&w);
        json_int(&w, (int64_t)begin);
        begin += stored_bytes(t);
        json_int(&w, (int64_t)begin);
        json_end(&w);
        json_end(&w);
    }
    json_end(&w);
    while ((out->len + LENGTH_BYTES) % DATA_ALIGN)
        strbuf_addc(out, ' ');
}

bool safetensors_begin(Diag *diag, const TensorFile *file, FileWriter *w) {
    if (!io_writer_open(diag, file->path, w)) return false;
    StrBuf header = {0};
    write_header(file, &header);
    unsigned char length[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++)
        length[i] = (unsigned char)((uint64_t)header.len >> 8 * i);
    bool ok = io_writer_add(diag, w, length, sizeof length) &&
              io_writer_add(diag, w, header.ptr, header.len);
    strbuf_release(&header);
    return ok;
}

bool safetensors_write(Diag *diag, const TensorFile *file) {
    FileWriter w;
    bool ok = safetensors_begin(diag, file, &w);
    for (uint32_t i = 0; ok && i < file->tensor_count; i++) {
        const StoredTensor *t = &file->tensors[i];
        ok = io_writer_add(diag, &w, t->data, stored_bytes(t));
    }
    ok = ok && io_writer_commit(diag, &w);
    io_writer_abort(&w);
    return ok;
}
