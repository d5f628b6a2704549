// names.h: the names by which the compiler and the runtime know entries and the tensors that
// training adds.
#pragma once

#define ENTRY_NAME_FORWARD    "forward"
#define ENTRY_NAME_INFER      "infer"
#define ENTRY_NAME_EVAL       "eval"
#define ENTRY_NAME_PREFILL    "prefill"
#define ENTRY_NAME_DECODE     "decode"
#define ENTRY_NAME_GRAD       "grad"
#define ENTRY_NAME_TRAIN      "train"
#define ENTRY_NAME_ACCUMULATE "accumulate"
#define ENTRY_NAME_APPLY      "apply"

#define NAME_TOKENS             "tokens"   // input [B, T]: token ids
#define NAME_TARGETS            "targets"  // input [B, T]: the tokens that follow
#define NAME_LOGITS             "logits"   // output over B, T and the vocabulary
#define NAME_LOSS               "loss"
#define NAME_REPORT_PREFIX      "report."
#define NAME_FURTHER_LOSS       "report.further_loss"  // what functions add to the loss
// Of the entries prefill and decode, whose inputs over positions and outputs have the entry's
// name and a dot before their own.
#define NAME_POSITION           "cache.position"  // input [B]: where each row is
#define NAME_COUNT              "cache.count"  // input [B]: how many tokens of the chunk it has
#define NAME_CACHE_PREFIX       "cache."       // states
#define NAME_GRAD_PREFIX        "grad."        // outputs of ENTRY_GRAD
#define NAME_GRAD_NORM          "grad_norm"    // output: global norm before clipping
#define NAME_LR                 "optim.lr"     // inputs, scalars
#define NAME_STEP               "optim.step"   // counts from 1
#define NAME_CLIP               "optim.clip"   // largest global norm; infinity: no clipping
#define NAME_ACCUMULATED_PREFIX "optim.grad."  // states: sums of gradients over micro-batches
#define NAME_MICRO              "optim.micro"  // state: how many micro-batches they hold
