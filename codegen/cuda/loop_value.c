// loop_value.c: see loop_value.h.
#include "codegen/cuda/loop_value.h"

#include "base/check.h"
#include "ir/tile/tile_access.h"

enum { WIDEST_BYTES = 16 };

Values values_new(CudaWriter *w) {
    Values v = {.w = w, .known = arena_array(w->arena, Str, w->p->ops.len)};
    for (uint32_t i = 1; i < w->p->ops.len; i++) {
        const TileOp *op = &w->p->ops.ptr[i];
        if (op->kind == TILE_CONST) v.known[i] = cuda_number(w, op->number, op->type);
    }
    return v;
}

Values values_inside(const Values *outer) {
    uint32_t count = outer->w->p->ops.len;
    Values v = {.w = outer->w, .known = arena_array(outer->w->arena, Str, count)};
    memcpy(v.known, outer->known, count * sizeof *v.known);
    return v;
}

void values_mark(const TileProgram *p, TileId v, bool *wanted) {
    if (wanted[v.i]) return;
    wanted[v.i] = true;
    const TileOp *op = tile_op(p, v);
    if (op->kind == TILE_DOT) return;
    for (uint32_t i = 0; i < op->arity; i++)
        values_mark(p, op->in[i], wanted);
}

// Is the condition of the access the same for a whole run, and its row number?
static bool is_even(const TileProgram *p, const TileOp *op, int along, int unit) {
    for (int k = 0; k < 2; k++)
        if (op->access.guard[k].dim == along) return false;
    if (op->kind != TILE_GATHER && op->kind != TILE_SCATTER) return true;
    return op->index_stride % unit == 0 && !(tile_op(p, op->in[0])->dims & dim_set(along));
}

bool access_is_wide(const TileProgram *p, const TileOp *op, int along, int width) {
    if (!tile_op_accesses(op->kind)) return false;
    const TileAccess *access = &op->access;
    if (along < 0 || access->stride[along] != 1) return false;
    DType type = p->args.ptr[access->arg].type;
    if (type != DTYPE_F32 && type != DTYPE_I32 && type != DTYPE_BF16 && type != DTYPE_F16)
        return false;
    int bytes = (int)dtype_bytes(type);
    if (width * bytes < 4) return false;
    int unit = width * bytes > WIDEST_BYTES ? WIDEST_BYTES / bytes : width;
    if (width % unit != 0 || access->offset % unit != 0) return false;
    for (int d = 0; d < (int)p->dim_count; d++)
        if (d != along && p->dims[d].extent > 1 && access->stride[d] % unit != 0) return false;
    return is_even(p, op, along, unit);
}

// ---- names

static Str array_name(CudaWriter *w, TileId v) {
    return str_printf(w->arena, "%.*s_run%.*s", STR_ARG(cuda_name(w, v)), STR_ARG(w->own));
}

Str values_kept(CudaWriter *w, TileId v, int e) {
    return str_printf(w->arena, "%.*s[%d]", STR_ARG(array_name(w, v)), e);
}

void values_declare(CudaWriter *w, const bool *which, const bool *kept, int slots) {
    for (uint32_t i = 1; i < w->p->ops.len; i++) {
        const TileOp *op = &w->p->ops.ptr[i];
        if (!which[i] || !kept[i] || op->kind == TILE_CONST) continue;
        cuda_line(w, "%s %.*s[%d] = {};", cuda_value_type(op->type),
                  STR_ARG(array_name(w, (TileId){i})), slots);
    }
}

// ---- wide loads

static Str words_name(CudaWriter *w, TileId v, bool raw) {
    return str_printf(w->arena, "%.*s_words%.*s%s", STR_ARG(cuda_name(w, v)), STR_ARG(w->own),
                      raw ? "[i]" : "");
}

static int words_of(const TileProgram *p, const TileOp *op, int width) {
    return width * (int)dtype_bytes(p->args.ptr[op->access.arg].type) / 4;
}

void values_declare_words(CudaWriter *w, const bool *wide, int width, int slots) {
    for (uint32_t i = 1; i < w->p->ops.len; i++)
        if (wide[i])
            cuda_line(w, "Words<%d> %.*s[%d];", words_of(w->p, &w->p->ops.ptr[i], width),
                      STR_ARG(words_name(w, (TileId){i}, false)), slots);
}

