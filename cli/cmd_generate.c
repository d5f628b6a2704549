// cmd_generate.c: text from a model.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/session.h"
#include "runtime/checkpoint.h"
#include "runtime/generate.h"

// Where tokens go: a vocabulary of bytes is text, any other is printed as numbers.
typedef struct {
    bool bytes, collect;
    StrBuf text;
    int error;  // errno of a write that failed
} Sink;

static bool take_token(void *context, uint32_t token) {
    Sink *sink = context;
    size_t before = sink->text.len;
    if (sink->bytes)
        strbuf_addc(&sink->text, (char)(unsigned char)token);
    else
        strbuf_addf(&sink->text, "%u ", token);
    if (sink->collect) return true;
    size_t n = sink->text.len - before;
    bool good = fwrite(sink->text.ptr + before, 1, n, stdout) == n && !fflush(stdout);
    if (!good) sink->error = errno;
    return good;
}

static bool generate(Cli *cli, Session *s, Sink *sink, GenerateResult *out) {
    const Options *o = &cli->options;
    ModelIo io;
    if (!model_io_find(&cli->diag, session_plan(s), false, &io)) return false;
    sink->bytes = io.vocab <= 256;
    session_init(s, o->seed);
    if (!params_load(&cli->diag, s, o->params)) return false;
    cli_flush(cli);
    GenerateOptions options = {.prompt = o->prompt,
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

static void report(Cli *cli, const Sink *sink, const GenerateResult *r) {
    double rate = r->seconds > 0 ? (double)r->tokens / r->seconds : 0;
    if (!cli->options.json) {
        // The text is on stdout already; its last line ends here.
        strbuf_addc(&cli->out, '\n');
        cli_say(cli, "%lld tokens, %.1f tokens/s", (long long)r->tokens, rate);
        return;
    }
    JsonWriter *w = &cli->json;
    json_object(w);
    json_key(w, "prompt");
    json_string(w, cli->options.prompt);
    json_key(w, "text");
    json_string(w, strbuf_view(&sink->text));
    json_key(w, "tokens");
    json_int(w, r->tokens);
    json_key(w, "seconds");
    json_number(w, r->seconds);
    json_key(w, "tokens_per_second");
    json_number(w, rate);
    json_end(w);
}

bool cmd_generate(Cli *cli) {
    if (!cli_need(cli, cli->options.params, "--params FILE")) return false;
    EntryKind entry = ENTRY_INFER;
    Loaded loaded;
    GenerateResult result = {0};
    Sink sink = {.collect = cli->options.json};
    bool good = loaded_open(cli, (EntryKinds){&entry, 1}, 1, &loaded) &&
                generate(cli, loaded.session, &sink, &result);
    session_close(loaded.session);
    if (good) report(cli, &sink, &result);
    strbuf_release(&sink.text);
    if (!good || !result.interrupted) return good;
    return diag_fail(&cli->diag, FAIL_INTERRUPTED, "interrupted");
}
