// options.c: argp does the parsing, from the rows of options.def that the command takes;
// unknown names are found before it, so that they get a suggestion.
#include "cli/options.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "frontend/suggest.h"
#include "runtime/cpu/cpu.h"

#define ON(NAME) (1u << COMMAND_##NAME)

enum {
    TAKE_ALL = (1u << COMMAND_COUNT) - 1,
    TAKE_MODEL = TAKE_ALL & ~(ON(DB) | ON(DEVICES)),
    TAKE_TARGET = TAKE_MODEL,
    TAKE_DB = TAKE_MODEL | ON(DB) | ON(DEVICES),
    TAKE_SHAPE = TAKE_MODEL & ~(ON(INIT) | ON(IMPORT) | ON(EXPORT) | ON(RUN)),
    TAKE_OPTIMIZER =
        ON(TRAIN) | ON(SWEEP) | ON(COMPILE) | ON(BENCH) | ON(TUNE) | ON(SHOW) | ON(EXPLAIN),
};

typedef enum {
#define OPTION(KEY, ...) OPTION_##KEY,
#include "cli/options.def"
#undef OPTION
    OPTION_COUNT
} OptionKey;

typedef struct {
    const char *name, *argument, *help;
    int letter;
    uint32_t commands;
} OptionRow;

static const OptionRow option_rows[] = {
#define OPTION(KEY, letter, name, argument, commands, help) \
    {name, argument, help, letter, commands},
#include "cli/options.def"
#undef OPTION
};

static const struct {
    const char *name, *operands, *help;
} command_rows[] = {
#define COMMAND(NAME, name, operands, help) {#name, operands, help},
#include "cli/commands.def"
#undef COMMAND
};

// Commands of the contract that this version has not.
static const struct {
    const char *name, *what;
} absent_rows[] = {
    {"plan", "simulated clusters"},
};

const char *command_name(Command command) { return command_rows[command].name; }

// ---- values

typedef struct {
    Diag *diag;
    Arena *arena;
    Options *out;
    bool has_model, data_follows;
} Parse;

static bool wrong_value(Parse *p, OptionKey key, Str text, const char *wanted) {
    return diag_fail(p->diag, FAIL_USAGE, "--%s %.*s: expected %s", option_rows[key].name,
                     STR_ARG(text), wanted);
}

static bool whole(Parse *p, OptionKey key, Str text, int64_t least, int64_t *out) {
    if (str_to_int64(text, out) && *out >= least && *out <= INT32_MAX) return true;
    return wrong_value(p, key, text,
                       least ? "a whole number from 1" : "a whole number, not negative");
}

static bool bytes(Parse *p, OptionKey key, Str text, int64_t *out) {
    if (str_to_int64(text, out) && *out > 0) return true;
    return wrong_value(p, key, text, "a whole number from 1");
}

static bool real(Parse *p, OptionKey key, Str text, double *out) {
    if (str_to_double(text, out) && *out >= 0) return true;
    return wrong_value(p, key, text, "a number, not negative");
}

static bool seed(Parse *p, Str text) {
    int64_t x = 0;
    if (!str_to_int64(text, &x) || x < 0)
        return wrong_value(p, OPTION_SEED, text, "a whole number, not negative");
    p->out->seed = (uint64_t)x;
    return true;
}

static bool threads(Parse *p, Str text) {
    int64_t n = 0;
    if (!whole(p, OPTION_THREADS, text, 1, &n)) return false;
    p->out->threads = n < 1024 ? (uint32_t)n : 1024;
    return true;
}

static bool setting(Parse *p, OptionKey key, Str text, SettingList *out) {
    const char *equals = memchr(text.ptr, '=', text.len);
    if (!equals || equals == text.ptr) return wrong_value(p, key, text, "NAME=VALUE");
    size_t n = (size_t)(equals - text.ptr);
    vec_push(p->arena, out, (Setting){{text.ptr, n}, {text.ptr + n + 1, text.len - n - 1}});
    return true;
}

static bool variation(Parse *p, Str text) {
    SettingList parts = {0};
    if (!setting(p, OPTION_VARY, text, &parts)) return false;
    Str rest = parts.ptr[0].value;
    Vec(Str) values = {0};
    while (rest.len) {
        const char *comma = memchr(rest.ptr, ',', rest.len);
        size_t n = comma ? (size_t)(comma - rest.ptr) : rest.len;
        if (n) vec_push(p->arena, &values, (Str){rest.ptr, n});
        n += comma != NULL;
        rest = (Str){rest.ptr + n, rest.len - n};
    }
    if (!values.len) return wrong_value(p, OPTION_VARY, text, "NAME=VALUE,VALUE,...");
    vec_push(p->arena, &p->out->variations,
             (Variation){parts.ptr[0].name, values.ptr, values.len});
    return true;
}

