"""The measured cases in JAX: one jitted function a case."""
import time

import jax
import jax.numpy as jnp
import numpy as np

import cases

VERSION = f"jax {jax.__version__}"


def rms_norm(x, gain):
    return gain * x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + cases.EPS)


def attn_res(sources, query, gain):
    values = jnp.stack(sources)
    weights = jax.nn.softmax(rms_norm(values, gain) @ query, 0)
    return jnp.einsum("n...,n...d->...d", weights, values)


def rope(x, base=10000.0):
    """x: (B, T, heads, width)."""
    context, width = x.shape[1], x.shape[-1]
    angle = np.arange(context)[:, None] * base ** (-2 * np.arange(width // 2) / width)
    cos, sin = (f(angle).astype(np.float32)[:, None] for f in (np.cos, np.sin))
    low, high = jnp.split(x, 2, -1)
    return jnp.concatenate([low * cos - high * sin, high * cos + low * sin], -1)


def attend(q, k, v):
    return jax.nn.dot_product_attention(q, k, v, is_causal=True)


def attention(params, x, path):
    wq, wk, wv, wo = (params[f"{path}.{w}"] for w in ("wq", "wk", "wv", "wo"))
    q = jnp.einsum("btd,dhrk->bthrk", x, wq)
    q = rope(q.reshape(*q.shape[:2], -1, q.shape[-1]))
    k, v = rope(jnp.einsum("btd,dhk->bthk", x, wk)), jnp.einsum("btd,dhv->bthv", x, wv)
    y = attend(q, k, v)
    return y.reshape(*y.shape[:2], -1) @ wo.reshape(-1, wo.shape[-1])


def swiglu(params, x, path):
    gate, up, down = (params[f"{path}.{w}"] for w in ("gate", "up", "down"))
    return (jax.nn.silu(x @ gate) * (x @ up)) @ down


def logits_of(params, layers, block, tokens):
    def read(path):
        if len(sources) == 1:
            return sources[0]
        return attn_res(sources, params[f"{path}.query"], params[f"{path}.gain"])

    sources = [params["embed"][tokens]]
    for i in range(2 * layers):
        name, sublayer = (("attn", attention), ("mlp", swiglu))[i % 2]
        path = f"layers.{i // 2}.{name}"
        y = sublayer(params, rms_norm(read(f"{path}_res"), params[f"{path}_norm.gain"]), path)
        starts_block = block and i % block == 0
        sources.append(y if starts_block else sources.pop() + y)
    return rms_norm(read("head_res"), params["head_norm.gain"]) @ params["head"]


def loss_of(params, layers, block, tokens, targets):
    logits = logits_of(params, layers, block, tokens)
    chosen = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, -1) - chosen)


def adamw(params, grads, moments, step):
    s = cases.ADAMW
    new_params, new_moments = {}, {}
    for key, p in params.items():
        g, (m, v) = grads[key], moments[key]
        m = s["beta1"] * m + (1 - s["beta1"]) * g
        v = s["beta2"] * v + (1 - s["beta2"]) * g * g
        size = (m / (1 - s["beta1"] ** step)) / (jnp.sqrt(v / (1 - s["beta2"] ** step)) + s["eps"])
        new_params[key] = p - s["lr"] * (size + s["decay"] * cases.decays(key) * p)
        new_moments[key] = (m, v)
    return new_params, new_moments


def evaluate(name, settings, params, tokens, targets):
    """As reference.evaluate."""
    layers, block = settings["layers"], cases.block_size(name, settings)
    params = {key: jnp.asarray(value) for key, value in params.items()}
    loss, grads = jax.value_and_grad(loss_of)(params, layers, block, tokens, targets)
    return {"logits": np.asarray(logits_of(params, layers, block, tokens)), "loss": np.asarray(loss),
            **{f"grad.{key}": np.asarray(value) for key, value in grads.items()}}


def timed(function, *arguments):
    start = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - start


def training(name):
    params, tokens, targets = cases.model_case(name, cases.MODEL, cases.BATCH, cases.CONTEXT)
    layers, block = cases.MODEL["layers"], cases.block_size(name, cases.MODEL)
    tokens, targets = jnp.asarray(tokens), jnp.asarray(targets)
    state = ({key: jnp.asarray(value) for key, value in params.items()},
             {key: (jnp.zeros_like(value), jnp.zeros_like(value)) for key, value in params.items()},
             jnp.float32(1))

    def update(params, moments, step):
        loss, grads = jax.value_and_grad(loss_of)(params, layers, block, tokens, targets)
        params, moments = adamw(params, grads, moments, step)
        return params, moments, step + 1, loss

    update = jax.jit(update, donate_argnums=(0, 1, 2))

    def step():
        nonlocal state
        (*state, _), seconds = timed(update, *state)
        return seconds

    return step


def kernel(name):
    """A forward pass, or with the backward pass to every operand."""
    if name.startswith(("kda", "moe", "decode")):
        raise NotImplementedError("no formulation in JAX")
    if name.startswith("attn_res"):
        sources, *rest = cases.depth_case()
        *leaves, upstream = (jnp.asarray(x) for x in (*sources, *rest))
        def function(*x): return attn_res(list(x[:-2]), x[-2], x[-1])
    else:
        *leaves, upstream = (jnp.asarray(x) for x in cases.attention_case(name))
        function = attend
    if name.partition(":")[0].endswith("forward"):
        forward = jax.jit(function)
        return lambda: timed(forward, *leaves)[1]
    both = jax.jit(lambda g, *x: jax.vjp(function, *x)[1](g))
    return lambda: timed(both, upstream, *leaves)[1]


def case(name):
    """A function that does one step and gives its seconds."""
    return training(name) if name in cases.TRAINING else kernel(name)
