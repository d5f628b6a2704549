"""compare.py STRATA MODELS_DIR: runs the strata program on each language model and compares its outputs, loss
and every gradient with reference.py. Each line says the worst error; exit 1 if one is too large.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import reference
import tensors

# Two heads of keys with two query heads each; sizes that are no multiples of any vector's width; a last
# block that is not complete.
SETTINGS = {"vocab": 43, "d": 40, "h": 2, "r": 2, "dk": 10, "ff": 56, "layers": 3, "block": 4}
BATCH, CONTEXT = 3, 19
LIMIT = 1e-5  # f32 against f64, relative to the tensor's norm and to its largest element


class Strata:
    """The program under test; files live in `folder`."""

    def __init__(self, program, models, folder):
        self.program, self.models, self.folder = program, Path(models), Path(folder)

    def call(self, command, name, settings, *options):
        line = [self.program, command, str(self.models / f"{name}.strata"), "-q"]
        line += ["--db", str(self.folder / "tune.db"), "--target", "cpu", "--dtype", "f32"]
        for key, value in settings.items():
            text = ",".join(map(str, value)) if isinstance(value, list) else value
            line += ["--set", f"{key}={text}"]
        line += map(str, options)
        return subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout

    def init(self, name, settings):
        path = self.folder / "init.safetensors"
        self.call("init", name, settings, "-o", path)
        return tensors.read(path)

    def run(self, name, settings, params, inputs, *options):
        paths = [self.folder / f"{file}.safetensors" for file in ("params", "inputs", "outputs")]
        tensors.write(paths[0], params)
        tensors.write(paths[1], inputs)
        self.call("run", name, settings, "--params", paths[0], "--inputs", paths[1], "-o", paths[2],
                  "--grad", *options)
        return tensors.read(paths[2])


def settings_of(name):
    return {k: v for k, v in SETTINGS.items() if k != "block" or name == "attnres_block"}


def error_between(got, want):
    """The larger of the relative error in norm and that of the worst element against the largest one."""
    if got.shape != want.shape or not np.all(np.isfinite(got)):
        return np.inf
    difference = got.astype(np.float64) - want
    if not want.any():  # as the query of a site with one source: its gradient is zero, not small
        return np.inf if difference.any() else 0.0
    return max(np.linalg.norm(difference) / np.linalg.norm(want),
               np.abs(difference).max() / np.abs(want).max())


class Report:
    def __init__(self):
        self.failed = self.passed = 0

    def check(self, what, error, limit=LIMIT):
        good = error <= limit
        self.passed += good
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {what}: {error:.1e} (limit {limit:.0e})", flush=True)

    def compare(self, name, got, want, limit=LIMIT):
        if set(got) != set(want):
            print(f"names differ: {sorted(set(got) ^ set(want))}")
        errors = {key: error_between(got[key], want[key]) if key in got else np.inf for key in want}
        for key in ("logits", "loss"):
            self.check(f"{name}: {key}", errors.pop(key), limit)
        worst = max(errors, key=errors.get)
        self.check(f"{name}: {len(errors)} gradients, worst {worst}", errors[worst], limit)


def compare_model(strata, report, name, inputs, rng):
    """Parameters have the names and shapes that `init` gives them, and other values."""
    settings = settings_of(name)
    shapes = {key: value.shape for key, value in strata.init(name, settings).items()}
    report.check(f"{name}: names and shapes of parameters",
                 0.0 if shapes == reference.parameter_shapes(name, settings) else np.inf)
    params = {key: value.astype(np.float32)
              for key, value in reference.random_parameters(shapes, rng).items()}
    wide = {key: value.astype(np.float64) for key, value in params.items()}
    want = reference.evaluate(name, settings, wide, inputs["tokens"], inputs["targets"])
    report.compare(name, strata.run(name, settings, params, inputs), want)
    for phases in ("on", "off"):
        report.compare(f"{name} --two-phase {phases}",
                       strata.run(name, settings, params, inputs, "--two-phase", phases), want)
    report.compare(f"{name} --reference", strata.run(name, settings, params, inputs, "--reference"), want)
    return params


def compare_schemes(strata, report, inputs, params):
    """params: of attnres_full. What its definition promises about blocks and zero queries."""
    full = strata.run("attnres_full", settings_of("attnres_full"), params, inputs)
    block1 = strata.run("attnres_block", {**SETTINGS, "block": 1}, params, inputs)
    same = all(np.array_equal(full[key], block1[key]) for key in full)
    report.check("block = 1 gives every number of attnres_full", 0.0 if same else np.inf, 0)

    zeros = {key: value * (not key.endswith("query")) for key, value in params.items()}
    plain = {key: zeros[key] for key in reference.parameter_shapes("prenorm", settings_of("prenorm"))}
    stream = strata.run("prenorm", settings_of("prenorm"), plain, inputs)["loss"]
    for block in (2, 4):
        loss = strata.run("attnres_block", {**SETTINGS, "block": block}, zeros, inputs)["loss"]
        # Averages are smaller than sums by up to the number of sources, 7; the eps of the norms then weighs
        # up to 49 times more: 5e-5 of a stream whose mean square is about one.
        report.check(f"zero queries, block = {block}: the loss of prenorm", error_between(loss, stream), 5e-5)


def main(program, models):
    rng = np.random.default_rng(2)
    tokens, targets = rng.integers(0, SETTINGS["vocab"], (2, BATCH, CONTEXT)).astype(np.int32)
    inputs = {"tokens": tokens, "targets": targets}
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        strata = Strata(program, models, folder)
        params = {name: compare_model(strata, report, name, inputs, rng) for name in reference.MODELS}
        compare_schemes(strata, report, inputs, params["attnres_full"])
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
