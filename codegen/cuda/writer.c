// writer.c: see writer.h. Lines, names, types and numbers.
#include "codegen/cuda/writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

// ---- lines

static void indent_add(CudaWriter *w) {
    for (int i = 0; i < w->indent; i++)
        strbuf_addz(&w->text, "    ");
}

static void line_write(CudaWriter *w, const char *format, va_list args, const char *end) {
    if (w->silent) return;
    indent_add(w);
    strbuf_addv(&w->text, format, args);
    strbuf_addz(&w->text, end);
}

void cuda_line(CudaWriter *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    line_write(w, format, args, "\n");
    va_end(args);
}

void cuda_open(CudaWriter *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    line_write(w, format, args, " {\n");
    va_end(args);
    w->indent++;
}

void cuda_close(CudaWriter *w) {
    ASSERT(w->indent > 0);
    w->indent--;
    cuda_line(w, "}");
}

void cuda_comment(CudaWriter *w, const TileOp *op) {
    uint32_t number = (uint32_t)(op - w->p->ops.ptr);
    ASSERT(number > 0 && number < w->p->ops.len);
    if (w->silent) return;
    indent_add(w);
    strbuf_addz(&w->text, "// ");
    tile_print_op(w->p, number, &w->text);
    strbuf_addc(&w->text, '\n');
    if (w->lines == NULL || op->span.file == 0) return;
    uint32_t line, column;
    diag_line_column(w->lines, op->span, &line, &column);
    strbuf_addf(&w->text, "#line %u \"%.*s\"\n", line,
                STR_ARG(diag_source(w->lines, op->span.file)->path));
}

// ---- types

const char *cuda_element(DType type) {
    switch (type) {
    case DTYPE_F32: return "float";
    case DTYPE_BF16: return "bf16";
    case DTYPE_F16: return "f16";
    case DTYPE_F64: return "double";
    case DTYPE_I32: return "int";
    case DTYPE_I64: return "i64";
    case DTYPE_U8:
    case DTYPE_BOOL: return "u8";
    case DTYPE_U16: return "u16";
    case DTYPE_COUNT: break;
    }
    BUG("element type %d", (int)type);
}

const char *cuda_value_type(DType type) {
    if (type == DTYPE_F32) return "float";
    if (type == DTYPE_I32) return "int";
    ASSERT(type == DTYPE_BOOL);
    return "bool";
}

// ---- names
// A value's name ends in "_" and its number, an argument's in "_ptr", so neither meets a
// keyword, a name of the prelude, or a skeleton's own variable.

static bool letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static Str identifier(CudaWriter *w, Str name) {
    Str copy = str_copy(w->arena, name);
    char *text = arena_strndup(w->arena, copy.ptr, copy.len);
    for (size_t i = 0; i < copy.len; i++)
        if (!letter_or_digit(text[i])) text[i] = '_';
    return (Str){text, copy.len};
}

static Str name_base(CudaWriter *w, const TileOp *op) {
    switch ((int)op->kind) {
    case TILE_CONST: return STR("constant");
    case TILE_INDEX: return identifier(w, w->p->dims[op->access.guard[0].dim].name);
    case TILE_LOAD:
    case TILE_GATHER: return identifier(w, w->p->args.ptr[op->access.arg].name);
    case TILE_MAP: return str_of(op_text(op->fn));
    case TILE_REDUCE: return op->fn == OP_REDUCE_SUM ? STR("sum") : STR("max");
    case TILE_DOT: return STR("dot");
    case TILE_CARRY: return STR("carry");
    case TILE_SCAN: return STR("scan");
    case TILE_SOLVE: return STR("solve");
    default: break;
    }
    BUG("operation %d has no value", (int)op->kind);
}

Str cuda_name(CudaWriter *w, TileId v) {
    Str base = name_base(w, tile_op(w->p, v));
    return str_printf(w->arena, "%.*s_%u", STR_ARG(base), v.i);
}

