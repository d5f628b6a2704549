"""The language models of models/*.strata in float64 NumPy, with gradients: what Strata is compared with.

`reference.py` alone tests itself: gradients against finite differences, and the identities between models.
"""
import sys

import numpy as np

import tape as tp

MODELS = ("prenorm", "attnres_full", "attnres_block")


def parameter_shapes(name, s):
    """{parameter: shape}, named and ordered as in the model file. s: settings such as d, h, layers."""
    vector = (s["d"],)
    residual = {"query": vector, "gain": vector}
    sublayers = {
        "attn": {"wq": (s["d"], s["h"], s["r"], s["dk"]), "wk": (s["d"], s["h"], s["dk"]),
                 "wv": (s["d"], s["h"], s["dk"]), "wo": (s["h"], s["r"], s["dk"], s["d"])},
        "mlp": {"gate": (s["d"], s["ff"]), "up": (s["d"], s["ff"]), "down": (s["ff"], s["d"])},
    }
    scopes = {}
    for layer in range(s["layers"]):
        for sublayer, matrices in sublayers.items():
            if name != "prenorm":
                scopes[f"layers.{layer}.{sublayer}_res"] = residual
            scopes[f"layers.{layer}.{sublayer}_norm"] = {"gain": vector}
            scopes[f"layers.{layer}.{sublayer}"] = matrices
    if name != "prenorm":
        scopes["head_res"] = residual
    scopes["head_norm"] = {"gain": vector}
    shapes = {"embed": (s["vocab"], s["d"]), "head": (s["d"], s["vocab"])}
    shapes.update({f"{scope}.{leaf}": shape for scope, leaves in scopes.items()
                   for leaf, shape in leaves.items()})
    return shapes


def random_parameters(shapes, rng):
    """Nothing at a special value such as 0 or 1, and nothing that makes the result sensitive to rounding."""
    params = {}
    for name, shape in shapes.items():
        noise = rng.standard_normal(shape)
        if name.endswith("gain"):
            params[name] = 1 + 0.3 * noise
        elif name.endswith("query"):
            params[name] = 0.5 * noise / np.sqrt(shape[0])  # scores of about +-0.5: weights over depth differ
        elif name == "embed":
            params[name] = noise
        else:
            fan_in = np.prod(shape[:-1]) if name.endswith("wo") else shape[0]
            params[name] = noise / np.sqrt(fan_in)
    return params


class Depth:
    """The inputs of successive sublayers: one residual stream, or Attention Residuals in blocks.

    In blocks, sublayer i of block n reads the embedding, the sums of the blocks before n and, for i >= 2,
    the sum of what its own block has given so far.
    """

    def __init__(self, tape, params, embedding, settings):
        self.tape, self.params, self.eps = tape, params, settings["eps"]
        self.block = settings["block"]  # 0: one stream
        self.sources = [embedding]
        self.written = 0

    def read(self, scope):
        if len(self.sources) == 1:
            return self.sources[0]
        p = self.params
        return tp.attn_res(self.tape, self.sources, p[f"{scope}.query"], p[f"{scope}.gain"], self.eps)

    def write(self, y):
        starts_block = self.block > 0 and self.written % self.block == 0
        self.sources.append(y if starts_block else tp.add(self.tape, self.sources.pop(), y))
        self.written += 1


def attention(tape, x, params, scope, keys=None, values=None):
    """b, t: batch and position; d: width; h, r: heads of keys and query heads for each; s: positions of keys.

    Keys and values are made of x too, unless they have inputs of their own.
    """
    wq, wk, wv, wo = (params[f"{scope}.{w}"] for w in ("wq", "wk", "wv", "wo"))
    q = tp.rope(tape, tp.contract(tape, "btd,dhrk->bthrk", x, wq))
    k = tp.rope(tape, tp.contract(tape, "btd,dhk->bthk", keys or x, wk))
    v = tp.contract(tape, "btd,dhv->bthv", values or x, wv)
    scores = tp.contract(tape, "bthrk,bshk->bhrts", q, k)
    weights = tp.causal_softmax(tape, scores, wq.value.shape[-1] ** -0.5)
    y = tp.contract(tape, "bhrts,bshv->bthrv", weights, v)
    return tp.contract(tape, "bthrv,hrvd->btd", y, wo)


def swiglu(tape, x, params, scope):
    gate, up, down = (params[f"{scope}.{w}"] for w in ("gate", "up", "down"))
    gated = tp.silu(tape, tp.contract(tape, "btd,df->btf", x, gate))
    hidden = tp.mul(tape, gated, tp.contract(tape, "btd,df->btf", x, up))
    return tp.contract(tape, "btf,fd->btd", hidden, down)


