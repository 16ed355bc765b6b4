"""SimpleShot: the nearest class mean, in the features of a pre-trained network, centred and of length one.

Wang, Chao, Weinberger & van der Maaten, "SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot
Learning", 2019.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_real
from quickstudy.learners.metric.similarity import class_means, nearness
from quickstudy.learners.transfer.pretrained import FrozenFeatures
from quickstudy.networks import MLP, Policy
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples
from quickstudy.tasks.likelihood import Categorical, Likelihood, Reduction
from quickstudy.tasks.source import Kind

__all__ = ["SimpleShot"]


@register
class SimpleShot(FrozenFeatures):
    """Nothing is trained for a task: class means of f(x) − mean, divided by its length (the paper's CL2N).

    The mean of the training features is a running one, over the last hundred or so steps of pre-training.

    φ holds the class means `[task, way, width]`.

    Args:
        network: the feature extractor.
        pretraining: `Categorical(n)` for n training classes.
        normalize: give features the length one; with `centre` false, the paper's L2N, and with both false its UN.
        centre: subtract the mean of the training features first.
        scale: an inverse temperature for the squared distances; it changes how sure, not which class.
        reduction: see `FrozenFeatures`.

    Raises:
        ValueError: a scale that is not positive and finite.
    """

    def __init__(
        self,
        network: nn.Module,
        pretraining: Likelihood,
        normalize: bool = True,
        centre: bool = True,
        scale: float = 10.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(network, pretraining, normalize, centre, reduction)
        check_real(scale=scale)
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        self.scale = scale

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "SimpleShot":
        return cls(MLP(6, (16, 16), normalization), Categorical(4))

    def _fit_head(
        self,
        features: Float[Tensor, "task n width"],
        support: Examples,
        classes: Bool[Tensor, "task way"] | None,
    ) -> dict[str, Tensor]:
        assert classes is not None  # Categorical always resolves them
        return {"means": class_means(features, support, classes.shape[1])[0]}

    def _apply_head(self, head: dict[str, Tensor], features: Float[Tensor, "task n width"]) -> Tensor:
        return self.scale * nearness(features, head["means"])
