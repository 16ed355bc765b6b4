"""Covariance functions of Gaussian processes, with hyperparameters that are drawn for every task.

    RBF         σ² exp(−r² / 2ℓ²)
    Matern52    σ² (1 + √5 r/ℓ + 5 r² / 3ℓ²) exp(−√5 r/ℓ)
    Periodic    σ² exp(−2 sin²(π r / p) / ℓ²)
    AnyOf       one of several, each as often

r is the distance of two inputs. The default ranges of ℓ, σ and p are those in which neural processes are compared.

Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, chapter 4.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from quickstudy.arguments import check_real, check_whole
from quickstudy.rebuild import register

__all__ = ["RBF", "AnyOf", "Kernel", "Matern52", "Periodic", "Span"]

Span: TypeAlias = float | Sequence[float]
"""A number, or the ends of a range that tasks take theirs from uniformly."""


_MOST_MEMBERS = 10_000  # each has a covariance of its own, of every task


class Kernel(ABC):
    """A family of covariance functions. Its members are the points of a unit cube: uniform numbers make a task's own.

    Attributes:
        dimensions: of the cube.
    """

    dimensions: int

    @abstractmethod
    def covariance(
        self, member: Float[Tensor, "*#task dimensions"], a: Float[Tensor, "*#task n"], b: Float[Tensor, "*#task m"]
    ) -> Float[Tensor, "... n m"]:
        """Between the values at `a` and at `b`; leading axes broadcast."""

    @abstractmethod
    def grid(self, size: int) -> tuple[Float[Tensor, "member dimensions"], Float[Tensor, " member"]]:
        """Members that stand for the family, `size` along every hyperparameter, and the share of tasks each is for."""

    @abstractmethod
    def describe(self) -> str:
        """For the protocol of a card."""


class _Stationary(Kernel):
    """A kernel of distances with hyperparameters that do not depend on one another."""

    def __init__(self, **ranges: Span) -> None:
        self._ranges = {name: _ends(name, given) for name, given in ranges.items()}
        for name, given in ranges.items():
            setattr(self, name, given)
        self.dimensions = len(self._ranges)

    @abstractmethod
    def _of_distance(self, distance: Tensor, *hyperparameters: Tensor) -> Tensor:
        """The covariance at a distance, for a variance of one, with the hyperparameters other than σ."""

    def covariance(
        self, member: Float[Tensor, "*#task dimensions"], a: Float[Tensor, "*#task n"], b: Float[Tensor, "*#task m"]
    ) -> Float[Tensor, "... n m"]:
        *others, scale = (
            (low + (high - low) * part)[..., None, None]
            for part, (low, high) in zip(member.unbind(-1), self._ranges.values(), strict=True)
        )
        return scale.square() * self._of_distance((a[..., :, None] - b[..., None, :]).abs(), *others)

    def grid(self, size: int) -> tuple[Float[Tensor, "member dimensions"], Float[Tensor, " member"]]:
        check_whole(size=size)
        free = sum(low < high for low, high in self._ranges.values())
        if size < 1 or size**free > _MOST_MEMBERS:
            raise ValueError(
                f"the grid must have at least 1 point along each of {free} ranges and at most {_MOST_MEMBERS} in all, "
                f"got {size} along each"
            )
        middles = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        known = torch.zeros(1, dtype=torch.float64)  # what is no range takes one point
        members = torch.cartesian_prod(*(middles if low < high else known for low, high in self._ranges.values()))
        return members, torch.full((len(members),), 1 / len(members), dtype=torch.float64)

    def describe(self) -> str:
        ranges = (
            f"{name} {low:g}" + (f"…{high:g}" if low < high else "") for name, (low, high) in self._ranges.items()
        )
        return f"{type(self).__name__}({', '.join(ranges)})"


@register
class RBF(_Stationary):
    """Infinitely smooth functions.

    Args:
        lengthscale: ℓ, in units of the input.
        scale: σ, the standard deviation of a value, in units of the target.

    Raises:
        TypeError: they are no numbers.
        ValueError: they are not positive, or a range ends before it begins.
    """

    def __init__(self, lengthscale: Span = (0.1, 0.6), scale: Span = (0.1, 1.0)) -> None:
        super().__init__(lengthscale=lengthscale, scale=scale)

    def _of_distance(self, distance: Tensor, *hyperparameters: Tensor) -> Tensor:
        (lengthscale,) = hyperparameters
        return torch.exp(-(distance / lengthscale).square() / 2)


@register
class Matern52(_Stationary):
    """Functions with two derivatives. Arguments as of `RBF`."""

    def __init__(self, lengthscale: Span = (0.1, 0.6), scale: Span = (0.1, 1.0)) -> None:
        super().__init__(lengthscale=lengthscale, scale=scale)

    def _of_distance(self, distance: Tensor, *hyperparameters: Tensor) -> Tensor:
        (lengthscale,) = hyperparameters
        steps = math.sqrt(5) * distance / lengthscale
        return (1 + steps + steps.square() / 3) * torch.exp(-steps)


@register
class Periodic(_Stationary):
    """Functions that repeat themselves.

    Args:
        lengthscale: ℓ, as a share of the period.
        period: p, in units of the input.
        scale: as of `RBF`.

    Raises:
        TypeError, ValueError: as `RBF`.
    """

    def __init__(self, lengthscale: Span = (0.1, 0.6), period: Span = (0.1, 0.5), scale: Span = (0.1, 1.0)) -> None:
        super().__init__(lengthscale=lengthscale, period=period, scale=scale)

    def _of_distance(self, distance: Tensor, *hyperparameters: Tensor) -> Tensor:
        lengthscale, period = hyperparameters
        return torch.exp(-2 * (torch.sin(math.pi * distance / period) / lengthscale).square())


@register
class AnyOf(Kernel):
    """Each task has one of several kernels, all equally often.

    Raises:
        TypeError: something else than kernels.
        ValueError: there are none.
    """

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        if not isinstance(kernels, Sequence) or not all(isinstance(kernel, Kernel) for kernel in kernels):
            raise TypeError(f"kernels must be a sequence of kernels such as [RBF(), Periodic()], got {kernels!r}")
        if not kernels:
            raise ValueError("kernels must not be empty")
        self.kernels = list(kernels)
        self.dimensions = 1 + max(kernel.dimensions for kernel in self.kernels)

    def covariance(
        self, member: Float[Tensor, "*#task dimensions"], a: Float[Tensor, "*#task n"], b: Float[Tensor, "*#task m"]
    ) -> Float[Tensor, "... n m"]:
        which = (member[..., 0] * len(self.kernels)).long().clamp(max=len(self.kernels) - 1)[..., None, None]
        each = [kernel.covariance(member[..., 1 : 1 + kernel.dimensions], a, b) for kernel in self.kernels]
        return torch.stack(each, -1).gather(-1, which[..., None].expand(*each[0].shape, 1))[..., 0]

    def grid(self, size: int) -> tuple[Float[Tensor, "member dimensions"], Float[Tensor, " member"]]:
        members, shares = [], []
        for number, kernel in enumerate(self.kernels):
            own, share = kernel.grid(size)
            padded = torch.zeros(len(own), self.dimensions, dtype=own.dtype)
            padded[:, 0] = (number + 0.5) / len(self.kernels)
            padded[:, 1 : 1 + kernel.dimensions] = own
            members.append(padded)
            shares.append(share / len(self.kernels))
        return torch.cat(members), torch.cat(shares)

    def describe(self) -> str:
        return " or ".join(kernel.describe() for kernel in self.kernels)


def _ends(name: str, given: Span) -> tuple[float, float]:
    ends = given if isinstance(given, Sequence) and not isinstance(given, str) else (given, given)
    if len(ends) != 2:
        raise ValueError(f"{name} must be a number or the two ends of a range, got {given!r}")
    check_real(**{f"least {name}": ends[0], f"most {name}": ends[1]})
    if not 0 < ends[0] <= ends[1] < math.inf:
        raise ValueError(f"{name} must be positive, and a range rise from its first end, got {given!r}")
    return float(ends[0]), float(ends[1])
