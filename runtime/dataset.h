// dataset.h: token ids from files: text, whose bytes are the tokens, or .bin, little-endian
// uint16 ids. Several files are one long text, in the order given; windows may cross from one
// to the next.
#pragma once

#include "base/dtype.h"
#include "base/io.h"

typedef struct {
    Str path;
    FileMap map;
    int64_t first, count;  // its tokens are [first, first + count) of the whole
    uint32_t token_bytes;  // 1 or 2
} DatasetFile;

typedef struct {
    DatasetFile *files;  // arena
    uint32_t file_count;
    int64_t count;  // tokens in all
} Dataset;

// Checks that every token is in [0, vocab) and that there are at least context + 1 tokens, so
// that no later call fails.
typedef struct {
    const Str *paths;
    uint32_t path_count;
    int64_t vocab, context;
} DatasetOptions;
MUST_USE bool dataset_open(Diag *diag, Arena *arena, const DatasetOptions *options,
                           Dataset *out);
void dataset_close(Dataset *data);  // also safe after a failed open

uint32_t dataset_token(const Dataset *data, int64_t at);

// Where windows go: row r is context + 1 tokens; the first `context` go to tokens[r, :], the
// last to targets[r, :].
typedef struct {
    int64_t rows, context;
    DType type;              // of both arrays
    void *tokens, *targets;  // (rows, context); targets may be NULL
} Batch;

// Random windows. Row r is a function of (seed, step, first_row + r) alone, so that batches of
// any size, on any number of ranks, agree.
typedef struct {
    uint64_t seed, step, first_row;
} SampleKey;
void dataset_sample(const Dataset *data, SampleKey key, const Batch *batch);

// Evaluation: windows in order, so that every token but the first is a target. The last window
// is moved back to end with the data: its first targets may repeat those of the window before.
int64_t dataset_window_count(const Dataset *data, int64_t context);
// Windows [first, first + rows); returns how many of the rows exist. Rows past the last window
// repeat it.
int64_t dataset_windows(const Dataset *data, int64_t first, const Batch *batch);
