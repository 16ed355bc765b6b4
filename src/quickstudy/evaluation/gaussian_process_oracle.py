"""The best possible on functions of a Gaussian process: its posterior, averaged over the hyperparameters.

    p(y | x, D) = Σ_g w_g N(y; μ_g(x), σ_g²(x)),   w_g ∝ p(g) N(y_D; 0, K_g + noise² I)
    μ_g(x) = k_g(x, X) (K_g + noise² I)⁻¹ y_D,   σ_g²(x) = k_g(x, x) − k_g(x, X) (K_g + noise² I)⁻¹ k_g(X, x) + noise²

The sum is over members g of the family of kernels that tasks are drawn from. Where that is one kernel, there is one
term, and the posterior is exact; otherwise a grid stands for the ranges.

Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, algorithm 2.1.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from quickstudy.arguments import check_real, check_whole
from quickstudy.evaluation.oracles import one_input
from quickstudy.learners import Learner, Phi
from quickstudy.networks import Policy
from quickstudy.rebuild import register
from quickstudy.tasks import RBF, Examples, GaussianMixture, Kernel, Kind, Tree
from quickstudy.tasks.gaussian_processes import JITTER

__all__ = ["GaussianProcessOracle"]


@register
class GaussianProcessOracle(Learner):
    """The Bayes-optimal predictor of `quickstudy.tasks.gaussian_processes`: none has a higher expected log-likelihood.

    It knows the family of kernels and the noise, not the kernel of a task. (In papers the kernel of each task is known
    to the process that others are compared with, which no learner can reach.)

    `predict` is of each query alone, `log_prob` of all together.

    φ holds the support and, for every member of the grid, the Cholesky factor of its covariance `[task, member, n, n]`,
    the solution for y and the log weight.

    Args:
        kernel: that of the tasks; `RBF()` by default.
        noise: the standard deviation of their noise; it must be positive, or nothing could be learned of y.
        grid: points along every hyperparameter that has a range.

    Raises:
        TypeError: something else than a kernel.
        ValueError: a number out of range.
    """

    kinds = frozenset({"regression"})
    trainable = False
    self_contained = True

    def __init__(self, kernel: Kernel | None = None, noise: float = 0.02, grid: int = 12) -> None:
        kernel = RBF() if kernel is None else kernel
        if not isinstance(kernel, Kernel):
            raise TypeError(f"kernel must be a kernel such as RBF(), got {kernel!r}")
        check_real(noise=noise)
        check_whole(grid=grid)
        if not noise > 0 or grid < 1:
            raise ValueError(f"noise must be positive and the grid have a point, got {noise} and {grid}")
        self._members, self._shares = kernel.grid(grid)
        super().__init__(GaussianMixture(len(self._shares)))
        self.kernel, self.noise, self.grid = kernel, noise, grid

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "GaussianProcessOracle":
        return cls(RBF(lengthscale=1.0, scale=(0.5, 2.0)), noise=0.5, grid=3)

    def _covariance(self, a: Float[Tensor, "task n"], b: Float[Tensor, "task m"]) -> Float[Tensor, "task member n m"]:
        return self.kernel.covariance(self._members.to(a.device), a[:, None], b[:, None])

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        x, y = one_input(support.x).double(), support.y.double()
        real, prior = support.mask[:, None, :, None] & support.mask[:, None, None, :], self._covariance(x, x)
        # Padding is a number of its own, which is 0.
        noise = torch.where(support.mask[:, None], JITTER * prior.diagonal(dim1=2, dim2=3) + self.noise**2, 1.0)
        covariance = torch.where(real, prior, 0.0) + torch.diag_embed(noise)
        root = torch.linalg.cholesky(covariance)
        target = y[:, None, :, None].expand(*root.shape[:-1], 1)
        solution = torch.cholesky_solve(target, root)[..., 0]
        fit = (y[:, None] * solution).sum(-1) / 2 + root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        # The bound is a probability of 0, and finite in every precision.
        weights = torch.log_softmax(self._shares.to(y.device).log() - fit, 1).clamp(min=-1e4)
        return {"x": x, "mask": support.mask, "root": root, "solution": solution, "weights": weights}

    def _posterior(
        self, phi: Phi, asked: Float[Tensor, "task n"]
    ) -> tuple[Float[Tensor, "task member n"], Float[Tensor, "task member support n"]]:
        """The means of f, and a root of what the support explains of its prior covariance."""
        across = torch.where(phi["mask"][:, None, :, None], self._covariance(phi["x"], asked), 0.0)
        mean = (across * phi["solution"][..., None]).sum(2)
        return mean, torch.linalg.solve_triangular(phi["root"], across, upper=False)

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        asked = one_input(x).double()
        mean, explained = self._posterior(phi, asked)
        nowhere = torch.zeros_like(asked[:, :1])
        prior = self._covariance(nowhere, nowhere)[..., 0]  # the variance is the same everywhere
        variance = (prior - explained.square().sum(2)).clamp(min=0) + self.noise**2
        weights = phi["weights"][..., None].expand_as(mean)
        return torch.cat([weights, mean, variance.log()], 1).transpose(1, 2).to(one_input(x).dtype)

    def log_prob(self, phi: Phi, query: Examples) -> Float[Tensor, " task"]:
        """log p of all real queries of a task together: Σ_g w_g N(y; μ_g, Σ_g), of their joint posterior covariances.

        Raises:
            TypeError, ValueError: the query is malformed.
        """
        query, _ = self._ready_query(phi, query)
        asked, y, mask = one_input(query.x).double(), query.y.double(), query.mask
        mean, explained = self._posterior(phi, asked)
        covariance = self._covariance(asked, asked) - explained.mT @ explained
        real = (mask[:, :, None] & mask[:, None])[:, None]
        # Padding is certain to be what it is: a number of its own, which is 0.
        noise = torch.diag_embed(torch.where(mask, self.noise**2, 1.0))[:, None]
        root = torch.linalg.cholesky(torch.where(real, covariance, 0.0) + noise)
        error = torch.where(mask[:, None], y[:, None] - mean, 0.0)
        standard = torch.linalg.solve_triangular(root, error[..., None], upper=False)[..., 0]
        each = -standard.square().sum(-1) / 2 - root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        each = each - mask.sum(1)[:, None] * math.log(2 * math.pi) / 2
        return torch.logsumexp(phi["weights"] + each, 1)
