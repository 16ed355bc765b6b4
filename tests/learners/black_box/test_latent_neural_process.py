import math
from functools import partial

import pytest
import torch
from torch import distributions as D
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.learners import AttentiveLatentNeuralProcess, AttentiveNeuralProcess, LatentNeuralProcess
from quickstudy.learners.black_box.latent_neural_process import divergence
from quickstudy.networks import MLP
from quickstudy.tasks import RBF, Examples, Gaussian, Mixture, TaskBatch, gaussian_processes


def process(**options: object) -> LatentNeuralProcess:
    return LatentNeuralProcess(MLP(2, (6,)), Gaussian(variance=None), latent=3, width=5, samples=4, **options).double()


def batch() -> TaskBatch:
    part = lambda n: Examples.of(torch.randn(2, n, 2).double(), torch.randn(2, n).double())
    tasks = TaskBatch(part(5), part(3))
    tasks.query.mask[1, 2] = False
    return tasks


def latent(model: LatentNeuralProcess, *parts: Examples) -> D.Normal:
    """q(z | examples) of the second task, from the examples one by one."""
    read = []
    for part in parts:
        for x, y, real in zip(part.x[1], part.y[1], part.mask[1], strict=True):
            if real:
                features = torch.relu(model.network.layers[0](x))
                hidden = torch.relu(model.reader.input(features) + model.reader.label.embed(y[None]))
                read.append(model.reader.rest[3](torch.relu(model.reader.rest[1](hidden))))
    mean, spread = model.encoder(torch.stack(read).mean(0)).split(3)
    return D.Normal(mean, 0.1 + 0.9 * torch.sigmoid(spread))


def joint(model: LatentNeuralProcess, z: torch.Tensor, query: Examples) -> torch.Tensor:
    """log p(y of both real queries of the second task | z)."""
    total = torch.zeros(()).double()
    for x, y in zip(query.x[1, :2], query.y[1, :2], strict=True):
        hidden = torch.cat([torch.relu(model.network.layers[0](x)), z])
        for layer in model.decoder.hidden:
            hidden = torch.relu(layer(hidden))
        mean, spread = model.decoder.output(hidden)
        total += D.Normal(mean, (torch.nn.functional.softplus(spread) + 1e-4).sqrt()).log_prob(y)
    return total


def test_divergence_is_that_of_torch() -> None:
    mean, prior_mean = torch.randn(2, 5, 3).double()
    scale, prior_scale = torch.rand(2, 5, 3).double() + 0.1
    expected = D.kl_divergence(D.Normal(mean, scale), D.Normal(prior_mean, prior_scale)).sum(-1)
    assert_close(divergence(mean, scale, prior_mean, prior_scale), expected)


def test_the_lower_bound_by_hand() -> None:
    model, tasks = process(reduction="sum").eval(), batch()
    prior, posterior = latent(model, tasks.support), latent(model, tasks.support, tasks.query)
    each = [joint(model, posterior.mean + posterior.stddev * noise, tasks.query) for noise in model.noise]
    expected = torch.stack(each).mean() - D.kl_divergence(posterior, prior).sum()
    assert_close(model(tasks)[1], -expected)
    model.reduction = "mean"
    assert_close(model(tasks)[1], -expected / 2)


def test_the_likelihood_by_hand() -> None:
    """As an objective, and as the score of φ: of all queries together, not of each apart."""
    model, tasks = process(objective="likelihood", reduction="sum").eval(), batch()
    prior = latent(model, tasks.support)
    each = torch.stack([joint(model, prior.mean + prior.stddev * noise, tasks.query) for noise in model.noise])
    expected = each.exp().mean().log()
    assert_close(model(tasks)[1], -expected)
    phi = model.adapt(tasks.support)
    assert_close(model.log_prob(phi, tasks.query)[1], expected)
    marginal = model.predict(phi, tasks.query.x).log_prob(tasks.query.y)[1, :2].sum()
    assert abs(marginal - expected) > 1e-4


def test_the_bound_is_below_the_likelihood() -> None:
    """With so many samples that both are known well."""
    model, tasks = process(reduction="sum", training_samples=20_000), batch()
    with torch.no_grad():
        bound = -model(tasks)
        model.objective = "likelihood"
        assert (bound < -model(tasks)).all()


