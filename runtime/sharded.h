// sharded.h: a checkpoint of one or of several safetensors files. Several lie in one folder,
// with model.safetensors.index.json: {"weight_map": {"tensor": "file", ...}}.
#pragma once

#include "runtime/safetensors.h"

#define SHARD_INDEX "model.safetensors.index.json"

typedef struct {
    Str path;
    TensorFile *files;
    uint32_t count;
    Map by_name;  // index + 1 into the files, by tensor
} Sharded;

// A file; or a folder with an index or with model.safetensors alone.
MUST_USE bool sharded_open(Diag *diag, Arena *arena, Str path, Sharded *out);
void sharded_close(Sharded *s);
// NULL if absent; `file` gets where it is.
const StoredTensor *sharded_find(const Sharded *s, Str name, const TensorFile **file);
