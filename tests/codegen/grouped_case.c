// grouped_case.c: see grouped_case.h.
#include "tests/codegen/grouped_case.h"

static void prepare(const TileProgram *p, void *const *args,
                    const int32_t ends[GROUPED_GROUPS]) {
    for (uint32_t i = 0; i < p->args.len; i++) {
        int32_t *list = args[i];
        if (str_eq(p->args.ptr[i].name, STR("ends")))
            memcpy(list, ends, GROUPED_GROUPS * sizeof *ends);
        for (int32_t j = 0; j < GROUPED_ROWS; j++) {
            if (str_eq(p->args.ptr[i].name, STR("rows"))) list[j] = j * 7 % GROUPED_ROWS;
            if (str_eq(p->args.ptr[i].name, STR("tokens"))) list[j] = j * 7 % GROUPED_TOKENS;
        }
    }
}

void grouped_prepare(const TileProgram *p, void *const *args) {
    prepare(p, args, (const int32_t[]){40, 40, 143, 145});
}

void grouped_prepare_one(const TileProgram *p, void *const *args) {
    prepare(p, args, (const int32_t[]){0, 0, 150, 150});
}

void grouped_prepare_none(const TileProgram *p, void *const *args) {
    prepare(p, args, (const int32_t[]){0, 0, 0, 0});
}

// The rows of a group, walked along dimension r.
static const char rows_text[] =
    "  %1 = load ends[g - 1] if 1 <= g < 4 : i32 (g)\n"
    "  %2 = load ends[g] : i32 (g)\n  %3 = map sub %2, %1 : i32 (g)\n"
    "  limit %3 over (r) : i32 (g)\n  %5 = index r : i32 (r)\n"
    "  %6 = map add %1, %5 : i32 (g, r)\n"
    "  %7 = map lt %6, %2 : bool (g, r)\n  %8 = const -1 : i32 ()\n"
    "  %9 = gather tokens[0] at %6*1 of 150 : i32 (g, r)\n"
    "  %10 = map where %7, %9, %8 : i32 (g, r)\n"
    "  %11 = gather rows[0] at %6*1 of 150 : i32 (g, r)\n"
    "  %12 = map where %7, %11, %8 : i32 (g, r)\n";

static Str args_text(Arena *arena, const GroupedCase *c, int x, int w, int y) {
    return str_printf(arena,
                      "  arg ends: i32[4]\n  arg tokens: i32[150]\n  arg rows: i32[150]\n"
                      "  arg x: %s[%d]\n  arg w: %s[%d]\n  arg y: %s[%d]\n%s",
                      c->type, x, c->type, w, c->type, y, c->knobs);
}

// With further arguments, and operations behind the dot, %15.
static Str at_text(Arena *arena, const GroupedCase *s, bool turned, Str more, Str rest) {
    int d = s->d, c = s->c;
    Str args =
        args_text(arena, s, GROUPED_TOKENS * d, GROUPED_GROUPS * d * c, GROUPED_ROWS * c);
    return str_printf(arena,
                      "tile at loop\n  grid g = 4\n  m r = 150 tile %d\n  n c = %d\n"
                      "  k d = %d\n%.*s%.*s%s"
                      "  %%13 = gather x[d] at %%10*%d of 50 : f32 (g, r, d)\n"
                      "  %%14 = load w[g*%d + d*%d + c*%d] : f32 (g, c, d)\n"
                      "  %%15 = dot %%13, %%14 over (d) : f32 (g, r, c)\n%.*s"
                      "  scatter_put y[c] at %%12*%d of 150 = %%15 : f32 (g, r, c)\n",
                      s->tile, c, d, STR_ARG(more), STR_ARG(args), rows_text, d, d * c,
                      turned ? 1 : c, turned ? d : 1, STR_ARG(rest), c);
}

Str grouped_at_text(Arena *arena, const GroupedCase *c) {
    return at_text(arena, c, false, (Str){0}, (Str){0});
}

Str grouped_turned_text(Arena *arena, const GroupedCase *c) {
    return at_text(arena, c, true, (Str){0}, (Str){0});
}

Str grouped_epilogue_text(Arena *arena, const GroupedCase *s) {
    int c = s->c;
    Str more = str_printf(arena, "  arg a: %s[%d]\n  arg scale: f32[150]\n  arg z: %s[%d]\n",
                          s->type, GROUPED_ROWS * c, s->type, GROUPED_ROWS * c);
    Str rest = str_printf(arena,
                          "  %%16 = gather a[c] at %%12*%d of 150 : f32 (g, r, c)\n"
                          "  %%17 = gather scale[0] at %%12*1 of 150 : f32 (g, r)\n"
                          "  %%18 = map sigmoid %%15 : f32 (g, r, c)\n"
                          "  %%19 = map mul %%16, %%18 : f32 (g, r, c)\n"
                          "  %%20 = map mul %%17, %%19 : f32 (g, r, c)\n"
                          "  scatter_put z[c] at %%12*%d of 150 = %%20 : f32 (g, r, c)\n",
                          c, c);
    return at_text(arena, s, false, more, rest);
}

Str grouped_into_text(Arena *arena, const GroupedCase *s) {
    int d = s->d, c = s->c;
    Str args =
        args_text(arena, s, GROUPED_TOKENS * d, GROUPED_ROWS * c, GROUPED_GROUPS * d * c);
    return str_printf(
        arena,
        "tile into loop\n  grid g = 4\n  m d = %d\n  n c = %d\n  k r = 152 tile %d\n%.*s%s"
        "  %%13 = gather x[d] at %%10*%d of 50 : f32 (g, d, r)\n"
        "  %%14 = gather w[c] at %%12*%d of 150 : f32 (g, c, r)\n"
        "  %%15 = dot %%13, %%14 over (r) : f32 (g, d, c)\n"
        "  store y[g*%d + d*%d + c] = %%15 : f32 (g, d, c)\n",
        d, c, s->tile, STR_ARG(args), rows_text, d, c, d * c, c);
}

Str grouped_order_text(Arena *arena, int rows, int groups, const char *positions) {
    return str_printf(arena,
                      "tile order stream\n  serial r = %d\n  arg keys: i32[%d]\n"
                      "  arg list: i32[%d]\n  %%1 = load keys[r] : i32 (r)\n"
                      "  %%2 = index %s : i32 (r)\n"
                      "  sort list[r] = %%2 by %%1 of %d : i32 (r)\n",
                      rows, rows, rows, positions, groups);
}
