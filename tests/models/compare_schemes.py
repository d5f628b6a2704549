"""compare_schemes.py STRATA MODELS_DIR: models/lm.strata with every way to connect sublayers against schemes.py, and
variants/variants.strata against variants.py: parameters and how many there are, initial values, outputs, loss and
every gradient; how many kernels. Each line says the worst error; exit 1 if one is too large.
"""
import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np

import compare
import schemes
import variants

# Sizes that are no multiples of any vector's width; blocks of which the last is not complete.
SETTINGS = {"vocab": 29, "d": 20, "h": 1, "r": 2, "dk": 6, "ff": 28, "layers": 3, "block": 4, "window": 3, "n": 3,
            "heads": 4}
BATCH, CONTEXT = 2, 9

# What a scheme adds to the parameters of `standard` (docs/depth.md), with L sublayers of width d and n streams.
ADDED = {
    "standard": lambda L, d, n: 0,
    "post": lambda L, d, n: -d,  # the head's norm
    "deep": lambda L, d, n: -d,
    "highway": lambda L, d, n: L * (d * d + d),
    "rezero": lambda L, d, n: L,
    "layer_scale": lambda L, d, n: L * d,
    "dense": lambda L, d, n: L // 2 * (L // 2 + 3) // 2,
    "mudd": lambda L, d, n: sum(d * w + w * c * k + c * k + 2 * d for k, w, c in (
        (k, 64 * math.ceil(4 * k / 64), 1 if k == L // 2 + 1 else 4) for k in range(2, L // 2 + 2))),
    "hyper_static": lambda L, d, n: L * (n * n + 2 * n),
    "hyper": lambda L, d, n: L * (n * n + 2 * n + d * (n + 2) + 2 + d),
    "mhc": lambda L, d, n: L * (n * d * (n * n + 2 * n) + n * n + 2 * n + 3),
    "mhc_lite": lambda L, d, n: L * (n * d * (math.factorial(n) + 2 * n) + math.factorial(n) + 2 * n + 3),
    "no_norm": lambda L, d, n: (L + 1) * d,
    "input_query": lambda L, d, n: (L + 1) * (d * d + d),
    "static_mix": lambda L, d, n: (L + 1) * (L + 2) // 2,
}
ATTN_RES = ("full", "block", "window", "heads", "sigmoid")
ADDED.update({name: lambda L, d, n: (L + 1) * 2 * d for name in ATTN_RES})

# These begin as `standard`, once mhc's small random map is set to zero.
BEGIN_AS_STANDARD = ("dense", "mudd", "hyper_static", "hyper", "mhc", "full", "block", "heads", "sigmoid", "no_norm",
                     "input_query", "static_mix")


def compare_parameters(report, name, scheme, init, settings):
    want = schemes.parameters(scheme, settings)
    good = {key: value.shape for key, value in init.items()} == {key: p.shape for key, p in want.items()}
    report.check(f"{name}: names and shapes of parameters", 0.0 if good else np.inf)
    fixed = {key: p.first for key, p in want.items() if p.first is not None}
    error = max(np.abs(init[key] - first).max() for key, first in fixed.items()) if good else np.inf
    report.check(f"{name}: initial values", error, 1e-7)


def count_parameters(report, name, init, settings):
    standard = sum(math.prod(p.shape) for p in schemes.parameters(schemes.Scheme, settings).values())
    added = ADDED[name](2 * settings["layers"], settings["d"], settings["n"])
    count = sum(value.size for value in init.values())
    report.check(f"{name}: {added} parameters more than standard", abs(count - standard - added), 0)


class Model(compare.Strata):
    """A model whose setting `residual` is the way to connect sublayers."""

    def __init__(self, program, models, folder, model):
        super().__init__(program, models, folder)
        self.model = model

    def kernels(self, residual, *options):
        """Of the forward pass, and of a training step."""
        return [len(json.loads(self.call("explain", self.model, {"size": "tiny", "residual": residual}, "--json",
                                         *more))["kernels"]) for more in ((), ("--grad",))]


def compare_all(model, report, which, settings, inputs, rng):
    """Returns initial parameters: {name: {parameter: value}}."""
    inits = {name: model.init(model.model, {**settings, "residual": name}) for name in which}
    for name, scheme in which.items():
        compare_parameters(report, name, scheme, inits[name], settings)
        compare_scheme(model, report, name, scheme, settings, inputs, rng)
    return inits


# A mix of sources is one kernel with the norm behind it: the forward pass has as many kernels as that of `standard`. And how
# many more the others have a sublayer.
ONE_KERNEL = ("hyper_static", "full", "block", "window", "heads", "sigmoid", "no_norm")
MORE_A_SUBLAYER = {"input_query": 2, "hyper": 2, "mhc": 3, "mhc_lite": 4}
# Of those that the library lacks, the forward pass and a training step have as many as `block`.
MIXES = ("difference", "recency", "temperature")


def count_kernels(library, own, report):
    standard, block = library.kernels("standard"), library.kernels("block")
    sublayers = 4
    for name, more in {**dict.fromkeys(ONE_KERNEL, 0), **MORE_A_SUBLAYER}.items():
        wanted = standard[0] + more * sublayers
        report.check(f"{name}: {wanted} kernels", abs(library.kernels(name)[0] - wanted), 0)
    for name in MIXES:
        forward, step = own.kernels(name)
        report.check(f"{name}: as many kernels as block", abs(forward - block[0]), 0)
        report.check(f"{name}: {step} kernels in a training step, block {block[1]}", abs(step - block[1]), 0)


def grouped(results):
    """The gradients of a parameter that every layer has, in one.

    Some must be zero or almost: of what scales an input that is normalised, of what mixes streams that are the same or
    of which only the sum is read. Measured by themselves they would be rounding only.
    """
    groups = {}
    for key in sorted(results):
        name = key.split(".", 3)[3] if key.startswith("grad.layers") else key
        groups.setdefault(name, []).append(results[key].ravel())
    return {key: np.concatenate(values) for key, values in groups.items()}


def compare_scheme(strata, report, name, scheme, settings, inputs, rng):
    params = {key: value.astype(np.float32) for key, value in schemes.random_parameters(scheme, settings, rng).items()}
    wide = {key: value.astype(np.float64) for key, value in params.items()}
    want = schemes.evaluate(scheme, settings, wide, inputs["tokens"], inputs["targets"])
    got = strata.run(strata.model, {**settings, "residual": name}, params, inputs)
    report.compare(name, grouped(got), grouped(want))


def initial_loss(strata, name, init, settings, inputs):
    """With an embedding so large that the eps of norms, here 1e-6 of at least 1/49, hardly counts."""
    params = {key: value * np.float32(50 if key == "embed" else 0 if key.endswith("phi") else 1)
              for key, value in init.items()}
    return strata.run("lm", {**settings, "residual": name}, params, inputs)["loss"]


def compare_initial(strata, report, inits, settings, inputs):
    """What sources promise of a model that nobody has trained."""
    standard = initial_loss(strata, "standard", inits["standard"], settings, inputs)
    for name in BEGIN_AS_STANDARD:
        loss = initial_loss(strata, name, inits[name], settings, inputs)
        report.check(f"{name}: begins as standard", compare.error_between(loss, standard), 5e-5)
    nothing = {key: value for key, value in inits["standard"].items() if not key.startswith("layers")}
    empty = initial_loss(strata, "standard", nothing, {**settings, "layers": 0}, inputs)
    loss = initial_loss(strata, "rezero", inits["rezero"], settings, inputs)
    report.check("rezero: begins as no sublayer at all", compare.error_between(loss, empty), 1e-6)
    beta = (8 * settings["layers"]) ** -0.25
    errors = [compare.error_between(value, inits["standard"][key] * (
        beta if key.endswith(("wv", "wo", "up", "down")) else 1))
        for key, value in inits["deep"].items() if not key.endswith("gain")]
    report.check("deep: weights begin as standard's, some scaled", max(errors), 1e-6)


def main(program, models):
    rng = np.random.default_rng(5)
    tokens, targets = rng.integers(0, SETTINGS["vocab"], (2, BATCH, CONTEXT)).astype(np.int32)
    inputs = {"tokens": tokens, "targets": targets}
    report = compare.Report()
    with tempfile.TemporaryDirectory() as folder:
        strata = Model(program, models, folder, "lm")
        inits = compare_all(strata, report, schemes.SCHEMES, SETTINGS, inputs, rng)
        for name, init in inits.items():
            count_parameters(report, name, init, SETTINGS)
        sizes = {**SETTINGS, "blocks": [1, 3], "block": 1}
        compare_scheme(strata, report, "block", schemes.Block, sizes, inputs, rng)
        compare_initial(strata, report, inits, SETTINGS, inputs)

        own = Model(program, Path(__file__).parent / "variants", folder, "variants")
        settings = {key: value for key, value in SETTINGS.items() if key != "window"}
        compare_all(own, report, variants.VARIANTS, settings, inputs, rng)
        count_kernels(strata, own, report)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
