"""A network with an output layer."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.networks.network import Network, as_network
from quickstudy.networks.normalization import Statistics
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree

__all__ = ["Headed"]


@register
class Headed(Network):
    """A network, then a linear layer to raw outputs.

    Args:
        network: the feature extractor.
        outputs: numbers per example, as a likelihood wants them.

    Raises:
        TypeError, ValueError: not a network, or no output.
    """

    def __init__(self, network: Network, outputs: int) -> None:
        super().__init__()
        self.network, self.outputs = as_network(network), outputs
        check_whole(outputs=outputs)
        if outputs < 1:
            raise ValueError(f"outputs must be at least 1, got {outputs}")
        self.width, self.normalization, self.adaptable = outputs, network.normalization, self.network.adaptable
        self.head = nn.Linear(network.width, outputs)

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        return self.network.input_shape

    def forward(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "task n outputs"], Statistics]:
        features, kept = self.network(x, mask, statistics)
        return self.head(features), kept
