// safetensors_load.c: tensors of a file into a session: matched by name, checked by shape,
// converted by element.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "runtime/safetensors.h"

enum { EXTRAS_NAMED = 8 };

static void add_shape(StrBuf *out, const int64_t *shape, uint32_t rank, const Str *axes) {
    strbuf_addc(out, '[');
    for (uint32_t i = 0; i < rank; i++) {
        strbuf_addz(out, i ? ", " : "");
        if (axes) strbuf_addf(out, "%.*s=", STR_ARG(axes[i]));
        strbuf_addf(out, "%lld", (long long)shape[i]);
    }
    strbuf_addc(out, ']');
}

static bool check_shape(Diag *diag, const TensorFile *file, const StoredTensor *t,
                        const PlanTensor *as) {
    bool same = t->rank == as->rank;
    for (uint32_t i = 0; same && i < t->rank; i++)
        same = t->shape[i] == as->shape[i];
    if (same) return true;
    StrBuf text = {0};
    add_shape(&text, t->shape, t->rank, NULL);
    strbuf_addz(&text, " and the model needs ");
    add_shape(&text, as->shape, as->rank, as->axes);
    diag_file_error(diag, FAIL_INPUT, file->path, "tensor '%.*s' has shape %s",
                    STR_ARG(t->name), text.ptr);
    strbuf_release(&text);
    return false;
}

static bool bad_element(Diag *diag, const TensorFile *file, const PlanTensor *as, int64_t i,
                        const char *what) {
    StrBuf place = {0};
    plan_tensor_position(as, i, &place);
    diag_file_error(diag, FAIL_INPUT, file->path, "%s %s", place.ptr, what);
    strbuf_release(&place);
    return false;
}

// Integers that a type holds. Doubles are exact for all but i64, whose bounds are powers of
// two.
static bool fits(DType type, double x) {
    switch (type) {
    case DTYPE_I32: return x >= INT32_MIN && x <= INT32_MAX;
    case DTYPE_I64: return x >= (double)INT64_MIN && x < -(double)INT64_MIN;
    case DTYPE_U8: return x >= 0 && x <= UINT8_MAX;
    case DTYPE_U16: return x >= 0 && x <= UINT16_MAX;
    case DTYPE_BOOL: return x == 0 || x == 1;
    case DTYPE_F32:
    case DTYPE_BF16:
    case DTYPE_F16:
    case DTYPE_F64: return true;
    case DTYPE_COUNT: break;
    }
    BUG("type %d", (int)type);
}

static int64_t first_nan(const StoredTensor *t, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        if (isnan(dtype_get(t->type, t->data, i))) return i;
    }
    return -1;
}

static bool convert_elements(Diag *diag, const TensorFile *file, const StoredTensor *t,
                             const PlanTensor *as, void *out) {
    int64_t count = plan_tensor_count(as);
    for (int64_t i = 0; i < count; i++) {
        double x = dtype_get(t->type, t->data, i);
        if (!fits(as->type, x)) {
            char what[64];
            snprintf(what, sizeof what, "is %.0f, which does not fit %s", x,
                     dtype_text(as->type));
            return bad_element(diag, file, as, i, what);
        }
        dtype_set(as->type, out, i, x);
    }
    return true;
}

bool safetensors_convert(Diag *diag, const TensorFile *file, const StoredTensor *t,
                         const PlanTensor *as, void *out) {
    if (!check_shape(diag, file, t, as)) return false;
    if (dtype_is_float(t->type) && !dtype_is_float(as->type)) {
        return diag_file_error(diag, FAIL_INPUT, file->path,
                               "tensor '%.*s' is %s and the model needs integers (%s)",
                               STR_ARG(t->name), dtype_safetensors(t->type),
                               dtype_safetensors(as->type));
    }
    int64_t nan = dtype_is_float(t->type) ? first_nan(t, plan_tensor_count(as)) : -1;
    if (nan >= 0) return bad_element(diag, file, as, nan, "is NaN");
    if (t->type != as->type) return convert_elements(diag, file, t, as, out);
    // The same type needs no detour through double, which would round large i64.
    memcpy(out, t->data, (size_t)plan_tensor_bytes(as));
    return true;
}

static const char *kind_noun(TensorKind kind) {
    switch (kind) {
    case TENSOR_PARAM: return "parameter";
    case TENSOR_STATE: return "state";
    case TENSOR_INPUT: return "input";
    case TENSOR_OUTPUT: return "output";
    }
    BUG("kind %d", (int)kind);
}

static bool missing(Diag *diag, const TensorFile *file, const PlanTensor *t) {
    StrBuf shape = {0};
    add_shape(&shape, t->shape, t->rank, t->axes);
    diag_file_error(diag, FAIL_INPUT, file->path, "%s '%.*s' (%s%s) is missing",
                    kind_noun(t->kind), STR_ARG(t->name), dtype_text(t->type), shape.ptr);
    strbuf_release(&shape);
    return false;
}

static bool is_known(const Plan *plan, uint32_t kinds, Str name) {
    for (unsigned kind = TENSOR_PARAM; kind <= TENSOR_OUTPUT; kind++) {
        if (kinds & LOAD(kind) && plan_tensor_find(plan, (TensorKind)kind, name) >= 0)
            return true;
    }
    return false;
}

static void warn_of_extras(Diag *diag, const TensorFile *file, const Plan *plan,
                           uint32_t kinds) {
    StrBuf names = {0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < file->tensor_count; i++) {
        Str name = file->tensors[i].name;
        if (is_known(plan, kinds, name)) continue;
        if (count++ < EXTRAS_NAMED)
            strbuf_addf(&names, "%s%.*s", count > 1 ? ", " : "", STR_ARG(name));
    }
    if (count) {
        diag_warning(diag, (Span){0}, "%.*s: %u tensor%s the model does not have: %s%s",
                     STR_ARG(file->path), count, count == 1 ? " that" : "s that", names.ptr,
                     count > EXTRAS_NAMED ? ", ..." : "");
    }
    strbuf_release(&names);
}

bool safetensors_load_into(Diag *diag, const TensorFile *file, Session *session,
                           LoadKinds kinds) {
    const Plan *plan = session_plan(session);
    bool ok = true;
    for (uint32_t i = 0; i < plan->tensor_count && !diag_full(diag); i++) {
        const PlanTensor *t = &plan->tensors[i];
        if (!((kinds.required | kinds.optional) & LOAD(t->kind))) continue;
        const StoredTensor *stored = safetensors_find(file, t->name);
        if (stored)
            ok &= safetensors_convert(diag, file, stored, t, session_write(session, i));
        else if (kinds.required & LOAD(t->kind) &&
                 (!kinds.entry || plan_entry_uses(kinds.entry, i)))
            ok = missing(diag, file, t);
    }
    if (ok && !kinds.quiet) warn_of_extras(diag, file, plan, kinds.required | kinds.optional);
    return ok;
}
