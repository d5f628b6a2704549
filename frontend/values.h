// values.h: what an expression of the language can be while a model is elaborated. A Datum is
// small and copied freely; lists, records, closures and arrows are immutable and live in the
// elaboration's arena.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "frontend/ast.h"
#include "ir/graph/graph.h"

typedef enum {
    DATUM_ABSENT,  // an optional argument that the call does not give
    DATUM_POISON,  // stands for a value whose computation was reported as an error; silences
                   // what follows from it
    DATUM_NONE,    // the language's none
    DATUM_NUMBER,
    DATUM_BOOL,
    DATUM_STRING,
    DATUM_AXIS,
    DATUM_TENSOR,
    DATUM_LIST,
    DATUM_RECORD,
    DATUM_FUNCTION,
    DATUM_BUILTIN,
    DATUM_INIT,      // how a parameter starts: normal(0.02)
    DATUM_ARROW,     // n -> m, an argument of rename and its kin
    DATUM_NEW_NAME,  // a name that is not in scope where a built-in function may declare an
                     // axis
} DatumKind;

typedef struct Datum Datum;
typedef struct DatumList DatumList;
typedef struct DatumRecord DatumRecord;
typedef struct DatumArrow DatumArrow;
typedef struct Closure Closure;
typedef struct Builtin Builtin;
typedef struct Scope Scope;

struct Datum {
    DatumKind kind;
    union {
        double number;
        bool boolean;
        Str string;  // also of DATUM_NEW_NAME
        AxisId axis;
        ValueId tensor;
        const DatumList *list;
        const DatumRecord *record;
        const Closure *function;
        const Builtin *builtin;
        const DatumArrow *arrow;
        Init init;
    };
};

struct DatumList {
    const Datum *items;
    uint32_t count;
};

struct DatumRecord {
    const Str *names;
    const Datum *values;
    uint32_t count;
};

struct DatumArrow {
    Datum from, to;
};

#define POISON ((Datum){.kind = DATUM_POISON})
#define ABSENT ((Datum){.kind = DATUM_ABSENT})
#define NONE   ((Datum){.kind = DATUM_NONE})

Datum datum_number(double x);
Datum datum_bool(bool x);
Datum datum_string(Str s);
Datum datum_axis(AxisId a);
Datum datum_tensor(ValueId v);
Datum datum_init(Init init);
Datum datum_list(Arena *arena, const Datum *items, uint32_t count);  // copies the items
Datum datum_axes(Arena *arena, const AxisId *axes, uint32_t count);  // a list of axes

bool datum_is_poison(Datum d);   // also a list with poison among its elements
bool datum_is_integer(Datum d);  // a number without fraction, below 2^53 in magnitude
bool datum_is_int32(Datum d);
const Datum *datum_field(const DatumRecord *record, Str name);  // NULL if absent

// For messages: "a number", "an axis", "a tensor".
const char *datum_kind_text(Datum d);
// For messages, in more words: "f32[B, T=256, d=64]", "axis d=64", "3", "a list of 2".
Str datum_describe(const Graph *g, Arena *arena, Datum d);
void describe_tensor(const Graph *g, ValueId v, StrBuf *out);  // "f32[B, T=256, d=64]"
void describe_axis(const Graph *g, AxisId a,
                   StrBuf *out);  // "d=64"; "T" while its extent is unknown
