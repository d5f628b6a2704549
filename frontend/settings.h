// settings.h: what --set and the model's `sizes` say about names of the model. See also
// elaborate.h for their use.
#pragma once

#include "frontend/elaborate.h"

// Takes over the settings; finds size=NAME among them and the entry it names.
bool settings_begin(Elaboration *e, Settings settings);
// After the body: names that nothing in the model answers to.
void settings_finish(Elaboration *e);
// The text of a setting as a value of the kind of `like`; false if it is none.
bool setting_parse(Arena *arena, Str text, Datum like, Datum *out);
