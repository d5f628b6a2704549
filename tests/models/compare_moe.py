"""compare_moe.py STRATA MODELS_DIR: the mixture of experts of models/std/moe.strata (tests/models/moe/layer.strata)
against NumPy, token by token: the experts chosen, their load, the bias after the step, outputs and every gradient.
"""
import sys
import tempfile
from pathlib import Path

import numpy as np

import compare
import tape as tp
from tensors import bf16

SETTINGS = {"n": 23, "d": 12, "e": 8, "top": 3, "ff": 5, "shared": 7}
# Also: every expert for every token; one; experts that no token goes to (more of them than slots).
CASES = {
    "sigmoid": {},
    "softmax, as they are": {"scores": "softmax", "renormalise": "false", "scale": 1},
    "further losses": {"scores": "softmax", "balance": 0.3, "z": 0.2},
    "groups": {"groups": 4, "kept": 2},
    "all experts": {"top": 8},
    "one expert": {"e": 1, "top": 1, "renormalise": "false"},
    "more experts than tokens": {"e": 40, "n": 3, "top": 2},
}
# In bf16 what kernels give each other is rounded, relatively by up to 2^-8 and evenly below that: the mean square is a third of its square.
# Of such roundings up to 8 follow each other (logits, scores, weights, gate and up, hidden, and back), and 15 take part in an element of the
# gradient of x, the most of all. They are independent, so their squares add. Sums do not change that: signs of their terms are as good
# as random, so errors of the terms add up just as the terms do. Accumulation in f32 is 2^-24 for each of at most 276 terms, which is nothing.
ROUNDED = ("sigmoid", "all experts", "more experts than tokens")
ROUNDINGS = 15
LIMIT_ROUNDED = (ROUNDINGS / 3) ** 0.5 * 2**-8
RATE = 1e-3


def groups_open(c, groups, kept):
    """Of one token's scores c: which experts are in groups that come into question."""
    each = c.reshape(groups, -1)
    sums = np.sort(each, 1)[:, -2:].sum(1)
    best = np.argsort(-sums, kind="stable")[:kept]
    return np.repeat(np.isin(np.arange(groups), best), each.shape[1])


def choice(score, bias, s):
    """[n, top]: the greatest first, of equal ones the one with the smaller number."""
    c = score + bias
    if s["groups"] > 1:
        c = np.where([groups_open(row, s["groups"], s["kept"]) for row in c], c, -np.inf)
    return np.argsort(-c, 1, kind="stable")[:, :s["top"]]


def swiglu(tape, x, gate, up, down):
    hidden = tp.mul(tape, tp.silu(tape, tp.contract(tape, "nd,df->nf", x, gate)), tp.contract(tape, "nd,df->nf", x, up))
    return tp.contract(tape, "nf,fd->nd", hidden, down)


def layer(tape, p, bias, s):
    """The result, and the experts chosen."""
    logits = tp.contract(tape, "nd,de->ne", p["x"], p["route.router"])
    score = tp.sigmoid(tape, logits) if s["scores"] == "sigmoid" else tp.softmax(tape, logits, 1)
    pick = choice(score.value, bias, s)
    rows = np.arange(s["n"])
    own = [tp.part(tape, score, (rows, pick[:, k])) for k in range(s["top"])]
    total = own[0]
    for one in own[1:]:
        total = tp.add(tape, total, one)
    y = swiglu(tape, p["x"], *(p[f"swiglu.{name}"] for name in ("gate", "up", "down")))
    for k in range(s["top"]):
        share = own[k] if s["renormalise"] == "false" else tp.mul(tape, own[k], tp.reciprocal(tape, total))
        weight = tp.scale(tape, share, s["scale"])
        for row in rows:
            expert = [tp.part(tape, p[f"experts.{name}"], (pick[row, k],)) for name in ("gate", "up", "down")]
            one = swiglu(tape, tp.part(tape, p["x"], (slice(row, row + 1),)), *expert)
            place = np.zeros((s["n"], 1))
            place[row] = 1
            y = tp.add(tape, y, tp.mul(tape, tp.scale(tape, tp.reshape(tape, weight, (-1, 1)), place), one))
    return y, pick, further_loss(tape, logits, score, pick, s)


