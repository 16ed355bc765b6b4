"""Latent neural processes: what the support does not tell is drawn, once for the whole function.

    q(z | D) = N(μ(h), σ(h)²),   h = 1/n Σ_j e(f(x_j), y_j),   p(y | x, D) = 1/S Σ_s p(y from g(f(x), z_s)),   z_s ~ q

A conditional process predicts every query apart, and so cannot say that two of them go up or down together. Here they
share z. Learned by the evidence lower bound, in which the query is read too,

    E_{q(z | D ∪ Q)}[log p(Q | z)] − KL(q(z | D ∪ Q) ‖ q(z | D)),

or by the likelihood itself, estimated from samples: log 1/S Σ_s p(Q | z_s), z_s ~ q(z | D).

Garnelo et al., "Neural Processes", 2018; with the scale of z of Kim et al., "Attentive Neural Processes", ICLR 2019,
and the second objective of Foong et al., "Meta-Learning Stationary Stochastic Process Prediction with Convolutional
Neural Processes", NeurIPS 2020.
"""

import math
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_seed, check_whole
from quickstudy.learners.black_box.conditioned import Condition, Conditioned
from quickstudy.learners.black_box.neural_process import Reader, masked_mean, read_on
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, TaskBatch, Tree
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.mixture import Mixture
from quickstudy.tasks.source import Kind

__all__ = ["LatentNeuralProcess", "Objective", "divergence"]

Objective: TypeAlias = Literal["elbo", "likelihood"]


