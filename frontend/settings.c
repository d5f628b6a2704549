// settings.c: settings from the command line and from `sizes`. The last one for a name counts;
// those of the command line come after those of the size.
#include "frontend/settings.h"

#include <string.h>

#include "frontend/suggest.h"

// ---- taking over

static const AstStmt *sizes_find(const AstModel *model, Str name, const AstSize **out) {
    const AstStmt *found = NULL;
    *out = NULL;
    for (uint32_t i = 0; i < model->body.count; i++) {
        const AstStmt *s = model->body.items[i];
        if (s->kind != AST_STMT_SIZES) continue;
        found = s;
        for (uint32_t k = 0; k < s->sizes.count; k++) {
            if (str_eq(s->sizes.items[k].name.text, name)) *out = &s->sizes.items[k];
        }
    }
    return found;
}

static bool size_apply(Elaboration *e, Str name) {
    const AstSize *size = NULL;
    const AstStmt *sizes = sizes_find(e->model, name, &size);
    if (size == NULL) {
        diag_fail(e->diag, FAIL_USAGE, "the model has no size '%.*s'", STR_ARG(name));
        for (uint32_t k = 0; sizes != NULL && k < sizes->sizes.count; k++) {
            AstName known = sizes->sizes.items[k].name;
            diag_note(e->diag, known.span, "it has %.*s", STR_ARG(known.text));
        }
        return false;
    }
    for (uint32_t i = 0; i < size->count; i++) {
        const AstBinding *b = &size->items[i];
        SettingState s = {.name = b->name.text, .span = b->name.span};
        s.value = elaborate_expr(e, b->value);
        vec_push(e->arena, &e->settings, s);
    }
    return true;
}

bool settings_begin(Elaboration *e, Settings settings) {
    bool good = true;
    for (uint32_t i = 0; i < settings.count; i++) {
        if (!str_eq(settings.items[i].name, STR("size"))) continue;
        good = size_apply(e, settings.items[i].value) && good;
    }
    for (uint32_t i = 0; i < settings.count; i++) {
        if (str_eq(settings.items[i].name, STR("size"))) continue;
        vec_push(
            e->arena, &e->settings,
            (SettingState){.name = settings.items[i].name, .text = settings.items[i].value});
    }
    return good;
}

// ---- applying

static SettingState *setting_find(Elaboration *e, Str name) {
    SettingState *found = NULL;
    vec_each (SettingState, s, &e->settings) {
        if (!str_eq(s->name, name)) continue;
        s->used = true;
        found = s;
    }
    return found;
}

// NUMBER { "," NUMBER }
static bool list_parse(Arena *arena, Str text, Datum *out) {
    Vec(Datum) items = {0};
    for (bool more = true; more;) {
        const char *comma = memchr(text.ptr, ',', text.len);
        size_t length = comma != NULL ? (size_t)(comma - text.ptr) : text.len;
        double number = 0;
        if (!str_to_double((Str){text.ptr, length}, &number)) return false;
        vec_push(arena, &items, datum_number(number));
        more = comma != NULL;
        if (more) text = (Str){comma + 1, text.len - length - 1};
    }
    *out = datum_list(arena, items.ptr, items.len);
    return true;
}

bool setting_parse(Arena *arena, Str text, Datum like, Datum *out) {
    if (like.kind == DATUM_LIST) return list_parse(arena, text, out);
    if (like.kind == DATUM_NUMBER || like.kind == DATUM_AXIS) {
        double number = 0;
        if (!str_to_double(text, &number)) return false;
        *out = datum_number(number);
        return true;
    }
    if (like.kind == DATUM_STRING) {
        *out = datum_string(text);
        return true;
    }
    bool yes = str_eq(text, STR("true")), no = str_eq(text, STR("false"));
    *out = datum_bool(yes);
    return like.kind == DATUM_BOOL && (yes || no);
}

static bool is_settable(Datum d) {
    bool numbers = d.kind == DATUM_LIST;
    for (uint32_t i = 0; numbers && i < d.list->count; i++)
        numbers = d.list->items[i].kind == DATUM_NUMBER;
    return numbers || d.kind == DATUM_NUMBER || d.kind == DATUM_AXIS ||
           d.kind == DATUM_STRING || d.kind == DATUM_BOOL;
}

