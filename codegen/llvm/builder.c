// builder.c: see builder.h.
#include "codegen/llvm/builder.h"

#include "base/check.h"

static const int lanes_of_level[] = {
    [CPU_PORTABLE] = 4, [CPU_AVX2] = 8, [CPU_AVX512] = 16, [CPU_AVX512BF16] = 16};

const char *cpu_llvm_name(IsaLevel level) {
    switch (level) {
    case CPU_PORTABLE: return "x86-64";
    case CPU_AVX2: return "x86-64-v3";
    case CPU_AVX512:
    case CPU_AVX512BF16: return "x86-64-v4";
    case CUDA_SM80:
    case CUDA_SM90A:
    case CUDA_SM100A: break;
    }
    BUG("level %d", (int)level);
}

const char *cpu_llvm_features(IsaLevel level) {
    return level == CPU_AVX512BF16 ? "+avx512bf16" : "";
}

static void attribute_text(Builder *b, const char *name, const char *value) {
    LLVMAttributeRef a = LLVMCreateStringAttribute(b->context, name, (unsigned)strlen(name),
                                                   value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(b->function, LLVMAttributeFunctionIndex, a);
}

static void attribute_flag(Builder *b, const char *name) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(b->function, LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(b->context, kind, 0));
}

static void types_init(Builder *b) {
    b->i1 = LLVMInt1TypeInContext(b->context);
    b->i8 = LLVMInt8TypeInContext(b->context);
    b->i16 = LLVMInt16TypeInContext(b->context);
    b->i32 = LLVMInt32TypeInContext(b->context);
    b->i64 = LLVMInt64TypeInContext(b->context);
    b->f32 = LLVMFloatTypeInContext(b->context);
    b->ptr = LLVMPointerTypeInContext(b->context, 0);
}

static void zeros_init(Builder *b) {
    IrType type = LLVMArrayType2(b->i8, 128);
    b->zeros = LLVMAddGlobal(b->module, type, "zeros");
    LLVMSetInitializer(b->zeros, LLVMConstNull(type));
    LLVMSetGlobalConstant(b->zeros, 1);
    LLVMSetLinkage(b->zeros, LLVMPrivateLinkage);
    LLVMSetAlignment(b->zeros, 64);
}

static void function_init(Builder *b, const Diag *lines) {
    IrType params[] = {b->ptr, b->i64, b->i64, b->ptr};
    IrType type = LLVMFunctionType(LLVMVoidTypeInContext(b->context), params, 4, 0);
    b->function = LLVMAddFunction(b->module, "kernel", type);
    lines_open(b, lines);
    // Without "no-builtins" a loop that clears memory would become a call of memset.
    attribute_text(b, "no-builtins", "true");
    attribute_text(b, "target-cpu", cpu_llvm_name(b->level));
    attribute_text(b, "target-features", cpu_llvm_features(b->level));
    attribute_text(b, "prefer-vector-width",
                   b->lanes == 16  ? "512"
                   : b->lanes == 8 ? "256"
                                   : "128");
    attribute_flag(b, "nounwind");
    // Else vectors that leave the registers lie across two cache lines. Register kernels keep
    // theirs, and need the register that this takes.
    if (b->program->skeleton == TILE_STREAM) attribute_text(b, "stackrealign", "");
    b->begin = LLVMGetParam(b->function, 1);
    b->end = LLVMGetParam(b->function, 2);
    b->scratch = LLVMGetParam(b->function, 3);
    b->entry = build_block(b, "entry");
    build_at(b, b->entry);
    b->args = arena_array(b->arena, IrValue, b->program->args.len + 1);
    for (uint32_t i = 0; i < b->program->args.len; i++) {
        IrValue slot = build_gep(b, b->ptr, LLVMGetParam(b->function, 0), build_i64(b, i));
        b->args[i] = build_load(b, b->ptr, slot, 8);
    }
    IrBlock body = build_block(b, "body");
    LLVMBuildBr(b->at, body);
    build_at(b, body);
}

