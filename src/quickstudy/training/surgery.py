"""The weights of PCGrad and GradVac for all tasks at once, where TorchJD asks one pair of tasks after another.

    PCGrad    g_i ← g_i − ⟨g_i, g_j⟩ / ‖g_j‖² · g_j         where ⟨g_i, g_j⟩ < 0
    GradVac   g_i ← g_i + w_ij g_j, so that cos(g_i, g_j) = φ̂_ij    where it is less; φ̂ is a running mean of cosines

for all j ≠ i, in an order drawn for every i; the weights are those of Σ_i g_i in terms of the first gradients, so that
inner products suffice. The tasks i know nothing of each other, and go through their orders side by side. With
the same seed all is as in `torchjd`, whose loops over 40 tasks take longer than every backward pass of a step.

Yu, Kumar, Gupta, Levine, Hausman & Finn, "Gradient Surgery for Multi-Task Learning", NeurIPS 2020; Wang, Tsvetkov,
Firat & Cao, "Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively Multilingual Models",
ICLR 2021.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torchjd.aggregation import GradVacWeighting

__all__ = ["surgery", "vaccine"]


def surgery(gramian: Float[Tensor, "task task"]) -> Float[Tensor, " task"]:
    """How much the gradient of each task counts in the sum of all projected ones.

    Orders are drawn from torch's global generator, as `torchjd.aggregation.PCGrad` draws them.

    Args:
        gramian: inner products of the tasks' gradients.
    """
    device, gramian = gramian.device, gramian.cpu()  # many small steps, none of them worth a launch
    count = len(gramian)
    orders = torch.stack([torch.randperm(count) for _ in range(count)])
    each, norms = torch.arange(count), gramian.diagonal()
    parts = torch.eye(count, dtype=gramian.dtype)
    inner = gramian.clone()  # of each projected gradient with all that are not
    for others in orders.T:
        conflict = inner[each, others].clamp(max=0).masked_fill(others == each, 0)
        shares = torch.where(conflict < 0, conflict / norms[others], 0)
        parts[each, others] -= shares
        inner -= shares[:, None] * gramian[others]
    return parts.sum(0).to(device)


def vaccine(weighting: GradVacWeighting, gramian: Float[Tensor, "task task"]) -> Float[Tensor, " task"]:
    """How much the gradient of each task counts in the sum of all vaccinated ones.

    Args:
        weighting: of `torchjd.aggregation.GradVac`; its targets φ̂ are read and moved, as by itself.
        gramian: inner products of the tasks' gradients.
    """
    device, gramian = gramian.device, gramian.cpu()
    count = len(gramian)
    weighting._ensure_state(count, gramian.dtype)
    targets, beta, eps = weighting._phi_t, weighting.beta, weighting.eps
    assert targets is not None
    drawn = torch.stack([torch.randperm(count - 1) for _ in range(count)])
    each, norms = torch.arange(count), gramian.diagonal().clamp(min=0).sqrt()
    orders = drawn + (drawn >= each[:, None])  # all others, without the task itself
    parts = torch.eye(count, dtype=gramian.dtype)
    inner = gramian.clone()
    for others in orders.T:
        own, theirs, target = (inner * parts).sum(1).clamp(min=0).sqrt(), norms[others], targets[each, others]
        cosine = inner[each, others] / (own * theirs + eps)
        sine, wanted = ((1 - angle.square()).clamp(min=0).sqrt() for angle in (cosine, target))
        added = own * (target * sine - cosine * wanted) / (theirs * wanted + eps)
        added = torch.where(cosine < target, added, 0)
        parts[each, others] += added
        inner += added[:, None] * gramian[others]
        targets[each, others] = (1 - beta) * target + beta * cosine
    return parts.sum(0).to(device)
