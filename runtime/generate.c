// generate.c: token by token through the entries "prefill" and "decode", or "infer".
#include "runtime/generate.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/vec.h"
#include "runtime/names.h"

// An entry that reads tokens and gives logits.
typedef struct {
    const PlanEntry *entry;
    ModelIo io;                            // `context`: positions of one run
    uint32_t output;                       // tensor of all logits
    Logits logits;                         // of one position
    int64_t per_row, per_position, vocab;  // elements from one's logits to the next's
    int64_t live;                          // no position may reach it
} Reader;

// The same entry for ever more positions.
enum { MOST_READERS = 16 };
typedef struct {
    Reader of[MOST_READERS];
    uint32_t count;
} Readers;

typedef struct {
    Vec(uint32_t) text;   // all tokens
    int64_t first, read;  // tokens from `first` on count; `read` of them are in the states
    Sampler sampler;
    uint32_t next;  // drawn, not in the text yet
} Row;

typedef struct {
    Diag *diag;
    Arena *arena;
    Session *session;
    Readers prefill, decode;  // of whole contexts: one in `decode`
    bool whole;
    uint32_t position, count;  // inputs, where they are not whole
    int64_t context;
    Row *rows;
    uint32_t row_count;
    uint64_t drawn;  // tokens of each row
} Generator;

// ---- where things are

// Elements between neighbours along an axis.
static int64_t stride_of(const PlanTensor *t, uint32_t axis) {
    int64_t stride = 1;
    for (uint32_t i = axis + 1; i < t->rank; i++)
        stride *= t->shape[i];
    return stride;
}

// Finds B, T and the vocabulary among the logits' axes by name: outputs come in any order.
static bool find_logits(Diag *diag, const Plan *plan, Str name, Reader *r) {
    const Str row_axis = plan->tensors[r->io.tokens].axes[0],
              position_axis = plan->tensors[r->io.tokens].axes[1];
    int found = plan_tensor_find(plan, TENSOR_OUTPUT, name);
    const PlanTensor *t = found < 0 ? NULL : &plan->tensors[found];
    uint32_t rows = 0, positions = 0, rest = 0, vocab = 0;
    for (uint32_t i = 0; t && i < t->rank; i++) {
        if (str_eq(t->axes[i], row_axis)) {
            rows++;
            r->per_row = stride_of(t, i);
        } else if (str_eq(t->axes[i], position_axis)) {
            positions++;
            r->per_position = stride_of(t, i);
        } else {
            rest++;
            vocab = i;
        }
    }
    if (!t || rows != 1 || positions != 1 || rest != 1 || !dtype_is_float(t->type)) {
        return diag_fail(diag, FAIL_INPUT,
                         "model '%.*s' has no output " NAME_LOGITS
                         " over %.*s, %.*s and a vocabulary",
                         STR_ARG(plan->model), STR_ARG(row_axis), STR_ARG(position_axis));
    }
    r->vocab = t->shape[vocab];
    r->output = (uint32_t)found;
    r->logits = (Logits){.type = t->type, .stride = stride_of(t, vocab)};
    return true;
}

static bool find_reader(Diag *diag, const Plan *plan, const char *entry, Reader *out) {
    bool infer = !strcmp(entry, ENTRY_NAME_INFER), decode = !strcmp(entry, ENTRY_NAME_DECODE);
    const char *tokens = infer    ? NAME_TOKENS
                         : decode ? ENTRY_NAME_DECODE "." NAME_TOKENS
                                  : ENTRY_NAME_PREFILL "." NAME_TOKENS,
               *logits = infer    ? NAME_LOGITS
                         : decode ? ENTRY_NAME_DECODE "." NAME_LOGITS
                                  : ENTRY_NAME_PREFILL "." NAME_LOGITS;
    return model_io_entry(diag, plan, entry, &out->entry) &&
           model_io_find_tokens(diag, plan, tokens, &out->io) &&
           find_logits(diag, plan, str_of(logits), out);
}

// Those of "decode" and "decode.512", or of "prefill", by positions.
static bool find_readers(Generator *g, const char *name, Readers *out) {
    const Plan *plan = session_plan(g->session);
    Reader all;
    if (!find_reader(g->diag, plan, name, &all)) return false;
    Str prefix = str_printf(g->arena, "%s.", name);
    for (uint32_t i = 0; i < plan->entry_count && out->count + 1 < MOST_READERS; i++) {
        Str entry = plan->entries[i].name;
        Reader fewer = all;
        fewer.entry = &plan->entries[i];
        if (!str_starts(entry, prefix) ||
            !str_to_int64((Str){entry.ptr + prefix.len, entry.len - prefix.len}, &fewer.live))
            continue;
        uint32_t at = out->count++;
        for (; at > 0 && out->of[at - 1].live > fewer.live; at--)
            out->of[at] = out->of[at - 1];
        out->of[at] = fewer;
    }
    all.live = INT64_MAX;
    out->of[out->count++] = all;
    return true;
}