// Element e of words that were loaded.
static Str words_element(CudaWriter *w, TileId v, bool raw) {
    DType type = w->p->args.ptr[tile_op(w->p, v)->access.arg].type;
    Str words = words_name(w, v, raw);
    switch ((int)type) {
    case DTYPE_F32: return str_printf(w->arena, "__uint_as_float(%.*s.w[e])", STR_ARG(words));
    case DTYPE_I32: return str_printf(w->arena, "(int)%.*s.w[e]", STR_ARG(words));
    case DTYPE_BF16:
        return str_printf(w->arena,
                          "(e %% 2 ? bf16_high(%.*s.w[e / 2]) : bf16_low(%.*s.w[e / 2]))",
                          STR_ARG(words), STR_ARG(words));
    case DTYPE_F16:
        return str_printf(w->arena, "f32_of(f16{(u16)(%.*s.w[e / 2] >> e %% 2 * 16)})",
                          STR_ARG(words));
    default: BUG("wide elements of type %d", (int)type);
    }
}

static void words_load(const Values *v, TileId id, const Run *run) {
    CudaWriter *w = v->w;
    const TileOp *op = tile_op(w->p, id);
    int words = words_of(w->p, op, run->width);
    Str name = words_name(w, id, run->raw),
        row = op->kind == TILE_GATHER ? v->known[op->in[0].i] : (Str){0};
    Str condition = cuda_access_condition(w, op, &run->first, row);
    Str load = str_printf(w->arena, "load_words<%d>(%.*s)", words,
                          STR_ARG(cuda_address(w, op, &run->first, row)));
    Str type = run->raw ? (Str){0} : str_printf(w->arena, "Words<%d> ", words);
    cuda_comment(w, op);
    if (condition.len == 0) {
        cuda_line(w, "%s%.*s%.*s = %.*s;", run->raw ? "" : "const ", STR_ARG(type),
                  STR_ARG(name), STR_ARG(load));
        return;
    }
    cuda_line(w, "%.*s%.*s = Words<%d>{};", STR_ARG(type), STR_ARG(name), words);
    cuda_line(w, "if (%.*s) %.*s = %.*s;", STR_ARG(condition), STR_ARG(name), STR_ARG(load));
}

// ---- runs

static Str op_expression(const Values *v, const TileOp *op, const CudaPoint *at) {
    CudaWriter *w = v->w;
    Str in[3] = {{0}};
    for (uint32_t i = 0; i < op->arity && op->kind != TILE_DOT; i++) {
        in[i] = v->known[op->in[i].i];
        ASSERT(in[i].len > 0);
    }
    switch ((int)op->kind) {
    case TILE_INDEX: return cuda_index(w, op, at);
    case TILE_LOAD:
    case TILE_GATHER: return cuda_load(w, op, at, in[0]);
    case TILE_MAP:
        if (v->rounded && op->fn == OP_EXP)
            return str_printf(w->arena, "exp2_of(%.*s * 1.442695f)", STR_ARG(in[0]));
        return cuda_map(w, op, in);
    case TILE_DOT: return v->known[op - w->p->ops.ptr];
    default: break;
    }
    BUG("operation %d has no value in a loop program", (int)op->kind);
}

const bool *values_word_loads(const Values *v, const Run *run, const bool *which) {
    const TileProgram *p = v->w->p;
    bool *wide = arena_array(v->w->arena, bool, p->ops.len);
    for (uint32_t i = 1; i < p->ops.len; i++) {
        const TileOp *op = &p->ops.ptr[i];
        wide[i] = run->wide && which[i] && access_is_wide(p, op, run->along, run->width) &&
                  (op->kind != TILE_GATHER || v->known[op->in[0].i].len > 0);
    }
    return wide;
}

// What values_print was asked for.
typedef struct {
    Values *v;
    const Run *run;
    const bool *which, *kept, *wide;
} Printing;

