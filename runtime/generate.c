// generate.c: token by token through the entry "infer".
#include "runtime/generate.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "runtime/names.h"

typedef struct {
    Diag *diag;
    Session *session;
    const PlanEntry *entry;
    ModelIo io;
    Sampler sampler;
    Logits logits;         // of one position
    uint32_t output;       // tensor of all logits
    int64_t per_position;  // elements from one position's logits to the next's
    int64_t vocab;
    int64_t filled;  // positions of row 0 that hold tokens
} Generator;

// Elements between neighbours along an axis.
static int64_t stride_of(const PlanTensor *t, uint32_t axis) {
    int64_t stride = 1;
    for (uint32_t i = axis + 1; i < t->rank; i++)
        stride *= t->shape[i];
    return stride;
}

// Finds B, T and the vocabulary among the logits' axes by name: outputs come in any order.
static bool find_logits(Generator *g) {
    const Plan *plan = session_plan(g->session);
    const Str row_axis = plan->tensors[g->io.tokens].axes[0],
              position_axis = plan->tensors[g->io.tokens].axes[1];
    int found = plan_tensor_find(plan, TENSOR_OUTPUT, STR(NAME_LOGITS));
    const PlanTensor *t = found < 0 ? NULL : &plan->tensors[found];
    uint32_t rows = 0, positions = 0, rest = 0, vocab = 0;
    for (uint32_t i = 0; t && i < t->rank; i++) {
        if (str_eq(t->axes[i], row_axis)) {
            rows++;
        } else if (str_eq(t->axes[i], position_axis)) {
            positions++;
            g->per_position = stride_of(t, i);
        } else {
            rest++;
            vocab = i;
        }
    }
    if (!t || rows != 1 || positions != 1 || rest != 1 || !dtype_is_float(t->type)) {
        return diag_fail(g->diag, FAIL_INPUT,
                         "model '%.*s' has no output " NAME_LOGITS
                         " over %.*s, %.*s and a vocabulary",
                         STR_ARG(plan->model), STR_ARG(row_axis), STR_ARG(position_axis));
    }
    g->vocab = t->shape[vocab];
    g->output = (uint32_t)found;
    g->logits = (Logits){.type = t->type, .stride = stride_of(t, vocab)};
    return true;
}

// Puts a token after those that are there; the oldest goes if there is no room.
static void push_token(Generator *g, double token) {
    unsigned char *row = session_write(g->session, g->io.tokens);
    size_t bytes = dtype_bytes(g->io.type);
    if (g->filled == g->io.context) {
        memmove(row, row + bytes, bytes * (size_t)(g->io.context - 1));
        g->filled--;
    }
    dtype_set(g->io.type, row, g->filled++, token);
}

static bool read_prompt(Generator *g, Str prompt) {
    static const char newline = '\n';
    Str text = prompt.len ? prompt : (Str){&newline, 1};
    for (size_t i = 0; i < text.len; i++) {
        unsigned byte = (unsigned char)text.ptr[i];
        if (byte >= g->io.vocab) {
            if (!prompt.len)
                byte = 0;
            else
                return diag_fail(g->diag, FAIL_INPUT,
                                 "byte %zu of the prompt is %u; tokens are in [0, %lld)", i,
                                 byte, (long long)g->io.vocab);
        }
        push_token(g, byte);
    }
    return true;
}

// Those of the last position of row 0.
static bool read_logits(Generator *g) {
    size_t element = dtype_bytes(g->logits.type);
    size_t offset = (size_t)((g->filled - 1) * g->per_position) * element;
    size_t bytes = (size_t)((g->vocab - 1) * g->logits.stride + 1) * element;
    g->logits.data = session_read_part(g->diag, g->session, g->output, offset, bytes);
    return g->logits.data != NULL;
}

static bool next_token(Generator *g, uint64_t position, uint32_t *token) {
    if (!session_run(g->diag, g->session, g->entry)) return false;
    if (!read_logits(g)) return false;
    if (!sampler_draw(g->diag, &g->sampler, &g->logits, position, token)) return false;
    // The head may be wider than the embedding; such a token could not be read back.
    if (*token >= g->io.vocab) {
        return diag_fail(g->diag, FAIL_INPUT,
                         "the model gives token %u; it reads tokens in [0, %lld)", *token,
                         (long long)g->io.vocab);
    }
    push_token(g, *token);
    return true;
}

static bool prepare(Generator *g, Arena *arena, const GenerateOptions *options) {
    const Plan *plan = session_plan(g->session);
    if (options->tokens < 0)
        return diag_fail(g->diag, FAIL_USAGE, "%lld tokens cannot be generated",
                         (long long)options->tokens);
    if (!model_io_entry(g->diag, plan, ENTRY_NAME_INFER, &g->entry)) return false;
    if (!model_io_find(g->diag, plan, false, &g->io) || !find_logits(g)) return false;
    if (!sampler_init(g->diag, arena, options->sampler, (uint32_t)g->vocab, &g->sampler))
        return false;
    memset(session_write(g->session, g->io.tokens), 0,
           (size_t)plan_tensor_bytes(&plan->tensors[g->io.tokens]));
    return read_prompt(g, options->prompt);
}

bool generate_run(Diag *diag, Arena *arena, Session *s, const GenerateOptions *options,
                  GenerateResult *out) {
    *out = (GenerateResult){.prompt_tokens = (int64_t)options->prompt.len};
    Generator g = {.diag = diag, .session = s};
    if (!prepare(&g, arena, options)) return false;
    double before = clock_seconds();
    while (out->tokens < options->tokens) {
        out->interrupted = options->stop && *options->stop;
        if (out->interrupted) break;
        uint32_t token;
        if (!next_token(&g, (uint64_t)out->tokens, &token)) return false;
        out->tokens++;
        if (!options->emit(options->context, token)) break;
    }
    out->seconds = clock_seconds() - before;
    return true;
}
