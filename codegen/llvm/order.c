// order.c: the ORDER skeleton: a counting sort, by one task.
//
//     counts of the groups' rows; where each group begins; then every row to the next free
//     place of its group
#include "base/check.h"
#include "codegen/llvm/element.h"
#include "codegen/llvm/skeleton.h"

typedef struct {
    Builder *b;
    const TileOp *sort, *key;
    int64_t rows;
    IrValue places;  // per group, and for rows of none: i64
} Order;

// Where the next row of row r's group goes: a pointer to i64.
static IrValue place_of(const Order *o, IrValue r) {
    Builder *b = o->b;
    const TileAccess *access = &o->key->access;
    IrValue offset =
        build_iadd(b, build_imul(b, r, access->stride[0]), build_i64(b, access->offset));
    IrValue key = build_load(b, b->i32, build_gep(b, b->i32, b->args[access->arg], offset), 4);
    IrValue none = build_i32(b, o->sort->index_count, 1);
    IrValue group = build_select(b, build_icmp(b, LLVMIntULT, key, none), key, none);
    return build_gep(b, b->i64, o->places, LLVMBuildZExt(b->at, group, b->i64, ""));
}

static void count_rows(const Order *o) {
    Builder *b = o->b;
    Loop group = {.count = 0}, row = {.count = 0};
    loop_begin(b, &group, build_i64(b, 0), build_i64(b, o->sort->index_count + 1), 1);
    build_store(b, build_i64(b, 0), build_gep(b, b->i64, o->places, group.index), 8);
    loop_end(b, &group);
    loop_begin(b, &row, build_i64(b, 0), build_i64(b, o->rows), 1);
    IrValue at = place_of(o, row.index);
    build_store(b, build_iadd(b, build_load(b, b->i64, at, 8), build_i64(b, 1)), at, 8);
    loop_end(b, &row);
}

static void find_begins(const Order *o) {
    Builder *b = o->b;
    Loop group = {.count = 1, .carried = {build_i64(b, 0)}};
    loop_begin(b, &group, build_i64(b, 0), build_i64(b, o->sort->index_count + 1), 1);
    IrValue at = build_gep(b, b->i64, o->places, group.index);
    IrValue count = build_load(b, b->i64, at, 8);
    build_store(b, group.carried[0], at, 8);
    group.carried[0] = build_iadd(b, group.carried[0], count);
    loop_end(b, &group);
}

// (r / div) % mod + shift.
static IrValue value_of(const Order *o, IrValue r) {
    Builder *b = o->b;
    const TileGuard *g = &tile_op(b->program, o->sort->in[1])->access.guard[0];
    if (g->div > 1) r = LLVMBuildUDiv(b->at, r, build_i64(b, g->div), "");
    if ((o->rows - 1) / g->div >= g->mod) r = LLVMBuildURem(b->at, r, build_i64(b, g->mod), "");
    return LLVMBuildTrunc(b->at, build_iadd(b, r, build_i64(b, g->shift)), b->i32, "");
}

static void write_rows(const Order *o) {
    Builder *b = o->b;
    const TileAccess *access = &o->sort->access;
    Loop row = {.count = 0};
    loop_begin(b, &row, build_i64(b, 0), build_i64(b, o->rows), 1);
    IrValue at = place_of(o, row.index), place = build_load(b, b->i64, at, 8);
    build_store(b, build_iadd(b, place, build_i64(b, 1)), at, 8);
    IrValue offset = build_iadd(b, place, build_i64(b, access->offset));
    build_store(b, value_of(o, row.index), build_gep(b, b->i32, b->args[access->arg], offset),
                4);
    loop_end(b, &row);
}

bool order_emit(Builder *b) {
    const TileProgram *p = b->program;
    Order o = {.b = b, .sort = &p->ops.ptr[p->ops.len - 1], .rows = p->dims[0].extent};
    ASSERT(o.sort->kind == TILE_SORT);
    o.key = tile_op(p, o.sort->in[0]);
    o.places = build_scratch(b, (o.sort->index_count + 1) * 8);
    Loop task = {.count = 0};
    loop_begin(b, &task, b->begin, b->end, 1);
    count_rows(&o);
    find_begins(&o);
    write_rows(&o);
    loop_end(b, &task);
    return true;
}