void builder_init(Builder *b, Diag *diag, Arena *arena, const TileProgram *p,
                  EmitOptions options) {
    *b = (Builder){.diag = diag,
                   .arena = arena,
                   .program = p,
                   .level = options.level,
                   .lanes = lanes_of_level[options.level]};
    b->context = LLVMContextCreate();
    b->module = LLVMModuleCreateWithNameInContext("strata", b->context);
    b->at = LLVMCreateBuilderInContext(b->context);
    types_init(b);
    zeros_init(b);
    function_init(b, options.lines);
}

void builder_finish(Builder *b) {
    LLVMBuildRetVoid(b->at);
    lines_close(b);
}

void builder_release(Builder *b) {
    LLVMDisposeBuilder(b->at);
    LLVMDisposeModule(b->module);
    LLVMContextDispose(b->context);
}

// ---- types and constants

IrType type_vector(IrType element, int lanes) {
    return lanes == 1 ? element : LLVMVectorType(element, (unsigned)lanes);
}

int type_lanes(IrType type) {
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? (int)LLVMGetVectorSize(type) : 1;
}

IrType type_of(const Builder *b, DType t, int lanes) {
    if (t == DTYPE_BOOL) return type_vector(b->i1, lanes);
    return type_vector(t == DTYPE_I32 ? b->i32 : b->f32, lanes);
}

static IrValue const_splat(IrValue x, int lanes) {
    ASSERT(lanes >= 1 && lanes <= BUILD_MAX_LANES);
    if (lanes == 1) return x;
    IrValue all[BUILD_MAX_LANES];
    for (int i = 0; i < lanes; i++)
        all[i] = x;
    return LLVMConstVector(all, (unsigned)lanes);
}

IrValue build_i64(const Builder *b, int64_t x) { return LLVMConstInt(b->i64, (uint64_t)x, 1); }

IrValue build_i32(const Builder *b, int64_t x, int lanes) {
    return const_splat(LLVMConstInt(b->i32, (uint64_t)x, 1), lanes);
}

IrValue build_f32(const Builder *b, double x, int lanes) {
    return const_splat(LLVMConstReal(b->f32, (double)(float)x), lanes);
}

IrValue build_bits(const Builder *b, uint32_t bits, int lanes) {
    return const_splat(LLVMConstInt(b->i32, bits, 0), lanes);
}

IrValue build_lane_ids(const Builder *b, int64_t step, int lanes) {
    if (lanes == 1) return build_i32(b, 0, 1);
    IrValue all[BUILD_MAX_LANES];
    for (int i = 0; i < lanes; i++)
        all[i] = build_i32(b, i * step, 1);
    return LLVMConstVector(all, (unsigned)lanes);
}

IrValue build_mask_first(const Builder *b, int count, int lanes) {
    if (lanes == 1) return LLVMConstInt(b->i1, count > 0, 0);
    IrValue all[BUILD_MAX_LANES];
    for (int i = 0; i < lanes; i++)
        all[i] = LLVMConstInt(b->i1, i < count, 0);
    return LLVMConstVector(all, (unsigned)lanes);
}

IrValue build_splat(Builder *b, IrValue scalar, int lanes) {
    IrType type = LLVMTypeOf(scalar);
    if (lanes == 1 || type_lanes(type) > 1) return scalar;
    if (LLVMIsConstant(scalar)) return const_splat(scalar, lanes);
    IrType vector = type_vector(type, lanes);
    IrValue one = build_insert(b, LLVMGetPoison(vector), scalar, 0);
    return LLVMBuildShuffleVector(b->at, one, LLVMGetPoison(vector), build_i32(b, 0, lanes),
                                  "");
}

// ---- addresses

static bool is_integer(IrValue x, int64_t number) {
    return LLVMIsAConstantInt(x) != NULL && LLVMConstIntGetSExtValue(x) == number;
}

IrValue build_iadd(Builder *b, IrValue x, IrValue y) {
    if (is_integer(x, 0)) return y;
    if (is_integer(y, 0)) return x;
    return LLVMBuildNSWAdd(b->at, x, y, "");
}

IrValue build_imul(Builder *b, IrValue x, int64_t factor) {
    if (factor == 1) return x;
    if (factor == 0) return build_i64(b, 0);
    return LLVMBuildNSWMul(b->at, x, build_i64(b, factor), "");
}

