"""compare_linear.py STRATA MODELS_DIR: every layer of models/std/linear_attention.strata (tests/models/linear/layer.strata)
against linear_layers.py: parameters and how many there are, outputs and every gradient, for one sequence a row and
for several; and the sizes of published layers.
"""
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import compare
import linear_layers as layers

BATCH, TOKENS = 2, 70  # more than a chunk
WAYS = (["--reference"], [])
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


def compare_case(strata, report, name, member, more, rng):
    s = {**layers.SETTINGS, **more}
    settings = {**s, "member": member, "batch": BATCH, "tokens": TOKENS}
    want_shapes = layers.LAYERS[member].shapes(s)
    shapes = {key.removeprefix(f"{member}."): value.shape for key, value in strata.init("layer", settings).items()}
    shapes.pop("x")
    report.check(f"{name}: names and shapes of parameters", 0.0 if shapes == want_shapes else np.inf)
    params = {key: value.astype(np.float32) for key, value in layers.random_parameters(want_shapes, rng).items()}
    x, upstream = rng.standard_normal((2, BATCH, TOKENS, s["d"])).astype(np.float32)
    begins = np.zeros((BATCH, TOKENS), np.float32)
    begins[0, [0, 4]] = begins[1, [1, 2, 9]] = 1
    wide = {key: value.astype(np.float64) for key, value in params.items()}
    for packed in ("false", "true"):
        want, decays = layers.evaluate_with_decays(member, wide, x.astype(np.float64), upstream.astype(np.float64),
                                                   begins if packed == "true" else None, s)
        rate = "grad.a_log"
        limits = {rate: rate_limit(decays, want[rate])} if rate in want else {}
        named = {key if key == "x" else f"{member}.{key}": value for key, value in {**params, "x": x}.items()}
        for way in WAYS:
            got = strata.run("layer", {**settings, "packed": packed}, named, {"upstream": upstream, "begins": begins}, *way)
            got = {key.replace(f"grad.{member}.", "grad."): value for key, value in got.items()}
            got["logits"] = got.pop("y")
            compare_results(report, " ".join([name, "packed" if packed == "true" else "apart", *way]), got, want,
                            {} if way else limits)


def count(strata, report):
    for member, (sizes, parameters) in SIZES.items():
        s = {**layers.SETTINGS, **sizes, "member": member, "batch": 1, "tokens": 1}
        holdings = json.loads(strata.call("check", "layer", s, "--json"))
        report.check(f"{member}: {parameters} parameters", abs(holdings["parameters"] - sizes["d"] - parameters), 0)


def main(program, _models):
    rng = np.random.default_rng(11)
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
