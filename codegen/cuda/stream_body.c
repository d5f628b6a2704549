// stream_body.c: the text of a pass: loads by vectors, then all that is computed element by
// element, then stores; the reductions of the team.
#include "base/check.h"
#include "codegen/cuda/stream_pass.h"
#include "ir/tile/tile_access.h"

static const TileOp *op_at(const Pass *pass, uint32_t i) { return stream_op(pass->s, i); }
static uint32_t op_count(const Stream *s) { return s->plan.p->ops.len; }

// ---- cols as text

Str cols_name(const Stream *s) { return s->at.at[s->plan.col]; }

// The first col of vector k, k being an expression, or of element i if vectors are single.
static void col_declare(Stream *s, const char *step) {
    const StreamShape *shape = &s->shape;
    StrBuf text = {0};
    if (shape->steps == 1 && shape->width == 1)
        strbuf_addz(&text, shape->threads == 1 ? "0" : "lane");
    else if (shape->threads == 1)
        strbuf_addf(&text, shape->width == 1 ? "%s" : "%s * %d", step, shape->width);
    else if (shape->steps == 1)
        strbuf_addf(&text, "lane * %d", shape->width);
    else if (shape->width == 1)
        strbuf_addf(&text, "%s * %d + lane", step, shape->threads);
    else
        strbuf_addf(&text, "(%s * %d + lane) * %d", step, shape->threads, shape->width);
    cuda_line(s->w, "const int %.*s = %.*s%s;", STR_ARG(cols_name(s)), STR_ARG(s->col_first),
              text.ptr);
    strbuf_release(&text);
}

static Str tail_text(Stream *s, Str col) {
    if (!s->needs_tail) return (Str){0};
    return str_printf(s->w->arena, "%.*s < %lld", STR_ARG(col),
                      (long long)s->plan.p->dims[s->plan.col].extent);
}

void cols_open(Stream *s) {
    cuda_open(s->w, "UNROLL for (int k = 0; k < %d; k++)", s->shape.steps);
    col_declare(s, "k");
}

// "x_1 + k * 8"
static Str array_part(Stream *s, uint32_t i, bool packed) {
    int per = packed ? s->shape.width / 2 : s->shape.width;
    Str name = cuda_name(s->w, (TileId){i});
    if (s->shape.steps == 1) return name;
    return str_printf(s->w->arena, "%.*s + k * %d", STR_ARG(name), per);
}

static Str elements_index(Stream *s) {
    int width = s->shape.width, steps = s->shape.steps;
    if (width == 1) return steps == 1 ? STR("0") : STR("k");
    if (steps == 1) return STR("v");
    return str_printf(s->w->arena, "k * %d + v", width);
}

// For single elements at the place of vector k: opens the loop over v and gives their point.
CudaPoint cols_singles_open(Stream *s) {
    CudaPoint at = s->at;
    if (s->shape.width == 1) return at;
    cuda_open(s->w, "UNROLL for (int v = 0; v < %d; v++)", s->shape.width);
    at.at[s->plan.col] = str_printf(s->w->arena, "%.*s + v", STR_ARG(cols_name(s)));
    return at;
}

void cols_singles_close(Stream *s) {
    if (s->shape.width > 1) cuda_close(s->w);
}

static Str both(Stream *s, Str x, Str y) {
    if (x.len == 0) return y;
    return y.len == 0 ? x : str_printf(s->w->arena, "%.*s && %.*s", STR_ARG(x), STR_ARG(y));
}

// ---- loads

static Str row_text(Pass *pass, const TileOp *op, Str index) {
    if (op->kind != TILE_GATHER && op->kind != TILE_SCATTER) return (Str){0};
    Stream *s = pass->s;
    if (!s->plan.ops[op->in[0].i].col) return stream_scalar_text(s, op->in[0]);
    Str name = cuda_name(s->w, op->in[0]);
    if (pass->form[op->in[0].i] == FORM_LOCAL) return name;
    return str_printf(s->w->arena, "%.*s[%.*s]", STR_ARG(name), STR_ARG(index));
}

// The address of a vector, without the array's brackets.
static Str vector_address(Pass *pass, uint32_t i) {
    Stream *s = pass->s;
    const TileOp *op = op_at(pass, i);
    Str offset = cuda_offset(s->w, &op->access, &s->at), arg = cuda_arg(s->w, op->access.arg);
    if (op->kind != TILE_GATHER)
        return str_printf(s->w->arena, "%.*s + %.*s", STR_ARG(arg), STR_ARG(offset));
    return str_printf(s->w->arena, "%.*s + %.*s + (i64)%.*s*%lld", STR_ARG(arg),
                      STR_ARG(offset), STR_ARG(row_text(pass, op, (Str){0})),
                      (long long)op->index_stride);
}

