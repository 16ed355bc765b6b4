"""What is best possible, where that can be computed."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from quickstudy.arguments import check_real, check_whole
from quickstudy.learners import Learner, Phi
from quickstudy.networks import Policy
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Gaussian
from quickstudy.tasks.sinusoids import AMPLITUDE, PHASE
from quickstudy.tasks.source import Kind

__all__ = ["SinusoidOracle", "one_input"]


@register
class SinusoidOracle(Learner):
    """The Bayes-optimal predictor of `quickstudy.tasks.sinusoids`: no predictor has a lower expected squared error.

    Given the phase p, y = a · sin(x − p) + noise is linear in the amplitude, whose posterior (uniform prior, cut off
    at both ends) is a truncated normal with known mean and evidence. So only the phase needs a grid. With little noise
    the posterior is narrower than any fixed grid: each pass raises the noise to what the spacing can resolve, and the
    next covers only the part where the posterior then lies.

    φ holds the phases of the last grid, their posterior weights, and the amplitude's mean at each, all `[task, grid]`.

    Args:
        noise: standard deviation of the noise of the tasks; 0 is taken as the limit, 10⁻⁵.
        grid: number of phases in each grid.

    Raises:
        ValueError: negative noise, or a grid too small to be one.
    """

    kinds = frozenset({"regression"})
    trainable = False
    self_contained = True

    def __init__(self, noise: float = 0.0, grid: int = 1024) -> None:
        check_real(noise=noise)
        check_whole(grid=grid)
        if not noise >= 0 or grid < 16:
            raise ValueError(f"noise must be at least 0 and grid at least 16, got {noise} and {grid}")
        super().__init__(Gaussian())
        self.noise, self.grid = noise, grid

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "SinusoidOracle":
        return cls(noise=0.5)

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        x, y = one_input(support.x).double(), support.y.double()
        middles = (torch.arange(self.grid, dtype=torch.float64, device=y.device) + 0.5) / self.grid
        low, high = (torch.full((len(y), 1), end, dtype=torch.float64, device=y.device) for end in PHASE)
        for _ in range(_PASSES):
            spacing = (high - low) / self.grid
            phases = low + (high - low) * middles
            # A step in phase moves y by at most the amplitude times it.
            noise = (2 * AMPLITUDE[1] * spacing).clamp(min=max(self.noise, 1e-5))
            weights, amplitudes = _posterior(phases, x, y, support.mask, noise)
            likely = weights > weights.amax(1, keepdim=True) * 1e-15
            low = torch.where(likely, phases, math.inf).amin(1, keepdim=True) - spacing / 2
            high = torch.where(likely, phases, -math.inf).amax(1, keepdim=True) + spacing / 2
        return {"phases": phases, "weights": weights, "amplitudes": amplitudes}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n 1"]:
        waves = torch.sin(one_input(x).double()[:, :, None] - phi["phases"][:, None])
        mean = (waves * (phi["weights"] * phi["amplitudes"])[:, None]).sum(-1, keepdim=True)
        return mean.to(one_input(x).dtype)


_PASSES = 8


def one_input(x: Tree) -> Float[Tensor, "task n"]:
    """Inputs of one number each, without an axis for it.

    Raises:
        TypeError: they are something else.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim > 3 or not all(x.shape[2:]):
        found = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"an oracle of functions takes floating-point inputs x [task, n, 1], got {found}")
    return x[..., 0] if x.ndim == 3 else x


def _posterior(
    phases: Float[Tensor, "task grid"],
    x: Float[Tensor, "task n"],
    y: Float[Tensor, "task n"],
    mask: Bool[Tensor, "task n"],
    noise: Float[Tensor, "task 1"],
) -> tuple[Float[Tensor, "task grid"], Float[Tensor, "task grid"]]:
    """Posterior weights of the phases, and the posterior mean of the amplitude at each."""
    waves = torch.sin(x[:, None] - phases[..., None]) * mask[:, None]
    power = waves.square().sum(-1).clamp(min=1e-9)
    match = (waves * y[:, None]).sum(-1)
    best, spread = match / power, noise / power.sqrt()
    below, above = ((end - best) / spread for end in AMPLITUDE)
    log_mass = _log_normal_mass(below, above)
    log_evidence = best * match / (2 * noise**2) + spread.log() + log_mass  # up to what no phase changes
    weights = torch.softmax(log_evidence, -1)
    density_below, density_above = (
        (-end.square() / 2 - math.log(2 * math.pi) / 2 - log_mass).exp() for end in (below, above)
    )
    return weights, (best + spread * (density_below - density_above)).clamp(*AMPLITUDE)


def _log_normal_mass(low: Tensor, high: Tensor) -> Tensor:
    """log of the standard normal's mass between `low` and `high`, also far out in a tail."""
    flip = low > 0  # the left tail is the one with a precise logarithm
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    log_low, log_high = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    return log_high + torch.log1p(-(log_low - log_high).exp().clamp(max=1 - 1e-16))
