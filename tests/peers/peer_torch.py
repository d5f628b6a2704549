"""The measured cases in PyTorch, eager or through torch.compile."""
import time

import numpy as np
import torch
import torch.nn.functional as F

import cases
import peer_torch_kda
import peer_torch_kimi
import peer_torch_moe

VERSION = f"torch {torch.__version__}"


def attn_res(sources, query, gain):
    """As in the paper's listing: stack, normalise, score, softmax over depth, mix."""
    values = torch.stack(sources)
    keys = F.rms_norm(values, gain.shape, gain, cases.EPS)
    weights = torch.softmax(keys @ query, 0)
    return torch.einsum("n...,n...d->...d", weights, values)


def rope_tables(context, width, base=10000.0):
    """cos and sin of the angles, (T, 1, width / 2): for (B, T, heads, width)."""
    angle = np.arange(context)[:, None] * base ** (-2 * np.arange(width // 2) / width)
    return [torch.tensor(f(angle), dtype=torch.float32)[:, None] for f in (np.cos, np.sin)]


def rope(x, tables):
    cos, sin = tables
    low, high = x.chunk(2, -1)
    return torch.cat([low * cos - high * sin, high * cos + low * sin], -1)


def attend(q, k, v, causal=True):
    """(B, T, heads, width); the heads of q are r times those of k and v."""
    y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                       is_causal=causal, enable_gqa=q.shape[2] != k.shape[2])
    return y.transpose(1, 2)


def linear(x, w, axes=1):
    """Contracts the last `axes` axes of x with the first of w."""
    rows = w.shape[:axes].numel()
    return (x.flatten(-axes) @ w.view(rows, -1)).unflatten(-1, w.shape[axes:])


class Model(torch.nn.Module):
    def __init__(self, name, settings, params, context):
        super().__init__()
        self.layers, self.block = settings["layers"], cases.block_size(name, settings)
        self.tables = rope_tables(context, settings["dk"])
        # Parameter names may not have points in them.
        self.params = torch.nn.ParameterDict({key.replace(".", "/"): torch.tensor(value)
                                              for key, value in params.items()})

    def at(self, path):
        return self.params[path.replace(".", "/")]

    def norm(self, x, path):
        gain = self.at(f"{path}.gain")
        return F.rms_norm(x, gain.shape, gain, cases.EPS)

    def attention(self, x, path):
        q = rope(linear(x, self.at(f"{path}.wq")).flatten(2, 3), self.tables)
        k = rope(linear(x, self.at(f"{path}.wk")), self.tables)
        y = attend(q, k, linear(x, self.at(f"{path}.wv")))
        return y.flatten(2) @ self.at(f"{path}.wo").flatten(0, 2)

    def swiglu(self, x, path):
        gate, up, down = (self.at(f"{path}.{w}") for w in ("gate", "up", "down"))
        return (F.silu(x @ gate) * (x @ up)) @ down

    def read(self, sources, path):
        if len(sources) == 1:
            return sources[0]
        return attn_res(sources, self.at(f"{path}.query"), self.at(f"{path}.gain"))

    def logits(self, tokens):
        sources = [self.at("embed")[tokens]]
        for i in range(2 * self.layers):
            name = ("attn", "mlp")[i % 2]
            path = f"layers.{i // 2}.{name}"
            x = self.norm(self.read(sources, f"{path}_res"), f"{path}_norm")
            y = self.attention(x, path) if name == "attn" else self.swiglu(x, path)
            if self.block and i % self.block == 0:
                sources = sources + [y]
            else:
                sources = sources[:-1] + [sources[-1] + y]
        return self.norm(self.read(sources, "head_res"), "head_norm") @ self.at("head")

    def forward(self, tokens, targets):
        return F.cross_entropy(self.logits(tokens).flatten(0, 1), targets.flatten())


class Decoder(Model):
    """A token of each row at a time, the same position in all: keys and values of every position are kept."""
    def __init__(self, name, settings, params, context, batch):
        super().__init__(name, settings, params, context)
        self.position = 0
        self.kept = torch.zeros(self.layers, 2, batch, context, settings["h"], settings["dk"])

    def attention(self, x, path):
        now, end = slice(self.position, self.position + 1), self.position + 1
        tables = [t[now] for t in self.tables]
        kept = self.kept[int(path.split(".")[1])]
        kept[0, :, now] = rope(linear(x, self.at(f"{path}.wk")), tables)
        kept[1, :, now] = linear(x, self.at(f"{path}.wv"))
        q = rope(linear(x, self.at(f"{path}.wq")).flatten(2, 3), tables)
        y = attend(q, kept[0, :, :end], kept[1, :, :end], causal=False)
        return y.flatten(2) @ self.at(f"{path}.wo").flatten(0, 2)


def decode(name, settings, params, tokens):
    """The logits, token by token."""
    batch, context = tokens.shape
    model, logits = Decoder(name, settings, params, context, batch), []
    with torch.no_grad():
        for model.position in range(context):
            logits.append(model.logits(torch.tensor(tokens[:, model.position:model.position + 1])))
    return torch.cat(logits, 1).numpy()


def evaluate(name, settings, params, tokens, targets):
    """As reference.evaluate."""
    model = Model(name, settings, params, tokens.shape[1])
    tokens, targets = torch.tensor(tokens), torch.tensor(targets)
    loss = model(tokens, targets)
    loss.backward()
    # With one source a site's query and gain have no part in the loss, hence no gradient.
    grads = {f"grad.{key.replace('/', '.')}": (torch.zeros_like(p) if p.grad is None else p.grad).numpy()
             for key, p in model.params.items()}
    return {"logits": model.logits(tokens).detach().numpy(), "loss": loss.detach().numpy(), **grads}


def optimizer_of(model):
    groups = [{"params": [p for key, p in model.params.items() if cases.decays(key) == decayed],
               "weight_decay": cases.ADAMW["decay"] * decayed} for decayed in (True, False)]
    settings = cases.ADAMW
    return torch.optim.AdamW(groups, lr=settings["lr"], betas=(settings["beta1"], settings["beta2"]),
                             eps=settings["eps"], fused=True)


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def training(case_name, wrap):
    name, settings, batch = cases.training_case(case_name)
    params, tokens, targets = cases.model_case(name, settings, batch, cases.CONTEXT)
    model = Model(name, settings, params, cases.CONTEXT)
    tokens, targets = torch.tensor(tokens), torch.tensor(targets)
    optimizer = optimizer_of(model)
    loss_of = wrap(model)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss_of(tokens, targets).backward()
        optimizer.step()

    return lambda: timed(step)


def decoding(case_name, wrap):
    """One token in the middle of the context."""
    name = case_name.partition(":")[2]
    if name.startswith("kimi_linear"):
        dtype = torch.bfloat16 if name.endswith("bf16") else torch.float32
        model = peer_torch_kimi.Decoder(cases.KIMI, cases.kimi_case(), cases.DECODE_CONTEXT, dtype)
        return token_timed(model, wrap, 1)
    params, tokens, _ = cases.model_case(name, cases.DECODE, 1, cases.DECODE_CONTEXT)
    model = Decoder(name, cases.DECODE, params, cases.DECODE_CONTEXT, 1)
    return token_timed(model, wrap, torch.tensor(tokens[:, :1]))


def token_timed(model, wrap, token):
    model.position = cases.DECODE_CONTEXT // 2
    logits = wrap(model.logits)

    def step():
        with torch.no_grad():
            logits(token)

    return lambda: timed(step)


def kernel(name, peer, wrap):
    """A forward pass without gradients, or with the backward pass to every operand."""
    if name.startswith("attn_res"):
        sources, *rest = cases.depth_case()
        *leaves, upstream = (torch.tensor(x) for x in (*sources, *rest))
        function = wrap(lambda *x: attn_res(list(x[:-2]), x[-2], x[-1]))
    elif name == "kda_both":
        *leaves, upstream = (torch.tensor(x) for x in cases.kda_case(False))
        function = peer_torch_kda.chunked(wrap)
    elif name == "kda_decode":
        leaves, upstream = [torch.tensor(x) for x in cases.kda_case(True)], None
        function = wrap(peer_torch_kda.decode)
    elif name.startswith("moe"):
        *leaves, upstream = (torch.tensor(x) for x in cases.moe_case("dense" in name))
        function = peer_torch_moe.case(name, peer, wrap)
        upstream = upstream.bfloat16() if "bf16" in name else upstream
    else:
        *leaves, upstream = (torch.tensor(x) for x in cases.attention_case(name))
        function = wrap(attend)
    both = name.partition(":")[0].endswith("both")
    for leaf in leaves:
        leaf.requires_grad_(both)

    def step():
        if both:
            torch.autograd.grad(function(*leaves), leaves, upstream)
        else:
            with torch.no_grad():
                function(*leaves)

    return lambda: timed(step)


def case(name, peer, threads):
    """A function that does one step and gives its seconds."""
    torch.set_num_threads(threads)
    wrap = torch.compile if peer == "torch-compile" else lambda f: f
    if name.startswith("decode:"):
        return decoding(name, wrap)
    return training(name, wrap) if name.partition(":")[0] in cases.TRAINING else kernel(name, peer, wrap)
