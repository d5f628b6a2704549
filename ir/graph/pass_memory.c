// pass_memory.c: buffers that are bound to each other (side by side, or in place) form blocks;
// blocks are placed one by one, largest first, each in the smallest hole that its buffers'
// lives leave.
#include "ir/graph/pass_memory.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/integer.h"

// Steps [first, last]; not used: no step touches it.
typedef struct {
    uint32_t first, last;
    bool used;
} Life;

typedef struct {
    const MemoryProblem *problem;
    Life *lives;       // per buffer, as are the next three
    uint32_t *leader;  // the buffer that its block is known by
    uint32_t *next;    // the members of a block are a ring
    int64_t *place;    // offset inside the block; the least in a block is 0
    int64_t *offset;   // MEMORY_NOWHERE until placed
    Arena *arena;
} Planner;

static void life_extend(Life *life, uint32_t step) {
    if (!life->used) *life = (Life){step, step, true};
    life->last = step;
}

static Life *lives_of(const MemoryProblem *m, Arena *arena) {
    Life *lives = arena_array(arena, Life, m->buffer_count);
    for (uint32_t s = 0; s < m->step_count; s++) {
        const MemoryStep *step = &m->steps[s];
        for (uint32_t i = 0; i < step->read_count; i++)
            life_extend(&lives[step->reads[i]], s);
        for (uint32_t i = 0; i < step->write_count; i++)
            life_extend(&lives[step->writes[i]], s);
    }
    return lives;
}

static bool lives_meet(Life a, Life b) {
    return a.used && b.used && a.first <= b.last && b.first <= a.last;
}

// Does `to` begin just where `from` ends, at a step that may write the one over the other?
static bool follows_in_place(const MemoryProblem *m, const Life *lives, uint32_t from,
                             uint32_t to) {
    if (!lives[from].used || !lives[to].used || lives[from].last != lives[to].first)
        return false;
    const MemoryStep *step = &m->steps[lives[to].first];
    for (uint32_t i = 0; i < step->in_place_count; i++)
        if (step->in_place[i].from == from && step->in_place[i].to == to) return true;
    return false;
}

// Would buffers a and b, at these offsets, destroy each other?
static bool buffers_clash(const MemoryProblem *m, const Life *lives, const uint32_t pair[2],
                          const int64_t at[2]) {
    uint32_t a = pair[0], b = pair[1];
    if (!lives_meet(lives[a], lives[b])) return false;
    if (at[0] >= at[1] + m->buffers[b].bytes || at[1] >= at[0] + m->buffers[a].bytes)
        return false;
    if (at[0] != at[1]) return true;
    return !follows_in_place(m, lives, a, b) && !follows_in_place(m, lives, b, a);
}

// ---- blocks

// Could the block of b lie `shift` further than that of a?
static bool blocks_fit(const Planner *p, uint32_t a, uint32_t b, int64_t shift) {
    uint32_t x = a;
    do {
        uint32_t y = b;
        do {
            if (buffers_clash(p->problem, p->lives, (uint32_t[]){x, y},
                              (int64_t[]){p->place[x], p->place[y] + shift}))
                return false;
            y = p->next[y];
        } while (y != b);
        x = p->next[x];
    } while (x != a);
    return true;
}

// Makes one block of two; that of b lies `shift` further than that of a.
static void blocks_join(Planner *p, uint32_t a, uint32_t b, int64_t shift) {
    int64_t back = shift < 0 ? shift : 0;
    uint32_t leader = p->leader[a], x = a, y = b;
    do {
        p->place[x] -= back;
        x = p->next[x];
    } while (x != a);
    do {
        p->place[y] += shift - back;
        p->leader[y] = leader;
        y = p->next[y];
    } while (y != b);
    uint32_t after = p->next[a];
    p->next[a] = p->next[b];
    p->next[b] = after;
}

static void groups_join(Planner *p) {
    for (uint32_t g = 0; g < p->problem->group_count; g++) {
        const MemoryGroup *group = &p->problem->groups[g];
        int64_t at = 0;
        for (uint32_t i = 0; i < group->count; i++) {
            uint32_t b = group->members[i];
            ASSERT(!p->problem->buffers[b].persistent && p->next[b] == b);
            if (i) blocks_join(p, group->members[0], b, at);
            at += p->problem->buffers[b].bytes;
        }
    }
}

