// moves.c: the neighbours of a schedule.
#include "autotune/moves.h"

#include <stddef.h>

#include "base/check.h"

typedef enum {
    MOVE_ADD,     // one more, one less
    MOVE_DOUBLE,  // twice, half
    MOVE_CHOOSE,  // any other value from `least` to `most`
} MoveKind;

typedef struct {
    size_t knob;  // offset in Schedule
    MoveKind kind;
    int32_t least, most;
} Move;

// Beyond the largest register block nothing is gained: 32 registers hold the sums and operands.
static const Move contract_moves[] = {
    {offsetof(Schedule, mr), MOVE_ADD, 1, 28},
    {offsetof(Schedule, nv), MOVE_ADD, 1, 16},
    {offsetof(Schedule, mc), MOVE_DOUBLE, 4, 4096},
    {offsetof(Schedule, nc), MOVE_DOUBLE, 16, 8192},
    {offsetof(Schedule, kc), MOVE_DOUBLE, 32, 8192},
    {offsetof(Schedule, ku), MOVE_DOUBLE, 1, 16},
    {offsetof(Schedule, pack_a), MOVE_CHOOSE, -1, 1},
    {offsetof(Schedule, pack_b), MOVE_CHOOSE, -1, 1},
};
static const Move attend_moves[] = {
    {offsetof(Schedule, bm), MOVE_DOUBLE, 16, 1024},
    {offsetof(Schedule, bn), MOVE_DOUBLE, 16, 1024},
    {offsetof(Schedule, split), MOVE_CHOOSE, 0, 1},
};
static const Move linear_moves[] = {
    {offsetof(Schedule, chunk), MOVE_DOUBLE, 16, 256},
    {offsetof(Schedule, parts), MOVE_DOUBLE, 1, 64},
    {offsetof(Schedule, segments), MOVE_DOUBLE, 2, 64},
};
static const Move row_moves[] = {
    {offsetof(Schedule, unroll), MOVE_DOUBLE, 1, 8},
    {offsetof(Schedule, tile), MOVE_DOUBLE, 64, 1 << 20},
    {offsetof(Schedule, keep), MOVE_CHOOSE, -1, 1},
    {offsetof(Schedule, nt), MOVE_CHOOSE, -1, 1},
    {offsetof(Schedule, prefetch), MOVE_CHOOSE, -1, 2},
};

static int32_t *knob_at(Schedule *s, const Move *move) {
    void *at = (char *)s + move->knob;
    return at;
}

typedef struct {
    const Schedule *from;
    Schedule *out;
    uint32_t count;
} Neighbours;

static void add(Neighbours *n, const Move *move, int32_t value) {
    Schedule s = *n->from;
    int32_t *knob = knob_at(&s, move);
    if (value < move->least || value > move->most || value == *knob) return;
    *knob = value;
    ASSERT(n->count < MOVES_MAX);
    n->out[n->count++] = s;
}

// A knob that is left to the emitter has no value to step from.
static void add_all(Neighbours *n, const Move *move) {
    Schedule from = *n->from;
    int32_t value = *knob_at(&from, move);
    switch (move->kind) {
    case MOVE_ADD:
        if (value <= 0) return;
        add(n, move, value + 1);
        add(n, move, value - 1);
        return;
    case MOVE_DOUBLE:
        if (value <= 0) return;
        add(n, move, value * 2);
        add(n, move, value / 2);
        return;
    case MOVE_CHOOSE:
        for (int32_t other = move->least; other <= move->most; other++)
            add(n, move, other);
        return;
    }
}

uint32_t schedule_moves(RegionKind kind, const Schedule *from, Schedule out[MOVES_MAX]) {
    Neighbours n = {.from = from, .out = out};
    if (from->library) return 0;
    switch (kind) {
    case REGION_ROW:
        for (size_t i = 0; i < sizeof row_moves / sizeof *row_moves; i++)
            add_all(&n, &row_moves[i]);
        break;
    case REGION_CONTRACT:
    case REGION_GROUPED:
        for (size_t i = 0; i < sizeof contract_moves / sizeof *contract_moves; i++)
            add_all(&n, &contract_moves[i]);
        break;
    case REGION_ATTEND:
        for (size_t i = 0; i < sizeof attend_moves / sizeof *attend_moves; i++)
            add_all(&n, &attend_moves[i]);
        break;
    case REGION_ORDER: break;
    case REGION_LINEAR:
        for (size_t i = 0; i < sizeof linear_moves / sizeof *linear_moves; i++)
            add_all(&n, &linear_moves[i]);
        break;
    }
    return n.count;
}