// "60s", "5m", "1.5h", or a number of trials.
static bool budget(Parse *p, Str text) {
    static const struct {
        char letter;
        double seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}};
    for (size_t i = 0; text.len && i < sizeof units / sizeof *units; i++) {
        if (text.ptr[text.len - 1] != units[i].letter) continue;
        double x = 0;
        if (!str_to_double((Str){text.ptr, text.len - 1}, &x) || !(x > 0)) break;
        p->out->budget_seconds = x * units[i].seconds;
        p->out->budget_trials = -1;
        return true;
    }
    p->out->budget_seconds = -1;
    if (str_to_int64(text, &p->out->budget_trials) && p->out->budget_trials > 0) return true;
    return wrong_value(p, OPTION_BUDGET, text,
                       "a time such as 60s or 5m, or a number of trials");
}

static bool add(Parse *p, StrList *list, Str text) {
    vec_push(p->arena, list, text);
    return true;
}

static bool text_of(Str text, Str *out) {
    *out = text;
    return true;
}

static bool flag(bool *out) {
    *out = true;
    return true;
}

static bool take(Parse *p, OptionKey key, Str text) {
    Options *o = p->out;
    switch (key) {
    case OPTION_SET: return setting(p, key, text, &o->settings);
    case OPTION_BATCH: return whole(p, key, text, 1, &o->batch);
    case OPTION_CONTEXT: return whole(p, key, text, 1, &o->context);
    case OPTION_TARGET: return text_of(text, &o->target);
    case OPTION_DTYPE: return text_of(text, &o->dtype);
    case OPTION_LAYOUT: return text_of(text, &o->layout);
    case OPTION_DB: return text_of(text, &o->db);
    case OPTION_THREADS: return threads(p, text);
    case OPTION_SEED: return seed(p, text);
    case OPTION_STAGE: return text_of(text, &o->stage);
    case OPTION_REGION: return text_of(text, &o->region);
    case OPTION_GRAD: return flag(&o->grad);
    case OPTION_PARAMS: return text_of(text, &o->params);
    case OPTION_INPUTS: return text_of(text, &o->inputs);
    case OPTION_OUTPUT: return text_of(text, &o->output);
    case OPTION_STATE: return flag(&o->state);
    case OPTION_REFERENCE: return flag(&o->reference);
    case OPTION_TWO_PHASE: return text_of(text, &o->two_phase);
    case OPTION_DECODE: return flag(&o->decode);
    case OPTION_MODE: return text_of(text, &o->mode);
    case OPTION_FROM: return text_of(text, &o->from);
    case OPTION_MAP: return text_of(text, &o->map);
    case OPTION_SHARD_SIZE: return bytes(p, key, text, &o->shard_bytes);
    case OPTION_BUDGET: return budget(p, text);
    case OPTION_TRAINING: return flag(&o->training);
    case OPTION_KERNELS: return flag(&o->kernels);
    case OPTION_PREFILL: return flag(&o->prefill);
    case OPTION_DATA: p->data_follows = true; return add(p, &o->data, text);
    case OPTION_EVAL_DATA: return add(p, &o->eval_data, text);
    case OPTION_STEPS: return whole(p, key, text, 1, &o->steps);
    case OPTION_OUT: return text_of(text, &o->out);
    case OPTION_RESUME: return text_of(text, &o->resume);
    case OPTION_LR: return real(p, key, text, &o->lr);
    case OPTION_SCHEDULE: return text_of(text, &o->schedule);
    case OPTION_FLOOR: return real(p, key, text, &o->floor);
    case OPTION_WARMUP: return whole(p, key, text, 0, &o->warmup);
    case OPTION_OPTIMIZER: return text_of(text, &o->optimizer);
    case OPTION_OPT: return setting(p, key, text, &o->optimizer_settings);
    case OPTION_CLIP: return real(p, key, text, &o->clip);
    case OPTION_ACCUMULATE: return whole(p, key, text, 1, &o->accumulate);
    case OPTION_EVAL_EVERY: return whole(p, key, text, 1, &o->eval_every);
    case OPTION_CHECKPOINT_EVERY: return whole(p, key, text, 1, &o->checkpoint_every);
    case OPTION_KEEP: return whole(p, key, text, 1, &o->keep);
    case OPTION_PROMPT: return add(p, &o->prompts, text);
    case OPTION_TOKENS: return whole(p, key, text, 1, &o->tokens);
    case OPTION_TEMPERATURE: return real(p, key, text, &o->temperature);
    case OPTION_TOP_P: return real(p, key, text, &o->top_p);
    case OPTION_VARY: return variation(p, text);
    case OPTION_COMPARE: return add(p, &o->compare, text);
    case OPTION_SEEDS: return whole(p, key, text, 1, &o->seeds);
    case OPTION_METRICS: return text_of(text, &o->metrics);
    case OPTION_JSON: return flag(&o->json);
    case OPTION_QUIET: o->verbosity = -1; return true;
    case OPTION_VERBOSE: o->verbosity++; return true;
    case OPTION_COUNT: break;
    }
    BUG("no such option");
}