static Str arg_name(CudaWriter *w, uint32_t arg) {
    Str name = identifier(w, w->p->args.ptr[arg].name);
    for (uint32_t i = 0; i < w->p->args.len; i++)
        if (i != arg && str_eq(identifier(w, w->p->args.ptr[i].name), name))
            return str_printf(w->arena, "%.*s_%u_ptr", STR_ARG(name), arg);
    return str_printf(w->arena, "%.*s_ptr", STR_ARG(name));
}

Str cuda_arg(CudaWriter *w, uint32_t arg) {
    if (!w->args) w->args = arena_array(w->arena, Str, w->p->args.len);
    if (!w->args[arg].len) w->args[arg] = arg_name(w, arg);
    return w->args[arg];
}

Str cuda_dim(CudaWriter *w, uint32_t dim) {
    Str name = identifier(w, w->p->dims[dim].name);
    for (uint32_t d = 0; d < w->p->dim_count; d++)
        if (d != dim && str_eq(identifier(w, w->p->dims[d].name), name))
            return str_printf(w->arena, "%.*s_%u", STR_ARG(name), dim);
    return name;
}

// ---- layouts

void cuda_convert(CudaWriter *w, TileId v, Str how, int64_t copies, int64_t bytes) {
    const TileOp *op = tile_op(w->p, v);
    bool loaded = op->kind == TILE_LOAD || op->kind == TILE_GATHER;
    vec_push(w->arena, &w->conversions,
             (CudaConversion){.value = cuda_name(w, v),
                              .arg = loaded ? (int)op->access.arg : -1,
                              .how = how,
                              .copies = copies,
                              .bytes = bytes});
}

// ---- numbers

// The shortest decimal number that is read back as the same float.
static Str float_text(CudaWriter *w, float x) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x) break;
    }
    bool whole = strpbrk(text, ".e") == NULL;
    Str number = str_printf(w->arena, "%s%sf", text, whole ? ".0" : "");
    return signbit(x) ? str_printf(w->arena, "(%.*s)", STR_ARG(number)) : number;
}

Str cuda_number(CudaWriter *w, double x, DType type) {
    if (type == DTYPE_BOOL) return x != 0 ? STR("true") : STR("false");
    if (type == DTYPE_I32) {
        if (x <= INT32_MIN) return STR("(-2147483647 - 1)");
        return str_printf(w->arena, x < 0 ? "(%d)" : "%d", (int)x);
    }
    ASSERT(type == DTYPE_F32);
    if (isnan(x)) return STR("NAN");
    float narrow = (float)x;
    if (isinf(narrow)) return narrow > 0 ? STR("INFINITY") : STR("(-INFINITY)");
    return float_text(w, narrow);
}

// ---- parameters

// May a kernel be given the same memory for this argument and another?
static bool arg_may_alias(const TileProgram *p, uint32_t arg) {
    for (uint32_t other = 0; other < p->args.len; other++) {
        if (other == arg) continue;
        if (p->args.ptr[other].written && tile_in_place(p, arg, other)) return true;
        if (p->args.ptr[arg].written && tile_in_place(p, other, arg)) return true;
    }
    return false;
}

Str cuda_parameters(CudaWriter *w) {
    if (w->parameters.len) return w->parameters;
    StrBuf text = {0};
    for (uint32_t i = 0; i < w->p->args.len; i++) {
        const TileArg *arg = &w->p->args.ptr[i];
        strbuf_addf(&text, "%s%s%s *%s%.*s", i ? ", " : "", arg->written ? "" : "const ",
                    cuda_element(arg->type), arg_may_alias(w->p, i) ? "" : "__restrict__ ",
                    STR_ARG(cuda_arg(w, i)));
    }
    w->parameters = str_copy(w->arena, strbuf_view(&text));
    strbuf_release(&text);
    return w->parameters;
}
