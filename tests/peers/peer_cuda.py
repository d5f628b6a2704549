"""The measured cases in PyTorch on a GPU, in bf16 unless said otherwise; also flash-linear-attention's kernel.

A case is "name:setting=value,...". Times of kernels are the GPU's own, by events; before each step a large buffer is
cleared, which empties the L2 cache and keeps the GPU busy while the step is queued; then what Strata's step has just
written is written here as well. STRATA_PEER_DEVICE=cpu runs all of it without a GPU, to try it out.
"""
import os
import time

import torch
import torch.nn.functional as F

import cases
import peer_torch

VERSION = f"torch {torch.__version__}, CUDA {torch.version.cuda}"
DEVICE = os.environ.get("STRATA_PEER_DEVICE", "cuda")
L2_BYTES = 1 << 29  # several times the cache


def parse(case):
    name, _, rest = case.partition(":")
    return name, {key: int(value) for key, value in (item.split("=") for item in rest.split(",") if item)}


def normal(*shape, dtype=torch.bfloat16):
    return torch.randn(*shape, device=DEVICE, dtype=dtype)


def by_events(function, fresh=()):
    """Seconds of the GPU for a call; the tensors of `fresh` are written just before it."""
    if DEVICE == "cpu":
        return lambda: peer_torch.timed(function)
    cache = torch.empty(L2_BYTES, dtype=torch.uint8, device=DEVICE)
    copies = [tensor.clone() for tensor in fresh]
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def step():
        cache.zero_()
        cache.zero_()
        for tensor, copy in zip(fresh, copies):
            tensor.copy_(copy)
        start.record()
        function()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e-3

    return step


def fla_attn_res():
    from fla.ops.attnres import fused_attnres
    return lambda sources, query, gain: fused_attnres(query, sources, gain, rms_eps=cases.EPS)


def depth(name, s, wrap, peer):
    sources = [normal(s["t"], s["d"]) for _ in range(s["n"])]
    query, gain, upstream = normal(s["d"]) / 32, 1 + normal(s["d"]) / 8, normal(s["t"], s["d"])
    function = fla_attn_res() if peer == "fla" else wrap(peer_torch.attn_res)
    leaves = [*sources, query, gain]
    both = name.endswith("both")
    for leaf in leaves:
        leaf.requires_grad_(both)

    def step():
        if both:
            torch.autograd.grad(function(sources, query, gain), leaves, upstream)
        else:
            with torch.no_grad():
                function(sources, query, gain)

    return by_events(step)


def depth_block(name, s, wrap, peer):
    """Sublayers whose results are given: each reads the blocks and the sum so far."""
    blocks = [normal(s["t"], s["d"]) for _ in range(s["n"] + 1)]
    results = [normal(s["t"], s["d"]) for _ in range(s["s"])]
    queries = [normal(s["d"]) / 32 for _ in range(s["s"])]
    gains = [1 + normal(s["d"]) / 8 for _ in range(2 * s["s"])]
    read, both = fla_attn_res() if peer == "fla" else peer_torch.attn_res, name.endswith("both")

    def sublayers(blocks, results, queries, gains):
        *sources, sofar = blocks
        inputs = []
        for i, result in enumerate(results):
            x = read([*sources, sofar], queries[i], gains[2 * i])
            inputs.append(F.rms_norm(x, gains[2 * i + 1].shape, gains[2 * i + 1], cases.EPS))
            sofar = sofar + result
        return [*inputs, sofar]

    function = sublayers if peer == "fla" else wrap(sublayers)
    leaves = [*blocks, *results, *queries, *gains]
    for leaf in leaves:
        leaf.requires_grad_(both)
    upstream = [normal(s["t"], s["d"]) for _ in range(s["s"] + 1)]

    def step():
        if both:
            torch.autograd.grad(function(blocks, results, queries, gains), leaves, upstream)
        else:
            with torch.no_grad():
                function(blocks, results, queries, gains)

    return by_events(step)


def row(name, s, wrap):
    x, gain = normal(s["t"], s["d"]), torch.ones(s["d"], device=DEVICE, dtype=torch.bfloat16)
    if name == "softmax":
        function = wrap(lambda x: torch.softmax(x, -1))
    else:
        function = wrap(lambda x: F.rms_norm(x, gain.shape, gain, cases.EPS))
    return by_events(lambda: function(x))


def product(name, s, wrap):
    x, w, r = normal(s["m"], s["k"]), normal(s["k"], s["n"]) * s["k"] ** -0.5, normal(s["m"], s["n"])
    epilogue = {"product": lambda y, r: y, "product_silu": lambda y, r: F.silu(y), "product_add": torch.add}[name]
    function = wrap(lambda x, w, r: epilogue(x @ w, r))
    return by_events(lambda: function(x, w, r), fresh=(x, w, r) if name == "product_add" else (x, w))


def adamw(s):
    w = torch.nn.Parameter(normal(s["a"], s["b"], dtype=torch.float32))
    w.grad = normal(s["a"], s["b"], dtype=torch.float32)
    settings = cases.ADAMW
    optimizer = torch.optim.AdamW([w], lr=settings["lr"], betas=(settings["beta1"], settings["beta2"]),
                                  eps=settings["eps"], weight_decay=settings["decay"], fused=True)
    return by_events(optimizer.step)


def copy(s):
    a = torch.randint(0, 255, (s["mib"] << 20,), dtype=torch.uint8, device=DEVICE)
    b = torch.empty_like(a)
    return by_events(lambda: b.copy_(a))


class Model(peer_torch.Model):
    """Parameters are f32, and all that is computed from them is bf16, as in Strata."""

    def at(self, path):
        return super().at(path).bfloat16()


def training(name, settings, wrap):
    """A whole step by the host's clock, as a user waits for it; fused AdamW."""
    batch, context = settings.pop("B"), settings.pop("T")
    params, tokens, targets = cases.model_case(name, settings, batch, context)
    model = Model(name, settings, params, context).to(DEVICE)
    model.tables = [table.to(DEVICE).bfloat16() for table in model.tables]
    tokens, targets = torch.tensor(tokens).to(DEVICE), torch.tensor(targets).to(DEVICE)
    optimizer = peer_torch.optimizer_of(model)
    loss_of = wrap(model)

    def step():
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(tokens, targets)
        loss.backward()
        optimizer.step()
        loss.item()  # Strata's step gives it, too
        if DEVICE != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return step


def case(text, peer):
    """A function that does one step and gives its seconds."""
    name, settings = parse(text)
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    wrap = torch.compile if peer == "torch-compile" else lambda f: f
    if name.startswith("attn_res"):
        return depth(name, settings, wrap, peer)
    if name.startswith("attn_block"):
        return depth_block(name, settings, wrap, peer)
    if name in cases.TRAINING:
        return training(name, settings, wrap)
    if name.startswith("product"):
        return product(name, settings, wrap)
    if name == "adamw":
        return adamw(settings)
    return copy(settings) if name == "copy" else row(name, settings, wrap)