@register
class LatentNeuralProcess(Learner):
    """A distribution over a vector z, samples of which each make a prediction; the prediction is their mixture.

    φ holds samples of z `[task, sample, latent]`, so that prediction is a function of φ, and the mean h and the number
    of examples, so that `update` is exact. The samples are μ + σ ε, where ε is drawn once, when the learner is made,
    and is the same for all tasks. In training, ε is drawn at every step from torch's generator, which `fit` seeds.

    `log_prob` is that of all queries of a task together: log 1/S Σ_s Π_i p(y_i | x_i, z_s).

    Args:
        network: turns an input into features; MLP or Conv4, say.
        likelihood: what an output means; a Categorical must say its number of ways. For a predicted variance,
            `Gaussian(variance=None)`. It becomes `Mixture(likelihood, samples)`; a Mixture is kept as it is.
        latent: length of z.
        width: of h, and of the hidden layers of e and g.
        layers: how many hidden layers each of them has.
        samples: of z, in φ.
        training_samples: of z, for every task of a training step.
        objective: what is maximised, `elbo` or `likelihood`.
        seed: of ε.
        condition: how z enters g: beside the features (`concatenate`), or as scales and shifts of g's layers (`film`).
        reduction: whether the loss is divided by the number of query examples.

    Raises:
        ValueError: a size below one, an unknown condition or objective.
    """

    noise: Tensor

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        latent: int = 64,
        width: int = 128,
        layers: int = 2,
        samples: int = 16,
        training_samples: int = 4,
        objective: Objective = "elbo",
        seed: int = 0,
        condition: Condition = "concatenate",
        reduction: Reduction = "mean",
    ) -> None:
        check_whole(latent=latent, width=width, layers=layers, samples=samples, training_samples=training_samples)
        if min(latent, width, layers, samples, training_samples) < 1:
            raise ValueError(
                "latent, width, layers, samples and training_samples must be at least 1, "
                f"got {latent}, {width}, {layers}, {samples} and {training_samples}"
            )
        if objective not in get_args(Objective):
            raise ValueError(f"objective must be one of {', '.join(get_args(Objective))}, got {objective!r}")
        check_seed(seed)
        plain = isinstance(likelihood, Likelihood) and not isinstance(likelihood, Mixture)
        super().__init__(Mixture(likelihood, samples) if plain else likelihood, reduction)
        self.network = as_network(network)
        self.latent, self.width, self.layers, self.condition = latent, width, layers, condition
        self.training_samples, self.objective, self.seed = training_samples, objective, seed
        assert isinstance(self.likelihood, Mixture)
        one = self.likelihood.component
        self.reader = Reader(self.network.width, one, width, layers, width)
        self.encoder = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2 * latent))
        self.decoder = Conditioned(self.network.width, latent + self._seen_width, width, layers, one.outputs, condition)
        generator = torch.Generator().manual_seed(seed % 2**63)
        noise = torch.randn(self.samples, latent, generator=generator, dtype=torch.float64)
        self.register_buffer("noise", noise.to(torch.get_default_dtype()))

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "LatentNeuralProcess":
        network, likelihood = MLP(6, (16,), normalization), likelihood_for(kind, 4)
        return cls(network, likelihood, 8, 32, layers=1, samples=4, objective="likelihood", condition="film")

    @property
    def _seen_width(self) -> int:
        """Length of what a query sees of the support beside z."""
        return 0

    def _look(self, features: Tensor, support: Examples) -> Phi:
        """What φ holds of the support beside z, for `_seen`: nothing here."""
        return {}

    def _seen(self, features: Float[Tensor, "task n features"], phi: Phi) -> Float[Tensor, "task n seen"]:
        """What each query sees of the support beside z."""
        return features[..., :0]

    @property
    def samples(self) -> int:
        """How many z there are in φ."""
        assert isinstance(self.likelihood, Mixture)
        return self.likelihood.components

    def posterior(self, h: Float[Tensor, "task width"]) -> tuple[Float[Tensor, "task latent"], Tensor]:
        """Mean and standard deviation of q(z | D), the latter between 0.1 and 1."""
        mean, spread = self.encoder(h).chunk(2, -1)
        return mean, 0.1 + 0.9 * torch.sigmoid(spread)

    def _phi(self, h: Tensor, count: Tensor, statistics: Phi) -> Phi:
        mean, scale = self.posterior(h)
        z = mean[:, None] + scale[:, None] * self.noise
        return {"h": h, "count": count, "z": z, "statistics": statistics}

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        features, statistics = self.network(support.x, support.mask)
        h = masked_mean(self.reader(features, support.y), support.mask)
        return {**self._phi(h, support.count.to(h.dtype), statistics), **self._look(features, support)}

    def _update(self, phi: Phi, examples: Examples) -> Phi:
        features, _ = self.network(examples.x, examples.mask, phi["statistics"])
        read = read_on(phi, self.reader(features, examples.y), examples)
        return {**phi, **self._phi(*read, phi["statistics"])}

    def _decoded(
        self,
        features: Float[Tensor, "task n features"],
        z: Float[Tensor, "task sample latent"],
        seen: Float[Tensor, "task n seen"],
    ) -> Float[Tensor, "task n all"]:
        """The outputs for every z, one after the other."""
        tasks, samples, n = *z.shape[:2], features.shape[1]
        asked, seen = (each[:, None].expand(-1, samples, -1, -1).flatten(0, 1) for each in (features, seen))
        raw = self.decoder(asked, torch.cat([z.flatten(0, 1)[:, None].expand(-1, n, -1), seen], -1))
        return raw.unflatten(0, (tasks, samples)).transpose(1, 2).flatten(2)

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        features, _ = self.network(x, mask, phi["statistics"])
        return self._decoded(features, phi["z"], self._seen(features, phi))

    def log_prob(self, phi: Phi, query: Examples) -> Float[Tensor, " task"]:
        """log p(query.y given query.x, φ) of all real examples of a task together, which share z.

        Raises:
            TypeError, ValueError: the query is malformed, or of another form than the likelihood's.
        """
        query, classes = self._ready_query(phi, query)
        assert isinstance(self.likelihood, Mixture)
        each = self.likelihood.joint(self.outputs(phi, query.x, query.mask), query, classes)
        return log_mean(each)

    def forward(self, batch: TaskBatch) -> Float[Tensor, " task"]:
        """The negative objective of every task; in evaluation mode, with the samples that φ has.

        Raises:
            TypeError, ValueError: the batch is malformed.
        """
        batch.check()
        support, classes = self._ready(batch.support, batch.classes)
        query = self._checked("query", batch.query)
        self._check_values("query", query, classes)
        features, statistics = self.network(support.x, support.mask)
        asked, _ = self.network(query.x, query.mask, statistics)
        read, real = self.reader(features, support.y), support.mask
        prior = self.posterior(masked_mean(read, real))
        chosen = prior
        if self.objective == "elbo":
            read, real = torch.cat([read, self.reader(asked, query.y)], 1), torch.cat([real, query.mask], 1)
            chosen = self.posterior(masked_mean(read, real))
        z = chosen[0][:, None] + chosen[1][:, None] * self._noise(query.tasks, asked.dtype)
        assert isinstance(self.likelihood, Mixture)
        likelihood = Mixture(self.likelihood.component, z.shape[1])
        seen = self._seen(asked, self._look(features, support))
        each = likelihood.joint(self._decoded(asked, z, seen), query, classes)
        if self.objective == "elbo":
            return self._per_example(divergence(*chosen, *prior) - each.mean(1), query.mask)
        return self._per_example(-log_mean(each), query.mask)

    def _noise(self, tasks: int, dtype: torch.dtype) -> Float[Tensor, "task sample latent"]:
        if not self.training:
            return self.noise.expand(tasks, -1, -1)
        return torch.randn(tasks, self.training_samples, self.latent, dtype=dtype, device=self.noise.device)


def divergence(
    mean: Float[Tensor, "task latent"],
    scale: Float[Tensor, "task latent"],
    prior_mean: Float[Tensor, "task latent"],
    prior_scale: Float[Tensor, "task latent"],
) -> Float[Tensor, " task"]:
    """KL(N(mean, scale²) ‖ N(prior_mean, prior_scale²)), summed over the entries of z."""
    ratio, shift = scale / prior_scale, (mean - prior_mean) / prior_scale
    return 0.5 * (ratio.square() + shift.square() - 1 - 2 * ratio.log()).sum(-1)


def log_mean(log_probs: Float[Tensor, "task sample"]) -> Float[Tensor, " task"]:
    """log 1/S Σ_s exp of its entries."""
    return log_probs.logsumexp(1) - math.log(log_probs.shape[1])
