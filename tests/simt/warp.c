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
        Channel *c = &warp->channels[i];
        if (!c->mask) c->mask = mask;
        if (c->mask == mask) return c;
    }
    machine_fail(m, "a warp uses more than %u masks", WARP_CHANNELS);
}

const unsigned char (*warp_exchange(Machine *m, const char *what, uint32_t mask,
                                    const void *mine, uint32_t bytes))[EXCHANGE_BYTES] {
    Thread *t = m->running;
    uint32_t lane = lane_of(t);
    ASSERT(bytes <= EXCHANGE_BYTES);
    mask = mask_present(m, t, mask);
    if (!(mask >> lane & 1)) machine_fail(m, "%s with a mask that lacks the own lane", what);
    Channel *c = channel_find(m, &t->block->warps[t->index / WARP], mask);
    uint64_t round = c->rounds[lane]++;
    uint32_t half = round & 1;
    if (!c->arrived[half]) c->what[half] = what;
    if (strcmp(c->what[half], what) != 0)
        machine_fail(m, "divergence: lanes of a warp are at %s, this one at %s", c->what[half],
                     what);
    c->arrived[half] |= 1U << lane;
    memcpy(c->bytes[half][lane], mine, bytes);
    if (c->arrived[half] == mask) {
        c->arrived[half] = 0;
        c->met = round + 1;
    } else {
        machine_wait(m, &c->met, round, what);
    }
    return (const unsigned char(*)[EXCHANGE_BYTES])c->bytes[half];
}

void call_warp_sync(Machine *m, uint32_t mask) {
    char nothing = 0;
    warp_exchange(m, "__syncwarp", mask, &nothing, 1);
}

void call_shuffle(Machine *m, const char *what, uint32_t mask, void *value, uint32_t bytes,
                  uint32_t from) {
    uint32_t lane = from % WARP;
    if (!(mask_present(m, m->running, mask) >> lane & 1))
        machine_fail(m, "%s from lane %u, which takes no part", what, lane);
    memcpy(value, warp_exchange(m, what, mask, value, bytes)[lane], bytes);
}

uint32_t call_vote(Machine *m, const char *what, uint32_t mask, bool yes) {
    unsigned char mine = yes;
    const unsigned char(*all)[EXCHANGE_BYTES] = warp_exchange(m, what, mask, &mine, 1);
    uint32_t votes = 0;
    for (uint32_t i = 0; i < WARP; i++)
        if (mask >> i & 1 && all[i][0] == 1) votes |= 1U << i;
    return votes;
}
