// routine.c: see routine.h.
#include "codegen/llvm/routine.h"

#include <llvm-c/DebugInfo.h>

#include "base/check.h"

static bool is_fixed(IrValue x) { return x == NULL || LLVMIsAConstantInt(x); }

// The same wherever memory lies: the name is part of the object.
static Hash identity(Str key, IrValue *args, uint32_t count) {
    Hash hash = hash_bytes(key.ptr, key.len);
    for (uint32_t i = 0; i < count; i++) {
        IrValue number = args[i] != NULL ? LLVMIsAConstantInt(args[i]) : NULL;
        int64_t fixed[] = {args[i] != NULL, number != NULL,
                           number != NULL ? LLVMConstIntGetSExtValue(number) : 0};
        hash = hash_mix(hash, hash_bytes(fixed, sizeof fixed));
    }
    return hash;
}

static void attributes_copy(Builder *b, IrValue from, IrValue to) {
    enum { MOST = 32 };
    LLVMAttributeRef attributes[MOST];
    unsigned count = LLVMGetAttributeCountAtIndex(from, LLVMAttributeFunctionIndex);
    ASSERT(count <= MOST);
    LLVMGetAttributesAtIndex(from, LLVMAttributeFunctionIndex, attributes);
    for (unsigned i = 0; i < count; i++)
        LLVMAddAttributeAtIndex(to, LLVMAttributeFunctionIndex, attributes[i]);
    LLVMSetLinkage(to, LLVMInternalLinkage);
    LLVMAddAttributeAtIndex(
        to, LLVMAttributeFunctionIndex,
        LLVMCreateEnumAttribute(b->context, LLVMGetEnumAttributeKindForName("noinline", 8), 0));
}

static void body_begin(Builder *b, Routine *r, IrValue function) {
    *r = (Routine){b->function, b->entry, LLVMGetInsertBlock(b->at), b->debug, b->line};
    b->function = function;
    b->debug = NULL;
    b->line = NULL;
    LLVMSetCurrentDebugLocation2(b->at, NULL);
    b->entry = build_block(b, "entry");
    IrBlock body = build_block(b, "body");
    build_at(b, b->entry);
    LLVMBuildBr(b->at, body);
    build_at(b, body);
}

bool routine_begin(Builder *b, Routine *r, Str key, IrValue *args, uint32_t count) {
    IrType types[ROUTINE_MOST_ARGS];
    IrValue given[ROUTINE_MOST_ARGS];
    uint32_t params = 0;
    ASSERT(count <= ROUTINE_MOST_ARGS);
    for (uint32_t i = 0; i < count; i++) {
        if (is_fixed(args[i])) continue;
        given[params] = args[i];
        types[params++] = LLVMTypeOf(args[i]);
    }
    char name[HASH_TEXT];
    hash_text(identity(key, args, count), name);
    IrType type = LLVMFunctionType(LLVMVoidTypeInContext(b->context), types, params, 0);
    IrValue function = LLVMGetNamedFunction(b->module, name);
    bool known = function != NULL;
    if (!known) function = LLVMAddFunction(b->module, name, type);
    LLVMBuildCall2(b->at, type, function, given, params, "");
    if (known) return false;
    attributes_copy(b, b->function, function);
    body_begin(b, r, function);
    params = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!is_fixed(args[i])) args[i] = LLVMGetParam(function, params++);
    return true;
}

void routine_end(Builder *b, const Routine *r) {
    LLVMBuildRetVoid(b->at);
    b->function = r->function;
    b->entry = r->entry;
    b->debug = r->debug;
    b->line = r->line;
    build_at(b, r->at);
    LLVMSetCurrentDebugLocation2(b->at, b->line);
}
