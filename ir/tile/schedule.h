// schedule.h: the choices that a region leaves open, each a small integer.
// knobs.def names them and says what they mean; 0 or -1 usually leaves the choice to the
// emitter.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"
#include "base/vec.h"

typedef struct {
#define KNOB(name, otherwise) int32_t name;
#include "ir/tile/knobs.def"
#undef KNOB
} Schedule;
typedef Vec(Schedule) Schedules;

Schedule schedule_none(void);  // every knob at its `otherwise`
void schedule_print(const Schedule *s,
                    StrBuf *out);  // "mr=6 nv=4 kc=512", only what differs from schedule_none
// Reads what schedule_print wrote. False: an unknown or repeated knob, or no integer that fits;
// *out is then untouched.
MUST_USE bool schedule_read(Str text, Schedule *out);
