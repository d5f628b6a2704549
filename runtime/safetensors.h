// safetensors.h: tensors by name in files: an 8-byte little-endian header length, a JSON
// header, the data. A file from elsewhere is not trusted: whatever is wrong with it is answered
// with "path: error: ...".
#pragma once

#include "base/io.h"
#include "base/map.h"
#include "runtime/device.h"

typedef struct {
    Str name;
    DType type;
    uint32_t rank;
    const int64_t *shape;
    const void *data;  // in an opened file: in its mapping, at any alignment
} StoredTensor;

typedef struct {
    Str key, value;
} StoredText;

// A file opened, or about to be written. Everything but the mapping lives in the arena of
// whoever filled it in.
typedef struct {
    Str path;
    StoredTensor *tensors;  // in the order of their data
    uint32_t tensor_count;
    StoredText *metadata;  // the header's "__metadata__"
    uint32_t metadata_count;
    Map by_name;  // index + 1 into tensors; filled by open
    FileMap map;
} TensorFile;

MUST_USE bool safetensors_open(Diag *diag, Arena *arena, Str path, TensorFile *out);
// The same from memory; the tensors point into `bytes`, which must live as long.
MUST_USE bool safetensors_parse(Diag *diag, Arena *arena, Str path, Str bytes, TensorFile *out);
void safetensors_close(TensorFile *file);
const StoredTensor *safetensors_find(const TensorFile *file, Str name);  // NULL if absent
bool safetensors_metadata(const TensorFile *file, const char *key,
                          Str *value);        // false if absent
int64_t stored_count(const StoredTensor *t);  // elements

// Appears whole or not at all. Tensors and metadata keep their order; names are distinct.
MUST_USE bool safetensors_write(Diag *diag, const TensorFile *file);
// For tensors that are not in memory together: the header; the data, in order, and the commit
// or abort are the caller's.
MUST_USE bool safetensors_begin(Diag *diag, const TensorFile *file, FileWriter *w);

// A plan's tensor as something to write, e.g. with session_read() as data; nothing is copied.
StoredTensor stored_of(const PlanTensor *t, const void *data);

// Checks t's shape against the plan's tensor and converts into out (plan_tensor_bytes() long):
// floats are rounded to nearest even; integers must fit; floats do not become integers; NaN is
// an error that names its place, Inf is not.
MUST_USE bool safetensors_convert(Diag *diag, const TensorFile *file, const StoredTensor *t,
                                  const PlanTensor *as, void *out);

// Fills a session's tensors from the file by name. `required` and `optional` are sets of kinds,
// LOAD(TENSOR_PARAM) |
// ...: an absent tensor of a required kind is an error (every one is listed), of an optional
// kind it stays as it is. Tensors of the file that the session does not know are ignored with
// one warning that lists them.
#define LOAD(kind) (1u << (kind))
typedef struct {
    uint32_t required, optional;
    bool quiet;              // no warning
    const PlanEntry *entry;  // not NULL: only tensors that it uses are required
} LoadKinds;
MUST_USE bool safetensors_load_into(Diag *diag, const TensorFile *file, Session *session,
                                    LoadKinds kinds);
