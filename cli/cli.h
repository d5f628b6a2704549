// cli.h: what every command is given, and the steps that several commands share.
//
// A command reads options, records errors in diag, writes its result to `out` (text, or one
// JSON object through `json` with --json) and returns whether all went well. main.c does the
// rest.
#pragma once

#include "base/json.h"
#include "cli/options.h"
#include "cli/pipeline.h"
#include "cli/progress.h"
#include "runtime/device.h"

// Rows of a training batch, if --batch does not say.
enum { TRAIN_BATCH = 8 };

typedef struct {
    Options options;
    IsaLevel level;  // of the target
    Arena arena;
    Diag diag;
    StrBuf out;
    JsonWriter json;
    Database *db;  // opened by cli_database, closed by main
    Progress compiling;
} Cli;

#define COMMAND(NAME, name, ...) bool cmd_##name(Cli *cli);
#include "cli/commands.def"
#undef COMMAND

// A line on stderr, unless -q.
void cli_say(const Cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
// The same, with -v only.
void cli_detail(const Cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
// Prints what is in diag now (warnings) and forgets it, before long work or output.
void cli_flush(Cli *cli);
MUST_USE bool cli_usage(Cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
// "--params is needed": false if the text is empty.
MUST_USE bool cli_need(Cli *cli, Str value, const char *option);

// ---- models
bool cli_is_artifact(Str path);  // by its name: X.sta
MUST_USE bool cli_model(Cli *cli, Model *out);
// The graph as elaborated, its run-time axes open.
MUST_USE bool cli_elaborate(Cli *cli, const Model *model, Graph **out);
// Extents of the axes B and T from --batch and --context, except those that --set gives.
Bindings cli_bindings(Cli *cli, int64_t batch);
TrainSetup cli_train_setup(const Cli *cli);
// What --grad, --train, --decode and --prefill ask for.
EntryKind cli_entry(const Cli *cli);
// The graph of one entry with every axis bound (cli_bindings).
MUST_USE bool cli_graph(Cli *cli, const Model *model, EntryKind kind, Bindings bindings,
                        Graph **out);
// Of a forward pass, with the model's marks as values of the graph.
MUST_USE bool cli_marked_graph(Cli *cli, const Model *model, Bindings bindings, Graph **out,
                               Sublayers *sublayers);
// The graph of one token. NULL: the model cannot be computed token by token; why, in `reason`.
MUST_USE const Graph *cli_decode_graph(Cli *cli, const Model *model, Bindings bindings,
                                       Str *reason);
// Says which run-time axis lacks an extent.
MUST_USE bool cli_all_bound(Cli *cli, const Graph *g);

// ---- plans
// Opens the tuning database. Without --db and $STRATA_DB one that cannot be used is a warning,
// and the command goes on without, unless `must`.
MUST_USE bool cli_database(Cli *cli, bool must);
// Sets `level` from --target.
MUST_USE bool cli_choose_target(Cli *cli);
CompileTarget cli_target(Cli *cli);
DType cli_storage(const Cli *cli);  // --dtype; without it f32 on the CPU, bf16 on a GPU
typedef struct {
    const EntryKind *items;
    uint32_t count;
} EntryKinds;
// Compiles entries of the model.
MUST_USE bool cli_plan(Cli *cli, const Model *model, EntryKinds entries, Bindings bindings,
                       Plan **out);
// Reads an artifact and checks that it has the entries; `level` becomes what it was made for.
MUST_USE bool cli_artifact(Cli *cli, EntryKinds entries, Plan **out);

// ---- text
void text_bytes(StrBuf *out, double bytes);       // "1.5 MiB"
void text_count(StrBuf *out, double x);           // "1.5 M"
void text_duration(StrBuf *out, double seconds);  // "1 min 05 s", "12.3 ms"