IrValue build_gep(Builder *b, IrType element, IrValue base, IrValue index) {
    if (is_integer(index, 0)) return base;
    return LLVMBuildInBoundsGEP2(b->at, element, base, &index, 1, "");
}

IrValue build_gep_bytes(Builder *b, IrValue base, int64_t bytes) {
    return build_gep(b, b->i8, base, build_i64(b, bytes));
}

// ---- arithmetic

// A product and a sum may become one FMA, as in build_fma.
static IrValue contracted(const Builder *b, IrValue x) {
    if (b->level != CPU_PORTABLE && LLVMCanValueUseFastMathFlags(x))
        LLVMSetFastMathFlags(x, LLVMFastMathAllowContract);
    return x;
}

IrValue build_fadd(Builder *b, IrValue x, IrValue y) {
    return contracted(b, LLVMBuildFAdd(b->at, x, y, ""));
}

IrValue build_fsub(Builder *b, IrValue x, IrValue y) {
    return contracted(b, LLVMBuildFSub(b->at, x, y, ""));
}

IrValue build_fmul(Builder *b, IrValue x, IrValue y) {
    return contracted(b, LLVMBuildFMul(b->at, x, y, ""));
}

IrValue build_fdiv(Builder *b, IrValue x, IrValue y) { return LLVMBuildFDiv(b->at, x, y, ""); }
IrValue build_fneg(Builder *b, IrValue x) { return LLVMBuildFNeg(b->at, x, ""); }

static IrValue float_intrinsic(Builder *b, const char *name, IrValue *args, unsigned count) {
    return build_intrinsic(b, (Intrinsic){name, {LLVMTypeOf(args[0])}, 1}, args, count);
}

IrValue build_fabs(Builder *b, IrValue x) { return float_intrinsic(b, "llvm.fabs", &x, 1); }
IrValue build_sqrt(Builder *b, IrValue x) { return float_intrinsic(b, "llvm.sqrt", &x, 1); }

IrValue build_fma(Builder *b, IrValue x, IrValue y, IrValue z) {
    IrValue args[] = {x, y, z};
    // The baseline has no FMA: llvm.fma would become a call of fmaf.
    if (b->level == CPU_PORTABLE) return build_fadd(b, build_fmul(b, x, y), z);
    return float_intrinsic(b, "llvm.fma", args, 3);
}

IrValue build_dot_pairs(Builder *b, IrValue x, IrValue y, IrValue sum) {
    ASSERT(b->level == CPU_AVX512BF16);
    IrType pairs = type_vector(LLVMBFloatTypeInContext(b->context), 2 * b->lanes);
    IrValue args[] = {sum, build_bitcast(b, x, pairs), build_bitcast(b, y, pairs)};
    return build_intrinsic(b, (Intrinsic){.name = "llvm.x86.avx512bf16.dpbf16ps.512"}, args, 3);
}

IrValue build_fmax(Builder *b, IrValue x, IrValue y) {
    return build_select(b, build_fcmp(b, LLVMRealOGT, x, y), x, y);
}

IrValue build_fmin(Builder *b, IrValue x, IrValue y) {
    return build_select(b, build_fcmp(b, LLVMRealOLT, x, y), x, y);
}

IrValue build_fcmp(Builder *b, LLVMRealPredicate how, IrValue x, IrValue y) {
    return LLVMBuildFCmp(b->at, how, x, y, "");
}

IrValue build_icmp(Builder *b, LLVMIntPredicate how, IrValue x, IrValue y) {
    return LLVMBuildICmp(b->at, how, x, y, "");
}

IrValue build_select(Builder *b, IrValue condition, IrValue x, IrValue y) {
    return LLVMBuildSelect(b->at, condition, x, y, "");
}

IrValue build_bitcast(Builder *b, IrValue x, IrType type) {
    return LLVMBuildBitCast(b->at, x, type, "");
}

IrValue build_extract(Builder *b, IrValue vector, int lane) {
    return LLVMBuildExtractElement(b->at, vector, build_i32(b, lane, 1), "");
}

IrValue build_insert(Builder *b, IrValue vector, IrValue x, int lane) {
    return LLVMBuildInsertElement(b->at, vector, x, build_i32(b, lane, 1), "");
}

