// warp.c: what the lanes of a warp do together. The lanes of the mask must all come, and to the
// same operation: on the GPU a lane that is missing or elsewhere gives garbage or a hang.
#include <string.h>

#include "base/check.h"
#include "tests/simt/machine.h"

static uint32_t lane_of(const Thread *t) { return t->index % WARP; }

// The mask without lanes that the block does not have.
static uint32_t mask_present(const Machine *m, const Thread *t, uint32_t mask) {
    uint32_t last = m->launch.threads - t->index / WARP * WARP;
    return last < WARP ? mask & ((1U << last) - 1) : mask;
}

static Channel *channel_find(Machine *m, Warp *warp, uint32_t mask) {
    for (uint32_t i = 0; i < WARP_CHANNELS; i++) {
        if (warp->masks[i] == mask) return &warp->channels[i];
        if (warp->masks[i]) continue;
        warp->masks[i] = mask;
        warp->channels[i] = (Channel){.mask = mask};
        return &warp->channels[i];
    }
    machine_fail(m, "a warp uses more than %u masks", WARP_CHANNELS);
}

static Channel *channel_enter(Machine *m, const char *what, uint32_t mask) {
    Thread *t = m->running;
    mask = mask_present(m, t, mask);
    if (!(mask >> lane_of(t) & 1))
        machine_fail(m, "%s with a mask that lacks the own lane", what);
    return channel_find(m, &t->block->warps[t->index / WARP], mask);
}

// Waits for the other lanes; gives the half in which they met.
static uint32_t channel_meet(Machine *m, Channel *c, const char *what) {
    uint32_t lane = lane_of(m->running);
    uint64_t round = c->rounds[lane]++;
    uint32_t half = round & 1;
    if (!c->arrived[half]) c->what[half] = what;
    if (strcmp(c->what[half], what) != 0)
        machine_fail(m, "divergence: lanes of a warp are at %s, this one at %s", c->what[half],
                     what);
    c->arrived[half] |= 1U << lane;
    if (c->arrived[half] == c->mask) {
        c->arrived[half] = 0;
        c->met = round + 1;
    } else {
        machine_wait(m, &c->met, round, what);
    }
    return half;
}

const unsigned char (*warp_exchange(Machine *m, const char *what, uint32_t mask,
                                    const void *mine, uint32_t bytes))[EXCHANGE_BYTES] {
    ASSERT(bytes <= EXCHANGE_BYTES);
    Channel *c = channel_enter(m, what, mask);
    uint32_t lane = lane_of(m->running);
    memcpy(c->bytes[c->rounds[lane] & 1][lane], mine, bytes);
    return (const unsigned char(*)[EXCHANGE_BYTES])c->bytes[channel_meet(m, c, what)];
}

// Shuffles and votes order no memory; __syncwarp does.
void call_warp_sync(Machine *m, uint32_t mask) {
    Channel *c = channel_enter(m, "__syncwarp", mask);
    uint32_t half = c->rounds[lane_of(m->running)] & 1;
    if (!c->view[half]) c->view[half] = view_new(m);
    if (!c->arrived[half]) view_clear(m, c->view[half]);
    view_release(m, m->running, c->view[half]);
    channel_meet(m, c, "__syncwarp");
    view_acquire(m, m->running, c->view[half]);
}

uint64_t call_shuffle(Machine *m, const char *what, uint32_t mask, uint64_t value,
                      uint32_t from) {
    uint32_t lane = from % WARP;
    if (!(mask_present(m, m->running, mask) >> lane & 1))
        machine_fail(m, "%s from lane %u, which takes no part", what, lane);
    memcpy(&value, warp_exchange(m, what, mask, &value, sizeof value)[lane], sizeof value);
    return value;
}

uint32_t call_vote(Machine *m, const char *what, uint32_t mask, bool yes) {
    unsigned char mine = yes;
    const unsigned char(*all)[EXCHANGE_BYTES] = warp_exchange(m, what, mask, &mine, 1);
    uint32_t votes = 0;
    for (uint32_t i = 0; i < WARP; i++)
        if (mask >> i & 1 && all[i][0] == 1) votes |= 1U << i;
    return votes;
}
