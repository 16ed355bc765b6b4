"""Networks that are pulled together: nothing, all, and the penalties of the papers by autograd."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.multitask import SeparateNetworks, SoftSharing, named_tasks
from quickstudy.networks import MLP
from quickstudy.tasks import Gaussian
from quickstudy.training import Sum

RNG = np.random.default_rng(0)
LIKELIHOODS = dict.fromkeys("abc", Gaussian())
X = RNG.normal(size=(40, 3))
TASKS = named_tasks({task: (X, X @ RNG.normal(size=3)) for task in LIKELIHOODS})


def model(strength: float, pull: str = "distance") -> SoftSharing:
    torch.manual_seed(0)
    return SoftSharing(MLP(3, (8,)), LIKELIHOODS, strength, pull)  # type: ignore[arg-type]


@pytest.mark.parametrize("pull", ["distance", "trace"])
def test_without_penalty_these_are_separate_networks(pull: str) -> None:
    torch.manual_seed(0)
    separate, soft = SeparateNetworks(MLP(3, (8,)), LIKELIHOODS), model(0.0, pull)
    for one in (separate, soft):
        qs.fit(one, TASKS.train, steps=5, device="cpu")
    for mine, theirs in zip(soft.parameters(), separate.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_large_penalty_makes_the_networks_one() -> None:
    soft = model(1e6)
    # A step of 1/λ leads to W̄ − ∇L_i/λ.
    qs.fit(soft, TASKS.train, steps=1, device="cpu", backward=Sum(), optimizer=lambda p: torch.optim.SGD(p, 1e-6))
    for leaf in soft.weights:
        assert_close(leaf, leaf.mean(0).expand_as(leaf), atol=1e-4, rtol=0)


@pytest.mark.parametrize("pull", ["distance", "trace"])
def test_is_the_penalty_of_the_paper(pull: str) -> None:
    soft = model(0.3, pull)
    weights = [leaf.detach().clone().requires_grad_() for leaf in soft.weights]
    if pull == "distance":
        plain = sum((one - leaf.mean(0)).square().sum() / 2 for leaf in weights for one in leaf)
    else:
        plain = sum(torch.linalg.matrix_norm(leaf.flatten(1), "nuc") for leaf in weights)
    total = soft.penalties().sum()
    assert_close(total, 0.3 * plain)
    expected = torch.autograd.grad(0.3 * plain, weights)
    for mine, other in zip(torch.autograd.grad(total, list(soft.weights)), expected, strict=True):
        assert_close(mine, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pull", ["distance", "trace"])
def test_a_task_without_targets_pays_nothing_and_stays(pull: str) -> None:
    soft = model(0.3, pull)
    batch = TASKS.train.draw(0, 5, 0)
    batch["b"].mask[:] = False
    losses = soft(batch)
    assert losses["b"] == 0
    for gradient in torch.autograd.grad(sum(losses.values()), list(soft.weights)):
        assert not gradient[1].any()
        assert gradient[0].any()


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("arguments", "message"), [((-1.0,), "strength must not be"), ((1.0, "near"), "pull must be 'distance' or 'trace'")]
)
def test_bad_input_is_named(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SoftSharing(MLP(3, (8,)), LIKELIHOODS, *arguments)
