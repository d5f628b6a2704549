// cmd_generate.c: text from a model.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/session.h"
#include "runtime/checkpoint.h"
#include "runtime/generate.h"

// Where tokens go: a vocabulary of bytes is text, any other is printed as numbers. One text is
// shown as it is made; of several each is shown when all are.
typedef struct {
    bool bytes, collect;
    StrBuf *texts;  // of each prompt
    int error;      // errno of a write that failed
} Sink;

static bool take_token(void *context, uint32_t row, uint32_t token) {
    Sink *sink = context;
    StrBuf *text = &sink->texts[row];
    size_t before = text->len;
    if (sink->bytes)
        strbuf_addc(text, (char)(unsigned char)token);
    else
        strbuf_addf(text, "%u ", token);
    if (sink->collect) return true;
    size_t n = text->len - before;
    bool good = fwrite(text->ptr + before, 1, n, stdout) == n && !fflush(stdout);
    if (!good) sink->error = errno;
    return good;
}

// The prompts; none is one that is empty.
static const StrList *prompts_of(Cli *cli) {
    if (!cli->options.prompts.len) vec_push(&cli->arena, &cli->options.prompts, STR(""));
    return &cli->options.prompts;
}

static bool generate(Cli *cli, Session *s, Sink *sink, GenerateResult *out) {
    const Options *o = &cli->options;
    int64_t vocab;
    if (!generate_vocab(&cli->diag, session_plan(s), &vocab)) return false;
    sink->bytes = vocab <= 256;
    session_init(s, o->seed);
    if (!params_load(&cli->diag, s, o->params)) return false;
    cli_flush(cli);
    GenerateOptions options = {.prompts = o->prompts.ptr,
                               .prompt_count = o->prompts.len,
                               .tokens = o->tokens,
                               .sampler = {o->temperature, o->top_p, o->seed},
                               .emit = take_token,
                               .context = sink,
                               .stop = interrupt_catch()};
    if (!generate_run(&cli->diag, &cli->arena, s, &options, out)) return false;
    if (!sink->error) return true;
    return diag_fail(&cli->diag, FAIL_ENVIRONMENT, "the text cannot be written to stdout: %s",
                     strerror(sink->error));
}

static void write_text(JsonWriter *w, Str prompt, const StrBuf *text) {
    json_key(w, "prompt");
    json_string(w, prompt);
    json_key(w, "text");
    json_string(w, strbuf_view(text));
}

static void report_json(Cli *cli, const Sink *sink, const GenerateResult *r, double rate) {
    const StrList *prompts = prompts_of(cli);
    JsonWriter *w = &cli->json;
    json_object(w);
    if (prompts->len == 1) {
        write_text(w, prompts->ptr[0], &sink->texts[0]);
    } else {
        json_key(w, "texts");
        json_array(w);
        for (uint32_t i = 0; i < prompts->len; i++) {
            json_object(w);
            write_text(w, prompts->ptr[i], &sink->texts[i]);
            json_end(w);
        }
        json_end(w);
    }
    json_key(w, "tokens");
    json_int(w, r->tokens * prompts->len);
    json_key(w, "seconds");
    json_number(w, r->seconds);
    json_key(w, "tokens_per_second");
    json_number(w, rate);
    json_end(w);
}

static void report(Cli *cli, const Sink *sink, const GenerateResult *r) {
    const StrList *prompts = prompts_of(cli);
    double tokens = (double)r->tokens * prompts->len,
           rate = r->seconds > 0 ? tokens / r->seconds : 0;
    if (cli->options.json) {
        report_json(cli, sink, r, rate);
        return;
    }
    for (uint32_t i = 0; prompts->len > 1 && i < prompts->len; i++)
        strbuf_addf(&cli->out, "%.*s%.*s\n%s", STR_ARG(prompts->ptr[i]),
                    STR_ARG(strbuf_view(&sink->texts[i])), i + 1 < prompts->len ? "\n" : "");
    // A single text is on stdout already; its last line ends here.
    if (prompts->len == 1) strbuf_addc(&cli->out, '\n');
    cli_say(cli, "%.0f tokens, %.1f tokens/s", tokens, rate);
}

// Prefill and decode, where the model can be computed token by token, else whole contexts.
static bool open_model(Cli *cli, int64_t rows, Loaded *out) {
    static const EntryKind chunks[] = {ENTRY_PREFILL, ENTRY_DECODE}, whole[] = {ENTRY_INFER};
    *out = (Loaded){0};
    Model model;
    Str reason;
    bool can = false;
    if (!cli_is_artifact(cli->options.model)) {
        if (!cli_model(cli, &model)) return false;
        can = cli_decode_graph(cli, &model, cli_bindings(cli, rows), &reason) != NULL;
        if (!can) cli_say(cli, "every token computes its whole context: %.*s", STR_ARG(reason));
    }
    return loaded_open(cli, can ? (EntryKinds){chunks, 2} : (EntryKinds){whole, 1}, rows, out);
}

bool cmd_generate(Cli *cli) {
    if (!cli_need(cli, cli->options.params, "--params FILE")) return false;
    uint32_t rows = prompts_of(cli)->len;
    Loaded loaded;
    GenerateResult result = {0};
    Sink sink = {.collect = cli->options.json || rows > 1,
                 .texts = arena_array(&cli->arena, StrBuf, rows)};
    bool good = open_model(cli, rows, &loaded) && generate(cli, loaded.session, &sink, &result);
    session_close(loaded.session);
    if (good) report(cli, &sink, &result);
    for (uint32_t i = 0; i < rows; i++)
        strbuf_release(&sink.texts[i]);
    if (!good || !result.interrupted) return good;
    return diag_fail(&cli->diag, FAIL_INTERRUPTED, "interrupted");
}
