// lines.c: the line table of a kernel: which of the model's lines its instructions come from.
// Nothing else is said of it, no variables and no types, and no instruction is changed.
#include <llvm-c/DebugInfo.h>

#include "codegen/llvm/builder.h"

// Its tables are smaller than those of version 5, and every debugger reads them.
#define DWARF_VERSION 4

static LLVMMetadataRef file_of(const Builder *b, Span span) {
    Str path = diag_source(b->lines, span.file)->path;
    return LLVMDIBuilderCreateFile(b->debug, path.ptr, path.len, "", 0);
}

static uint32_t line_of(const Builder *b, Span span) {
    uint32_t line, column;
    diag_line_column(b->lines, span, &line, &column);
    return line;
}

static void flag_add(Builder *b, const char *name, unsigned value) {
    LLVMMetadataRef number = LLVMValueAsMetadata(build_i32(b, value, 1));
    LLVMAddModuleFlag(b->module, LLVMModuleFlagBehaviorWarning, name, strlen(name), number);
}

// Of what the kernel is there for: its last operation.
static Span kernel_place(const TileProgram *p) {
    for (uint32_t i = p->ops.len; i-- > 1;)
        if (p->ops.ptr[i].span.file) return p->ops.ptr[i].span;
    return (Span){0};
}

void lines_open(Builder *b, const Diag *lines) {
    Span place = kernel_place(b->program);
    if (lines == NULL || !place.file) return;
    b->lines = lines;
    b->debug = LLVMCreateDIBuilder(b->module);
    flag_add(b, "Debug Info Version", LLVMDebugMetadataVersion());
    flag_add(b, "Dwarf Version", DWARF_VERSION);
    LLVMMetadataRef file = file_of(b, place);
    LLVMDIBuilderCreateCompileUnit(b->debug, LLVMDWARFSourceLanguageC99, file, "strata", 6,
                                   true, "", 0, 0, "", 0, LLVMDWARFEmissionFull, 0, false,
                                   false, "", 0, "", 0);
    LLVMMetadataRef type = LLVMDIBuilderCreateSubroutineType(b->debug, file, NULL, 0, 0);
    Str name = b->program->name;
    uint32_t line = line_of(b, place);
    b->kernel = LLVMDIBuilderCreateFunction(b->debug, file, name.ptr, name.len, "", 0, file,
                                            line, type, false, true, line, 0, true);
    LLVMSetSubprogram(b->function, b->kernel);
    build_line(b, place);
}

void lines_close(Builder *b) {
    if (b->debug == NULL) return;
    LLVMDIBuilderFinalize(b->debug);
    LLVMDisposeDIBuilder(b->debug);
}

void build_line(Builder *b, Span span) {
    if (b->debug == NULL || !span.file) return;
    LLVMMetadataRef scope =
        LLVMDIBuilderCreateLexicalBlockFile(b->debug, b->kernel, file_of(b, span), 0);
    b->line = LLVMDIBuilderCreateDebugLocation(b->context, line_of(b, span), 0, scope, NULL);
    LLVMSetCurrentDebugLocation2(b->at, b->line);
}