def test_training_draws_anew_and_prediction_does_not() -> None:
    model, tasks = process(), batch()
    assert not torch.equal(model(tasks), model(tasks))
    first, second = (model.adapt(tasks.support)["z"] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(process(seed=1).noise, model.noise)
    assert torch.equal(process(seed=0).noise, model.noise)


def test_update_equals_reading_everything() -> None:
    model, tasks = process(), batch()
    parts = (tasks.support, tasks.query)
    together = Examples(*(torch.cat([getattr(part, name) for part in parts], 1) for name in ("x", "y", "mask")))
    updated = model.update(model.adapt(tasks.support), tasks.query)
    for name in ("h", "z", "count"):
        assert_close(updated[name], model.adapt(together)[name])


@pytest.mark.unchecked  # hundreds of steps
@pytest.mark.parametrize("objective", ["elbo", "likelihood"])
def test_queries_that_share_what_is_unknown(objective: str) -> None:
    """From three points, a joint prediction is better than one of each query apart, and both than none."""
    source = gaussian_processes(RBF(0.8, 1.0), (1, 4), 20, noise=0.1)
    model = LatentNeuralProcess(
        MLP(1, (32,)), Gaussian(variance=None), latent=8, width=48, training_samples=8, samples=64, objective=objective
    )
    faster = partial(torch.optim.Adam, lr=3e-3)
    qs.fit(model, source.train, steps=400, batch_size=16, device="cpu", optimizer=faster)
    tasks = source.test.draw(0, 200, 0)
    with torch.no_grad():
        phi = model.eval().adapt(tasks.support)
        joint = model.log_prob(phi, tasks.query).mean() / 20
        apart = model.predict(phi, tasks.query.x).log_prob(tasks.query.y).mean()
    assert joint > apart + 0.05
    assert apart > -0.5 * math.log(2 * math.pi * 1.01) - 0.5


def test_a_mixture_may_be_given() -> None:
    model = LatentNeuralProcess(MLP(2, (6,)), Mixture(Gaussian(), 3))
    assert model.samples == 3
    assert model.noise.shape == (3, 64)


@pytest.mark.unchecked  # arguments of other types
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"training_samples": 0}, "training_samples must be at least 1"),
        ({"objective": "map"}, "objective must be one of elbo, likelihood, got 'map'"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        process(**options)


class TestWithAttention:
    def process(self, **options: object) -> AttentiveLatentNeuralProcess:
        network, likelihood = MLP(2, (6,)), Gaussian(variance=None)
        return AttentiveLatentNeuralProcess(network, likelihood, 3, 8, heads=2, samples=4, **options).double().eval()

    @pytest.mark.parametrize("objective", ["elbo", "likelihood"])
    def test_without_its_attention_it_is_the_latent_process(self, objective: str) -> None:
        """Where the decoder does not look at what was read, the two have the same loss, log p and predictions."""
        model, tasks = self.process(objective=objective), batch()
        plain = LatentNeuralProcess(MLP(2, (6,)), Gaussian(variance=None), 3, 8, samples=4, objective=objective)
        plain = plain.double().eval()
        with torch.no_grad():
            model.decoder.hidden[0].weight[:, 6 + 3 :] = 0
        weights = {name: value for name, value in model.state_dict().items() if not name.startswith("attention")}
        weights["decoder.hidden.0.weight"] = weights["decoder.hidden.0.weight"][:, : 6 + 3]
        plain.load_state_dict(weights)
        assert_close(model(tasks), plain(tasks))
        phi, expected = model.adapt(tasks.support), plain.adapt(tasks.support)
        assert_close(model.log_prob(phi, tasks.query), plain.log_prob(expected, tasks.query))
        assert_close(model.outputs(phi, tasks.query.x), plain.outputs(expected, tasks.query.x))

    def test_what_it_reads_is_what_the_attentive_process_reads(self) -> None:
        model, tasks = self.process(), batch()
        conditional = AttentiveNeuralProcess(MLP(2, (6,)), Gaussian(variance=None), 8, heads=2).double().eval()
        conditional.attention.load_state_dict(model.attention.state_dict())
        conditional.network.load_state_dict(model.network.state_dict())
        features, _ = model.network(tasks.query.x, tasks.query.mask)
        seen = model._seen(features, model.adapt(tasks.support))
        assert_close(seen, conditional.attention(features, conditional.adapt(tasks.support)))

    def test_it_cannot_read_on(self) -> None:
        model, tasks = self.process(), batch()
        with pytest.raises(NotImplementedError, match="old and the new ones together"):
            model.update(model.adapt(tasks.support), tasks.query)

    def test_heads_that_do_not_divide(self) -> None:
        with pytest.raises(ValueError, match="multiple of heads, got 8 and 3"):
            AttentiveLatentNeuralProcess(MLP(2, (6,)), Gaussian(variance=None), width=8, heads=3)
