// mapping_read.c: a mapping from its JSON file.
//
//     {"rules": [{"ours": PATTERN, "name": PATTERN, "shape": [SIZE, ...], "steps": [STEP, ...],
//                 "dtype": "F32", "init": true}, ...],
//      "ignore": [PATTERN, ...]}
//     STEP = {"transpose": [AXIS, ...]} | {"reshape": [SIZE, ...]}
//          | {"slice": {"axis": AXIS, "begin": SIZE, "end": SIZE}}
//          | {"stack": {"axis": AXIS, "over": NAME, "count": SIZE}}
#include <stdio.h>

#include "base/io.h"
#include "runtime/mapping.h"
#include "runtime/name_pattern.h"

typedef struct {
    Diag *diag;
    Arena *arena;
    Mapping *out;
    MapRule *rule;
} Reader;

bool rule_error(Diag *diag, const Mapping *m, const MapRule *rule, const char *fmt, ...) {
    StrBuf text = {0};
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    diag_file_error(diag, FAIL_INPUT, m->path, "rule %u (%.*s): %s", rule->number,
                    STR_ARG(rule->ours), text.ptr);
    strbuf_release(&text);
    return false;
}

static bool bad(Reader *r, const char *what) {
    if (r->rule) return rule_error(r->diag, r->out, r->rule, "%s", what);
    return diag_file_error(r->diag, FAIL_INPUT, r->out->path, "%s", what);
}

// Misspelt keys would otherwise be rules that do something else.
static bool only_keys(Reader *r, const Json *object, const char *const *keys) {
    for (uint32_t i = 0; i < object->count; i++) {
        bool known = false;
        for (const char *const *key = keys; *key; key++)
            known |= str_eq(object->keys[i], str_of(*key));
        if (known) continue;
        char what[96];
        snprintf(what, sizeof what, "there is no key '%.*s' here",
                 (int)(object->keys[i].len < 48 ? object->keys[i].len : 48),
                 object->keys[i].ptr);
        return bad(r, what);
    }
    return true;
}

static bool read_size(Reader *r, const Json *json, Str *out) {
    if (json && json->kind == JSON_INT && json->integer >= 0)
        *out = str_printf(r->arena, "%lld", (long long)json->integer);
    else if (json && json->kind == JSON_STRING)
        *out = json->string;
    else
        return bad(r, "a size is a whole number or text such as \"h * dk\"");
    return true;
}

static bool read_sizes(Reader *r, const Json *json, const Str **out, uint32_t *count) {
    if (json->kind != JSON_ARRAY || json->count > PLAN_RANK_MAX)
        return bad(r, "a shape is a list of at most 16 sizes");
    Str *sizes = arena_array(r->arena, Str, json->count);
    for (uint32_t i = 0; i < json->count; i++)
        if (!read_size(r, &json->items[i], &sizes[i])) return false;
    *out = sizes;
    *count = json->count;
    return true;
}

static bool read_axis(Reader *r, const Json *json, uint32_t *out) {
    if (!json || json->kind != JSON_INT || json->integer < 0 || json->integer >= PLAN_RANK_MAX)
        return bad(r, "an axis is a whole number from 0");
    *out = (uint32_t)json->integer;
    return true;
}

static bool read_order(Reader *r, const Json *json, MapStep *out) {
    if (json->kind != JSON_ARRAY || json->count > PLAN_RANK_MAX)
        return bad(r, "transpose needs a list of axes");
    uint32_t *order = arena_array(r->arena, uint32_t, json->count), seen = 0;
    for (uint32_t i = 0; i < json->count; i++) {
        if (!read_axis(r, &json->items[i], &order[i])) return false;
        seen |= 1u << order[i];
    }
    if (seen != (1u << json->count) - 1)
        return bad(r, "transpose must name each axis from 0 on once");
    *out = (MapStep){.kind = MAP_TRANSPOSE, .order = order, .count = json->count};
    return true;
}

static bool read_slice(Reader *r, const Json *json, MapStep *out) {
    static const char *const keys[] = {"axis", "begin", "end", NULL};
    Str *sizes = arena_array(r->arena, Str, 2);
    *out = (MapStep){.kind = MAP_SLICE, .sizes = sizes, .count = 2};
    if (json->kind != JSON_OBJECT) return bad(r, "slice needs an axis, a begin and an end");
    return only_keys(r, json, keys) && read_axis(r, json_get(json, "axis"), &out->axis) &&
           read_size(r, json_get(json, "begin"), &sizes[0]) &&
           read_size(r, json_get(json, "end"), &sizes[1]);
}

static bool read_stack(Reader *r, const Json *json, MapStep *out) {
    static const char *const keys[] = {"axis", "over", "count", NULL};
    Str *sizes = arena_array(r->arena, Str, 1);
    *out = (MapStep){.kind = MAP_STACK, .sizes = sizes, .count = 1};
    const Json *over = json_get(json, "over");
    if (!over || over->kind != JSON_STRING || !size_is_name(over->string))
        return bad(r, "stack needs the name of the placeholder to count over");
    out->over = over->string;
    return only_keys(r, json, keys) && read_axis(r, json_get(json, "axis"), &out->axis) &&
           read_size(r, json_get(json, "count"), &sizes[0]);
}