typedef IrValue Combine(Builder *b, IrValue x, IrValue y);

static IrValue combine_sum(Builder *b, IrValue x, IrValue y) {
    bool real = LLVMGetTypeKind(LLVMGetElementType(LLVMTypeOf(x))) == LLVMFloatTypeKind;
    return real ? build_fadd(b, x, y) : LLVMBuildAdd(b->at, x, y, "");
}

static IrValue combine_max(Builder *b, IrValue x, IrValue y) {
    bool real = LLVMGetTypeKind(LLVMGetElementType(LLVMTypeOf(x))) == LLVMFloatTypeKind;
    return real ? build_fmax(b, x, y) : build_select(b, build_icmp(b, LLVMIntSGT, x, y), x, y);
}

// x has 2^n lanes; each round combines the lower half of them with the upper.
static IrValue lanes_combine(Builder *b, IrValue x, Combine *combine) {
    int lanes = type_lanes(LLVMTypeOf(x));
    if (lanes == 1) return x;
    for (int half = lanes / 2; half >= 1; half /= 2) {
        IrValue upper[BUILD_MAX_LANES], lower[BUILD_MAX_LANES];
        int width =
            half > 1 ? half : 2;  // a vector of one lane would leave the vector registers
        for (int i = 0; i < width; i++) {
            upper[i] = i < half ? build_i32(b, half + i, 1) : LLVMGetPoison(b->i32);
            lower[i] = i < half ? build_i32(b, i, 1) : LLVMGetPoison(b->i32);
        }
        IrValue none = LLVMGetPoison(LLVMTypeOf(x));
        IrValue high =
            LLVMBuildShuffleVector(b->at, x, none, LLVMConstVector(upper, (unsigned)width), "");
        IrValue low =
            LLVMBuildShuffleVector(b->at, x, none, LLVMConstVector(lower, (unsigned)width), "");
        x = combine(b, low, high);
    }
    return build_extract(b, x, 0);
}

IrValue build_lanes_sum(Builder *b, IrValue x) { return lanes_combine(b, x, combine_sum); }
IrValue build_lanes_max(Builder *b, IrValue x) { return lanes_combine(b, x, combine_max); }

IrValue build_shuffle(Builder *b, IrValue x, IrValue y, const int *lane, int count) {
    IrValue pick[BUILD_MAX_LANES];
    for (int i = 0; i < count; i++)
        pick[i] = build_i32(b, lane[i], 1);
    return LLVMBuildShuffleVector(b->at, x, y, LLVMConstVector(pick, (unsigned)count), "");
}

// Each round halves the number of vectors. Then lane k is a part of the sum of x[k % count].
IrValue build_lanes_sums(Builder *b, IrValue *x, int count) {
    int lanes = type_lanes(LLVMTypeOf(x[0])), low[BUILD_MAX_LANES], high[BUILD_MAX_LANES];
    for (int bit = 1; bit < count; bit *= 2) {
        for (int k = 0; k < lanes; k++) {
            low[k] = k & bit ? lanes + (k ^ bit) : k;
            high[k] = k & bit ? lanes + k : k | bit;
        }
        for (int64_t i = 0; i < count / bit / 2; i++)
            x[i] = build_fadd(b, build_shuffle(b, x[2 * i], x[2 * i + 1], low, lanes),
                              build_shuffle(b, x[2 * i], x[2 * i + 1], high, lanes));
    }
    for (int half = lanes / 2; half >= count; half /= 2) {
        for (int k = 0; k < half; k++) {
            low[k] = k;
            high[k] = half + k;
        }
        x[0] = build_fadd(b, build_shuffle(b, x[0], x[0], low, half),
                          build_shuffle(b, x[0], x[0], high, half));
    }
    return x[0];
}

// ---- memory

