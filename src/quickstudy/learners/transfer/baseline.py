"""The baselines that few-shot methods must beat: pre-train on all training classes, then train a new head by descent.

Chen, Liu, Kira, Wang & Huang, "A Closer Look at Few-shot Classification", ICLR 2019.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_real, check_seed, check_whole
from quickstudy.learners.transfer.pretrained import FrozenFeatures
from quickstudy.networks import MLP, Policy
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples
from quickstudy.tasks.likelihood import Categorical, Likelihood, Reduction
from quickstudy.tasks.source import Kind

__all__ = ["Baseline", "BaselinePlusPlus"]


@register
class Baseline(FrozenFeatures):
    """A linear head, trained on the support's frozen features by gradient descent with momentum.

    The optimizer is the paper's (momentum and dampening 0.9, weight decay 0.001). Its schedule is not: the authors'
    code goes through the support a hundred times, four examples a step, which is from 125 steps (5-way 1-shot) to 2,500
    (20-way 5-shot); here every step is on the whole support, so that its order does not matter. The head begins at
    zero, from where a hundred steps come near what many more reach.

    φ holds `weight` `[task, way, width]` and `bias` `[task, way]`.

    Args:
        network: the feature extractor.
        pretraining: `Categorical(n)` for n training classes.
        steps: of descent.
        rate: its learning rate.
        weight_decay: its weight decay.
        normalize, centre, reduction: see `FrozenFeatures`.

    Raises:
        ValueError: negative steps or decay, or a rate that is not positive.
    """

    optimizes = True

    def __init__(
        self,
        network: nn.Module,
        pretraining: Likelihood,
        steps: int = 100,
        rate: float = 0.01,
        weight_decay: float = 1e-3,
        normalize: bool = False,
        centre: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(network, pretraining, normalize, centre, reduction)
        check_whole(steps=steps)
        check_real(rate=rate, weight_decay=weight_decay)
        if steps < 0 or weight_decay < 0 or not rate > 0:
            raise ValueError(
                f"steps and weight_decay must not be negative and rate must be positive, got {steps}, "
                f"{weight_decay} and {rate}"
            )
        self.steps, self.rate, self.weight_decay = steps, rate, weight_decay

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "Baseline":
        return cls(MLP(6, (16, 16), normalization), Categorical(4), steps=50, rate=0.05)

    def _start(self, features: Float[Tensor, "task n width"], ways: int) -> dict[str, Tensor]:
        """The head that every task begins with."""
        tasks, _, width = features.shape
        return {"weight": features.new_zeros(tasks, ways, width), "bias": features.new_zeros(tasks, ways)}

    @torch.no_grad()
    def _fit_head(
        self,
        features: Float[Tensor, "task n width"],
        support: Examples,
        classes: Bool[Tensor, "task way"] | None,
    ) -> dict[str, Tensor]:
        assert classes is not None  # Categorical always resolves them
        head = {name: value.requires_grad_() for name, value in self._start(features, classes.shape[1]).items()}
        # Descent works number by number, so the heads of all tasks are trained as one stack and remain independent.
        optimizer = torch.optim.SGD(
            head.values(), lr=self.rate, momentum=0.9, dampening=0.9, weight_decay=self.weight_decay
        )
        for _ in range(self.steps):
            with torch.enable_grad():
                losses = -self.likelihood.log_prob(self._apply_head(head, features), support, classes, "mean")
                losses.sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        return {name: value.detach() for name, value in head.items()}

    def _apply_head(self, head: dict[str, Tensor], features: Float[Tensor, "task n width"]) -> Tensor:
        return features @ head["weight"].mT + head["bias"][:, None]


@register
class BaselinePlusPlus(Baseline):
    """Baseline++: the head compares directions, s · cos(f(x), w_k), in pre-training and in every task.

    φ holds the directions `weight` `[task, way, width]`, which begin at random ones, the same in every task; so it
    takes more steps than `Baseline`.

    Args:
        network: the feature extractor.
        pretraining: `Categorical(n)` for n training classes.
        steps: of descent.
        rate: its learning rate.
        weight_decay: its weight decay.
        scale: s; the authors' code takes 2 up to 200 classes and 10 beyond.
        seed: of the directions to begin with.
        normalize, centre, reduction: see `FrozenFeatures`.

    Raises:
        ValueError: negative steps, decay or seed, or a rate or scale that is not positive.
    """

    def __init__(
        self,
        network: nn.Module,
        pretraining: Likelihood,
        steps: int = 1000,
        rate: float = 0.01,
        weight_decay: float = 1e-3,
        scale: float = 10.0,
        seed: int = 0,
        normalize: bool = False,
        centre: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(network, pretraining, steps, rate, weight_decay, normalize, centre, reduction)
        check_real(scale=scale)
        check_seed(seed)
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        self.scale, self.seed = scale, seed
        self.head = _Cosine(self.network.width, pretraining.outputs, scale)

    def _start(self, features: Float[Tensor, "task n width"], ways: int) -> dict[str, Tensor]:
        tasks, _, width = features.shape
        generator = torch.Generator().manual_seed(self.seed)
        directions = torch.randn(ways, width, generator=generator, dtype=torch.float64) / width**0.5
        return {"weight": directions.to(features).expand(tasks, -1, -1).clone()}

    def _apply_head(self, head: dict[str, Tensor], features: Float[Tensor, "task n width"]) -> Tensor:
        return self.scale * F.normalize(features, dim=-1) @ F.normalize(head["weight"], dim=-1).mT


class _Cosine(nn.Linear):
    """s · cos(x, w_k)."""

    def __init__(self, width: int, outputs: int, scale: float) -> None:
        super().__init__(width, outputs, bias=False)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.scale * F.linear(F.normalize(x.to(self.weight), dim=-1), F.normalize(self.weight, dim=-1))
