"""What is measured: the settings of the benchmark, and inputs that every peer gets alike."""
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "models"))
import compare_kimi  # noqa: E402  (beside this folder, and no package)
import reference  # noqa: E402

# One training step of a language model: forward, backward, AdamW. d 256, 4 layers, 4 heads.
MODEL = {"vocab": 512, "d": 256, "h": 4, "r": 1, "dk": 64, "ff": 640, "layers": 4, "block": 4}
BATCH, CONTEXT = 8, 256
TRAINING = ("prenorm", "attnres_full", "attnres_block")

# The same wider and deeper, "prenorm:512": settings that differ, and the batch. As tests/bench/bench_depth.py.
WIDE = {"512": ({"d": 512, "h": 8, "ff": 1408, "layers": 8}, 4), "1024": ({"d": 1024, "h": 16, "ff": 2816, "layers": 8}, 2)}

# One token of one row, in the middle of a context: models as they are in models/, "decode:prenorm".
DECODE, DECODE_CONTEXT = {**MODEL, "vocab": 256, "layers": 8}, 512

# models/kimi_linear.strata, size=small.
KIMI = {"vocab": 256, "d": 512, "h": 8, "dk": 64, "dr": 32, "rank": 256, "ff": 1408, "layers": 12, "every": 4, "block": 4,
        "least": 0}

# One read of N sources by attention over depth, at width d and T tokens; and one causal attention. "both" is
# the forward and the backward pass to every operand.
DEPTH = {"N": 8, "d": 1024, "T": 4096}
ATTENTION = {"B": BATCH, "h": MODEL["h"], "T": CONTEXT, "dk": MODEL["dk"]}
KDA = {"T": 4096, "h": 8, "dk": 128, "sequences": 32}
MOE = {"tokens": 4096, "d": 512, "experts": 64, "top": 8, "width": 256}
KERNELS = ("attn_res_forward", "attn_res_both", "attention_forward", "attention_both", "kda_both", "kda_decode",
           "moe_both", "moe_skewed_both", "moe_dense_both", "moe_bf16_both", "moe_bf16_skewed_both")

# As models/std/optim.strata.
ADAMW = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "decay": 0.1}
EPS = 1e-6  # of every norm


def training_case(case):
    """(model, settings, batch) of "prenorm" or "prenorm:512"."""
    name, _, width = case.partition(":")
    other, batch = WIDE[width] if width else ({}, BATCH)
    return name, {**MODEL, **other}, batch


def decays(name):
    """Vectors (gains, queries) are not decayed."""
    return not name.endswith(("gain", "query"))


def model_case(name, settings, batch, context):
    """(parameters, tokens, targets), f32 and i64."""
    rng = np.random.default_rng(3)
    params = reference.random_parameters(reference.parameter_shapes(name, settings), rng)
    tokens, targets = rng.integers(0, settings["vocab"], (2, batch, context))
    return {k: v.astype(np.float32) for k, v in params.items()}, tokens, targets


def kimi_case():
    """Parameters."""
    shapes = compare_kimi.parameter_shapes(KIMI)
    params = compare_kimi.random_parameters(shapes, np.random.default_rng(8))
    return {k: v.astype(np.float32) for k, v in params.items()}


def block_size(name, settings):
    """Sublayers a block of depth has; 0: one residual stream."""
    return {"prenorm": 0, "attnres_full": 1}.get(name, settings["block"])


def depth_case():
    """(sources, query, gain, gradient of the result)."""
    rng = np.random.default_rng(4)
    def normal(*shape): return rng.standard_normal(shape, dtype=np.float32)
    t, d = DEPTH["T"], DEPTH["d"]
    return [normal(t, d) for _ in range(DEPTH["N"])], normal(d) / 32, 1 + normal(d) / 8, normal(t, d)


def attention_case(case):
    """q, k, v and the gradient of the result, each (B, T, h, dk). "attention_both:2048:64": one sequence of that
    length and width, eight heads; as tests/bench/bench_attention.py."""
    rng = np.random.default_rng(5)
    shape = [ATTENTION[axis] for axis in ("B", "T", "h", "dk")]
    _, _, size = case.partition(":")
    if size:
        length, _, width = size.partition(":")
        shape = [1, int(length), 8, int(width)]
    return [rng.standard_normal(shape, dtype=np.float32) for _ in range(4)]


def kda_case(decode):
    """q, k, v, decay and beta of one sequence, and the gradient of the result; decode: of one token of some sequences, and their
    states. As tests/bench/kda.strata and kda_decode.strata."""
    rng = np.random.default_rng(6)
    h, d = KDA["h"], KDA["dk"]
    tokens = (KDA["sequences"], 1, h) if decode else (KDA["T"], h)
    def uniform(low, high, *shape): return rng.uniform(low, high, shape).astype(np.float32)
    def normal(*shape): return rng.standard_normal(shape, dtype=np.float32)
    operands = [uniform(-0.15, 0.15, *tokens, d), uniform(-0.15, 0.15, *tokens, d), normal(*tokens, d),
                uniform(-2, 0, *tokens, d), uniform(0, 1, *tokens)]
    return [*operands, normal(KDA["sequences"], h, d, d) if decode else normal(*tokens, d)]


def moe_case(dense):
    """x, the router, the experts' gate, up and down, and the gradient of the result; dense: one expert and no router. As
    tests/bench/moe.strata."""
    rng = np.random.default_rng(7)
    n, d, ff = MOE["tokens"], MOE["d"], MOE["width"]
    many = () if dense else (MOE["experts"],)
    def normal(*shape): return rng.standard_normal(shape, dtype=np.float32)
    router = [] if dense else [normal(d, MOE["experts"]) / np.float32(d) ** 0.5]
    experts = [normal(*many, *shape) / np.float32(shape[0]) ** 0.5 for shape in ((d, ff), (d, ff), (ff, d))]
    rows = (MOE["top"], n, d) if dense else (n, d)
    return [normal(*rows), *router, *experts, normal(*rows)]