static Str ring_address(Stream *s, uint32_t i) {
    const char *type = cuda_element(s->plan.p->args.ptr[stream_op(s, i)->access.arg].type);
    return str_printf(s->w->arena, "(const %s *)(shared + %lld) + %.*s", type,
                      (long long)s->ring.place[i], STR_ARG(cols_name(s)));
}

static void load_vector(Pass *pass, uint32_t i) {
    Stream *s = pass->s;
    bool packed = pass->form[i] == FORM_PACKED;
    Str to = array_part(s, i, packed),
        from = ring_has(s, i) ? ring_address(s, i) : vector_address(pass, i);
    Str there = both(s, tail_text(s, cols_name(s)),
                     cuda_access_condition(s->w, op_at(pass, i), &s->at,
                                           row_text(pass, op_at(pass, i), (Str){0})));
    const char *condition = there.len > 0 ? ", " : "", *suffix = there.len > 0 ? "_if" : "";
    cuda_line(s->w, "%s%s<%d>(%.*s, %.*s%s%.*s);", packed ? "words_load" : "vector_load",
              suffix, packed ? s->shape.width / 2 : s->shape.width, STR_ARG(to), STR_ARG(from),
              condition, STR_ARG(there));
}

static Str load_text(Pass *pass, uint32_t i, const CudaPoint *at, Str index) {
    Stream *s = pass->s;
    const TileOp *op = op_at(pass, i);
    Str value = cuda_load(s->w, op, at, row_text(pass, op, index));
    Str tail = tail_text(s, at->at[s->plan.col]);
    if (tail.len == 0) return value;
    return str_printf(s->w->arena, "%.*s ? %.*s : %.*s", STR_ARG(tail), STR_ARG(value),
                      STR_ARG(cuda_number(s->w, 0, op->type)));
}

static void load_singles(Pass *pass, uint32_t i) {
    Stream *s = pass->s;
    CudaPoint at = cols_singles_open(s);
    Str index = elements_index(s);
    cuda_line(s->w, "%.*s[%.*s] = %.*s;", STR_ARG(cuda_name(s->w, (TileId){i})), STR_ARG(index),
              STR_ARG(load_text(pass, i, &at, index)));
    cols_singles_close(s);
}

static bool loads_here(const Pass *pass, uint32_t i) {
    return pass->in[i] && pass_loads(op_at(pass, i)) && pass_early(pass, i) &&
           !pass_left(pass, i);
}

// A store of what was loaded needs it unpacked.
static bool unpacks_here(const Pass *pass, uint32_t i) {
    return pass->stored[i] && pass->form[i] == FORM_PACKED;
}

static Str unpacked_name(Stream *s, uint32_t i) {
    return str_printf(s->w->arena, "%.*s_wide", STR_ARG(cuda_name(s->w, (TileId){i})));
}

// One word of every thread, after the sums over rows.
static void stash_declare(Pass *pass, uint32_t i) {
    Stream *s = pass->s;
    cuda_convert(s->w, (TileId){i}, STR("waits until all is loaded"), 1,
                 (int64_t)s->shape.threads * 4);
    const char *type = cuda_value_type(op_at(pass, i)->type);
    int64_t sums = stream_shared_words(s) - (int64_t)s->needs.stored * s->shape.threads;
    cuda_line(s->w, "%s *const %.*s = (%s *)shared + %lld + lane;", type,
              STR_ARG(cuda_name(s->w, (TileId){i})), type,
              (long long)sums + (long long)s->stash_used * s->shape.threads);
    s->stash_used++;
}

void pass_arrays(Pass *pass) {
    Stream *s = pass->s;
    int elements = s->shape.width * s->shape.steps;
    for (uint32_t i = 1; i < op_count(s); i++) {
        if (!pass->in[i] || pass_left(pass, i) || op_at(pass, i)->kind == TILE_REDUCE) continue;
        Str name = cuda_name(s->w, (TileId){i});
        if (pass->form[i] == FORM_PACKED)
            cuda_line(s->w, "u32 %.*s[%d];", STR_ARG(name), elements / 2);
        else if (pass->form[i] == FORM_ARRAY && s->shape.stashed)
            stash_declare(pass, i);
        else if (pass->form[i] == FORM_ARRAY)
            cuda_line(s->w, "%s %.*s[%d];", cuda_value_type(op_at(pass, i)->type),
                      STR_ARG(name), elements);
    }
    for (uint32_t i = 1; i < op_count(s); i++)
        if (unpacks_here(pass, i))
            cuda_line(s->w, "float %.*s[%d];", STR_ARG(unpacked_name(s, i)), elements);
}

