// suggest.c: edit distance with swaps of neighbours (optimal string alignment), on short names.
#include "frontend/suggest.h"

#include <string.h>

#define SUGGEST_MAX 40

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static uint32_t edit_distance(Str a, Str b) {
    uint32_t row[3][SUGGEST_MAX + 1];  // the rows i - 2, i - 1 and i, by i modulo 3
    for (uint32_t j = 0; j <= b.len; j++)
        row[0][j] = j;
    for (uint32_t i = 1; i <= a.len; i++) {
        uint32_t *now = row[i % 3];
        const uint32_t *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
        now[0] = i;
        for (uint32_t j = 1; j <= b.len; j++) {
            uint32_t change = up[j - 1] + (a.ptr[i - 1] == b.ptr[j - 1] ? 0 : 1);
            now[j] = least(change, 1 + least(up[j], now[j - 1]));
            bool swapped =
                i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1];
            if (swapped) now[j] = least(now[j], up2[j - 2] + 1);
        }
    }
    return row[a.len % 3][b.len];
}

void suggestion_init(Suggestion *s, Str wanted) {
    // A third of the letters may differ; more would be a guess rather than a hint.
    *s = (Suggestion){.wanted = wanted, .distance = (uint32_t)wanted.len / 3 + 1};
}

void suggestion_offer(Suggestion *s, Str candidate) {
    if (s->wanted.len > SUGGEST_MAX || candidate.len > SUGGEST_MAX) return;
    if (candidate.len == 0 || str_eq(candidate, s->wanted)) return;
    uint32_t distance = edit_distance(s->wanted, candidate);
    if (distance >= s->distance) return;
    s->distance = distance;
    s->best = candidate;
}