// In log2(lanes) rounds of swapping halves of ever smaller squares.
void build_transpose(Builder *b, IrValue *x, int lanes) {
    for (int half = 1; half < lanes; half *= 2) {
        IrValue low[BUILD_MAX_LANES], high[BUILD_MAX_LANES];
        for (int i = 0; i < lanes; i++) {
            low[i] = build_i32(b, i & half ? lanes + (i ^ half) : i, 1);
            high[i] = build_i32(b, i & half ? lanes + i : i | half, 1);
        }
        IrValue to_low = LLVMConstVector(low, (unsigned)lanes);
        IrValue to_high = LLVMConstVector(high, (unsigned)lanes);
        for (int i = 0; i < lanes; i++) {
            if (i & half) continue;
            IrValue upper = x[i], lower = x[i | half];
            x[i] = LLVMBuildShuffleVector(b->at, upper, lower, to_low, "");
            x[i | half] = LLVMBuildShuffleVector(b->at, upper, lower, to_high, "");
        }
    }
}

IrValue build_load(Builder *b, IrType type, IrValue pointer, unsigned align) {
    IrValue x = LLVMBuildLoad2(b->at, type, pointer, "");
    LLVMSetAlignment(x, align);
    return x;
}

IrValue build_store(Builder *b, IrValue x, IrValue pointer, unsigned align) {
    IrValue store = LLVMBuildStore(b->at, x, pointer);
    LLVMSetAlignment(store, align);
    return store;
}

IrValue build_load_masked(Builder *b, IrType type, IrValue pointer, unsigned align,
                          IrValue mask) {
    if (mask == NULL) return build_load(b, type, pointer, align);
    IrValue args[] = {pointer, build_i32(b, align, 1), mask, LLVMConstNull(type)};
    return build_intrinsic(b, (Intrinsic){"llvm.masked.load", {type, b->ptr}, 2}, args, 4);
}

void build_store_masked(Builder *b, IrValue x, IrValue pointer, unsigned align, IrValue mask) {
    if (mask == NULL) {
        build_store(b, x, pointer, align);
        return;
    }
    IrValue args[] = {x, pointer, build_i32(b, align, 1), mask};
    build_intrinsic(b, (Intrinsic){"llvm.masked.store", {LLVMTypeOf(x), b->ptr}, 2}, args, 4);
}

IrValue build_gather(Builder *b, IrType type, IrValue pointers, unsigned align, IrValue mask) {
    if (mask == NULL) mask = build_mask_first(b, BUILD_MAX_LANES, type_lanes(type));
    IrValue args[] = {pointers, build_i32(b, align, 1), mask, LLVMConstNull(type)};
    return build_intrinsic(
        b, (Intrinsic){"llvm.masked.gather", {type, LLVMTypeOf(pointers)}, 2}, args, 4);
}

void build_scatter(Builder *b, IrValue x, IrValue pointers, unsigned align, IrValue mask) {
    if (mask == NULL) mask = build_mask_first(b, BUILD_MAX_LANES, type_lanes(LLVMTypeOf(x)));
    IrValue args[] = {x, pointers, build_i32(b, align, 1), mask};
    Intrinsic which = {"llvm.masked.scatter", {LLVMTypeOf(x), LLVMTypeOf(pointers)}, 2};
    build_intrinsic(b, which, args, 4);
}

void build_nontemporal(Builder *b, IrValue store) {
    LLVMMetadataRef one = LLVMValueAsMetadata(build_i32(b, 1, 1));
    LLVMMetadataRef node = LLVMMDNodeInContext2(b->context, &one, 1);
    unsigned kind = LLVMGetMDKindIDInContext(b->context, "nontemporal", 11);
    LLVMSetMetadata(store, kind, LLVMMetadataAsValue(b->context, node));
}

void build_prefetch(Builder *b, IrValue pointer, bool write, int locality) {
    IrValue args[] = {pointer, build_i32(b, write, 1), build_i32(b, locality, 1),
                      build_i32(b, 1, 1)};
    build_intrinsic(b, (Intrinsic){"llvm.prefetch", {b->ptr}, 1}, args, 4);
}

void build_fence(Builder *b, IrValue value) {
    static const char constraints[] = "v,~{memory}";
    IrType from = LLVMTypeOf(value),
           type = LLVMFunctionType(LLVMVoidTypeInContext(b->context), &from, 1, false);
    IrValue nothing = LLVMGetInlineAsm(type, "", 0, constraints, sizeof constraints - 1, true,
                                       false, LLVMInlineAsmDialectATT, false);
    LLVMBuildCall2(b->at, type, nothing, &value, 1, "");
}

