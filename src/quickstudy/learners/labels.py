"""Labels as vectors, for networks that read the support set."""

from jaxtyping import Float
from torch import Tensor, nn

from quickstudy.tasks.likelihood import Categorical, Gaussian, Likelihood

__all__ = ["LabelEmbedding"]


class LabelEmbedding(nn.Module):
    """A table of vectors for class numbers, a linear map for real targets and for yes and no.

    Args:
        likelihood: what the labels are.
        width: length of a vector.
    """

    def __init__(self, likelihood: Likelihood, width: int) -> None:
        super().__init__()
        self.numbered = isinstance(likelihood, Categorical)
        targets = likelihood.targets if isinstance(likelihood, Gaussian) else None
        self.embed = nn.Embedding(likelihood.outputs, width) if self.numbered else nn.Linear(targets or 1, width)

    def forward(self, y: Tensor) -> Float[Tensor, "task n width"]:
        """Of labels `[task, n]`, or targets `[task, n, target]`."""
        if self.numbered:
            return self.embed(y)
        return self.embed((y if y.ndim == 3 else y[..., None]).to(self.embed.weight.dtype))