void pass_load_all(Pass *pass) {
    Stream *s = pass->s;
    bool any = false;
    for (uint32_t i = 1; i < op_count(s); i++)
        any = any || loads_here(pass, i);
    if (!any) return;
    cols_open(s);
    for (uint32_t i = 1; i < op_count(s); i++) {
        if (!loads_here(pass, i)) continue;
        cuda_comment(s->w, op_at(pass, i));
        if (stream_is_vector(s, i))
            load_vector(pass, i);
        else
            load_singles(pass, i);
    }
    cuda_close(s->w);
}

// ---- element by element

// Sums over rows that do not stay in registers lie in shared memory, by col.
static Str sum_index(Stream *s) { return s->shape.resident ? STR("i") : cols_name(s); }

// Once for each element.
static Str unpacked_again(Pass *pass, TileId v) {
    Stream *s = pass->s;
    Str name = cuda_name(s->w, v);
    Str float_name = str_printf(s->w->arena, "%.*s_again", STR_ARG(name));
    if (!pass->again[v.i])
        cuda_line(s->w, "const float %.*s = bf16_again(%.*s, i);", STR_ARG(float_name),
                  STR_ARG(name));
    pass->again[v.i] = true;
    return float_name;
}

static Str element_text(Pass *pass, TileId v) {
    Stream *s = pass->s;
    if (!s->plan.ops[v.i].col) return stream_scalar_text(s, v);
    Str name = cuda_name(s->w, v);
    const TileOp *op = tile_op(s->plan.p, v);
    if (op->kind == TILE_REDUCE)
        return str_printf(s->w->arena, "%.*s[%.*s]", STR_ARG(name), STR_ARG(sum_index(s)));
    switch (pass->form[v.i]) {
    case FORM_LOCAL: return name;
    case FORM_ARRAY: return str_printf(s->w->arena, "%.*s[i]", STR_ARG(name));
    case FORM_PACKED: {
        bool half = s->plan.p->args.ptr[op->access.arg].type == DTYPE_F16;
        if (!half && pass_left(pass, v.i)) return unpacked_again(pass, v);
        return str_printf(s->w->arena, "%s(%.*s, i)", half ? "f16_at" : "bf16_at",
                          STR_ARG(name));
    }
    case FORM_NONE: break;
    }
    BUG("a pass does not know value %u", v.i);
}

static Str value_text(Pass *pass, uint32_t i) {
    Stream *s = pass->s;
    const TileOp *op = op_at(pass, i);
    if (op->kind == TILE_INDEX) return cuda_index(s->w, op, &s->at);
    if (pass_loads(op)) return load_text(pass, i, &s->at, STR("i"));
    Str in[3] = {0};
    for (uint32_t k = 0; k < op->arity; k++)
        in[k] = element_text(pass, op->in[k]);
    return cuda_map(s->w, op, in);
}

static bool computes_here(const Pass *pass, uint32_t i) {
    const TileOp *op = op_at(pass, i);
    return pass->in[i] && !pass_left(pass, i) && op->kind != TILE_REDUCE &&
           !(pass_loads(op) && pass_early(pass, i));
}

static void value_write(Pass *pass, uint32_t i) {
    Stream *s = pass->s;
    Str name = cuda_name(s->w, (TileId){i}), value = value_text(pass, i);
    cuda_comment(s->w, op_at(pass, i));
    if (pass->form[i] == FORM_ARRAY)
        cuda_line(s->w, "%.*s[i] = %.*s;", STR_ARG(name), STR_ARG(value));
    else
        cuda_line(s->w, "const %s %.*s = %.*s;", cuda_value_type(op_at(pass, i)->type),
                  STR_ARG(name), STR_ARG(value));
}

static void reduce_write(Pass *pass, uint32_t i) {
    Stream *s = pass->s;
    const TileOp *op = op_at(pass, i);
    bool over_rows = s->plan.ops[i].over_serial;
    Str name = cuda_name(s->w, (TileId){i});
    Str sum = !over_rows
                  ? name
                  : str_printf(s->w->arena, "%.*s[%.*s]", STR_ARG(name), STR_ARG(sum_index(s)));
    // What lies beside the row may hold anything, but it must not be added to a sum of cols.
    Str only = over_rows ? (Str){0} : tail_text(s, cols_name(s));
    Str x = element_text(pass, op->in[0]);
    cuda_comment(s->w, op);
    cuda_line(s->w, "%s%.*s%s%.*s", only.len ? "if (" : "", STR_ARG(only), only.len ? ") " : "",
              STR_ARG(stream_add(s->w, op, sum, x)));
}