// One operation for element e (or for the single point).
static void element_print(const Printing *x, uint32_t i, const CudaPoint *at) {
    CudaWriter *w = x->v->w;
    const TileOp *op = &w->p->ops.ptr[i];
    Str name = cuda_name(w, (TileId){i});
    Str value = x->wide[i] ? words_element(w, (TileId){i}, false) : op_expression(x->v, op, at);
    if (!x->wide[i] && op->kind != TILE_DOT) cuda_comment(w, op);
    cuda_line(w, "const %s %.*s = %.*s;", cuda_value_type(op->type), STR_ARG(name),
              STR_ARG(value));
    x->v->known[i] = name;
    if (x->kept[i] && x->run->slot.len > 0)
        cuda_line(w, "%.*s[%.*s] = %.*s;", STR_ARG(array_name(w, (TileId){i})),
                  STR_ARG(x->run->slot), STR_ARG(name));
}

static bool is_element(const Printing *x, uint32_t i) {
    if (!x->which[i] || x->v->w->p->ops.ptr[i].kind == TILE_CONST) return false;
    return !(x->run->raw && x->wide[i]);
}

static void elements_print(const Printing *x) {
    CudaWriter *w = x->v->w;
    const Run *run = x->run;
    CudaPoint at = run->first;
    bool loop = run->along >= 0;
    if (loop) {
        at.at[run->along] =
            str_printf(w->arena, "%.*s + e", STR_ARG(run->first.at[run->along]));
        cuda_open(w, "UNROLL for (int e = 0; e < %d; e++)", run->width);
    }
    if (run->only.len > 0) cuda_open(w, "if (%.*s)", STR_ARG(run->only));
    for (uint32_t i = 1; i < w->p->ops.len; i++)
        if (is_element(x, i)) element_print(x, i, &at);
    if (run->only.len > 0) cuda_close(w);
    if (loop) cuda_close(w);
}

void values_print(Values *v, const Run *run, const bool *which, const bool *kept) {
    CudaWriter *w = v->w;
    Printing x = {v, run, which, kept, values_word_loads(v, run, which)};
    bool some = false;
    for (uint32_t i = 1; i < w->p->ops.len; i++) {
        some = some || is_element(&x, i);
        if (x.wide[i]) words_load(v, (TileId){i}, run);
    }
    if (some) elements_print(&x);
    if (run->slot.len == 0) return;
    for (uint32_t i = 1; i < w->p->ops.len; i++) {
        if (!which[i] || w->p->ops.ptr[i].kind == TILE_CONST) continue;
        v->known[i] = (Str){0};
        if (run->raw && x.wide[i])
            v->known[i] = words_element(w, (TileId){i}, true);
        else if (kept[i])
            v->known[i] = str_printf(w->arena, "%.*s[%.*s]",
                                     STR_ARG(array_name(w, (TileId){i})), STR_ARG(run->slot));
    }
}

// ---- wide stores

// The pair of 16-bit elements or the element of 32 that word `q` of the run holds.
static Str word_text(CudaWriter *w, const TileOp *op, int q) {
    DType type = w->p->args.ptr[op->access.arg].type;
    TileId v = op->in[op->arity - 1];
    if (type == DTYPE_F32)
        return str_printf(w->arena, "__float_as_uint(%.*s)", STR_ARG(values_kept(w, v, q)));
    if (type == DTYPE_I32)
        return str_printf(w->arena, "(u32)%.*s", STR_ARG(values_kept(w, v, q)));
    return str_printf(w->arena, "%s_pair(%.*s, %.*s)", type == DTYPE_BF16 ? "bf16" : "f16",
                      STR_ARG(values_kept(w, v, 2 * q)), STR_ARG(values_kept(w, v, 2 * q + 1)));
}

void values_store_wide(const Values *v, const TileOp *op, const Run *run) {
    CudaWriter *w = v->w;
    int words = run->width * (int)dtype_bytes(w->p->args.ptr[op->access.arg].type) / 4;
    StrBuf text = {0};
    for (int q = 0; q < words; q++)
        strbuf_addf(&text, "%s%.*s", q ? ", " : "", STR_ARG(word_text(w, op, q)));
    Str row = op->kind == TILE_SCATTER ? v->known[op->in[0].i] : (Str){0};
    Str condition = cuda_access_condition(w, op, &run->first, row);
    if (condition.len > 0) cuda_open(w, "if (%.*s)", STR_ARG(condition));
    cuda_line(w, "store_words(%.*s, Words<%d>{{%.*s}});",
              STR_ARG(cuda_address(w, op, &run->first, row)), words,
              STR_ARG(strbuf_view(&text)));
    if (condition.len > 0) cuda_close(w);
    strbuf_release(&text);
}
