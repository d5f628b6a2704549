// modules.c: depth first, so that a module is complete before those that import it.
#include "frontend/modules.h"

#include <limits.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/io.h"
#include "base/map.h"
#include "base/vec.h"
#include "frontend/source_to_ast.h"

// A model is text written by people; a larger file is given by mistake.
enum { SOURCE_MAX_BYTES = 16 << 20 };

typedef enum { ENTRY_NEW, ENTRY_LOADING, ENTRY_LOADED, ENTRY_FAILED } EntryState;

// A file that was met, known by its resolved path.
typedef struct {
    EntryState state;
    Str name;  // as imported; the path for the root
    Str path;
    Str directory;  // the one in which the name was found
    AstModule *module;
    Span imported_at;  // file 0 for the root
} Entry;

typedef struct {
    Diag *diag;
    Arena *arena;
    SearchPath search;
    Vec(Entry *) entries;
    Map by_path;            // resolved path -> index into entries
    Vec(Entry *) chain;     // those being loaded: the root, what it imports, what that imports
    Vec(AstModule *) done;  // in order of completion
} Loader;

static bool entry_load(Loader *l, Entry *entry);

static Str path_directory(Str path) {
    while (path.len > 0 && path.ptr[path.len - 1] != '/')
        path.len--;
    if (path.len > 1) path.len--;
    return path.len > 0 ? path : STR(".");
}

// std.norm in models: models/std/norm.strata
static Str module_path(Arena *arena, Str directory, Str name) {
    const bool here = str_eq(directory, STR("."));
    StrBuf path = {0};
    if (!here) strbuf_add(&path, directory);
    if (!here && !str_ends(directory, STR("/"))) strbuf_addc(&path, '/');
    for (size_t i = 0; i < name.len; i++)
        strbuf_add(&path, name.ptr[i] == '.' ? STR("/") : (Str){name.ptr + i, 1});
    strbuf_addz(&path, ".strata");
    const Str copy = str_copy(arena, strbuf_view(&path));
    strbuf_release(&path);
    return copy;
}

// The same file under two spellings is one module. A path that cannot be resolved stands for
// itself: reading it fails.
static Str resolved(Arena *arena, Str path) {
    char real[PATH_MAX];
    return realpath(path.ptr, real) ? str_copy(arena, str_of(real)) : path;
}

static Entry *entry_find(Loader *l, Str path, Str name, Str directory, Span at) {
    const Str key = resolved(l->arena, path);
    uint64_t index;
    if (map_get(&l->by_path, key, &index)) {
        ASSERT(index < l->entries.len);
        return l->entries.ptr[index];
    }
    Entry *entry = arena_new(l->arena, Entry);
    *entry = (Entry){.name = name, .path = path, .directory = directory, .imported_at = at};
    map_set(l->arena, &l->by_path, key, l->entries.len);
    vec_push(l->arena, &l->entries, entry);
    return entry;
}

// ---- Where a module is ----

typedef struct {
    Str items[2];
    uint32_t count;
} Places;

static Places places_near(const Entry *importer) {
    Places near = {.items = {path_directory(importer->path)}, .count = 1};
    if (!str_eq(importer->directory, near.items[0]))
        near.items[near.count++] = importer->directory;
    return near;
}

static Str place_at(const Loader *l, const Places *near, uint32_t i) {
    return i < near->count ? near->items[i] : l->search.items[i - near->count];
}

static bool not_found(Loader *l, const Places *near, const AstImport *import) {
    diag_error(l->diag, import->span, "there is no module '%.*s'", STR_ARG(import->path));
    for (uint32_t i = 0; i < near->count + l->search.count; i++) {
        const Str path = module_path(l->arena, place_at(l, near, i), import->path);
        diag_note(l->diag, import->span, "'%.*s' does not exist", STR_ARG(path));
    }
    return false;
}

static Entry *import_find(Loader *l, const Entry *importer, const AstImport *import) {
    const Places near = places_near(importer);
    for (uint32_t i = 0; i < near.count + l->search.count; i++) {
        const Str directory = place_at(l, &near, i);
        const Str path = module_path(l->arena, directory, import->path);
        if (io_exists(path)) return entry_find(l, path, import->path, directory, import->span);
    }
    not_found(l, &near, import);
    return NULL;
}

// ---- Loading ----

// The chain ends with the importer; the cycle begins at `entry` somewhere in it.
static bool cycle_error(Loader *l, const Entry *entry, Span at) {
    diag_error(l->diag, at, "module '%.*s' imports itself", STR_ARG(entry->name));
    uint32_t first = l->chain.len;
    while (l->chain.ptr[first - 1] != entry)
        first--;
    for (uint32_t i = first; i < l->chain.len; i++)
        diag_note(l->diag, l->chain.ptr[i]->imported_at, "by way of '%.*s', imported here",
                  STR_ARG(l->chain.ptr[i]->name));
    return false;
}

static bool import_load(Loader *l, const Entry *importer, AstImport *import) {
    Entry *entry = import_find(l, importer, import);
    if (!entry) return false;
    if (entry->state == ENTRY_LOADING) return cycle_error(l, entry, import->span);
    if (entry->state == ENTRY_NEW && !entry_load(l, entry)) return false;
    import->module = entry->module;
    return entry->state == ENTRY_LOADED;
}

static bool entry_parse(Loader *l, Entry *entry) {
    Str text;
    if (!io_read(l->diag, l->arena, entry->path, &text)) return false;
    if (text.len > SOURCE_MAX_BYTES)
        return diag_file_error(l->diag, FAIL_INPUT, entry->path,
                               "the file has %zu bytes; a model has at most %d", text.len,
                               SOURCE_MAX_BYTES);
    const uint32_t file = diag_source_add(l->diag, entry->path, text);
    if (!source_to_ast(l->diag, l->arena, file, &entry->module)) return false;
    entry->module->name = entry->name;
    return true;
}

// A module that fails does not keep the others from being looked at.
static bool entry_load(Loader *l, Entry *entry) {
    entry->state = ENTRY_LOADING;
    bool ok = entry_parse(l, entry);
    vec_push(l->arena, &l->chain, entry);
    for (uint32_t i = 0; ok && i < entry->module->decl_count; i++) {
        AstDecl *d = &entry->module->decls[i];
        if (d->kind != AST_DECL_IMPORT) continue;
        if (!import_load(l, entry, &d->import)) entry->state = ENTRY_FAILED;
        if (diag_full(l->diag)) break;
    }
    l->chain.len--;
    ok = ok && entry->state != ENTRY_FAILED;
    entry->state = ok ? ENTRY_LOADED : ENTRY_FAILED;
    if (ok) vec_push(l->arena, &l->done, entry->module);
    return ok;
}

bool modules_load(Diag *diag, Arena *arena, Str path, SearchPath search, AstProgram **out) {
    Loader l = {.diag = diag, .arena = arena, .search = search};
    const Str root = str_copy(arena, path);
    if (!entry_load(&l, entry_find(&l, root, root, path_directory(root), (Span){0})))
        return false;
    AstProgram *program = arena_new(arena, AstProgram);
    program->modules = l.done.ptr;
    program->module_count = l.done.len;
    program->root = l.done.ptr[l.done.len - 1];
    *out = program;
    return true;
}
