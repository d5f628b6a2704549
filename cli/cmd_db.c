// cmd_db.c: looking at the tuning database and moving it.
#include "cli/cli.h"

typedef struct {
    const char *name;
    bool needs_file;
    bool (*run)(Cli *cli, Str file);
} Verb;

static void count(Cli *cli, const char *key, const char *name, int64_t x) {
    if (cli->options.json) {
        json_key(&cli->json, key);
        json_int(&cli->json, x);
    } else {
        strbuf_addf(&cli->out, "%-12s %lld\n", name, (long long)x);
    }
}

static bool db_show(Cli *cli, Str file) {
    (void)file;
    DatabaseCounts c = database_counts(cli->db);
    if (cli->options.json) {
        json_object(&cli->json);
        json_key(&cli->json, "path");
        json_string(&cli->json, database_path(cli->db));
    } else {
        strbuf_addf(&cli->out, "%.*s\n", STR_ARG(database_path(cli->db)));
    }
    count(cli, "devices", "devices", c.devices);
    count(cli, "contexts", "contexts", c.contexts);
    count(cli, "regions", "regions", c.regions);
    count(cli, "trials", "trials", c.trials);
    count(cli, "good_trials", "good trials", c.good_trials);
    count(cli, "poisoned", "poisoned", c.poisoned);
    count(cli, "kernels", "kernels", c.kernels);
    count(cli, "code_bytes", "code bytes", c.code_bytes);
    if (cli->options.json) json_end(&cli->json);
    return true;
}

static void list_json(Cli *cli, const DatabaseRegion *r, Str schedule) {
    JsonWriter *w = &cli->json;
    char hash[HASH_TEXT];
    hash_text(r->region, hash);
    json_object(w);
    json_key(w, "name");
    json_string(w, r->name);
    json_key(w, "region");
    json_string(w, str_of(hash));
    json_key(w, "cpu");
    json_string(w, r->cpu);
    json_key(w, "features");
    json_string(w, r->level);
    json_key(w, "threads");
    json_int(w, r->threads);
    json_key(w, "emitter");
    json_string(w, r->emitter);
    json_key(w, "trials");
    json_int(w, r->trials);
    json_key(w, "good_trials");
    json_int(w, r->good_trials);
    if (r->median > 0) {
        json_key(w, "best_ns");
        json_number(w, r->median);
        json_key(w, "schedule");
        json_string(w, schedule);
    }
    json_end(w);
}

static void list_text(Cli *cli, const DatabaseRegion *r, Str schedule) {
    strbuf_addf(&cli->out, "%-40.*s %4u threads %5lld trials  ", STR_ARG(r->name), r->threads,
                (long long)r->trials);
    if (r->median > 0) text_duration(&cli->out, r->median * 1e-9);
    strbuf_addf(&cli->out, "  %.*s\n", STR_ARG(schedule));
}

static bool db_list(Cli *cli, Str file) {
    (void)file;
    DatabaseRegion *regions;
    uint32_t n = database_regions(cli->db, &cli->arena, &regions);
    if (cli->options.json) {
        json_object(&cli->json);
        json_key(&cli->json, "regions");
        json_array(&cli->json);
    }
    for (uint32_t i = 0; i < n; i++) {
        StrBuf schedule = {0};
        if (regions[i].median > 0) schedule_print(&regions[i].best, &schedule);
        if (cli->options.json)
            list_json(cli, &regions[i], strbuf_view(&schedule));
        else
            list_text(cli, &regions[i], strbuf_view(&schedule));
        strbuf_release(&schedule);
    }
    if (cli->options.json) {
        json_end(&cli->json);
        json_end(&cli->json);
    } else if (!n) {
        strbuf_addz(&cli->out, "nothing was tuned yet\n");
    }
    return true;
}

static void done(Cli *cli, const char *what, Str path) {
    if (!cli->options.json) {
        strbuf_addf(&cli->out, "%s %.*s\n", what, STR_ARG(path));
        return;
    }
    json_object(&cli->json);
    json_key(&cli->json, "done");
    json_string(&cli->json, str_of(what));
    json_key(&cli->json, "path");
    json_string(&cli->json, path);
    json_end(&cli->json);
}

static bool db_export(Cli *cli, Str file) {
    if (!database_export(&cli->diag, cli->db, file)) return false;
    done(cli, "exported to", file);
    return true;
}

static bool db_merge(Cli *cli, Str file) {
    int64_t added = 0;
    if (!database_merge(&cli->diag, cli->db, file, &added)) return false;
    if (cli->options.json) {
        json_object(&cli->json);
        json_key(&cli->json, "added_trials");
        json_int(&cli->json, added);
        json_end(&cli->json);
    } else {
        strbuf_addf(&cli->out, "%lld new trials from %.*s\n", (long long)added, STR_ARG(file));
    }
    return true;
}

static bool db_verify(Cli *cli, Str file) {
    (void)file;
    if (!database_verify(&cli->diag, cli->db)) return false;
    done(cli, "verified", database_path(cli->db));
    return true;
}

static bool db_prune(Cli *cli, Str file) {
    (void)file;
    if (!database_prune(&cli->diag, cli->db)) return false;
    done(cli, "pruned", database_path(cli->db));
    return true;
}

static const Verb verbs[] = {
    {"list", false, db_list},   {"show", false, db_show},  {"export", true, db_export},
    {"import", true, db_merge}, {"merge", true, db_merge}, {"verify", false, db_verify},
    {"prune", false, db_prune},
};

bool cmd_db(Cli *cli) {
    const Options *o = &cli->options;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (!str_eq(o->model, str_of(verbs[i].name))) continue;
        if (o->operands.len != verbs[i].needs_file)
            return cli_usage(cli, "db %s takes %s", verbs[i].name,
                             verbs[i].needs_file ? "one file" : "no operand");
        return cli_database(cli, true) &&
               verbs[i].run(cli, verbs[i].needs_file ? o->operands.ptr[0] : (Str){0});
    }
    return cli_usage(cli,
                     "db does not know '%.*s'; it knows list, show, export, import, merge, "
                     "verify and prune",
                     STR_ARG(o->model));
}
