"""The best possible on linear functions: the posterior over weights, averaged over which coordinates may count.

    p(y | x, D) = Σ_S p(S | D) N(y; w_S · x, x' Σ_S x + σ²),   S ⊂ {1 … d}, |S| = k
    w_S = (X_S' X_S + σ² k I)⁻¹ X_S' y,   Σ_S = σ² (X_S' X_S + σ² k I)⁻¹,   p(S | D) ∝ N(y; 0, X_S X_S' / k + σ² I)

The prior is that of `quickstudy.tasks.linear_functions`: weights N(0, I / k) in k coordinates. Where all coordinates
count there is one S, and the mean is ridge regression with the penalty σ² d; without noise it is, in the limit, the
least squares solution of smallest norm.

Hoerl & Kennard, Technometrics 1970; Garg et al., NeurIPS 2022.
"""

import math
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from quickstudy.arguments import check_real, check_whole
from quickstudy.learners import Learner, Phi
from quickstudy.networks import Policy
from quickstudy.rebuild import register
from quickstudy.tasks import Examples, GaussianMixture, Kind, Tree

__all__ = ["LinearOracle"]

_MOST_SETS = 1000
_LEAST_NOISE = 1e-5  # of y, which is rounded to seven digits


@register
class LinearOracle(Learner):
    """The Bayes-optimal predictor of `quickstudy.tasks.linear_functions`: none has a higher expected log-likelihood.

    It knows how many coordinates count, not which. φ holds, for every set of coordinates, the singular directions of
    its inputs `[task, set, rank, k]`, how much of the prior variance along each is explained, the posterior mean of
    the weights and the log probability of the set.

    Args:
        dimensions: length d of an input.
        noise: standard deviation of the noise of the tasks; 0 is taken as the limit, 10⁻⁵.
        sparsity: how many coordinates count; None for all.

    Raises:
        ValueError: a number out of range, or more than 1000 sets of coordinates, each of which is a regression.
    """

    kinds = frozenset({"regression"})
    trainable = False
    self_contained = True

    def __init__(self, dimensions: int, noise: float = 0.0, sparsity: int | None = None) -> None:
        check_whole(dimensions=dimensions)
        check_real(noise=noise)
        count = dimensions if sparsity is None else sparsity
        check_whole(sparsity=count)
        if dimensions < 1 or not noise >= 0:
            raise ValueError(f"dimensions must be at least 1 and noise at least 0, got {dimensions} and {noise}")
        if not 1 <= count <= dimensions:
            raise ValueError(f"sparsity must be None or of 1 … dimensions ({dimensions}), got {sparsity}")
        # Few of many, or all but few: in between, counting is all that such numbers can be used for.
        if min(count, dimensions - count) > 30 or math.comb(dimensions, count) > _MOST_SETS:
            raise ValueError(
                f"sparsity {count} of dimensions {dimensions} is more than {_MOST_SETS} sets of coordinates"
            )
        self._sets = torch.tensor(list(combinations(range(dimensions), count)))
        super().__init__(GaussianMixture(len(self._sets)))
        self.dimensions, self.noise, self.sparsity = dimensions, noise, sparsity

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "LinearOracle":
        return cls(6, noise=1.5)

    @property
    def _variance(self) -> float:
        """σ²."""
        return max(self.noise, _LEAST_NOISE) ** 2

    def _chosen(self, x: Tree) -> Float[Tensor, "task set n k"]:
        """The coordinates of every set."""
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim != 3 or x.shape[2] != self.dimensions:
            found = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"this oracle takes floating-point inputs x [task, n, {self.dimensions}], got {found}")
        return x.double()[..., self._sets.to(x.device)].transpose(1, 2)

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        x, y = self._chosen(support.x), support.y.double()  # padding is a row of zeros, which says nothing
        left, size, directions = torch.linalg.svd(x, full_matrices=False)
        along = (left * y[:, None, :, None]).sum(2)  # y along every singular direction
        count = x.shape[-1]
        power, penalty = size.square(), count * self._variance
        explained = power / (power + penalty)
        weights = (directions * (along * size / (power + penalty))[..., None]).sum(2)
        spread = power / count + self._variance
        rest = y.square().sum(1)[:, None] - along.square().sum(-1)
        misfit = (along.square() / spread).sum(-1) + rest.clamp(min=0) / self._variance
        # The bound is a probability of 0, and finite in every precision.
        log_evidence = -(misfit + spread.log().sum(-1)) / 2  # up to what is the same for all sets
        shares = torch.log_softmax(log_evidence, 1).clamp(min=-1e4)
        return {"directions": directions, "explained": explained, "weights": weights, "shares": shares}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        asked = self._chosen(x)
        mean = (asked * phi["weights"][:, :, None]).sum(-1)
        along = asked @ phi["directions"].mT  # [task, set, query, rank]
        unknown = asked.square().sum(-1) - (along.square() * phi["explained"][:, :, None]).sum(-1)
        variance = unknown.clamp(min=0) / asked.shape[-1] + self._variance
        shares = phi["shares"][..., None].expand_as(mean)
        return torch.cat([shares, mean, variance.log()], 1).transpose(1, 2).to(x.dtype)