// ---- argp

enum { LONG_ONLY = 0x100 };  // keys of options without a letter

static int key_of(OptionKey i) {
    return option_rows[i].letter ? option_rows[i].letter : LONG_ONLY + (int)i;
}

static bool command_takes(Command command, OptionKey i) {
    return option_rows[i].commands >> command & 1;
}

// The first operand is the model (db: the verb); those right after a --data are more data.
static bool operand(Parse *p, Str text) {
    Options *o = p->out;
    if (o->command == COMMAND_DEVICES)
        return diag_fail(p->diag, FAIL_USAGE, "devices takes no operand, got '%.*s'",
                         STR_ARG(text));
    if (!p->has_model) {
        p->has_model = true;
        o->model = text;
        return true;
    }
    if (p->data_follows) return add(p, &o->data, text);
    if (o->command == COMMAND_DB) return add(p, &o->operands, text);
    return diag_fail(p->diag, FAIL_USAGE, "%s takes one model; what is '%.*s'?",
                     command_name(o->command), STR_ARG(text));
}

static error_t parse_one(int key, char *argument, struct argp_state *state) {
    Parse *p = state->input;
    if (key == ARGP_KEY_ARG) return operand(p, str_of(argument)) ? 0 : EINVAL;
    for (uint32_t i = 0; i < OPTION_COUNT; i++) {
        if (key != key_of(i) || !command_takes(p->out->command, i)) continue;
        p->data_follows = false;
        return take(p, i, str_of(argument)) ? 0 : EINVAL;
    }
    return ARGP_ERR_UNKNOWN;
}

static bool run_argp(Parse *p, int argc, char **argv) {
    struct argp_option rows[OPTION_COUNT + 1] = {0};
    uint32_t n = 0;
    for (uint32_t i = 0; i < OPTION_COUNT; i++)
        if (command_takes(p->out->command, i))
            rows[n++] = (struct argp_option){.name = option_rows[i].name,
                                             .key = key_of(i),
                                             .arg = option_rows[i].argument,
                                             .doc = option_rows[i].help};
    Command c = p->out->command;
    struct argp argp = {.options = rows,
                        .parser = parse_one,
                        .args_doc = command_rows[c].operands,
                        .doc = command_rows[c].help};
    argp_err_exit_status = FAIL_USAGE;
    argv[0] = arena_printf(p->arena, "strata %s", command_name(c));
    error_t e = argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, p);
    if (e && !p->diag->error_count)
        return diag_fail(p->diag, FAIL_USAGE, "the command line cannot be read: %s",
                         strerror(e));
    return !e;
}

// Long options may be shortened as far as they stay unique; what no option of the command
// begins with is unknown.
static bool check_names(Parse *p, int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!str_starts(str_of(argv[i]), STR("--"))) continue;
        const char *equals = strchr(argv[i], '=');
        Str name = str_of(argv[i] + 2);
        if (equals) name.len = (size_t)(equals - name.ptr);
        bool known = str_starts(STR("help"), name) || str_starts(STR("usage"), name);
        Suggestion hint;
        suggestion_init(&hint, name);
        for (uint32_t k = 0; k < OPTION_COUNT; k++) {
            if (!command_takes(p->out->command, k)) continue;
            known |= str_starts(str_of(option_rows[k].name), name);
            suggestion_offer(&hint, str_of(option_rows[k].name));
        }
        if (known) continue;
        diag_fail(p->diag, FAIL_USAGE, "%s has no option '--%.*s'",
                  command_name(p->out->command), STR_ARG(name));
        if (hint.best.len)
            diag_note(p->diag, (Span){0}, "did you mean '--%.*s'?", STR_ARG(hint.best));
        return false;
    }
    return true;
}

