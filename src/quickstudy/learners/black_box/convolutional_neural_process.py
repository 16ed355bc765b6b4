"""Convolutional neural processes: the support as a function on a grid, so that moving the data moves the predictions.

    E_0(t) = Σ_j ψ(t − x_j),   E_k(t) = Σ_j y_jk ψ(t − x_j) / E_0(t),   ψ(r) = exp(−r² / 2ℓ²)
    F = CNN(E),   p(y | x, D) from Σ_t ψ'(x − t) F(t) / Σ_t ψ'(x − t)

A sum over the support is a function, not a vector: no more examples than a vector has room for is no limit here, and
what holds at one place holds at all. So it extrapolates to where it was never trained.

Gordon et al., "Convolutional Conditional Neural Processes", ICLR 2020.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_real, check_whole
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.networks.network import expect_precision
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Categorical, Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["ConvolutionalNeuralProcess"]

_MOST_POINTS = 2**16


@register
class ConvolutionalNeuralProcess(Learner):
    """A convolutional network on a grid that the support is spread over, read where the queries are.

    The grid is fixed when the learner is made, so that queries do not move it. It reaches beyond the interval by what
    the network sees from a point, so that its ends touch no prediction: support and queries moved by whole steps of
    the grid, inside the interval, give the same predictions.

    φ holds, on the grid, the sums of density and labels `[task, 1 + label, point]` (hence `update` is exact) and what
    the network makes of them `[task, channel, point]`.

    Args:
        likelihood: what the outputs mean; a Categorical must say its number of ways. For a predicted variance,
            `Gaussian(variance=None)`.
        interval: where inputs may lie; make it as wide as tests need.
        resolution: points of the grid per unit of the input; functions should vary little between two.
        channels: of the network.
        layers: residual blocks, each a convolution.
        kernel: points that a convolution sees, an odd number.
        network: for inputs that are not one number: features of which one coordinate is learned, by a linear map
            squashed into the interval. None for inputs of one number.
        reduction: mean or sum over query examples.

    Raises:
        TypeError: arguments of another type.
        ValueError: a number out of range; and when called, an input that is not one number, or outside the interval.
    """

    points: Tensor

    def __init__(
        self,
        likelihood: Likelihood,
        interval: Sequence[float] = (-2.0, 2.0),
        resolution: int = 16,
        channels: int = 64,
        layers: int = 6,
        kernel: int = 5,
        network: nn.Module | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihood, reduction)
        check_whole(resolution=resolution, channels=channels, layers=layers, kernel=kernel)
        if min(resolution, channels, layers, kernel) < 1 or kernel % 2 == 0:
            raise ValueError(
                "resolution, channels, layers and kernel must be at least 1 and kernel odd, "
                f"got {resolution}, {channels}, {layers} and {kernel}"
            )
        if not isinstance(interval, tuple | list) or len(interval) != 2:
            raise ValueError(f"interval must be the two ends of where inputs lie, got {interval!r}")
        check_real(**{"interval[0]": interval[0], "interval[1]": interval[1]})
        if not interval[0] < interval[1]:
            raise ValueError(f"interval must rise from its first end to its second, got {interval!r}")
        self.interval, self.resolution = (float(interval[0]), float(interval[1])), resolution
        self.channels, self.layers, self.kernel = channels, layers, kernel
        # Beside what the convolutions see, room for the tails of ψ, which begins two steps wide.
        margin = (layers + 1) * (kernel // 2) + 12
        if (interval[1] - interval[0]) * resolution + 2 * margin > _MOST_POINTS:
            raise ValueError(
                f"interval, resolution, layers and kernel must give at most {_MOST_POINTS} points, "
                f"got {interval!r}, {resolution}, {layers} and {kernel}"
            )
        first, last = math.floor(interval[0] * resolution) - margin, math.ceil(interval[1] * resolution) + margin
        points = torch.arange(first, last + 1, dtype=torch.float64) / resolution
        self.register_buffer("points", points.to(torch.get_default_dtype()))
        self.network = None if network is None else as_network(network)
        self.coordinate = None if self.network is None else nn.Linear(self.network.width, 1)
        classes = isinstance(likelihood, Categorical)
        self.labels = likelihood.outputs if classes else getattr(likelihood, "targets", None) or 1
        self.log_spread = nn.Parameter(torch.full((2,), math.log(2 / resolution)))  # log ℓ, of the way in and out
        self.input = nn.Conv1d(1 + self.labels, channels, kernel, padding="same")
        self.blocks = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding="same") for _ in range(layers))
        self.output = nn.Linear(channels, likelihood.outputs)

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "ConvolutionalNeuralProcess":
        network = MLP(6, (16,), normalization)
        return cls(likelihood_for(kind, 4), resolution=4, channels=16, layers=2, kernel=3, network=network)

    def _places(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Phi | None
    ) -> tuple[Float[Tensor, "task n"], Phi]:
        """Where the inputs are on the axis of the grid."""
        if self.network is not None and self.coordinate is not None:
            features, statistics = self.network(x, mask, statistics)
            low, high = self.interval
            return low + (high - low) * torch.sigmoid(self.coordinate(features)[..., 0]), statistics
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim > 3 or x.shape[2:] not in ((), (1,)):
            found = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(
                f"x must be one floating-point number per example, [task, n, 1], got {found}; "
                "for other inputs give ConvolutionalNeuralProcess a network"
            )
        expect_precision(x, self)
        places = x[..., 0] if x.ndim == 3 else x
        if self._may_look:
            outside = mask & ((places < self.interval[0]) | (places > self.interval[1]))
            if outside.any():
                task, index = outside.nonzero()[0].tolist()
                raise ValueError(
                    f"x is {float(places[task, index]):g} for example {index} of task {task}, outside of the interval "
                    f"{self.interval}; build the learner with a wider one"
                )
        return places, {}

    def _bumps(self, places: Float[Tensor, "task n"], way: int) -> Float[Tensor, "task n point"]:
        """log ψ of every input at every point."""
        distance = (places[..., None] - self.points) / self.log_spread[way].exp()
        return -distance.square() / 2

    def _sums(self, examples: Examples, places: Float[Tensor, "task n"]) -> Float[Tensor, "task label point"]:
        """Of ψ, and of the labels times it."""
        y = examples.y
        if isinstance(self.likelihood, Categorical):
            y = F.one_hot(y, self.labels)
        labels = (y if y.ndim == 3 else y[..., None]).to(places.dtype)
        labels = F.pad(labels, (1, 0), value=1.0) * examples.mask[..., None]
        return labels.mT @ self._bumps(places, 0).exp()

    def _read(self, sums: Float[Tensor, "task label point"]) -> Float[Tensor, "task channel point"]:
        """The network on density and mean label."""
        density = sums[:, :1]
        hidden = self.input(torch.cat([density, sums[:, 1:] / (density + 1e-8)], 1))
        for block in self.blocks:
            hidden = hidden + block(F.relu(hidden))
        return hidden

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        places, statistics = self._places(support.x, support.mask, None)
        sums = self._sums(support, places)
        return {"sums": sums, "features": self._read(sums), "statistics": statistics}

    def _update(self, phi: Phi, examples: Examples) -> Phi:
        places, _ = self._places(examples.x, examples.mask, phi["statistics"])
        sums = phi["sums"] + self._sums(examples, places)
        return {**phi, "sums": sums, "features": self._read(sums)}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        places, _ = self._places(x, mask, phi["statistics"])
        # A softmax is ψ' over its sum, also where all of it is too small for a number.
        return self.output(F.relu(self._bumps(places, 1).softmax(-1) @ phi["features"].mT))
