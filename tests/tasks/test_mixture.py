import pytest
import torch
from torch import distributions as D
from torch.testing import assert_close

from quickstudy.tasks import Bernoulli, Categorical, Examples, Gaussian, GaussianMixture, Likelihood, Mixture


@pytest.mark.parametrize("component", [Gaussian(variance=None), GaussianMixture(2), Bernoulli(), Categorical(4)])
def test_probabilities_are_averaged(component: Likelihood) -> None:
    mixture = Mixture(component, 3)
    raw = torch.randn(2, 5, mixture.outputs).double()
    y = torch.randint(0, 2, (2, 5)) if component.kind == "classification" else torch.randint(0, 2, (2, 5)).double()
    classes = torch.tensor([[True, True, True, False], [True] * 4]) if component.kind == "classification" else None
    apart = [component.distribution(part, classes).log_prob(y).exp() for part in raw.chunk(3, -1)]
    prediction = mixture.distribution(raw, classes)
    assert prediction.batch_shape == (2, 5)
    assert_close(prediction.log_prob(y).exp(), torch.stack(apart).mean(0))
    examples = Examples(y=y, x=raw, mask=torch.rand(2, 5) < 0.7)
    masked = torch.where(examples.mask, torch.stack(apart).log(), 0.0).sum(-1)
    assert_close(mixture.joint(raw, examples, classes), masked.T)


def test_several_targets_and_a_single_task() -> None:
    mixture = Mixture(Gaussian(2), 3)
    raw, y = torch.randn(5, 6), torch.randn(5, 2)
    apart = torch.stack([D.Normal(part, 0.5**0.5).log_prob(y).sum(-1) for part in raw.chunk(3, -1)])
    prediction = mixture.distribution(raw)
    assert_close(prediction.log_prob(y).exp(), apart.exp().mean(0))
    assert_close(prediction.mean, torch.stack(raw.chunk(3, -1)).mean(0))


def test_absent_classes_have_no_probability_and_finite_gradients() -> None:
    raw = torch.randn(1, 2, 12, requires_grad=True)
    prediction = Mixture(Categorical(4), 3).distribution(raw, torch.tensor([[True, True, False, False]]))
    assert (prediction.probs[..., 2:] == 0).all()
    prediction.log_prob(torch.zeros(1, 2, dtype=torch.int64)).sum().backward()
    assert torch.isfinite(raw.grad).all()


@pytest.mark.unchecked  # arguments of other types
def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match="component must be a Likelihood"):
        Mixture("gaussian", 3)
    with pytest.raises(ValueError, match="components must be at least 1, got 0"):
        Mixture(Gaussian(), 0)
