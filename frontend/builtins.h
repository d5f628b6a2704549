// builtins.h: the functions and names of the language that are not library code. The list is
// builtins.def.
#pragma once

#include "frontend/elaborate.h"
#include "frontend/suggest.h"

#define BUILTIN_MAX_ARGS 11

typedef struct BuiltinCall BuiltinCall;

// One call, with its arguments in the order of the signature. Arguments marked ~ are not
// elaborated: see their syntax.
struct BuiltinCall {
    Elaboration *e;
    const Builtin *builtin;
    Span span;
    Operand arg[BUILTIN_MAX_ARGS];  // ABSENT where not given
    const AstExpr *expr[BUILTIN_MAX_ARGS];
    uint32_t count;  // arguments up to the last one given
};

struct Builtin {
    const char *name;
    // Names of the arguments, separated by spaces. Suffixes:
    //   ?  optional    '  may be a new name, alone or right of an arrow    ~  not elaborated
    //   .. the last: any number of them, at least one
    const char *signature;
    Datum (*function)(BuiltinCall *call);
    GraphOp op;              // of functions that are one operation
    double (*fold)(double);  // the same on a number
};

bool builtin_find(Elaboration *e, Str name, Datum *out);
void builtins_suggest(Suggestion *hint);
Datum builtin_call(Elaboration *e, const Builtin *builtin, const AstExpr *call);

// ---- for the functions themselves

// "argument 'axes' of softmax".
const char *call_arg_text(const BuiltinCall *c, uint32_t i);
bool call_tensor(BuiltinCall *c, uint32_t i, ValueId *out);
bool call_f32(BuiltinCall *c, uint32_t i, Datum *out);  // integers are converted
bool call_axis(BuiltinCall *c, uint32_t i, AxisId *out);
bool call_axes(BuiltinCall *c, uint32_t i, AxisSet *out);
bool call_number(BuiltinCall *c, uint32_t i, double fallback,
                 double *out);  // fallback: if absent
bool call_bool(BuiltinCall *c, uint32_t i, bool fallback, bool *out);
bool call_given(const BuiltinCall *c, uint32_t i);
bool call_poisoned(const BuiltinCall *c);
// The tensor argument i has the axis; if not, that is said at the place of argument `at`.
bool call_has_axis(BuiltinCall *c, uint32_t i, AxisId axis, uint32_t at);
// An axis argument that may be a new name, which is then declared with this extent; an axis in
// scope must have it.
bool call_new_axis(BuiltinCall *c, Operand named, int64_t extent, AxisId *out);

#define BUILTIN(text, signature, function) Datum function(BuiltinCall *c);
#include "frontend/builtins.def"
Datum builtin_unary(BuiltinCall *c);
double fold_abs(double x);
double fold_sign(double x);
double fold_rsqrt(double x);
double fold_sigmoid(double x);
double fold_floor(double x);
