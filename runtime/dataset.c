// dataset.c: windows of tokens from mapped files.
#include "runtime/dataset.h"

#include "base/check.h"
#include "base/integer.h"
#include "base/rng.h"

static uint32_t token_in(const DatasetFile *f, int64_t i) {
    const unsigned char *b = f->map.data + i * f->token_bytes;
    return f->token_bytes == 1 ? b[0] : (uint32_t)(b[0] | b[1] << 8);
}

static bool check_tokens(Diag *diag, const DatasetFile *f, int64_t vocab) {
    int64_t most = f->token_bytes == 1 ? 256 : 65536;
    if (vocab >= most) return true;
    for (int64_t i = 0; i < f->count; i++) {
        uint32_t token = token_in(f, i);
        if (token < vocab) continue;
        return diag_file_error(diag, FAIL_INPUT, f->path,
                               "token %lld is %u; it must be in [0, %lld)", (long long)i, token,
                               (long long)vocab);
    }
    return true;
}

static bool open_file(Diag *diag, Arena *arena, Str path, DatasetFile *out) {
    if (!io_map(diag, path, &out->map)) return false;
    out->path = str_copy(arena, path);
    out->token_bytes = str_ends(path, STR(".bin")) ? 2 : 1;
    if (out->map.size % out->token_bytes) {
        return diag_file_error(diag, FAIL_INPUT, path,
                               "%zu bytes are no whole number of uint16 tokens", out->map.size);
    }
    out->count = (int64_t)(out->map.size / out->token_bytes);
    return true;
}

static bool check_length(Diag *diag, const Dataset *data, int64_t context) {
    if (data->count > context) return true;
    return diag_file_error(diag, FAIL_INPUT, data->files[0].path,
                           "%s%lld tokens; a context of %lld needs at least %lld",
                           data->file_count > 1 ? "this and the files after it have only "
                                                : "it has only ",
                           (long long)data->count, (long long)context, (long long)context + 1);
}

static bool open_files(Diag *diag, Arena *arena, const DatasetOptions *options, Dataset *out) {
    for (uint32_t i = 0; i < options->path_count; i++) {
        DatasetFile *f = &out->files[out->file_count++];
        f->first = out->count;
        if (!open_file(diag, arena, options->paths[i], f)) return false;
        if (!check_tokens(diag, f, options->vocab)) return false;
        out->count += f->count;
    }
    return check_length(diag, out, options->context);
}

bool dataset_open(Diag *diag, Arena *arena, const DatasetOptions *options, Dataset *out) {
    ASSERT(options->context > 0 && options->vocab > 0);
    *out = (Dataset){.files = arena_array(arena, DatasetFile, options->path_count)};
    if (!options->path_count) return diag_fail(diag, FAIL_USAGE, "no data file is given");
    if (open_files(diag, arena, options, out)) return true;
    dataset_close(out);
    return false;
}

void dataset_close(Dataset *data) {
    for (uint32_t i = 0; i < data->file_count; i++)
        io_unmap(&data->files[i].map);
    *data = (Dataset){0};
}

static const DatasetFile *file_at(const Dataset *data, int64_t at) {
    ASSERT(at >= 0 && at < data->count);
    const DatasetFile *f = data->files;
    // There are few files; empty ones are passed over.
    while (at >= f->first + f->count)
        f++;
    return f;
}

uint32_t dataset_token(const Dataset *data, int64_t at) {
    const DatasetFile *f = file_at(data, at);
    return token_in(f, at - f->first);
}

// Tokens [start, start + context] as row `row`.
static void put_window(const Dataset *data, int64_t start, const Batch *batch, int64_t row) {
    const DatasetFile *f = file_at(data, start);
    int64_t base = row * batch->context;
    for (int64_t t = 0; t <= batch->context; t++) {
        while (start + t >= f->first + f->count)
            f++;
        double token = token_in(f, start + t - f->first);
        if (t < batch->context) dtype_set(batch->type, batch->tokens, base + t, token);
        if (t && batch->targets) dtype_set(batch->type, batch->targets, base + t - 1, token);
    }
}

void dataset_sample(const Dataset *data, SampleKey key, const Batch *batch) {
    int64_t windows = data->count - batch->context;
    ASSERT(windows > 0);
    // Not the streams of initial values, which are made from the same seed.
    uint64_t stream = rng_u64(~key.seed, key.step);
    for (int64_t row = 0; row < batch->rows; row++) {
        uint64_t random = rng_u64(stream, key.first_row + (uint64_t)row);
        // The remainder favours small numbers by windows / 2^64, which nobody can notice.
        put_window(data, (int64_t)(random % (uint64_t)windows), batch, row);
    }
}

int64_t dataset_window_count(const Dataset *data, int64_t context) {
    return ceil_div(data->count - 1, context);
}

int64_t dataset_windows(const Dataset *data, int64_t first, const Batch *batch) {
    int64_t count = dataset_window_count(data, batch->context), valid = 0;
    int64_t last_start = data->count - 1 - batch->context;
    ASSERT(last_start >= 0 && first >= 0 && first < count);
    for (int64_t row = 0; row < batch->rows; row++) {
        int64_t start = (first + row) * batch->context;
        put_window(data, start < last_start ? start : last_start, batch, row);
        valid += first + row < count;
    }
    return valid;
}