// ---- commands

static void print_help(void) {
    puts("Usage: strata COMMAND MODEL.strata [options]\n\nCommands:");
    for (uint32_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %-9s %s\n", command_rows[i].name, command_rows[i].help);
    puts("\n`strata COMMAND --help` lists the options of a command.");
}

static bool find_command(Parse *p, Str name) {
    Suggestion hint;
    suggestion_init(&hint, name);
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        if (str_eq(name, str_of(command_rows[i].name))) {
            p->out->command = (Command)i;
            return true;
        }
        suggestion_offer(&hint, str_of(command_rows[i].name));
    }
    for (size_t i = 0; i < sizeof absent_rows / sizeof *absent_rows; i++)
        if (str_eq(name, str_of(absent_rows[i].name)))
            return diag_fail(p->diag, FAIL_ENVIRONMENT, "this version of strata has no %s",
                             absent_rows[i].what);
    diag_fail(p->diag, FAIL_USAGE, "there is no command '%.*s'", STR_ARG(name));
    if (hint.best.len)
        diag_note(p->diag, (Span){0}, "did you mean '%.*s'?", STR_ARG(hint.best));
    else
        diag_note(p->diag, (Span){0}, "`strata --help` lists the commands");
    return false;
}

// ---- what this version can do

static bool check_target(Diag *diag, Str target) {
    static const char *const targets[] = {"cpu", "cuda", "cuda:sm_80", "cuda:sm_90a",
                                          "cuda:sm_100a"};
    if (!target.len) return true;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        if (str_eq(target, str_of(targets[i]))) return true;
    diag_fail(diag, FAIL_USAGE, "there is no target '%.*s'", STR_ARG(target));
    diag_note(diag, (Span){0}, "targets are cpu, cuda, cuda:sm_80, cuda:sm_90a, cuda:sm_100a");
    return false;
}

static bool check_supported(Diag *diag, const Options *o) {
    if (!check_target(diag, o->target)) return false;
    if (o->dtype.len && !str_eq(o->dtype, STR("f32")) && !str_eq(o->dtype, STR("bf16")))
        return diag_fail(diag, FAIL_USAGE, "there is no storage type '%.*s'; use f32 or bf16",
                         STR_ARG(o->dtype));
    if (o->layout.len)
        return diag_fail(diag, FAIL_ENVIRONMENT,
                         "this version of strata runs on one device; leave --layout out");
    if (o->two_phase.len && !str_eq(o->two_phase, STR("on")) &&
        !str_eq(o->two_phase, STR("off")))
        return diag_fail(diag, FAIL_USAGE, "--two-phase is on or off");
    return true;
}

bool options_parse(Diag *diag, Arena *arena, int argc, char **argv, Options *out) {
    *out = (Options){.batch = -1,
                     .context = -1,
                     .threads = cpu_count(),
                     .steps = -1,
                     .warmup = -1,
                     .accumulate = 1,
                     .eval_every = -1,
                     .checkpoint_every = 500,
                     .keep = 2,
                     .tokens = 256,
                     .seeds = 1,
                     .lr = 1e-3,
                     .floor = -1,
                     .clip = 1,
                     .temperature = 1,
                     .top_p = 1,
                     .budget_seconds = 60,
                     .budget_trials = -1,
                     .shard_bytes = 5000000000};
    out->schedule = STR("cosine");
    Parse p = {.diag = diag, .arena = arena, .out = out};
    if (argc < 2) {
        diag_fail(diag, FAIL_USAGE, "no command is given");
        diag_note(diag, (Span){0}, "`strata --help` lists the commands");
        return false;
    }
    Str name = str_of(argv[1]);
    if (str_eq(name, STR("--help")) || str_eq(name, STR("-h")) || str_eq(name, STR("help"))) {
        print_help();
        exit(FAIL_NONE);
    }
    if (str_eq(name, STR("--version"))) {
        puts("strata " STRATA_VERSION);
        exit(FAIL_NONE);
    }
    if (!find_command(&p, name) || !check_names(&p, argc - 1, argv + 1) ||
        !run_argp(&p, argc - 1, argv + 1) || !check_supported(diag, out))
        return false;
    if (p.has_model || out->command == COMMAND_DEVICES) return true;
    return diag_fail(
        diag, FAIL_USAGE, "%s needs %s; see `strata %s --help`", command_name(out->command),
        out->command == COMMAND_DB ? "a verb" : "a model", command_name(out->command));
}