// Shifts are multiples of the alignment, so that blocks joined keep every aligned place
// aligned.
static void in_place_join(Planner *p, uint32_t step, MemoryInPlace pair) {
    const MemoryBuffer *buffers = p->problem->buffers;
    if (buffers[pair.from].persistent || buffers[pair.to].persistent) return;
    if (p->leader[pair.from] == p->leader[pair.to]) return;
    if (p->lives[pair.from].last != step || p->lives[pair.to].first != step) return;
    int64_t shift = p->place[pair.from] - p->place[pair.to];
    if (shift % MEMORY_ALIGNMENT || !blocks_fit(p, pair.from, pair.to, shift)) return;
    blocks_join(p, pair.from, pair.to, shift);
}

static int64_t block_bytes(const Planner *p, uint32_t leader) {
    int64_t bytes = 0;
    uint32_t b = leader;
    do {
        int64_t end = p->place[b] + p->problem->buffers[b].bytes;
        bytes = end > bytes ? end : bytes;
        b = p->next[b];
    } while (b != leader);
    return bytes;
}

// ---- placing

typedef struct {
    uint32_t leader;
    int64_t bytes;
} Block;

static int block_compare(const void *a, const void *b) {
    const Block *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->leader < y->leader ? -1 : x->leader > y->leader;
}

// Offsets in (after, before) are taken: a block there would overlap a buffer that lives at the
// same time.
typedef struct {
    int64_t after, before;
} Taken;

static int taken_compare(const void *a, const void *b) {
    const Taken *x = a, *y = b;
    if (x->after != y->after) return x->after < y->after ? -1 : 1;
    return x->before < y->before ? -1 : x->before > y->before;
}

static uint32_t taken_collect(const Planner *p, uint32_t leader, Taken *out) {
    uint32_t count = 0, b = leader;
    do {
        int64_t bytes = p->problem->buffers[b].bytes;
        for (uint32_t other = 0; other < p->problem->buffer_count; other++) {
            if (p->offset[other] < 0 || !lives_meet(p->lives[b], p->lives[other])) continue;
            int64_t at = p->offset[other] - p->place[b];
            out[count++] = (Taken){at - bytes, at + p->problem->buffers[other].bytes};
        }
        b = p->next[b];
    } while (b != leader);
    qsort(out, count, sizeof *out, taken_compare);
    return count;
}

static int64_t aligned(int64_t offset) { return round_up(offset, MEMORY_ALIGNMENT); }

// The aligned offset whose hole is smallest; behind everything if no hole is wide enough.
static int64_t offset_choose(const Taken *taken, uint32_t count) {
    int64_t free = 0, best = -1, best_slack = 0;
    for (uint32_t i = 0; i < count; i++) {
        int64_t at = aligned(free), slack = taken[i].after - free;
        if (at <= taken[i].after && (best < 0 || slack < best_slack)) {
            best = at;
            best_slack = slack;
        }
        if (taken[i].before > free) free = taken[i].before;
    }
    return best >= 0 ? best : aligned(free);
}

static void block_place(Planner *p, uint32_t leader) {
    ArenaMark mark = arena_mark(p->arena);
    uint32_t members = 0, b = leader;
    do
        members++;
    while ((b = p->next[b]) != leader);
    Taken *taken = arena_array(p->arena, Taken, (size_t)members * p->problem->buffer_count);
    int64_t at = offset_choose(taken, taken_collect(p, leader, taken));
    arena_rewind(p->arena, mark);
    do
        p->offset[b] = at + p->place[b];
    while ((b = p->next[b]) != leader);
}

static void blocks_place(Planner *p) {
    const MemoryProblem *m = p->problem;
    Block *blocks = arena_array(p->arena, Block, m->buffer_count);
    uint32_t count = 0;
    for (uint32_t b = 0; b < m->buffer_count; b++) {
        bool needed = !m->buffers[b].persistent && (p->lives[b].used || p->next[b] != b);
        if (needed && p->leader[b] == b) blocks[count++] = (Block){b, block_bytes(p, b)};
    }
    qsort(blocks, count, sizeof *blocks, block_compare);
    for (uint32_t i = 0; i < count; i++)
        block_place(p, blocks[i].leader);
}

