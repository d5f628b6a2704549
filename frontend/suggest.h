// suggest.h: the closest of the known names, for hints in messages.
#pragma once

#include "base/str.h"

typedef struct {
    Str wanted, best;  // best.len 0: nothing is close enough
    uint32_t distance;
} Suggestion;

void suggestion_init(Suggestion *s, Str wanted);
void suggestion_offer(Suggestion *s, Str candidate);
