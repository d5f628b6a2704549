"""compare_linear.py STRATA MODELS_DIR: every layer of models/std/linear_attention.strata (tests/models/linear/layer.strata)
against linear_layers.py: parameters and how many there are, outputs and every gradient, for one sequence a row and
for several, f32 and bf16; and the sizes of published layers.
"""
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import compare
import linear_layers as layers
from tensors import bf16

TOKENS = 70  # more than a chunk
# Of packed sequences, a row each: some without tokens at first, in the midst and at last, some of one, and tokens behind them all; or one
# has everything.
LENGTHS = [[0, 4, 0, 0, 0, 58, 1, 0], [0, 0, 70, 0, 0, 0, 0, 0]]
BATCH, SEQUENCES = len(LENGTHS), len(LENGTHS[0])
WAYS = (["--reference"], [])
# Rounding of what is stored in bf16, in norm: of results what such operands of products cost; of gradients, which norms of small
# numbers make larger, what the evaluator has from rounding the same values, twice.
BF16_RESULT, BF16_GRADIENT = 1e-2, 2
# The gradient of a decay is the difference of two sums over the tokens from its own to its tile's end, of which there
# are at most 32: so many additions round.
DECAY_ROUNDING = 2 * 32 * 2.0**-24
CASES = {**{member: (member, {}) for member in layers.LAYERS},
         "kda, bounded": ("kda", {"least": -5}),
         "kda, two taps, narrow values": ("kda", {"taps": 2, "dv": 3}),
         "mamba2, one group": ("mamba2", {"h": 1, "r": 4})}

# Parameters of the layer of Kimi Linear 48B, and of other published sizes.
SIZES = {"kda": ({"d": 2304, "h": 32, "dk": 128, "dv": 128, "rank": 128}, 39_514_272)}


def rate_limit(decays, want):
    """Of the gradient of a_log, a sum over tokens and channels of decays times their gradients, whose signs differ: what
    is left of it may be less by far than its terms, and than their rounding."""
    terms = sum(np.abs(x.value * x.grad).sum((0, 1, 3)) for x in decays)
    return max(compare.LIMIT, DECAY_ROUNDING * terms.max() / np.abs(want).max())


def compare_results(report, name, got, want, limits):
    for key, limit in limits.items():
        report.check(f"{name}: {key}", compare.error_between(got[key], want[key]), limit)
    report.compare(name, *({key: value for key, value in x.items() if key not in limits} for x in (got, want)))


def norm_error(got, want):
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def compare_rounded(report, name, got, evaluated, want):
    """In bf16."""
    report.check(f"{name}: logits", norm_error(got["logits"], want["logits"]), BF16_RESULT)
    share = {key: norm_error(got[key], want[key]) / (BF16_GRADIENT * norm_error(evaluated[key], want[key]) + compare.LIMIT)
             for key in want if key.startswith("grad.")}
    worst = max(share, key=share.get)
    report.check(f"{name}: {len(share)} gradients, of the limit, worst {worst}", share[worst], 1)


def compare_case(strata, report, name, member, more, rng):
    s = {**layers.SETTINGS, **more}
    settings = {**s, "member": member, "batch": BATCH, "tokens": TOKENS, "sequences": SEQUENCES}
    want_shapes = layers.LAYERS[member].shapes(s)
    shapes = {key.removeprefix(f"{member}."): value.shape for key, value in strata.init("layer", settings).items()}
    shapes.pop("x")
    report.check(f"{name}: names and shapes of parameters", 0.0 if shapes == want_shapes else np.inf)
    params = {key: bf16(value) for key, value in layers.random_parameters(want_shapes, rng).items()}
    x, upstream = bf16(rng.standard_normal((2, BATCH, TOKENS, s["d"])))
    named = {key if key == "x" else f"{member}.{key}": value for key, value in {**params, "x": x}.items()}
    inputs = {"upstream": upstream, "offsets": np.pad(np.cumsum(LENGTHS, 1), ((0, 0), (1, 0))).astype(np.int32)}
    wide = {key: value.astype(np.float64) for key, value in params.items()}

    def run(packed, *way):
        got = strata.run("layer", {**settings, "packed": packed}, named, inputs, *way)
        got = {key.replace(f"grad.{member}.", "grad."): value for key, value in got.items()}
        return {"logits": got.pop("y"), **got}

    for packed in ("false", "true"):
        offsets = inputs["offsets"] if packed == "true" else None
        want, decays = layers.evaluate_with_decays(member, wide, x.astype(np.float64), upstream.astype(np.float64), offsets, s)
        rate = "grad.a_log"
        limits = {rate: rate_limit(decays, want[rate])} if rate in want else {}
        for way in WAYS:
            compare_results(report, " ".join([name, "packed" if packed == "true" else "apart", *way]), run(packed, *way), want,
                            {} if way else limits)
    compare_rounded(report, f"{name} packed, bf16", *(run(packed, "--dtype", "bf16", *way) for way in ([], ["--reference"])), want)


def count(strata, report):
    for member, (sizes, parameters) in SIZES.items():
        s = {**layers.SETTINGS, **sizes, "member": member, "batch": 1, "tokens": 1}
        holdings = json.loads(strata.call("check", "layer", s, "--json"))
        report.check(f"{member}: {parameters} parameters", abs(holdings["parameters"] - sizes["d"] - parameters), 0)


def main(program, _models):
    rng = np.random.default_rng(12)
    report = compare.Report()
    with tempfile.TemporaryDirectory() as folder:
        strata = compare.Strata(program, Path(__file__).parent / "linear", folder)
        for name, (member, more) in CASES.items():
            compare_case(strata, report, name, member, more, rng)
        count(strata, report)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
