"""A mixture of experts in PyTorch: rows sorted by expert, and a loop over the experts or grouped products."""
import torch
import torch.nn.functional as F

import cases


def swiglu(x, gate, up, down):
    return (F.silu(x @ gate) * (x @ up)) @ down


def looped(wrap):
    """Rows in the order of experts and where each expert's end, through their layers."""
    expert = wrap(swiglu)

    def rows_of(rows, ends, gate, up, down):
        parts = rows.tensor_split(ends[:-1].tolist())
        return torch.cat([expert(parts[i], gate[i], up[i], down[i]) for i in range(len(parts))])

    return rows_of


def grouped(rows, ends, gate, up, down):
    def product(x, w): return F.grouped_mm(x, w, offs=ends)
    return product(F.silu(product(rows, gate)) * product(rows, up), down)


def routed(skew, experts_of):
    top, experts = cases.MOE["top"], cases.MOE["experts"]
    tilt = skew * torch.arange(1, experts + 1).log()

    def moe(x, router, gate, up, down):
        score = torch.sigmoid((x @ router).float() - tilt)
        pick = torch.topk(score.detach(), top).indices
        own = score.gather(1, pick)
        weight = own / own.sum(1, keepdim=True)
        order = torch.argsort(pick.flatten(), stable=True)
        ends = torch.bincount(pick.flatten(), minlength=experts).cumsum(0).int()
        token = order // top
        rows = experts_of(x[token], ends, gate, up, down)
        return torch.zeros_like(x).index_add(0, token, rows * weight.flatten()[order, None].to(rows.dtype))

    return moe


def case(name, peer, wrap):
    """`name` of cases.KERNELS; bf16: parameters are f32, and what is computed from them is bf16, as in Strata."""
    rows_of = grouped if peer == "torch-grouped" else looped(wrap)
    function = wrap(swiglu) if "dense" in name else routed("skewed" in name, rows_of)
    return (lambda *x: function(*(v.bfloat16() for v in x))) if "bf16" in name else function
