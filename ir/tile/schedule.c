// schedule.c: schedules as text.
#include "ir/tile/schedule.h"

#include "base/check.h"

typedef struct {
    const char *name;
    int32_t otherwise;
} Knob;

static const Knob knobs[] = {
#define KNOB(name, otherwise) {#name, otherwise},
#include "ir/tile/knobs.def"
#undef KNOB
};
#define KNOB_COUNT (sizeof knobs / sizeof *knobs)

static int32_t *knob_at(Schedule *s, size_t number) {
    int32_t *const fields[] = {
#define KNOB(name, otherwise) &s->name,
#include "ir/tile/knobs.def"
#undef KNOB
    };
    ASSERT(number < KNOB_COUNT);
    return fields[number];
}

static bool knob_find(Str name, size_t *out) {
    for (size_t i = 0; i < KNOB_COUNT; i++) {
        if (!str_eq(str_of(knobs[i].name), name)) continue;
        *out = i;
        return true;
    }
    return false;
}

Schedule schedule_none(void) {
    Schedule s = {0};
    for (size_t i = 0; i < KNOB_COUNT; i++)
        *knob_at(&s, i) = knobs[i].otherwise;
    return s;
}

void schedule_print(const Schedule *s, StrBuf *out) {
    Schedule copy = *s;
    const char *between = "";
    for (size_t i = 0; i < KNOB_COUNT; i++) {
        int32_t value = *knob_at(&copy, i);
        if (value == knobs[i].otherwise) continue;
        strbuf_addf(out, "%s%s=%d", between, knobs[i].name, value);
        between = " ";
    }
}

static Str word_next(Str *text) {
    while (text->len && text->ptr[0] == ' ')
        *text = (Str){text->ptr + 1, text->len - 1};
    size_t n = 0;
    while (n < text->len && text->ptr[n] != ' ')
        n++;
    Str word = {text->ptr, n};
    *text = (Str){text->ptr + n, text->len - n};
    return word;
}

// KNOB=INTEGER
static bool setting_read(Str word, size_t *knob, int32_t *value) {
    size_t equals = 0;
    while (equals < word.len && word.ptr[equals] != '=')
        equals++;
    if (equals == word.len || !knob_find((Str){word.ptr, equals}, knob)) return false;
    int64_t number = 0;
    if (!str_to_int64((Str){word.ptr + equals + 1, word.len - equals - 1}, &number))
        return false;
    if (number < INT32_MIN || number > INT32_MAX) return false;
    *value = (int32_t)number;
    return true;
}

bool schedule_read(Str text, Schedule *out) {
    Schedule s = schedule_none();
    bool seen[KNOB_COUNT] = {false};
    for (Str word = word_next(&text); word.len; word = word_next(&text)) {
        size_t knob = 0;
        int32_t value = 0;
        if (!setting_read(word, &knob, &value) || seen[knob]) return false;
        seen[knob] = true;
        *knob_at(&s, knob) = value;
    }
    *out = s;
    return true;
}
