"""One token of models/kimi_linear.strata in PyTorch: caches of keys and values in common, and states, are tensors that a step
changes in place. Weights of latent attention are moved to the query and the result, as Strata does it.
"""
import torch
import torch.nn.functional as F

import cases
import peer_torch_kda

TAPS, EPS = 4, 1e-5


def matrix(name, w):
    """Heads and their elements in one axis; those of latent attention for batched products."""
    leaf = name.rpartition(".")[2]
    if ".mla.wk" in name:
        return w.permute(1, 2, 0).contiguous()
    if ".mla.wv" in name:
        return w.permute(1, 0, 2).contiguous()
    if leaf == "wo" or ".conv_" in name:
        return w.flatten(0, 1)
    return w if leaf == "dt_bias" else w.flatten(1)


def norm(x, gain, eps=EPS):
    return F.rms_norm(x, gain.shape, gain, eps)


def unit(x):
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-6)


class Decoder:
    """One row. Parameters by the model's names; vectors, decays, strengths and states are f32 in any type, as in Strata."""

    def __init__(self, s, params, context, dtype=torch.float32):
        self.s, self.position = s, 0
        self.p = {name: torch.tensor(w) for name, w in params.items()}
        for name, w in self.p.items():
            if w.ndim > 1:
                self.p[name] = matrix(name, w).to(torch.float32 if name.endswith("dt_bias") else dtype)
        h, dk, layers = s["h"], s["dk"], range(s["layers"])
        attention = [i for i in layers if f"layers.{i}.mix.mla.wq" in params]
        self.kept = {i: torch.zeros(context, s["rank"] + s["dr"], dtype=dtype) for i in attention}
        self.states = {i: torch.zeros(h, dk, dk) for i in layers if i not in attention}
        self.windows = {(i, x): torch.zeros(h * dk, TAPS, dtype=dtype) for i in self.states for x in "qkv"}

    def linear(self, x, w):
        return x @ self.p[w]

    def conv(self, x, layer, which):
        window = self.windows[layer, which]
        window.copy_(torch.cat([window[:, 1:], x[:, None]], 1))
        return F.silu((window * self.p[f"layers.{layer}.mix.kda.conv_{which}.w"]).sum(-1)).view(self.s["h"], -1)

    def kda(self, x, layer):
        at, h = f"layers.{layer}.mix.kda", self.s["h"]
        q, k, v = (self.conv(self.linear(x, f"{at}.w{n}"), layer, n) for n in "qkv")
        q, k = unit(q.float()) * q.shape[-1] ** -0.5, unit(k.float())
        f = self.linear(self.linear(x, f"{at}.f1"), f"{at}.f2").float().view(h, -1) + self.p[f"{at}.dt_bias"]
        decay = -torch.exp(self.p[f"{at}.a_log"])[:, None] * F.softplus(f)
        beta = torch.sigmoid(self.linear(x, f"{at}.wb").float())
        y, state = peer_torch_kda.decode(*(t[None, None] for t in (q, k, v.float(), decay, beta)), self.states[layer][None])
        self.states[layer].copy_(state[0])
        z = self.linear(self.linear(x, f"{at}.g1"), f"{at}.g2").view(h, -1)
        y = norm(y[0].to(x.dtype), self.p[f"{at}.rms_norm.gain"].to(x.dtype)) * torch.sigmoid(z)
        return self.linear(y.flatten(), f"{at}.wo")

    def mla(self, x, layer):
        at, s = f"layers.{layer}.mix.mla", self.s
        c = norm(self.linear(x, f"{at}.wc"), self.p[f"{at}.rms_norm.gain"].to(x.dtype))
        kept = self.kept[layer]
        kept[self.position] = torch.cat([c, self.linear(x, f"{at}.wr")])
        seen = kept[:self.position + 1]
        own, common = self.linear(x, f"{at}.wq").view(s["h"], -1).split([s["dk"], s["dr"]], -1)
        q = torch.cat([torch.bmm(own[:, None], self.p[f"{at}.wk"])[:, 0], common], -1)
        weights = torch.softmax((q @ seen.T).float() * (s["dk"] + s["dr"]) ** -0.5, -1).to(x.dtype)
        mixed = weights @ seen[:, :s["rank"]]
        return self.linear(torch.bmm(mixed[:, None], self.p[f"{at}.wv"]).flatten(), f"{at}.wo")

    def swiglu(self, x, layer):
        at = f"layers.{layer}.ffn.swiglu"
        return self.linear(F.silu(self.linear(x, f"{at}.gate")) * self.linear(x, f"{at}.up"), f"{at}.down")

    def read(self, sources, at):
        gain, query, own = (self.p[f"{at}.{n}"].to(sources[0].dtype) for n in
                            ("attn_res.gain", "attn_res.query", "rms_norm.gain"))
        x = sources[0]
        if len(sources) > 1:
            values = torch.stack(sources)
            weights = torch.softmax(norm(values, gain, cases.EPS) @ query, 0)
            x = weights @ values
        return norm(x, own)

    def logits(self, token):
        sources = [self.p["embed"][token]]
        for i in range(2 * self.s["layers"]):
            layer, at = i // 2, f"layers.{i // 2}.{('mix', 'ffn')[i % 2]}"
            x = self.read(sources, at)
            mix = self.mla if layer in self.kept else self.kda
            y = (mix if i % 2 == 0 else self.swiglu)(x, layer)
            sources = [*sources, y] if i % self.s["block"] == 0 else [*sources[:-1], sources[-1] + y]
        return self.linear(self.read(sources, "out"), "head")


def decode(s, params, tokens):
    """The logits of one row, token by token."""
    decoder, logits = Decoder(s, params, len(tokens)), []
    with torch.no_grad():
        for decoder.position, token in enumerate(tokens):
            logits.append(decoder.logits(token))
    return torch.stack(logits).numpy()
