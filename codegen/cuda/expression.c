// expression.c: see writer.h. Offsets, guards, loads and stores at one point of the loops.
#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/integer.h"
#include "codegen/cuda/writer.h"
#include "ir/tile/tile_access.h"

// Names and numbers need no parentheses.
static bool is_word(Str s) {
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    (c >= '0' && c <= '9') || c == '_';
        if (!word) return false;
    }
    return true;
}

static Str factor(CudaWriter *w, Str s) {
    return is_word(s) ? s : str_printf(w->arena, "(%.*s)", STR_ARG(s));
}

// ---- offsets

static bool index_is_zero(const CudaWriter *w, uint32_t d, const CudaPoint *at) {
    if (w->p->dims[d].extent == 1 || str_eq(at->at[d], STR("0"))) return true;
    ASSERT(at->at[d].len > 0);
    return false;
}

// Can the sum leave the range of int on the way?
static bool offset_is_wide(const CudaWriter *w, const TileAccess *access) {
    double most = fabs((double)access->offset);
    for (uint32_t d = 0; d < w->p->dim_count; d++)
        most += fabs((double)access->stride[d]) * (double)(w->p->dims[d].extent - 1);
    return most > INT32_MAX;
}

static void term_add(StrBuf *text, Str index, int64_t stride, bool wide) {
    bool first = text->len == 0;
    strbuf_addz(text, stride < 0 ? (first ? "-" : " - ") : (first ? "" : " + "));
    if (wide) strbuf_addz(text, "(i64)");
    int64_t size = stride < 0 ? -stride : stride;
    strbuf_add(text, index);
    if (size != 1) strbuf_addf(text, "*%lld", (long long)size);
}

static Str taken(CudaWriter *w, StrBuf *text) {
    Str out = str_copy(w->arena, strbuf_view(text));
    strbuf_release(text);
    return out;
}

Str cuda_offset(CudaWriter *w, const TileAccess *access, const CudaPoint *at) {
    StrBuf text = {0};
    bool wide = offset_is_wide(w, access);
    for (uint32_t d = 0; d < w->p->dim_count; d++)
        if (access->stride[d] != 0 && !index_is_zero(w, d, at))
            term_add(&text, factor(w, at->at[d]), access->stride[d], wide);
    if (text.len == 0)
        strbuf_addf(&text, "%lld", (long long)access->offset);
    else if (access->offset != 0)
        strbuf_addf(&text, access->offset < 0 ? " - %lld" : " + %lld",
                    llabs((long long)access->offset));
    return taken(w, &text);
}

// ---- guards and indices

// (index / div) % mod, as it is written for an index that is not negative.
static Str index_part(CudaWriter *w, const TileGuard *g, const CudaPoint *at) {
    int64_t extent = w->p->dims[g->dim].extent, parts = (extent - 1) / g->div + 1;
    if (index_is_zero(w, (uint32_t)g->dim, at) || parts == 1) return STR("0");
    Str index = at->at[g->dim];
    bool wraps = g->mod < parts;
    if (g->div == 1 && !wraps) return index;
    StrBuf text = {0};
    strbuf_addf(&text, "(int)((u32)%.*s", STR_ARG(factor(w, index)));
    if (g->div > 1) strbuf_addf(&text, " / %lld", (long long)g->div);
    if (wraps) strbuf_addf(&text, " %% %lld", (long long)g->mod);
    strbuf_addc(&text, ')');
    return taken(w, &text);
}

Str cuda_index(CudaWriter *w, const TileOp *op, const CudaPoint *at) {
    const TileGuard *g = &op->access.guard[0];
    Str part = index_part(w, g, at);
    if (g->shift == 0) return part;
    return str_printf(w->arena, "%.*s %c %lld", STR_ARG(part), g->shift < 0 ? '-' : '+',
                      llabs((long long)g->shift));
}

static Str guard_text(CudaWriter *w, const TileGuard *g, const CudaPoint *at) {
    if (g->dim < 0) return (Str){0};
    int64_t extent = w->p->dims[g->dim].extent, parts = (extent - 1) / g->div + 1;
    int64_t most = g->mod < parts ? g->mod : parts;
    int64_t lo = int_clamp(g->lo - g->shift, 0, most),
            hi = int_clamp(g->hi - g->shift, 0, most);
    if (lo >= hi) return STR("false");
    if (lo == 0 && hi == most) return (Str){0};
    Str part = index_part(w, g, at);
    if (lo == 0) return str_printf(w->arena, "%.*s < %lld", STR_ARG(part), (long long)hi);
    if (hi == most) return str_printf(w->arena, "%lld <= %.*s", (long long)lo, STR_ARG(part));
    return str_printf(w->arena, "%lld <= %.*s && %.*s < %lld", (long long)lo, STR_ARG(part),
                      STR_ARG(part), (long long)hi);
}

static Str both(CudaWriter *w, Str x, Str y) {
    if (x.len == 0) return y;
    return y.len == 0 ? x : str_printf(w->arena, "%.*s && %.*s", STR_ARG(x), STR_ARG(y));
}

Str cuda_guard(CudaWriter *w, const TileAccess *access, const CudaPoint *at) {
    return both(w, guard_text(w, &access->guard[0], at), guard_text(w, &access->guard[1], at));
}

// ---- elements