def model_logits(tape, settings, params, tokens):
    def norm(x, scope):
        return tp.rms_norm(tape, x, params[f"{scope}.gain"], settings["eps"])

    depth = Depth(tape, params, tp.gather_rows(tape, params["embed"], tokens), settings)
    for layer in range(settings["layers"]):
        at = f"layers.{layer}"
        x = norm(depth.read(f"{at}.attn_res"), f"{at}.attn_norm")
        depth.write(attention(tape, x, params, f"{at}.attn"))
        x = norm(depth.read(f"{at}.mlp_res"), f"{at}.mlp_norm")
        depth.write(swiglu(tape, x, params, f"{at}.mlp"))
    x = norm(depth.read("head_res"), "head_norm")
    return tp.contract(tape, "btd,dv->btv", x, params["head"])


def evaluate(name, settings, params, tokens, targets):
    """{"logits": ..., "loss": ..., "grad.NAME": ... for each parameter}, all float64."""
    settings = {"eps": 1e-6, **settings}
    settings["block"] = {"prenorm": 0, "attnres_full": 1}.get(name, settings.get("block"))
    tape = tp.Tape()
    variables = {key: tp.Var(value) for key, value in params.items()}
    logits = model_logits(tape, settings, variables, tokens)
    loss = tp.mean_cross_entropy(tape, logits, targets)
    tape.backward(loss)
    grads = {f"grad.{key}": var.grad for key, var in variables.items()}
    return {"logits": logits.value, "loss": loss.value, **grads}


# ---- the reference against itself

SMALL = {"vocab": 11, "d": 12, "h": 2, "r": 2, "dk": 4, "ff": 10, "layers": 3, "block": 4}


def small_case(name, rng):
    """Also random tokens; with three layers the last block of four sublayers is left unfinished."""
    tokens, targets = rng.integers(0, SMALL["vocab"], (2, 2, 6))
    return random_parameters(parameter_shapes(name, SMALL), rng), tokens, targets


def check(what, error, limit):
    print(f"{'ok  ' if error <= limit else 'FAIL'} {what}: {error:.1e} (limit {limit:.0e})")
    return error <= limit


def difference_error(name, rng, step=1e-5):
    """Largest error of a gradient against central differences in a random direction, relative to its size."""
    params, tokens, targets = small_case(name, rng)
    exact = evaluate(name, SMALL, params, tokens, targets)
    worst = 0.0
    for key, value in params.items():
        way = rng.standard_normal(value.shape)
        way /= np.linalg.norm(way)
        loss = [evaluate(name, SMALL, {**params, key: value + sign * step * way}, tokens, targets)["loss"]
                for sign in (1, -1)]
        slope = np.sum(exact[f"grad.{key}"] * way)
        size = np.linalg.norm(exact[f"grad.{key}"])
        worst = max(worst, abs((loss[0] - loss[1]) / (2 * step) - slope) / max(size, 1e-3))
    return worst


def self_test():
    rng = np.random.default_rng(1)
    # A step of 1e-5 leaves about 1e-11 of rounding and 1e-10 of truncation, times the network's curvature.
    good = [check(f"{name}: gradients", difference_error(name, rng), 1e-7) for name in MODELS]

    params, tokens, targets = small_case("attnres_full", rng)
    full = evaluate("attnres_full", SMALL, params, tokens, targets)
    block1 = evaluate("attnres_block", {**SMALL, "block": 1}, params, tokens, targets)
    good.append(check("block = 1 is attnres_full", max(np.abs(full[k] - block1[k]).max() for k in full), 0))

    # Uniform weights scale the stream, which every norm undoes; exactly so without eps.
    exact = {**SMALL, "eps": 0.0}
    zeros = {k: v * (0 if k.endswith("query") else 1) for k, v in params.items()}
    plain = {k: zeros[k] for k in parameter_shapes("prenorm", SMALL)}
    stream = evaluate("prenorm", exact, plain, tokens, targets)["loss"]
    for block in (1, 2, 3, 4, 6):
        loss = evaluate("attnres_block", {**exact, "block": block}, zeros, tokens, targets)["loss"]
        good.append(check(f"zero queries, block = {block}: the loss of prenorm", abs(loss - stream), 1e-13))
    print(f"{sum(good)} passed, {len(good) - sum(good)} failed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(self_test())
