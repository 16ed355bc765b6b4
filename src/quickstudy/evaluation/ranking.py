"""How good a ranked list is: where the first relevant item stands, and how much is gained on the way down."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from quickstudy.arguments import check_whole

__all__ = ["ndcg", "reciprocal_rank"]


def reciprocal_rank(
    scores: Float[Tensor, "query candidate"],
    relevant: Bool[Tensor, "query candidate"],
    mask: Bool[Tensor, "query candidate"] | None = None,
) -> Float[Tensor, " query"]:
    """1 / rank of the first relevant candidate; its mean over queries is the mean reciprocal rank (MRR).

    Irrelevant candidates with the same score as that one count half, as if they stood before it every other time: equal
    scores gain nothing by the order in which candidates happen to be listed.

    Args:
        scores: high is first.
        relevant: which candidates are.
        mask: which candidates there are; all by default.

    Returns:
        A number for each query, NaN where nothing is relevant.

    Raises:
        ValueError: unequal shapes, or a score that is not finite.
    """
    mask = _whole(scores, relevant, "relevant", mask)
    scores = scores.masked_fill(~mask, 0).double()
    first = scores.masked_fill(~(relevant & mask), -torch.inf).amax(1, keepdim=True)
    others = mask & ~relevant
    rank = 1 + (others & (scores > first)).double().sum(1) + (others & (scores == first)).double().sum(1) / 2
    return torch.where((relevant & mask).any(1), 1 / rank, torch.nan)


def ndcg(
    scores: Float[Tensor, "query candidate"],
    gains: Float[Tensor, "query candidate"],
    k: int | None = None,
    mask: Bool[Tensor, "query candidate"] | None = None,
) -> Float[Tensor, " query"]:
    """Discounted cumulative gain of the first k, Σ_{r ≤ k} gain_r / log₂(1 + r), as a share of the largest possible.

    Candidates with equal scores share their ranks: each has the mean discount of them.

    Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 2002; ties as McSherry & Najork,
    ECIR 2008.

    Args:
        scores: high is first.
        gains: not negative; 0 and 1 for relevance, or a degree of it.
        k: how much of the list counts; all of it by default.
        mask: which candidates there are; all by default.

    Returns:
        A number of [0, 1] for each query, NaN where there is nothing to gain.

    Raises:
        ValueError: k below one, unequal shapes, a negative gain, or a number that is not finite.
    """
    mask = _whole(scores, gains, "gains", mask)
    if k is not None:
        check_whole(k=k)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
    gains = gains.masked_fill(~mask, 0).double()
    if not torch.isfinite(gains).all() or (gains < 0).any():
        raise ValueError(f"gains must be finite and not negative, got {float(gains.min())}")
    scores = scores.double().masked_fill(~mask, -torch.inf)
    best = _discounted(gains, gains, k)
    return torch.where(best > 0, _discounted(scores, gains, k) / best, torch.nan)


def _discounted(
    scores: Float[Tensor, "query candidate"], gains: Float[Tensor, "query candidate"], k: int | None
) -> Float[Tensor, " query"]:
    ranks = torch.arange(1, scores.shape[1] + 1, dtype=torch.float64, device=scores.device)
    discounts = 1 / torch.log2(1 + ranks)
    if k is not None:
        discounts[k:] = 0
    until = torch.cat([discounts.new_zeros(1), discounts.cumsum(0)])
    low = -scores  # rising: the ranks of a candidate are the places of its equals in the sorted list
    ordered = low.sort(1).values.contiguous()
    before, after = (torch.searchsorted(ordered, low.contiguous(), side=side) for side in ("left", "right"))
    return (gains * (until[after] - until[before]) / (after - before)).sum(1)


def _whole(scores: Tensor, other: Tensor, name: str, mask: Tensor | None) -> Tensor:
    for given, what in ((other, name), (mask, "mask")):
        if given is not None and given.shape != scores.shape:
            raise ValueError(f"{what} must have the shape of scores, {list(scores.shape)}, got {list(given.shape)}")
    mask = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    if not torch.isfinite(scores[mask]).all():
        raise ValueError("scores must be finite where there is a candidate")
    return mask