static bool reduces_at_element(const Pass *pass, uint32_t i) {
    return op_at(pass, i)->kind == TILE_REDUCE && pass_ends(pass, i);
}

// Does the text of an element name its col?
static bool names_col(const Pass *pass, uint32_t i) {
    const Stream *s = pass->s;
    const TileOp *op = op_at(pass, i);
    if (computes_here(pass, i) && (pass_loads(op) || (op->kind == TILE_INDEX))) return true;
    bool reduces = reduces_at_element(pass, i);
    if (reduces && (s->needs_tail || (s->plan.ops[i].over_serial && !s->shape.resident)))
        return true;
    return pass->in[i] && op->kind == TILE_REDUCE && !s->shape.resident;
}

void pass_elements(Pass *pass) {
    Stream *s = pass->s;
    bool any = false, col = false;
    for (uint32_t i = 1; i < op_count(s); i++) {
        any = any || computes_here(pass, i) || reduces_at_element(pass, i) ||
              unpacks_here(pass, i);
        col = col || names_col(pass, i);
    }
    if (!any) return;
    pass->again = arena_array(s->w->arena, bool, op_count(s));
    cuda_open(s->w, "UNROLL for (int i = 0; i < %d; i++)", s->shape.width * s->shape.steps);
    if (col) {
        Str name = cols_name(s);
        if (s->shape.width == 1) {
            col_declare(s, "i");
        } else {
            const char *step =
                s->shape.steps == 1 ? "" : arena_printf(s->w->arena, "i / %d", s->shape.width);
            s->at.at[s->plan.col] = str_printf(s->w->arena, "%.*s_vector", STR_ARG(name));
            col_declare(s, step);
            cuda_line(s->w, "const int %.*s = %.*s_vector + i %% %d;", STR_ARG(name),
                      STR_ARG(name), s->shape.width);
            s->at.at[s->plan.col] = name;
        }
    }
    for (uint32_t i = 1; i < op_count(s); i++) {
        if (computes_here(pass, i)) value_write(pass, i);
        if (reduces_at_element(pass, i)) reduce_write(pass, i);
        if (unpacks_here(pass, i))
            cuda_line(s->w, "%.*s[i] = %.*s;", STR_ARG(unpacked_name(s, i)),
                      STR_ARG(element_text(pass, (TileId){i})));
    }
    cuda_close(s->w);
}

// ---- reductions of the team

static const char *combine(const TileOp *op) { return op->fn == OP_REDUCE_SUM ? "Sum" : "Max"; }

// Each warp leaves a word in one of two halves of shared memory.
static void reduction_note(Stream *s, uint32_t i) {
    int warps = s->shape.threads / 32;
    Str how = str_printf(s->w->arena, "reduced over %d threads", s->shape.threads);
    cuda_convert(s->w, (TileId){i}, how, warps > 1 ? 2 : 0, warps > 1 ? 4 * warps : 0);
}

// All reductions like `first` that this round makes, at once.
static void team_reduce(Pass *pass, const uint32_t *members, int count) {
    Stream *s = pass->s;
    // Groups are measured one by one, but these are the sums of all.
    if (count > s->measured.reduced) s->measured.reduced = count;
    for (int k = 0; k < count; k++)
        reduction_note(s, members[k]);
    const TileOp *op = op_at(pass, members[0]);
    if (count == 1) {
        Str name = cuda_name(s->w, (TileId){members[0]});
        cuda_line(s->w, "%.*s = team_reduce<%s>(team, %.*s);", STR_ARG(name), combine(op),
                  STR_ARG(name));
        return;
    }
    StrBuf list = {0};
    for (int k = 0; k < count; k++)
        strbuf_addf(&list, "%s%.*s", k ? ", " : "",
                    STR_ARG(cuda_name(s->w, (TileId){members[k]})));
    Str all =
        str_printf(s->w->arena, "%.*s_all", STR_ARG(cuda_name(s->w, (TileId){members[0]})));
    cuda_line(s->w, "%s %.*s[%d] = {%s};", cuda_value_type(op->type), STR_ARG(all), count,
              list.ptr);
    cuda_line(s->w, "team_reduce_all<%s, %d, %d>(team, %.*s);", combine(op), s->shape.threads,
              count, STR_ARG(all));
    for (int k = 0; k < count; k++)
        cuda_line(s->w, "%.*s = %.*s[%d];", STR_ARG(cuda_name(s->w, (TileId){members[k]})),
                  STR_ARG(all), k);
    strbuf_release(&list);
}

