"""Bayesian personalised ranking: a target says which of two candidates was preferred.

Rendle, Freudenthaler, Gantner & Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
"""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Bernoulli as BernoulliDistribution

from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Bernoulli, Likelihood, check_one_target, precise

__all__ = ["BPR"]


@register
class BPR(Likelihood):
    """−log σ(s_ui − s_uj): user u preferred item i, which was observed, to item j, which was drawn from the unobserved.

    An example is a pair of candidates, and the two raw outputs are their scores: a module for such a task scores both
    with the same weights. y is 1 where the first is preferred, 0 where the second is. That is a
    yes or no, so the metrics of a `Bernoulli` target apply; the accuracy over sampled pairs is what the paper calls
    AUC. Scores of items alone, for a ranked list, are the first raw output; see `evaluation.ndcg`.
    """

    kind = "binary"
    outputs = 2

    def distribution(
        self, raw: Float[Tensor, "*task n outputs"], classes: Bool[Tensor, "*task way"] | None = None
    ) -> BernoulliDistribution:
        """That the first candidate is preferred."""
        raw = precise(raw)
        return BernoulliDistribution(logits=raw[..., 0] - raw[..., 1], validate_args=False)

    def check(self, y: Tree) -> None:
        check_one_target(y, "BPR")

    def check_values(self, name: str, examples: Examples) -> None:
        Bernoulli().check_values(name, examples)