void build_forget(Builder *b) {
    LLVMBuildFence(b->at, LLVMAtomicOrderingAcquireRelease, true, "");
}

IrValue build_variable(Builder *b, IrType type) {
    IrBlock here = LLVMGetInsertBlock(b->at);
    LLVMPositionBuilderBefore(b->at, LLVMGetFirstInstruction(b->entry));
    IrValue variable = LLVMBuildAlloca(b->at, type, "");
    build_at(b, here);
    // To position before an instruction is to take its line.
    if (b->line != NULL) LLVMSetCurrentDebugLocation2(b->at, b->line);
    return variable;
}

IrValue build_scratch(Builder *b, int64_t bytes) {
    IrValue pointer = build_gep_bytes(b, b->scratch, b->scratch_bytes);
    b->scratch_bytes += (bytes + 63) / 64 * 64;
    return pointer;
}

IrValue build_intrinsic(Builder *b, Intrinsic which, IrValue *args, unsigned count) {
    unsigned id = LLVMLookupIntrinsicID(which.name, strlen(which.name));
    if (id == 0) BUG("no intrinsic %s", which.name);
    IrValue f =
        LLVMGetIntrinsicDeclaration(b->module, id, which.overloads, which.overload_count);
    return LLVMBuildCall2(b->at, LLVMGlobalGetValueType(f), f, args, count, "");
}

// ---- control

IrBlock build_block(Builder *b, const char *name) {
    return LLVMAppendBasicBlockInContext(b->context, b->function, name);
}

void build_at(Builder *b, IrBlock block) { LLVMPositionBuilderAtEnd(b->at, block); }

void loop_begin(Builder *b, Loop *loop, IrValue from, IrValue to, int64_t step) {
    ASSERT(loop->count <= LOOP_MAX_CARRIED);
    loop->before = LLVMGetInsertBlock(b->at);
    loop->head = build_block(b, "loop");
    loop->after = build_block(b, "after");
    loop->to = to;
    loop->step = step;
    LLVMBuildCondBr(b->at, build_icmp(b, LLVMIntSLT, from, to), loop->head, loop->after);
    build_at(b, loop->head);
    loop->index = LLVMBuildPhi(b->at, b->i64, "");
    LLVMAddIncoming(loop->index, &from, &loop->before, 1);
    for (uint32_t i = 0; i < loop->count; i++) {
        loop->first[i] = loop->carried[i];
        loop->phi[i] = LLVMBuildPhi(b->at, LLVMTypeOf(loop->first[i]), "");
        LLVMAddIncoming(loop->phi[i], &loop->first[i], &loop->before, 1);
        loop->carried[i] = loop->phi[i];
    }
}

void loop_end(Builder *b, Loop *loop) {
    IrValue next = build_iadd(b, loop->index, build_i64(b, loop->step));
    IrBlock last = LLVMGetInsertBlock(b->at);
    LLVMAddIncoming(loop->index, &next, &last, 1);
    for (uint32_t i = 0; i < loop->count; i++)
        LLVMAddIncoming(loop->phi[i], &loop->carried[i], &last, 1);
    LLVMBuildCondBr(b->at, build_icmp(b, LLVMIntSLT, next, loop->to), loop->head, loop->after);
    build_at(b, loop->after);
    for (uint32_t i = 0; i < loop->count; i++) {
        IrValue values[] = {loop->first[i], loop->carried[i]};
        IrBlock blocks[] = {loop->before, last};
        IrValue phi = LLVMBuildPhi(b->at, LLVMTypeOf(loop->first[i]), "");
        LLVMAddIncoming(phi, values, blocks, 2);
        loop->carried[i] = phi;
    }
}

Branch branch_begin(Builder *b, IrValue condition) {
    IrBlock then = build_block(b, "then");
    Branch branch = {build_block(b, "after")};
    LLVMBuildCondBr(b->at, condition, then, branch.after);
    build_at(b, then);
    return branch;
}

void branch_end(Builder *b, Branch branch) {
    LLVMBuildBr(b->at, branch.after);
    build_at(b, branch.after);
}
