"""A real target of which nothing is assumed: a histogram over bins of the target's range, with tails.

    p(y) = p_k / (b_{k+1} − b_k) for b_k ≤ y < b_{k+1},   p = softmax of the raw outputs

The first and the last bin are half-normal distributions that fall off from their inner border. Regression becomes
classification of bins, and a prediction may have any form: two peaks, a skew, an edge.

Müller et al., "Transformers Can Do Bayesian Inference" (PFN), ICLR 2022, section 4.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch import distributions as D

from quickstudy.arguments import check_real, check_whole
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree
from quickstudy.tasks.likelihood import Likelihood, check_one_target, precise

__all__ = ["Binned", "Histogram"]

_HALF = 0.6744897501960817  # of a half-normal distribution of scale 1 lies within


@register
class Binned(Likelihood):
    """One real target in bins; raw outputs are the unnormalised log probabilities of the bins.

    Args:
        borders: of the bins, rising, in units of the target; `Binned.quantiles` finds them from targets. Half of a
            tail lies within its bin.

    Raises:
        TypeError: they are no numbers.
        ValueError: fewer than three, or not rising.
    """

    kind = "regression"

    def __init__(self, borders: Sequence[float]) -> None:
        if not isinstance(borders, Sequence) or isinstance(borders, str | bytes):
            raise TypeError(f"borders must be a sequence of numbers such as [-1.0, 0.0, 1.0], got {borders!r}")
        check_real(**{f"borders[{place}]": border for place, border in enumerate(borders)})
        if len(borders) < 3:
            raise ValueError(f"borders must be at least three, for two bins, got {borders!r}")
        for place, (low, high) in enumerate(pairwise(borders)):
            if not low < high:
                raise ValueError(f"borders must rise, got {low} before {high} at place {place + 1}")
        self.borders = [float(border) for border in borders]

    @classmethod
    def quantiles(cls, targets: Tensor, bins: int = 100) -> "Binned":
        """Bins that as many of the targets fall into, each.

        Args:
            targets: many of them, of any shape: `source.train.draw(0, 500, 0).query.y`, say.
            bins: how many.

        Raises:
            TypeError: targets are not real numbers.
            ValueError: fewer than two bins, or so few different targets that borders coincide.
        """
        check_whole(bins=bins)
        if not isinstance(targets, Tensor) or not targets.is_floating_point():
            raise TypeError(f"targets must be a floating-point tensor, got {type(targets).__name__}")
        if bins < 2 or targets.numel() <= bins or not torch.isfinite(targets).all():
            raise ValueError(
                f"bins must be at least 2, and targets finite and more than bins, got {bins} and {targets.numel()}"
            )
        # Not torch.quantile, which takes at most 2²⁴ numbers.
        ordered = targets.detach().double().flatten().sort().values.cpu()
        places = torch.linspace(0, len(ordered) - 1, bins + 1).round().long()
        borders = ordered[places]
        if not (borders.diff() > 0).all():
            raise ValueError(f"targets must have more different values for {bins} bins: some borders coincide")
        return cls(borders.tolist())

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return len(self.borders) - 1

    def distribution(
        self, raw: Float[Tensor, "*task n outputs"], classes: Bool[Tensor, "*task way"] | None = None
    ) -> "Histogram":
        raw = precise(raw)
        return Histogram(raw, torch.tensor(self.borders, dtype=raw.dtype, device=raw.device))

    def check(self, y: Tree) -> None:
        check_one_target(y, "Binned")


class Histogram(D.Distribution):
    """Uniform within each bin, half-normal in the first and the last.

    Args:
        logits: unnormalised log probabilities of the bins, `[..., bin]`.
        borders: `[bin + 1]`, rising.
    """

    arg_constraints = {}  # noqa: RUF012 - as torch declares it
    support = D.constraints.real

    def __init__(self, logits: Float[Tensor, "*batch bin"], borders: Float[Tensor, " border"]) -> None:
        self.log_weights = logits.log_softmax(-1)
        self.borders, self.widths = borders, borders.diff()
        self._scales = self.widths[[0, -1]] / _HALF
        super().__init__(logits.shape[:-1], validate_args=False)

    @property
    def probs(self) -> Float[Tensor, "*batch bin"]:
        """Of the bins."""
        return self.log_weights.exp()

    def _bin(self, value: Tensor) -> Tensor:
        return torch.bucketize(value.contiguous(), self.borders[1:-1].contiguous(), right=True)

    def _tails(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """How far beyond the inner border of the first and of the last bin, in scales of the tail."""
        below = (self.borders[1] - value) / self._scales[0]
        above = (value - self.borders[-2]) / self._scales[1]
        return below.clamp(min=0), above.clamp(min=0)

    def log_prob(self, value: Tensor) -> Tensor:
        index, (below, above) = self._bin(value), self._tails(value)
        last = len(self.widths) - 1
        half_normal = math.log(2) - math.log(2 * math.pi) / 2
        density = -self.widths.log()[index]
        density = torch.where(index == 0, half_normal - self._scales[0].log() - below.square() / 2, density)
        density = torch.where(index == last, half_normal - self._scales[1].log() - above.square() / 2, density)
        weights, index = torch.broadcast_tensors(self.log_weights, index[..., None])
        return weights.gather(-1, index[..., :1])[..., 0] + density

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of a smaller target."""
        index, (below, above) = self._bin(value), self._tails(value)
        last = len(self.widths) - 1
        share = (value - self.borders[index]) / self.widths[index]
        share = torch.where(index == 0, torch.special.erfc(below / math.sqrt(2)), share)
        share = torch.where(index == last, torch.special.erf(above / math.sqrt(2)), share)
        probs, index = torch.broadcast_tensors(self.probs, index[..., None])
        before = probs.cumsum(-1) - probs
        return (before.gather(-1, index[..., :1]) + probs.gather(-1, index[..., :1]) * share[..., None])[..., 0]

    def _moments(self) -> tuple[Float[Tensor, " bin"], Float[Tensor, " bin"]]:
        """Mean and mean square of every bin."""
        mean, variance = self.borders[:-1] + self.widths / 2, self.widths.square() / 12
        tail = self._scales * math.sqrt(2 / math.pi)
        ends = torch.stack([self.borders[1] - tail[0], self.borders[-2] + tail[1]])
        spread = self._scales.square() * (1 - 2 / math.pi)
        mean, variance = (
            torch.cat([end[:1], inner[1:-1], end[1:]]) for inner, end in ((mean, ends), (variance, spread))
        )
        return mean, mean.square() + variance

    @property
    def mean(self) -> Tensor:
        return self.probs @ self._moments()[0]

    @property
    def variance(self) -> Tensor:
        mean, square = self._moments()
        return self.probs @ square - (self.probs @ mean).square()

    def sample(self, sample_shape: torch.Size | Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            index = D.Categorical(logits=self.log_weights, validate_args=False).sample(torch.Size(sample_shape))
            inner = self.borders[index] + self.widths[index] * torch.rand_like(self.borders[index])
            tail = torch.randn_like(inner).abs()
            inner = torch.where(index == 0, self.borders[1] - self._scales[0] * tail, inner)
            return torch.where(index == len(self.widths) - 1, self.borders[-2] + self._scales[1] * tail, inner)

    def expand(self, batch_shape: torch.Size | Sequence[int], _instance: object = None) -> "Histogram":
        return Histogram(self.log_weights.expand(*batch_shape, -1), self.borders)
