"""What learners share whose φ is a set of weights per task: a network with a head, and its loss on one task."""

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call

from quickstudy.arguments import check_whole
from quickstudy.learners.learner import Learner
from quickstudy.learners.over_tasks import at_once, over_tasks
from quickstudy.learners.phi import Phi
from quickstudy.networks import Headed, Statistics, as_network
from quickstudy.tasks.batch import Examples, Tree, map_tensors
from quickstudy.tasks.likelihood import Likelihood, Reduction

__all__ = ["Weights", "WeightsLearner"]

Weights = dict[str, Tensor]


class WeightsLearner(Learner):
    """A learner that gives every task weights of its own.

    Args:
        network: the feature extractor; a linear layer to the likelihood's outputs is put on it.
        likelihood: what the outputs mean.
        tasks_at_once: how many tasks to vectorise over, 1 being a loop; by default what is faster on the device.
        reduction: mean or sum over examples, in the support's loss and in the query's.

    Raises:
        ValueError: `tasks_at_once` is below 1, or the network keeps running averages.
    """

    self_contained = True

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        tasks_at_once: int | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihood, reduction)
        if tasks_at_once is not None:
            check_whole(tasks_at_once=tasks_at_once)
            if tasks_at_once < 1:
                raise ValueError(f"tasks_at_once must be None or at least 1, got {tasks_at_once}")
        self.tasks_at_once = tasks_at_once
        network = as_network(network)
        if network.normalization == "running":
            raise ValueError(
                f"{type(self).__name__} changes the weights for every task, which running averages cannot follow; "
                "build the network with normalization='support' or 'transductive'"
            )
        self.predictor = Headed(network, likelihood.outputs)

    @property
    def network(self) -> nn.Module:
        """The feature extractor."""
        return self.predictor.network

    def _at_once(self, x: Tree) -> int | None:
        """How many tasks to vectorise over, given their inputs."""
        return at_once(self.tasks_at_once, x)

    def _one_task(
        self, weights: Weights, x: Tree, mask: Bool[Tensor, " n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "n outputs"], Statistics]:
        """Outputs under `weights`, and the statistics to keep; no argument or result has a task axis.

        Weights that are left out are the module's own.
        """
        given = map_tensors(lambda leaf: leaf[None], statistics) if statistics else None
        raw, kept = functional_call(
            self.predictor, weights, (map_tensors(lambda leaf: leaf[None], x), mask[None], given)
        )
        return raw[0], map_tensors(lambda leaf: leaf[0], kept)

    def _support_loss(
        self, weights: Weights, support: Examples, classes: Bool[Tensor, " way"] | None
    ) -> Float[Tensor, ""]:
        """−log p of one task's support (0 when it is empty)."""
        raw, _ = self._one_task(weights, support.x, support.mask)
        batched = map_tensors(lambda leaf: leaf[None], support)
        classes = None if classes is None else classes[None]
        return -self.likelihood.log_prob(raw[None], batched, classes, self.reduction)[0]

    def _statistics(self, weights: Weights, support: Examples) -> Statistics:
        """What normalization keeps of one task's support, under its final weights."""
        return self._one_task(weights, support.x, support.mask)[1]

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        return over_tasks(self._outputs_one, self._at_once(x), phi["weights"], phi["statistics"], x, mask)

    def _outputs_one(
        self, weights: Weights, statistics: Statistics, x: Tree, mask: Bool[Tensor, " n"]
    ) -> Float[Tensor, "n outputs"]:
        return self._one_task(weights, x, mask, statistics)[0]