static int64_t least_bytes(const MemoryProblem *m, const Life *lives) {
    int64_t least = 0;
    for (uint32_t s = 0; s < m->step_count; s++) {
        int64_t bytes = 0;
        for (uint32_t b = 0; b < m->buffer_count; b++)
            if (!m->buffers[b].persistent && lives_meet(lives[b], (Life){s, s, true}))
                bytes += m->buffers[b].bytes;
        least = bytes > least ? bytes : least;
    }
    return least;
}

MemoryPlan *pass_memory(const MemoryProblem *problem, Arena *arena) {
    uint32_t n = problem->buffer_count;
    MemoryPlan *plan = arena_new(arena, MemoryPlan);
    plan->offset = arena_array(arena, int64_t, n);
    ArenaMark mark = arena_mark(arena);
    Planner p = {.problem = problem, .offset = plan->offset, .arena = arena};
    p.lives = lives_of(problem, arena);
    p.leader = arena_array(arena, uint32_t, n);
    p.next = arena_array(arena, uint32_t, n);
    p.place = arena_array(arena, int64_t, n);
    for (uint32_t b = 0; b < n; b++) {
        ASSERT(problem->buffers[b].bytes >= 0);
        p.leader[b] = p.next[b] = b;
        p.offset[b] = MEMORY_NOWHERE;
    }
    groups_join(&p);
    for (uint32_t s = 0; s < problem->step_count; s++)
        for (uint32_t i = 0; i < problem->steps[s].in_place_count; i++)
            in_place_join(&p, s, problem->steps[s].in_place[i]);
    blocks_place(&p);
    for (uint32_t b = 0; b < n; b++) {
        if (p.offset[b] < 0) continue;
        int64_t end = aligned(p.offset[b] + problem->buffers[b].bytes);
        plan->bytes = end > plan->bytes ? end : plan->bytes;
    }
    plan->least = least_bytes(problem, p.lives);
    arena_rewind(arena, mark);
    return plan;
}

// ---- checking

// Which of a group's members does the buffer follow? False: it may lie anywhere.
static bool group_follows(const MemoryProblem *m, uint32_t buffer, uint32_t *before) {
    for (uint32_t g = 0; g < m->group_count; g++)
        for (uint32_t i = 1; i < m->groups[g].count; i++) {
            if (m->groups[g].members[i] != buffer) continue;
            *before = m->groups[g].members[i - 1];
            return true;
        }
    return false;
}

static const char *buffer_violation(const MemoryProblem *m, const MemoryPlan *plan, uint32_t b,
                                    Arena *arena) {
    int64_t at = plan->offset[b];
    uint32_t before = 0;
    if (m->buffers[b].persistent)
        return at == MEMORY_NOWHERE
                   ? NULL
                   : arena_printf(arena, "buffer %u is persistent and has a place", b);
    if (at < 0) return arena_printf(arena, "buffer %u has no place", b);
    if (at + m->buffers[b].bytes > plan->bytes)
        return arena_printf(arena, "buffer %u ends outside the arena", b);
    if (group_follows(m, b, &before)) {
        if (at == plan->offset[before] + m->buffers[before].bytes) return NULL;
        return arena_printf(arena, "buffer %u does not follow buffer %u", b, before);
    }
    return at % MEMORY_ALIGNMENT ? arena_printf(arena, "buffer %u is not aligned", b) : NULL;
}

const char *memory_violation(const MemoryProblem *problem, const MemoryPlan *plan,
                             Arena *arena) {
    const Life *lives = lives_of(problem, arena);
    for (uint32_t b = 0; b < problem->buffer_count; b++) {
        if (!lives[b].used && plan->offset[b] == MEMORY_NOWHERE) continue;
        const char *why = buffer_violation(problem, plan, b, arena);
        if (why) return why;
        for (uint32_t other = 0; other < b; other++) {
            if (plan->offset[b] < 0 || plan->offset[other] < 0) continue;
            int64_t at[2] = {plan->offset[b], plan->offset[other]};
            if (buffers_clash(problem, lives, (uint32_t[]){b, other}, at))
                return arena_printf(arena, "buffers %u and %u overlap while both live", other,
                                    b);
        }
    }
    return NULL;
}
