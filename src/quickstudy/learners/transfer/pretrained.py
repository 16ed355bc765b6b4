"""What plain transfer shares: a network trained, with a head over everything at once, as if there were no tasks.

It learns from `ClassPool.all_classes()`, whose labels are the numbers of all training classes. A new task then gets a
new head on the features as they are; the heads differ, the training does not. So one training serves them all: their
weights have the same names and shapes (`head_b.load_state_dict(head_a.state_dict())`).

Yosinski et al., "How transferable are features in deep neural networks?", NeurIPS 2014; for few shots, Chen et al., "A
Closer Look at Few-shot Classification", ICLR 2019, and Tian et al., "Rethinking Few-Shot Image Classification: a Good
Embedding Is All You Need?", ECCV 2020.
"""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_flag
from quickstudy.learners.features import squarable
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import Statistics, as_network
from quickstudy.tasks.batch import Examples, TaskBatch, Tree
from quickstudy.tasks.likelihood import Categorical, Likelihood, Reduction, precise

__all__ = ["FrozenFeatures", "Pretrained"]

_MOMENTUM = 0.01  # of the running mean of features: over about the last hundred steps, at their small final rates


class Pretrained(Learner):
    """A network and the head that it is pre-trained with; a subclass says how a task is learned from there.

    `forward` is the loss of pre-training: labels are classes of the pre-training head, and the support counts as much
    as the query.

    Args:
        network: the feature extractor.
        pretraining: what the outputs of the pre-training head mean: `Categorical(n)` for n training classes.
        reduction: mean or sum over examples.

    Raises:
        ValueError: `pretraining` does not say how many classes, or is of a kind that the head cannot learn.
    """

    running_mean: Tensor
    weight_of_mean: Tensor

    def __init__(self, network: nn.Module, pretraining: Likelihood, reduction: Reduction = "mean") -> None:
        super().__init__(Categorical() if isinstance(pretraining, Categorical) else pretraining, reduction)
        self.network, self.pretraining = as_network(network), pretraining
        self.head: nn.Module = nn.Linear(self.network.width, pretraining.outputs)
        self.register_buffer("running_mean", torch.zeros(self.network.width))
        self.register_buffer("weight_of_mean", torch.zeros(()))

    def forward(self, batch: TaskBatch) -> Float[Tensor, " task"]:
        """The pre-training loss of every task's support and query together.

        Raises:
            TypeError, ValueError: the batch is malformed, or has more classes than the pre-training head.
        """
        examples, classes = self._joined(batch, self.pretraining)
        features, _ = self.network(examples.x, examples.mask)
        if self.training:
            self._follow(features.detach(), examples.mask)
        return -self.pretraining.log_prob(self.head(features), examples, classes, self.reduction)

    @torch.no_grad()
    def _follow(self, features: Float[Tensor, "task n width"], mask: Bool[Tensor, "task n"]) -> None:
        """Move the running mean towards the mean of these features."""
        sums = torch.where(mask[..., None], precise(features), 0.0).sum((0, 1))
        count = mask.sum().to(sums.dtype)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # Every process must keep the mean that one process with all the tasks would.
            both = torch.cat([sums, count[None]])
            torch.distributed.all_reduce(both)
            sums, count = both[:-1], both[-1]
        momentum = _MOMENTUM * (count > 0).to(sums.dtype)
        self.running_mean.lerp_((sums / count.clamp(min=1)).to(self.running_mean.dtype), momentum)
        self.weight_of_mean.lerp_(torch.ones_like(self.weight_of_mean), momentum)


class FrozenFeatures(Pretrained):
    """A new head for every task, on features that stay as they are; a subclass is a way to fit the head.

    `adapt` passes no gradient to the network.

    Args:
        network: the feature extractor.
        pretraining: see `Pretrained`.
        normalize: give features the length one.
        centre: subtract the mean of the training features first, a running mean kept while pre-training.
        reduction: mean or sum over examples.

    Raises:
        ValueError: as `Pretrained`.
    """

    kinds = frozenset({"classification"})
    embeds = True

    def __init__(
        self,
        network: nn.Module,
        pretraining: Likelihood,
        normalize: bool = False,
        centre: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(network, pretraining, reduction)
        check_flag(normalize=normalize, centre=centre)
        self.normalize, self.centre = normalize, centre

    @abstractmethod
    def _fit_head(
        self,
        features: Float[Tensor, "task n width"],
        support: Examples,
        classes: Bool[Tensor, "task way"] | None,
    ) -> dict[str, Tensor]:
        """The head of every task, as tensors with the task axis first."""

    @abstractmethod
    def _apply_head(self, head: dict[str, Tensor], features: Float[Tensor, "task n width"]) -> Tensor:
        """Raw outputs `[task, n, outputs]`."""

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        features, statistics = self._features(support.x, support.mask, None)
        with torch.autocast(features.device.type, enabled=False):
            return {"head": self._fit_head(features, support, classes), "statistics": statistics}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        features, _ = self._features(x, mask, phi["statistics"])
        with torch.autocast(mask.device.type, enabled=False):
            return self._apply_head(phi["head"], features)

    @torch.no_grad()
    def _features(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Statistics | None
    ) -> tuple[Float[Tensor, "task n width"], Statistics]:
        """Frozen, centred and normalised as asked; zero where padded."""
        features, kept = self.network(x, mask, statistics)
        features = precise(features)
        if self.centre:
            features = features - self.running_mean / self.weight_of_mean.clamp(min=_MOMENTUM)
        features = squarable(features, mask, self._may_look)
        return (F.normalize(features, dim=-1) if self.normalize else features), kept
