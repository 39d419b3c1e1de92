"""A fit as a module of PyTorch."""

from __future__ import annotations

import torch

from gentle.result import Fit


def to_module(fit: Fit) -> torch.nn.Linear:
    """Linear of float64 from the p columns of x to the target, with the constant as its bias."""
    slopes = torch.from_numpy(fit.slopes.copy())
    module = torch.nn.Linear(len(slopes), 1, bias=fit.design.intercept, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(slopes[None, :])
        if fit.design.intercept:
            module.bias.fill_(fit.intercept)
    return module
