"""Attentive neural processes with a latent variable: z for what is not known, attention for what was seen.

    p(y | x, D) = 1/S Σ_s p(y from g(f(x), z_s, r(x))),   z_s ~ q(z | D),   r(x) = attention of f(x) to the support

Kim et al., "Attentive Neural Processes", ICLR 2019.
"""

from jaxtyping import Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.learners.black_box.attentive_neural_process import AttentiveReader
from quickstudy.learners.black_box.conditioned import Condition
from quickstudy.learners.black_box.latent_neural_process import LatentNeuralProcess, Objective
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.mixture import Mixture
from quickstudy.tasks.source import Kind

__all__ = ["AttentiveLatentNeuralProcess"]


@register
class AttentiveLatentNeuralProcess(LatentNeuralProcess):
    """A latent neural process whose queries also attend to the support.

    φ holds samples of z, as that of `LatentNeuralProcess`, and keys and values of the support, as that of
    `AttentiveNeuralProcess`. Support examples attend to one another, so that φ cannot be updated exactly.

    Args:
        network, likelihood, latent, width, layers: as of `LatentNeuralProcess`; what is read by attention has the
            length `width`.
        heads: attention heads; must divide `width`.
        samples, training_samples, objective, seed, condition, reduction: as of `LatentNeuralProcess`.

    Raises:
        ValueError: `width` is not a multiple of `heads`, a size is below one, or an unknown condition or objective.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        latent: int = 64,
        width: int = 128,
        layers: int = 2,
        heads: int = 8,
        samples: int = 16,
        training_samples: int = 4,
        objective: Objective = "elbo",
        seed: int = 0,
        condition: Condition = "concatenate",
        reduction: Reduction = "mean",
    ) -> None:
        check_whole(width=width, heads=heads)
        if min(width, heads) < 1 or width % heads:
            raise ValueError(f"width and heads must be positive and width a multiple of heads, got {width} and {heads}")
        super().__init__(
            network,
            likelihood,
            latent,
            width,
            layers,
            samples,
            training_samples,
            objective,
            seed,
            condition,
            reduction,
        )
        self.heads = heads
        assert isinstance(self.likelihood, Mixture)
        self.attention = AttentiveReader(self.network.width, self.likelihood.component, width, layers, heads)

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "AttentiveLatentNeuralProcess":
        network, likelihood = MLP(6, (16,), normalization), likelihood_for(kind, 4)
        return cls(network, likelihood, 8, 32, 1, 2, samples=4, objective="likelihood")

    @property
    def _seen_width(self) -> int:
        return self.width

    def _look(self, features: Tensor, support: Examples) -> Phi:
        return self.attention.look(features, support)

    def _seen(self, features: Float[Tensor, "task n features"], phi: Phi) -> Float[Tensor, "task n seen"]:
        return self.attention(features, phi)

    def _update(self, phi: Phi, examples: Examples) -> Phi:
        return Learner._update(self, phi, examples)  # cannot: the old examples have not read the new ones