static bool decodes(const Plan *plan) {
    return plan_entry(plan, ENTRY_NAME_PREFILL) && plan_entry(plan, ENTRY_NAME_DECODE);
}

bool generate_vocab(Diag *diag, const Plan *plan, int64_t *out) {
    ModelIo io;
    const char *name = decodes(plan) ? ENTRY_NAME_DECODE "." NAME_TOKENS : NAME_TOKENS;
    if (!model_io_find_tokens(diag, plan, name, &io)) return false;
    *out = io.vocab;
    return true;
}

static bool find_all(Generator *g) {
    const Plan *plan = session_plan(g->session);
    g->whole = !decodes(plan);
    if (g->whole) {
        Reader *whole = &g->decode.of[g->decode.count++];
        bool found = find_reader(g->diag, plan, ENTRY_NAME_INFER, whole);
        g->context = whole->io.context;
        return found;
    }
    int position = plan_tensor_find(plan, TENSOR_INPUT, STR(NAME_POSITION)),
        count = plan_tensor_find(plan, TENSOR_INPUT, STR(NAME_COUNT));
    if (position < 0 || count < 0)
        return diag_fail(g->diag, FAIL_INPUT, "model '%.*s' was compiled without %s and %s",
                         STR_ARG(plan->model), NAME_POSITION, NAME_COUNT);
    g->position = (uint32_t)position;
    g->count = (uint32_t)count;
    g->context = plan->tensors[position].index_below;
    return find_readers(g, ENTRY_NAME_PREFILL, &g->prefill) &&
           find_readers(g, ENTRY_NAME_DECODE, &g->decode);
}

// ---- prompts

static bool read_prompt(Generator *g, Row *row, Str prompt) {
    static const char newline = '\n';
    Str text = prompt.len ? prompt : (Str){&newline, 1};
    for (size_t i = 0; i < text.len; i++) {
        unsigned byte = (unsigned char)text.ptr[i];
        if (byte >= g->decode.of[0].io.vocab) {
            if (!prompt.len)
                byte = 0;
            else
                return diag_fail(g->diag, FAIL_INPUT,
                                 "byte %zu of the prompt is %u; tokens are in [0, %lld)", i,
                                 byte, (long long)g->decode.of[0].io.vocab);
        }
        vec_push(g->arena, &row->text, byte);
    }
    return true;
}

static bool prepare(Generator *g, const GenerateOptions *options) {
    if (options->tokens < 0)
        return diag_fail(g->diag, FAIL_USAGE, "%lld tokens cannot be generated",
                         (long long)options->tokens);
    if (!find_all(g)) return false;
    if (options->prompt_count > g->decode.of[0].io.rows)
        return diag_fail(g->diag, FAIL_USAGE,
                         "%u prompts; the model was compiled for %lld rows",
                         options->prompt_count, (long long)g->decode.of[0].io.rows);
    g->row_count = options->prompt_count;
    g->rows = arena_array(g->arena, Row, g->row_count);
    for (uint32_t i = 0; i < g->row_count; i++) {
        SamplerSettings settings = options->sampler;
        settings.seed += i;
        if (!sampler_init(g->diag, g->arena, settings, (uint32_t)g->decode.of[0].vocab,
                          &g->rows[i].sampler) ||
            !read_prompt(g, &g->rows[i], options->prompts[i]))
            return false;
    }
    return true;
}

// ---- the next token of every row

// From the logits of the row at a position of the reader's last run.
static bool draw(Generator *g, Reader *r, uint32_t row, int64_t position) {
    size_t element = dtype_bytes(r->logits.type);
    size_t offset = (size_t)(row * r->per_row + position * r->per_position) * element;
    size_t bytes = (size_t)((r->vocab - 1) * r->logits.stride + 1) * element;
    uint32_t *token = &g->rows[row].next;
    r->logits.data = session_read_part(g->diag, g->session, r->output, offset, bytes);
    if (!r->logits.data ||
        !sampler_draw(g->diag, &g->rows[row].sampler, &r->logits, g->drawn, token))
        return false;
    // The head may be wider than the embedding; such a token could not be read back.
    return *token < r->io.vocab ||
           diag_fail(g->diag, FAIL_INPUT,
                     "the model gives token %u; it reads tokens in [0, %lld)", *token,
                     (long long)r->io.vocab);
}

// Puts `count` tokens at the beginning of the row's input.
static void put_tokens(unsigned char *data, const Reader *r, uint32_t row,
                       const uint32_t *tokens, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        dtype_set(r->io.type, data, row * r->io.context + i, tokens[i]);
}

