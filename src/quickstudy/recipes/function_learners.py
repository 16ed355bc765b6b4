"""Who is asked about a class of functions: two transformers that read examples, and what needs no training."""

from quickstudy.learners import DecoderTransformer, InContextTransformer, NearestNeighbour
from quickstudy.networks import Inputs
from quickstudy.recipes.recipe import Contestant, Training
from quickstudy.tasks import Gaussian

__all__ = ["function_learners"]


def function_learners(dimensions: int, training: Training) -> dict[str, Contestant]:
    """A decoder on every prefix, a set transformer, both trained alike, and nearest neighbours.

    Args:
        dimensions: length of an input.
        training: of the transformers.
    """
    return {
        "decoder": Contestant(
            lambda: DecoderTransformer(Inputs(dimensions), Gaussian(), width=64, layers=3, paired=True), training, 100
        ),
        "set transformer": Contestant(
            lambda: InContextTransformer(Inputs(dimensions), Gaussian(), width=64, layers=3), training, 100
        ),
        "nearest neighbour": Contestant(
            lambda: NearestNeighbour(likelihood=Gaussian(), neighbours=3), batch_size=100, role="baseline"
        ),
    }