void pass_team_reduces(Pass *pass) {
    Stream *s = pass->s;
    if (s->shape.threads == 1) return;
    uint32_t n = op_count(s), *members = arena_array(s->w->arena, uint32_t, n);
    bool *done = arena_array(s->w->arena, bool, n);
    for (uint32_t i = 1; i < n; i++) {
        if (done[i] || !stream_reduces(&s->plan, &pass->level->plan, i, pass->round) ||
            scalars_shares(s, i))
            continue;
        int count = 0;
        for (uint32_t k = i; k < n; k++) {
            if (!stream_reduces(&s->plan, &pass->level->plan, k, pass->round) ||
                scalars_shares(s, k) || op_at(pass, k)->fn != op_at(pass, i)->fn ||
                op_at(pass, k)->type != op_at(pass, i)->type)
                continue;
            done[k] = true;
            members[count++] = k;
        }
        team_reduce(pass, members, count);
    }
}

// Those of a group within it, all others before the pass.
void pass_reduces_declare(Pass *pass) {
    Stream *s = pass->s;
    bool group = pass->number != ALL_GROUPS && pass->group;
    for (uint32_t i = 1; i < op_count(s); i++)
        if (stream_reduces(&s->plan, &pass->level->plan, i, pass->round) &&
            pass_ends(pass, i) && scalars_shares(s, i) == group)
            cuda_line(s->w, "%s %.*s = %.*s;", cuda_value_type(op_at(pass, i)->type),
                      STR_ARG(cuda_name(s->w, (TileId){i})),
                      STR_ARG(stream_start(s->w, op_at(pass, i))));
}

// ---- stores

static Str stored_name(Pass *pass, TileId v) {
    return unpacks_here(pass, v.i) ? unpacked_name(pass->s, v.i) : cuda_name(pass->s->w, v);
}

// A value at a single element, for a store.
static Str stored_text(Pass *pass, TileId v) {
    Stream *s = pass->s;
    if (!s->plan.ops[v.i].col) return stream_scalar_text(s, v);
    bool shared = tile_op(s->plan.p, v)->kind == TILE_REDUCE && !s->shape.resident;
    CudaPoint at = s->at;
    Str col = at.at[s->plan.col];
    if (s->shape.width > 1) col = str_printf(s->w->arena, "%.*s + v", STR_ARG(col));
    return str_printf(s->w->arena, "%.*s[%.*s]", STR_ARG(stored_name(pass, v)),
                      STR_ARG(shared ? col : elements_index(s)));
}

static void scatter_write(Pass *pass, const TileOp *op, const CudaPoint *at) {
    Stream *s = pass->s;
    bool col = s->plan.ops[op->in[0].i].col;
    CudaScatter what = {.row = col ? stored_text(pass, op->in[0])
                                   : stream_scalar_text(s, op->in[0]),
                        .value = stored_text(pass, op->in[1])};
    cuda_scatter(s->w, op, at, &what);
}

static void store_write(Pass *pass, uint32_t i) {
    Stream *s = pass->s;
    const TileOp *op = op_at(pass, i);
    cuda_comment(s->w, op);
    bool shared = tile_op(s->plan.p, op->in[0])->kind == TILE_REDUCE && !s->shape.resident;
    if (op->kind == TILE_STORE && stream_is_vector(s, i) && !shared) {
        Str name = stored_name(pass, op->in[0]);
        cuda_line(s->w, "%s<%d>(%.*s, %.*s%s);",
                  tile_knob(s->plan.p, "nt", 0) > 0 ? "vector_store_once" : "vector_store",
                  s->shape.width, STR_ARG(vector_address(pass, i)), STR_ARG(name),
                  s->shape.steps == 1 ? ""
                                      : arena_printf(s->w->arena, " + k * %d", s->shape.width));
        return;
    }
    CudaPoint at = cols_singles_open(s);
    if (op->kind == TILE_SCATTER)
        scatter_write(pass, op, &at);
    else
        cuda_store(s->w, op, &at, stored_text(pass, op->in[0]));
    cols_singles_close(s);
}

void pass_store_all(Pass *pass) {
    Stream *s = pass->s;
    bool any = false;
    for (uint32_t i = 1; i < op_count(s); i++) {
        bool store = tile_op_writes(op_at(pass, i)->kind) && pass_ends(pass, i);
        if (store && !any) {
            cols_open(s);
            if (s->needs_tail)
                cuda_open(s->w, "if (%.*s)", STR_ARG(tail_text(s, cols_name(s))));
        }
        any = any || store;
        if (store) store_write(pass, i);
    }
    if (!any) return;
    if (s->needs_tail) cuda_close(s->w);
    cuda_close(s->w);
}
