"""Complete pooling: one model for all tasks, as if there were no tasks.

Right when tasks hardly differ, hopeless when the same input means different things in different tasks.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Headed, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, TaskBatch, Tree
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["CompletePooling"]

_KEEPS_STATISTICS = ("support", "task")


@register
class CompletePooling(Learner):
    """Ordinary supervised learning on the examples of all tasks; support and query are the same to it.

    A task's support changes nothing, except the statistics of the normalization policies `support` and `task`; with
    any other policy the task is ignored entirely.

    Args:
        network: the feature extractor; a linear layer to the likelihood's outputs is put on it.
        likelihood: what the outputs mean.
        reduction: mean or sum over examples.
    """

    adapts = False

    def __init__(self, network: nn.Module, likelihood: Likelihood, reduction: Reduction = "mean") -> None:
        super().__init__(likelihood, reduction)
        self.predictor = Headed(as_network(network), likelihood.outputs)

    @property
    def network(self) -> nn.Module:
        """The feature extractor."""
        return self.predictor.network

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "CompletePooling":
        return cls(MLP(6, (16, 16), normalization), likelihood_for(kind, 4))

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        if self.predictor.normalization not in _KEEPS_STATISTICS:
            return {"statistics": {}}
        return {"statistics": self.predictor(support.x, support.mask)[1]}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        return self.predictor(x, mask, phi["statistics"])[0]

    def forward(self, batch: TaskBatch) -> Float[Tensor, " task"]:
        """The loss of every task, on its support and query together."""
        batch.check()
        phi = self.adapt(batch.support, batch.classes)
        total = -self.log_prob(phi, batch.support) - self.log_prob(phi, batch.query)
        count = batch.support.mask.sum(1) + batch.query.mask.sum(1)
        return total / count.clamp(min=1) if self.reduction == "mean" else total