static bool read_step(Reader *r, const Json *json, MapStep *out) {
    if (json->kind == JSON_OBJECT && json->count == 1) {
        const Json *value = &json->items[0];
        if (str_eq(json->keys[0], STR("transpose"))) return read_order(r, value, out);
        if (str_eq(json->keys[0], STR("slice"))) return read_slice(r, value, out);
        if (str_eq(json->keys[0], STR("stack"))) return read_stack(r, value, out);
        *out = (MapStep){.kind = MAP_RESHAPE};
        if (str_eq(json->keys[0], STR("reshape")))
            return read_sizes(r, value, &out->sizes, &out->count);
    }
    return bad(r, "a step is an object with one of transpose, reshape, slice, stack");
}

static bool read_steps(Reader *r, const Json *json) {
    MapRule *rule = r->rule;
    if (!json) return true;
    if (json->kind != JSON_ARRAY) return bad(r, "steps are a list");
    rule->steps = arena_array(r->arena, MapStep, json->count);
    rule->step_count = json->count;
    for (uint32_t i = 0; i < json->count; i++) {
        if (!read_step(r, &json->items[i], &rule->steps[i])) return false;
        if (rule->steps[i].kind == MAP_STACK && i + 1 < json->count)
            return bad(r, "stack must be the last step");
    }
    return true;
}

static bool read_pattern(Reader *r, const Json *json, Str *out) {
    if (!json || json->kind != JSON_STRING || !json->string.len)
        return bad(r, "a rule needs the text 'ours', and 'name' or \"init\": true");
    *out = json->string;
    return true;
}

static bool check_pattern(Reader *r, Str pattern) {
    Str why;
    if (pattern_check(pattern, &why)) return true;
    return bad(r, str_printf(r->arena, "'%.*s': %.*s", STR_ARG(pattern), STR_ARG(why)).ptr);
}

// Braces in a name hold sizes, which are evaluated for each parameter; that they are closed is
// known now.
static bool check_braces(Reader *r, Str name) {
    bool open = false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c != '{' && c != '}') continue;
        if (open == (c == '{')) return bad(r, "the name has a brace without its other one");
        open = c == '{';
    }
    return !open || bad(r, "the name has a brace without its other one");
}

static bool read_type(Reader *r, const Json *json) {
    if (!json) return true;
    r->rule->has_type = true;
    if (json->kind == JSON_STRING && dtype_parse_safetensors(json->string, &r->rule->type) &&
        dtype_is_float(r->rule->type))
        return true;
    return bad(r, "dtype is F32, BF16, F16 or F64");
}

static bool read_rule(Reader *r, const Json *json) {
    static const char *const keys[] = {"ours", "name", "shape", "steps", "dtype", "init", NULL};
    MapRule *rule = r->rule;
    const Json *init = json_get(json, "init"), *shape = json_get(json, "shape");
    const Json *name = json_get(json, "name");
    if (!read_pattern(r, json_get(json, "ours"), &rule->ours)) return false;
    if (!only_keys(r, json, keys) || !check_pattern(r, rule->ours)) return false;
    if (init && init->kind != JSON_BOOL) return bad(r, "init is true or false");
    rule->init = init && init->boolean;
    if (!name && rule->init && json->count == 2) return true;
    if (!read_pattern(r, name, &rule->name) || !check_braces(r, rule->name)) return false;
    rule->has_shape = shape != NULL;
    if (shape && !read_sizes(r, shape, &rule->shape, &rule->rank)) return false;
    if (!read_steps(r, json_get(json, "steps"))) return false;
    if (rule->step_count && !shape) return bad(r, "steps need the shape that they begin with");
    return read_type(r, json_get(json, "dtype"));
}

static bool read_rules(Reader *r, const Json *json) {
    if (!json || json->kind != JSON_ARRAY) return bad(r, "the mapping has no list of rules");
    r->out->rules = arena_array(r->arena, MapRule, json->count);
    r->out->rule_count = json->count;
    for (uint32_t i = 0; i < json->count; i++) {
        r->rule = &r->out->rules[i];
        *r->rule = (MapRule){.number = i + 1, .ours = STR("?")};
        if (!read_rule(r, &json->items[i])) return false;
    }
    r->rule = NULL;
    return true;
}

static bool read_ignored(Reader *r, const Json *json) {
    if (!json) return true;
    if (json->kind != JSON_ARRAY) return bad(r, "ignore is a list of patterns");
    r->out->ignored = arena_array(r->arena, Str, json->count);
    r->out->ignored_count = json->count;
    for (uint32_t i = 0; i < json->count; i++) {
        if (json->items[i].kind != JSON_STRING) return bad(r, "ignore is a list of patterns");
        r->out->ignored[i] = json->items[i].string;
        if (!check_pattern(r, r->out->ignored[i])) return false;
    }
    return true;
}

bool mapping_parse(Diag *diag, Arena *arena, Str path, Str text, Mapping *out) {
    static const char *const keys[] = {"rules", "ignore", NULL};
    *out = (Mapping){.path = path};
    Reader r = {.diag = diag, .arena = arena, .out = out};
    Json *json;
    if (!json_parse(diag, arena, path, text, &json)) return false;
    if (json->kind != JSON_OBJECT) return bad(&r, "a mapping is an object");
    return only_keys(&r, json, keys) && read_rules(&r, json_get(json, "rules")) &&
           read_ignored(&r, json_get(json, "ignore"));
}

bool mapping_read(Diag *diag, Arena *arena, Str path, Mapping *out) {
    Str text;
    return io_read(diag, arena, path, &text) && mapping_parse(diag, arena, path, text, out);
}

bool mapping_ignores(const Mapping *m, Str name) {
    Placeholders numbers;
    for (uint32_t i = 0; i < m->ignored_count; i++)
        if (pattern_match(m->ignored[i], name, &numbers)) return true;
    return false;
}
