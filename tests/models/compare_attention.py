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
# Lengths of the sequences in each row of the batch.
PACKED = {
    "packed, causal": ({"h": 2, "r": 2}, [[100, 0, 1, 37, 12], [1, 0, 0, 149]]),
    "packed, all": ({"causal": "false"}, [[0, 60, 1, 0, 9], [70]]),
    "packed, window": ({"window": 9, "dk": 13}, [[5, 70, 1], [76, 0]]),
    "packed, single tokens": ({}, [[1] * 20, [0] + [1] * 20]),
}
# The same of the keys: queries of a segment without keys see nothing.
PACKED_CROSS = {
    "segments without keys": ({}, [[30, 3, 40], [0, 73]], [[80, 0, 55], [100, 35]]),
    "no key at all": ({"r": 3}, [[9, 3], [12]], [[0, 0, 40], [40]]),
}
DEFAULTS = {"h": 2, "r": 1, "dk": 8, "tokens": 11, "width": 4, "scale": 0.35}


def mask_of(s, keys):
    behind = np.arange(s["tokens"])[:, None] - np.arange(keys)
    seen = behind >= -s["ahead"] if "ahead" in s else np.full(behind.shape, True)
    if s.get("causal", "true") == "true" and "ahead" not in s and "keys" not in s:
        seen &= behind >= 0
    return seen & (behind < s["window"]) if "window" in s else seen


def evaluate(q, k, v, upstream, s, segments=None):
    scores = np.einsum("bthrd,bshd->bhrts", q, k) * s["scale"]
    seen = mask_of(s, k.shape[1])[None]
    if segments:
        seen = seen & (segments[0][:, :, None] == segments[1][:, None, :])
    scores = np.where(seen[:, None, None], scores, -np.inf)
    p = np.exp(scores - np.maximum(scores.max(-1, keepdims=True), -1e30))
    p /= np.maximum(p.sum(-1, keepdims=True), 1e-30)  # nothing where nothing is seen
    y = np.einsum("bhrts,bshe->bthre", p, v)
    g = y + upstream
    dp = np.einsum("bthre,bshe->bhrts", g, v)
    ds = p * (dp - (p * dp).sum(-1, keepdims=True)) * s["scale"]
    return {"logits": y, "loss": (g * g).sum() / 2, "grad.v": np.einsum("bhrts,bthre->bshe", p, g),
            "grad.q": np.einsum("bhrts,bshd->bthrd", ds, k), "grad.k": np.einsum("bhrts,bthrd->bshd", ds, q)}


def segments_of(lengths):
    return np.stack([np.repeat(np.arange(len(row)), row) for row in lengths]).astype(np.int32)


def compare_packed(strata, report, model, name, case, rng):
    segments = [segments_of(lengths) for lengths in case[1:]]
    s = {**case[0], "tokens": segments[0].shape[1]}
    inputs = {"segment": segments[0]}
    if len(segments) > 1:
        s |= {"keys": segments[1].shape[1]}
        inputs["key_segment"] = segments[1]
    compare_case(strata, report, model, name, s, rng, (inputs, segments[0], segments[-1]))


def compare_case(strata, report, model, name, case, rng, packed=None):
    s = {**DEFAULTS, **case}
    keys, heads = s.get("keys", s["tokens"]), (s["h"], s["r"])
    shapes = {"q": (BATCH, s["tokens"], *heads, s["dk"]), "k": (BATCH, keys, s["h"], s["dk"]),
              "v": (BATCH, keys, s["h"], s["width"]), "upstream": (BATCH, s["tokens"], *heads, s["width"])}
    leaves = {key: rng.standard_normal(shape, dtype=np.float32) for key, shape in shapes.items()}
    regions = strata.call("show", model, s, "--stage", "regions", "--grad").decode()
    report.check(f"{name}: kernels of attention", 0 if " = attend_dk " in regions and " = attend " in regions else 1)
    upstream = leaves.pop("upstream")
    inputs, *segments = packed or ({},)
    want = evaluate(*(x.astype(np.float64) for x in leaves.values()), upstream, s, segments)
    got = strata.run(model, s, leaves, {"upstream": upstream, **inputs})
    got["logits"] = got.pop("y")
    for key in ("grad.q", "grad.k"):  # of one key: its weight is 1, whatever its score
        if np.abs(want[key]).max() < 1e-12:
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
        for model, cases in (("packed", PACKED), ("packed_cross", PACKED_CROSS)):
            for name, case in cases.items():
                compare_packed(strata, report, model, name, case, rng)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