def further_loss(tape, logits, score, pick, s):
    """As evaluate: a number on the tape."""
    share = np.bincount(pick.ravel(), minlength=s["e"]) / pick.size
    total = tp.total(tape, score, (1,), keep=True)
    mean = tp.scale(tape, tp.mul(tape, score, tp.reciprocal(tape, total)), s["balance"] * s["e"] * share / s["n"])
    top = logits.value.max(1, keepdims=True)
    sums = tp.total(tape, tp.exp(tape, tp.scale(tape, logits, 1.0, -top)), (1,), keep=True)
    lse = tp.elementwise(tape, sums, np.log(sums.value) + top, 1 / sums.value)
    square = tp.scale(tape, tp.mul(tape, lse, lse), s["z"] / s["n"])
    return tp.add(tape, tp.total(tape, mean, (0, 1)), tp.total(tape, square, (0, 1)))


def evenness(share):
    some = share[share > 0]
    return -(some * np.log(some)).sum() / np.log(len(share)) if len(share) > 1 else None


def evaluate(params, bias, upstream, s):
    tape = tp.Tape()
    variables = {key: tp.Var(value) for key, value in params.items()}
    y, pick, further = layer(tape, variables, bias, s)
    loss = tp.total(tape, tp.mul(tape, y, tp.Var(upstream)), (0, 1))
    tape.backward(tp.add(tape, loss, further))
    load = np.bincount(pick.ravel(), minlength=s["e"])
    lack = np.sign(load.mean() - load)
    return {"logits": y.value, "loss": loss.value, "pick": pick, "bias": bias + RATE * (lack - lack.mean()),
            "further": further.value, "load": load / load.sum(), "evenness": evenness(load / load.sum()), **{f"grad.{key}": var.grad for key, var in variables.items()}}


def compare_case(strata, report, name, more, rng, dtype="f32"):
    """bf16: numbers that it has, so that routers see just what NumPy sees and choose alike."""
    s = {"scores": "sigmoid", "groups": 1, "kept": 1, "renormalise": "true", "scale": 2.446, "balance": 0,
         "z": 0, **SETTINGS, **more}
    shapes = {key: value.shape for key, value in strata.init("layer", s).items()}
    params = {key: (rng.standard_normal(shape) * (1 if key == "x" else max(shape[-2], 1) ** -0.5)).astype(np.float32)
              for key, shape in shapes.items() if not key.endswith("bias")}
    bias = (0.3 * rng.standard_normal(s["e"])).astype(np.float32)
    upstream = rng.standard_normal((s["n"], s["d"])).astype(np.float32)
    if dtype == "bf16":
        params, upstream = {key: bf16(value) for key, value in params.items()}, bf16(upstream)
    limit = compare.LIMIT if dtype == "f32" else LIMIT_ROUNDED
    want = evaluate({key: value.astype(np.float64) for key, value in params.items()}, bias.astype(np.float64),
                    upstream.astype(np.float64), s)
    for way in ([], ["--reference"]):
        got = strata.run("layer", s, {**params, "route.bias": bias}, {"upstream": upstream}, "--state", "--dtype", dtype, *way)
        label = " ".join([name, dtype, *way])
        pick = got.pop("pick")
        report.check(f"{label}: experts", np.abs((pick.T if pick.shape[0] == s["top"] else pick) - want["pick"]).max(), 0)
        report.check(f"{label}: load", np.abs(got.pop("report.route.load") - want["load"]).max(), 1e-6)
        report.check(f"{label}: dropped", np.abs(got.pop("report.route.dropped")), 0)
        if s["z"] > 0:
            error = compare.error_between(got.pop("report.further_loss"), want["further"])
            report.check(f"{label}: further losses", error)
        if s["e"] > 1:
            error = np.abs(got.pop("report.route.evenness") - want["evenness"])
            report.check(f"{label}: evenness", error, 1e-6)
        report.check(f"{label}: bias", np.abs(got.pop("route.bias") - want["bias"]).max(), 1e-6)
        got["logits"] = got.pop("y")
        report.compare(label, got, {key: value for key, value in want.items()
                                    if key not in ("pick", "load", "evenness", "bias", "further")}, limit)


def main(program, _models):
    rng = np.random.default_rng(7)
    report = compare.Report()
    with tempfile.TemporaryDirectory() as folder:
        strata = compare.Strata(program, Path(__file__).parent / "moe", folder)
        for name, more in CASES.items():
            compare_case(strata, report, name, more, rng)
            if name in ROUNDED:
                compare_case(strata, report, name, more, rng, "bf16")
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
