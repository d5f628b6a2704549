// graph_text.h: words that graph_print and graph_read must agree on. The text form is described
// in docs/graph_ir.md.
#pragma once

#include "ir/graph/graph.h"

typedef struct {
    const char *text;
    int numbers;  // how many of Init's a, b the text gives
} InitText;

const InitText *init_text(InitKind kind);
const char *init_transform_text(InitTransform transform);  // "" for as it is
bool init_parse(Str text, InitKind *out);
bool init_transform_parse(Str text, InitTransform *out);

bool text_is_plain_name(Str name);  // printed without quotes: [A-Za-z_][A-Za-z0-9_.]*

// One value as graph_print prints it: "%5 = add %3, %4 : f32[T, d]" and a newline.
void graph_print_value(const Graph *g, ValueId id, StrBuf *out);
