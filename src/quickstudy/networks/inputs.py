"""The inputs themselves as features, for learners that have layers enough of their own."""

from jaxtyping import Bool, Float
from torch import Tensor

from quickstudy.arguments import check_whole
from quickstudy.networks.network import Network
from quickstudy.networks.normalization import Statistics
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree

__all__ = ["Inputs"]


@register
class Inputs(Network):
    """Inputs as vectors, with nothing done to them: what follows reads them through layers of its own.

    Before a function that is linear in its inputs, say, a layer with a ReLU is in the way of a transformer.

    Args:
        inputs: numbers per example; axes after `[task, n]` are flattened.

    Raises:
        ValueError: `inputs` is below one; and when called, inputs of another length, or none of them real numbers.
    """

    adaptable = True

    def __init__(self, inputs: int) -> None:
        super().__init__()
        check_whole(inputs=inputs)
        if inputs < 1:
            raise ValueError(f"inputs must be at least 1, got {inputs}")
        self.inputs = self.width = inputs

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.inputs,)

    def forward(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "task n width"], Statistics]:
        if not isinstance(x, Tensor):
            raise TypeError(f"x must be one tensor for Inputs, got {type(x).__name__}")
        vectors = x.flatten(2) if x.ndim > 2 else x[..., None]
        if not vectors.is_floating_point() or vectors.shape[-1] != self.inputs:
            found = f"{vectors.dtype} {tuple(x.shape[2:])}"
            raise ValueError(f"x must have {self.inputs} floating-point numbers per example, got {found}")
        return vectors, {}
