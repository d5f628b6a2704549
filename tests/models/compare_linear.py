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
# The gradient of a decay is a difference of sums over a chunk. What the decays are made of weighs the rounding of each
# token with the decays of all tokens before it in its chunk, of which there are up to 64.
DECAYS, DECAY_LIMIT = ("a_log", "dt_bias", "bias", "f1", "f2", "wa", "wdt"), 64 * 2.0**-24 * 16
CASES = {**{member: (member, {}) for member in layers.LAYERS},
         "kda, bounded": ("kda", {"least": -5}),
         "kda, two taps, narrow values": ("kda", {"taps": 2, "dv": 3}),
         "mamba2, one group": ("mamba2", {"h": 1, "r": 4})}

# Parameters of the layer of Kimi Linear 48B, and of other published sizes.
SIZES = {"kda": ({"d": 2304, "h": 32, "dk": 128, "dv": 128, "rank": 128}, 39_514_272)}


def compare_results(report, name, got, want, way):
    decays = {} if way else {key for key in want if key.removeprefix("grad.") in DECAYS}
    errors = {key: compare.error_between(got[key], want[key]) for key in decays}
    if errors:
        worst = max(errors, key=errors.get)
        report.check(f"{name}: gradients of decays, worst {worst}", errors[worst], DECAY_LIMIT)
    report.compare(name, *({key: value for key, value in x.items() if key not in decays} for x in (got, want)))


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
        want = layers.evaluate(member, wide, x.astype(np.float64), upstream.astype(np.float64),
                               begins if packed == "true" else None, s)
        named = {key if key == "x" else f"{member}.{key}": value for key, value in {**params, "x": x}.items()}
        for way in WAYS:
            got = strata.run("layer", {**settings, "packed": packed}, named, {"upstream": upstream, "begins": begins}, *way)
            got = {key.replace(f"grad.{member}.", "grad."): value for key, value in got.items()}
            got["logits"] = got.pop("y")
            compare_results(report, " ".join([name, "packed" if packed == "true" else "apart", *way]), got, want, way)


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
