"""Neural processes beside the Gaussian process that they approximate, where they were trained and where not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from quickstudy.evaluation import GaussianProcessOracle, compare
from quickstudy.learners import (
    AttentiveLatentNeuralProcess,
    AttentiveNeuralProcess,
    AutoregressiveTransformer,
    ConditionalNeuralProcess,
    ConvolutionalNeuralProcess,
    InContextTransformer,
    LatentNeuralProcess,
    Learner,
)
from quickstudy.networks import MLP
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.reporting import Outcome, best_of
from quickstudy.tasks import RBF, Gaussian, Kernel, Matern52, TaskSource, gaussian_processes

__all__ = ["GPProcesses"]

_INSIDE, _OUTSIDE = (-2.0, 2.0), (2.0, 6.0)
_GRID = (-8.0, 12.0)  # failure probes move inputs beyond both


@recipe
class GPProcesses(Recipe):
    """−log p per query, on functions of a Gaussian process: of the kernel and in the interval of training, in the
    interval beside it, and of another kernel.

    Two exact Gaussian processes stand beside them. Each knows one family of kernels and its ranges, and is the best
    possible where that is the one that tasks come from; on the other's tasks it is wrong as the learners are.

    `nll` is of each query apart. Those that predict queries together, the latent processes, the autoregressive
    transformer and the exact processes, also have a `joint_nll`, which is less where queries tell of one another.
    """

    name = "gp-processes"
    claim = "Neural processes come near the exact Gaussian process; beside their interval only convolutions do."
    metric = "nll"

    @dataclass(frozen=True)
    class Settings:
        """At these, the seven trainings take ten minutes on one core."""

        steps: int = option(3500, "training steps")
        tasks: int = option(16, "tasks per step")
        width: int = option(64, "of all networks")
        noise: float = option(0.1, "standard deviation of the noise on y")
        matern: bool = option(False, "train on Matérn-5/2, and take RBF as the other kernel")

    def _source(self, kernel: Kernel, interval: tuple[float, float]) -> TaskSource:
        return gaussian_processes(kernel, shots=(3, 30), queries=30, noise=self.settings.noise, interval=interval)

    def _kernels(self) -> dict[str, Kernel]:
        """That of training first."""
        kernels: list[tuple[str, Kernel]] = [("rbf", RBF()), ("matern52", Matern52())]
        return dict(reversed(kernels) if self.settings.matern else kernels)

    def tests(self) -> dict[str, TaskSource]:
        (name, kernel), (other_name, other) = self._kernels().items()
        return {
            name: self._source(kernel, _INSIDE),
            f"{name}-outside": self._source(kernel, _OUTSIDE),
            other_name: self._source(other, _INSIDE),
        }

    def contestants(self) -> dict[str, Contestant]:
        chosen, (own, other) = self.settings, self._kernels().items()
        source, width = self._source(own[1], _INSIDE), chosen.width
        training = Training(source.train, chosen.steps, chosen.tasks, 2e-3, validation=source.validation)

        def features() -> nn.Module:
            return MLP(1, (width,))

        def trained(build: Callable[..., Learner], **options: Any) -> Contestant:
            return Contestant(lambda: build(features(), Gaussian(variance=None), width=width, **options), training)

        return {
            "convolutional": Contestant(
                lambda: ConvolutionalNeuralProcess(
                    Gaussian(variance=None), _GRID, resolution=16, channels=width // 2, layers=6
                ),
                training,
            ),
            "transformer": trained(InContextTransformer, layers=3),
            "autoregressive transformer": trained(AutoregressiveTransformer, layers=3),
            "attentive": trained(AttentiveNeuralProcess),
            "attentive latent": trained(AttentiveLatentNeuralProcess, objective="likelihood"),
            "conditional": trained(ConditionalNeuralProcess, layers=3),
            "latent": trained(LatentNeuralProcess, layers=3, objective="likelihood"),
            **{
                f"exact, {name}": Contestant(
                    lambda kernel=kernel: GaussianProcessOracle(kernel, chosen.noise, grid=8),  # type: ignore[misc]
                    batch_size=8,
                    role="optimum" if name == own[0] else "baseline",
                )
                for name, kernel in (own, other)
            },
        }

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        learners, parts = [name for name in outcomes if not name.startswith("exact")], []
        for protocol in self.tests():
            best, exact = best_of(outcomes, learners, protocol, "nll"), f"exact, {protocol.removesuffix('-outside')}"
            gap = compare(outcomes[best].runs(protocol), outcomes[exact].runs(protocol), "nll")
            parts.append(f"on {protocol}, {best} is best of what was learned; against the exact process: {gap}")
            together = [name for name in learners if "joint_nll" in outcomes[name].runs(protocol)[0].values]
            if together:
                best = best_of(outcomes, together, protocol, "joint_nll")
                gap = compare(outcomes[best].runs(protocol), outcomes[exact].runs(protocol), "joint_nll")
                parts.append(f"queries together, {best} is; against the exact process: {gap}")
        return f"{'; '.join(parts).capitalize()}."