Str cuda_widen(CudaWriter *w, DType type, Str element) {
    switch (type) {
    case DTYPE_F32:
    case DTYPE_I32: return element;
    case DTYPE_BF16:
    case DTYPE_F16: return str_printf(w->arena, "f32_of(%.*s)", STR_ARG(element));
    case DTYPE_F64: return str_printf(w->arena, "(float)%.*s", STR_ARG(factor(w, element)));
    case DTYPE_I64:
    case DTYPE_U8:
    case DTYPE_U16: return str_printf(w->arena, "(int)%.*s", STR_ARG(factor(w, element)));
    case DTYPE_BOOL: return str_printf(w->arena, "(%.*s != 0)", STR_ARG(element));
    case DTYPE_COUNT: break;
    }
    BUG("element type %d", (int)type);
}

Str cuda_narrow(CudaWriter *w, DType type, Str value) {
    switch (type) {
    case DTYPE_F32:
    case DTYPE_I32: return value;
    case DTYPE_BF16: return str_printf(w->arena, "bf16_of(%.*s)", STR_ARG(value));
    case DTYPE_F16: return str_printf(w->arena, "f16_of(%.*s)", STR_ARG(value));
    case DTYPE_F64:
    case DTYPE_I64:
    case DTYPE_U8:
    case DTYPE_BOOL:
    case DTYPE_U16:
        return str_printf(w->arena, "(%s)%.*s", cuda_element(type), STR_ARG(factor(w, value)));
    case DTYPE_COUNT: break;
    }
    BUG("element type %d", (int)type);
}

static bool has_row_number(const TileOp *op) {
    return op->kind == TILE_GATHER || op->kind == TILE_SCATTER;
}

// Where in the argument: the access, and a row number's way from there.
static Str subscript(CudaWriter *w, const TileOp *op, const CudaPoint *at, Str row) {
    Str offset = cuda_offset(w, &op->access, at);
    if (!has_row_number(op)) return offset;
    double reach = fabs((double)op->index_stride) * (double)op->index_count;
    bool wide = reach > INT32_MAX / 2 || offset_is_wide(w, &op->access) ||
                w->p->args.ptr[op->access.arg].elements > INT32_MAX / 2;
    return str_printf(w->arena, "%.*s + %s%.*s*%lld", STR_ARG(offset), wide ? "(i64)" : "",
                      STR_ARG(factor(w, row)), (long long)op->index_stride);
}

static Str element_text(CudaWriter *w, const TileOp *op, const CudaPoint *at, Str row) {
    return str_printf(w->arena, "%.*s[%.*s]", STR_ARG(cuda_arg(w, op->access.arg)),
                      STR_ARG(subscript(w, op, at, row)));
}

Str cuda_address(CudaWriter *w, const TileOp *op, const CudaPoint *at, Str row) {
    return str_printf(w->arena, "%.*s + (%.*s)", STR_ARG(cuda_arg(w, op->access.arg)),
                      STR_ARG(subscript(w, op, at, row)));
}

Str cuda_access_condition(CudaWriter *w, const TileOp *op, const CudaPoint *at, Str row) {
    Str guard = cuda_guard(w, &op->access, at);
    if (!has_row_number(op)) return guard;
    int64_t count = int_clamp(op->index_count, 0, INT32_MAX);
    return both(
        w, guard,
        str_printf(w->arena, "(u32)%.*s < %lldU", STR_ARG(factor(w, row)), (long long)count));
}

Str cuda_load(CudaWriter *w, const TileOp *op, const CudaPoint *at, Str row) {
    ASSERT(op->kind == TILE_LOAD || op->kind == TILE_GATHER);
    DType type = w->p->args.ptr[op->access.arg].type;
    Str value = cuda_widen(w, type, element_text(w, op, at, row));
    Str condition = cuda_access_condition(w, op, at, row);
    if (condition.len == 0) return value;
    return str_printf(w->arena, "(%.*s ? %.*s : %.*s)", STR_ARG(condition), STR_ARG(value),
                      STR_ARG(cuda_number(w, 0, op->type)));
}

void cuda_store(CudaWriter *w, const TileOp *op, const CudaPoint *at, Str value) {
    ASSERT(op->kind == TILE_STORE);
    DType type = w->p->args.ptr[op->access.arg].type;
    Str to = element_text(w, op, at, (Str){0});
    cuda_line(w, "%.*s = %.*s;", STR_ARG(to), STR_ARG(cuda_narrow(w, type, value)));
}

void cuda_scatter(CudaWriter *w, const TileOp *op, const CudaPoint *at,
                  const CudaScatter *what) {
    ASSERT(op->kind == TILE_SCATTER);
    DType type = w->p->args.ptr[op->access.arg].type;
    Str to = element_text(w, op, at, what->row);
    Str value = what->value;
    if (op->fn == OP_ADD)
        value = str_printf(w->arena, "%.*s + %.*s", STR_ARG(cuda_widen(w, type, to)),
                           STR_ARG(factor(w, value)));
    Str condition = cuda_access_condition(w, op, at, what->row);
    if (what->only.len > 0) condition = both(w, what->only, condition);
    cuda_line(w, "if (%.*s) %.*s = %.*s;", STR_ARG(condition), STR_ARG(to),
              STR_ARG(cuda_narrow(w, type, value)));
}
