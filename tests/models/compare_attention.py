"""compare_attention.py STRATA MODELS_DIR: attention alone (tests/models/attention) against NumPy in f64: the result and
every gradient, over lengths, masks, groups of heads and widths; and that it is kernels of attention.
"""
import sys
import tempfile
from pathlib import Path

import numpy as np

import compare

BATCH = 2
CASES = {
    "one token": {"tokens": 1},
    "causal": {"tokens": 300},  # some chunks of keys, the last one not whole
    "all": {"tokens": 137, "causal": "false"},
    "window": {"tokens": 333, "window": 40},
    "window longer than a chunk": {"tokens": 400, "window": 200},
    "groups": {"tokens": 150, "h": 2, "r": 3},
    "one head of keys": {"tokens": 90, "h": 1, "r": 4, "causal": "false"},
    "192 and 128 wide": {"tokens": 200, "dk": 192, "width": 128, "scale": 192**-0.5},
    "odd widths, large scale": {"tokens": 75, "dk": 13, "width": 3, "scale": 2},
}
CROSS = {
    "fewer queries": {"tokens": 40, "keys": 500, "ahead": 460},
    "one query": {"tokens": 1, "keys": 700, "ahead": 600},
    "fewer keys": {"tokens": 300, "keys": 90, "ahead": 0},
}
DEFAULTS = {"h": 2, "r": 1, "dk": 8, "tokens": 11, "width": 4, "scale": 0.35}


def mask_of(s, keys):
    behind = np.arange(s["tokens"])[:, None] - np.arange(keys)
    seen = behind >= -s["ahead"] if "ahead" in s else np.full(behind.shape, True)
    if s.get("causal", "true") == "true" and "ahead" not in s:
        seen &= behind >= 0
    return seen & (behind < s["window"]) if "window" in s else seen


def evaluate(q, k, v, upstream, s):
    scores = np.einsum("bthrd,bshd->bhrts", q, k) * s["scale"]
    scores[..., ~mask_of(s, k.shape[1])] = -np.inf
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    y = np.einsum("bhrts,bshe->bthre", p, v)
    g = y + upstream
    dp = np.einsum("bthre,bshe->bhrts", g, v)
    ds = p * (dp - (p * dp).sum(-1, keepdims=True)) * s["scale"]
    return {"logits": y, "loss": (g * g).sum() / 2, "grad.v": np.einsum("bhrts,bthre->bshe", p, g),
            "grad.q": np.einsum("bhrts,bshd->bthrd", ds, k), "grad.k": np.einsum("bhrts,bthrd->bshd", ds, q)}


def compare_case(strata, report, model, name, case, rng):
    s = {**DEFAULTS, **case}
    keys, heads = s.get("keys", s["tokens"]), (s["h"], s["r"])
    shapes = {"q": (BATCH, s["tokens"], *heads, s["dk"]), "k": (BATCH, keys, s["h"], s["dk"]),
              "v": (BATCH, keys, s["h"], s["width"]), "upstream": (BATCH, s["tokens"], *heads, s["width"])}
    leaves = {key: rng.standard_normal(shape, dtype=np.float32) for key, shape in shapes.items()}
    regions = strata.call("show", model, s, "--stage", "regions", "--grad").decode()
    report.check(f"{name}: kernels of attention", 0 if " = attend_dk " in regions and " = attend " in regions else 1)
    upstream = leaves.pop("upstream")
    want = evaluate(*(x.astype(np.float64) for x in leaves.values()), upstream, s)
    got = strata.run(model, s, leaves, {"upstream": upstream})
    got["logits"] = got.pop("y")
    for key in ("grad.q", "grad.k"):  # of one key: its weight is 1, whatever its score
        if keys == 1:
            report.check(f"{name}: {key} is nothing", np.abs(got.pop(key)).max() - np.abs(want.pop(key)).max(), 1e-5)
    report.compare(name, got, want)


def main(program, _models):
    rng = np.random.default_rng(12)
    report = compare.Report()
    with tempfile.TemporaryDirectory() as folder:
        strata = compare.Strata(program, Path(__file__).parent / "attention", folder)
        for model, cases in (("attention", CASES), ("cross", CROSS)):
            for name, case in cases.items():
                compare_case(strata, report, model, name, case, rng)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