static unsigned char *clear_tokens(Generator *g, const Reader *r) {
    unsigned char *data = session_write(g->session, r->io.tokens);
    memset(data, 0, (size_t)(r->io.rows * r->io.context) * dtype_bytes(r->io.type));
    return data;
}

static bool next_whole(Generator *g) {
    Reader *r = g->decode.of;
    unsigned char *data = clear_tokens(g, r);
    for (uint32_t i = 0; i < g->row_count; i++) {
        Row *row = &g->rows[i];
        row->read = row->text.len < g->context ? row->text.len : g->context;
        put_tokens(data, r, i, row->text.ptr + row->text.len - row->read, row->read);
    }
    if (!session_run(g->diag, g->session, r->entry)) return false;
    for (uint32_t i = 0; i < g->row_count; i++)
        if (!draw(g, r, i, g->rows[i].read - 1)) return false;
    return true;
}

static int64_t unread(const Row *row) { return row->text.len - row->first - row->read; }

// What does not fit begins anew, with the last of its tokens.
static void make_room(const Generator *g, Row *row) {
    if (row->read + unread(row) <= g->context) return;
    int64_t half = g->context / 2 > 0 ? g->context / 2 : 1;
    row->first = row->text.len - (row->read ? half : g->context);
    row->read = 0;
}

// One chunk of every row that has unread tokens; those that have read all of theirs draw.
static bool read_chunk(Generator *g, Reader *r) {
    unsigned char *tokens = clear_tokens(g, r);
    int32_t *position = session_write(g->session, g->position),
            *count = session_write(g->session, g->count);
    memset(position, 0, (size_t)r->io.rows * sizeof *position);
    memset(count, 0, (size_t)r->io.rows * sizeof *count);
    for (uint32_t i = 0; i < g->row_count; i++) {
        const Row *row = &g->rows[i];
        int64_t n = unread(row) < r->io.context ? unread(row) : r->io.context;
        // A row that waits may have read all that fits; only a new one is at 0.
        position[i] = (int32_t)(row->read < g->context ? row->read : g->context - 1);
        count[i] = (int32_t)n;
        put_tokens(tokens, r, i, row->text.ptr + row->first + row->read, n);
    }
    if (!session_run(g->diag, g->session, r->entry)) return false;
    for (uint32_t i = 0; i < g->row_count; i++) {
        int64_t n = count[i];
        g->rows[i].read += n;
        if (n && !unread(&g->rows[i]) && !draw(g, r, i, n - 1)) return false;
    }
    return true;
}

// The one that looks at the fewest positions.
static Reader *reader_for(const Generator *g, Readers *readers) {
    uint32_t at = 0;
    int64_t chunk = readers->of[0].io.context, most = 0;
    for (uint32_t i = 0; i < g->row_count; i++) {
        const Row *row = &g->rows[i];
        int64_t end = row->read + (unread(row) < chunk ? unread(row) : chunk);
        if (unread(row) && end > most) most = end;
    }
    while (readers->of[at].live < most)
        at++;
    return &readers->of[at];
}

static bool next_incremental(Generator *g) {
    for (uint32_t i = 0; i < g->row_count; i++)
        make_room(g, &g->rows[i]);
    for (;;) {
        int64_t most = 0;
        for (uint32_t i = 0; i < g->row_count; i++)
            if (unread(&g->rows[i]) > most) most = unread(&g->rows[i]);
        if (most == 0) return true;
        if (!read_chunk(g, reader_for(g, most > 1 ? &g->prefill : &g->decode))) return false;
    }
}

static bool next_tokens(Generator *g) {
    if (!(g->whole ? next_whole(g) : next_incremental(g))) return false;
    for (uint32_t i = 0; i < g->row_count; i++)
        vec_push(g->arena, &g->rows[i].text, g->rows[i].next);
    g->drawn++;
    return true;
}

static bool emit_all(const Generator *g, const GenerateOptions *options) {
    bool on = true;
    for (uint32_t i = 0; i < g->row_count; i++)
        on = options->emit(options->context, i, g->rows[i].next) && on;
    return on;
}

bool generate_run(Diag *diag, Arena *arena, Session *s, const GenerateOptions *options,
                  GenerateResult *out) {
    *out = (GenerateResult){0};
    for (uint32_t i = 0; i < options->prompt_count; i++)
        out->prompt_tokens += (int64_t)options->prompts[i].len;
    Generator g = {.diag = diag, .arena = arena, .session = s};
    if (!prepare(&g, options)) return false;
    double before = clock_seconds();
    while (out->tokens < options->tokens) {
        out->interrupted = options->stop && *options->stop;
        if (out->interrupted) break;
        if (!next_tokens(&g)) return false;
        out->tokens++;
        if (!emit_all(&g, options)) break;
    }
    out->seconds = clock_seconds() - before;
    return true;
}
