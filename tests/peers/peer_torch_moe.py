"""A mixture of experts in PyTorch: rows sorted by expert, and a loop over the experts."""
import torch
import torch.nn.functional as F

import cases


def dense(x, gate, up, down):
    """As many operations with one expert: x (top, tokens, d)."""
    return (F.silu(x @ gate) * (x @ up)) @ down


def routed(skew, wrap):
    top, experts = cases.MOE["top"], cases.MOE["experts"]
    tilt = skew * torch.arange(1, experts + 1).log()
    expert = wrap(lambda rows, gate, up, down: (F.silu(rows @ gate) * (rows @ up)) @ down)

    def moe(x, router, gate, up, down):
        score = torch.sigmoid(x @ router - tilt)
        pick = torch.topk(score.detach(), top).indices
        own = score.gather(1, pick)
        weight = own / own.sum(1, keepdim=True)
        order = torch.argsort(pick.flatten(), stable=True)
        counts = torch.bincount(pick.flatten(), minlength=experts).tolist()
        token = order // top
        parts = x[token].split(counts)
        rows = torch.cat([expert(parts[i], gate[i], up[i], down[i]) for i in range(experts)])
        return torch.zeros_like(x).index_add(0, token, rows * weight.flatten()[order, None])

    return moe
