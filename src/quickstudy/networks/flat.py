"""Examples as they are: for what brings layers of its own."""

from jaxtyping import Bool, Float
from torch import Tensor

from quickstudy.arguments import check_whole
from quickstudy.networks.network import Network
from quickstudy.networks.normalization import Statistics
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree

__all__ = ["Flat"]


@register
class Flat(Network):
    """The numbers of an example, flattened into one vector; there is nothing to learn.

    Args:
        inputs: numbers per example.

    Raises:
        ValueError: fewer than one; and when called, inputs of another length, or none of them real numbers.
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
            raise TypeError(f"Flat takes one tensor, got {type(x).__name__}; wrap a module of your own as PerExample")
        flat = x.flatten(2) if x.ndim > 2 else x[..., None]
        if not flat.is_floating_point() or flat.shape[-1] != self.inputs:
            raise ValueError(
                f"Flat takes {self.inputs} floating-point numbers per example, got {flat.dtype} {tuple(x.shape[2:])}"
            )
        return flat, {}