static Datum wrong_kind(Elaboration *e, const SettingState *s, Datum like, Span span) {
    const char *kind = like.kind == DATUM_AXIS ? "a number" : datum_kind_text(like);
    if (s->span.file != 0) {
        elaborate_error(e, s->span, "'%.*s' is %s", STR_ARG(s->name), kind);
    } else {
        diag_fail(e->diag, FAIL_USAGE, "--set %.*s=%.*s: '%.*s' is %s", STR_ARG(s->name),
                  STR_ARG(s->text), STR_ARG(s->name), kind);
    }
    diag_note(e->diag, span, "'%.*s' is declared here", STR_ARG(s->name));
    return POISON;
}

Datum setting_apply(Elaboration *e, Str name, Datum fallback, Span span) {
    SettingState *s = setting_find(e, name);
    if (fallback.kind == DATUM_POISON) return fallback;
    if (is_settable(fallback)) vec_push(e->arena, &e->settable, name);
    if (s == NULL) return fallback;
    Datum value = s->value;
    if (!is_settable(fallback)) return wrong_kind(e, s, fallback, span);
    if (s->span.file == 0 && !setting_parse(e->arena, s->text, fallback, &value))
        return wrong_kind(e, s, fallback, span);
    if (datum_is_poison(value)) return POISON;
    bool numbers = value.kind == DATUM_NUMBER && fallback.kind == DATUM_AXIS;
    return value.kind == fallback.kind || numbers ? value : wrong_kind(e, s, fallback, span);
}

bool setting_extent(Elaboration *e, Str name, int64_t *extent) {
    vec_push(e->arena, &e->settable, name);
    SettingState *s = setting_find(e, name);
    if (s == NULL) return false;
    Datum value = s->value;
    if (s->span.file == 0 && !setting_parse(e->arena, s->text, datum_number(0), &value))
        value = NONE;
    if (value.kind == DATUM_NUMBER && value.number >= 1 &&
        value.number <= ELABORATE_MAX_EXTENT && datum_is_integer(value)) {
        *extent = (int64_t)value.number;
        return true;
    }
    diag_fail(e->diag, FAIL_USAGE,
              "the extent of axis %.*s must be a whole number from 1 to %d", STR_ARG(name),
              ELABORATE_MAX_EXTENT);
    return false;
}

// ---- what is left over

static void settable_note(Elaboration *e, Str wanted, Span span) {
    Suggestion hint;
    suggestion_init(&hint, wanted);
    StrBuf all = {0};
    vec_each (Str, name, &e->settable) {
        suggestion_offer(&hint, *name);
        strbuf_addf(&all, "%s%.*s", all.len > 0 ? ", " : "", STR_ARG(*name));
    }
    if (hint.best.len > 0) diag_note(e->diag, span, "did you mean '%.*s'?", STR_ARG(hint.best));
    if (all.len > 0) diag_note(e->diag, span, "it can set %.*s", STR_ARG(strbuf_view(&all)));
    strbuf_release(&all);
}

static bool name_is_settable(const Elaboration *e, Str name) {
    vec_each (Str, known, &e->settable) {
        if (str_eq(*known, name)) return true;
    }
    return false;
}

// Also the entries of sizes that are not used now: a misspelling there would wait for its user.
static void sizes_check(Elaboration *e) {
    const AstSize *unused = NULL;
    const AstStmt *sizes = sizes_find(e->model, STR(""), &unused);
    for (uint32_t i = 0; sizes != NULL && i < sizes->sizes.count; i++) {
        const AstSize *size = &sizes->sizes.items[i];
        for (uint32_t k = 0; k < size->count; k++) {
            AstName name = size->items[k].name;
            if (name_is_settable(e, name.text)) continue;
            elaborate_error(e, name.span, "the model has no setting '%.*s'",
                            STR_ARG(name.text));
            settable_note(e, name.text, name.span);
        }
    }
}

void settings_finish(Elaboration *e) {
    sizes_check(e);
    vec_each (SettingState, s, &e->settings) {
        if (s->used || s->span.file != 0) continue;
        diag_fail(e->diag, FAIL_USAGE, "--set %.*s: the model has no such setting",
                  STR_ARG(s->name));
        settable_note(e, s->name, e->model->name.span);
    }
}
