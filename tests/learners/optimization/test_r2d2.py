"""R2-D2 against scikit-learn's ridge regression, and its gradients against finite differences."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from torch.testing import assert_close

from quickstudy.learners import R2D2
from quickstudy.learners.ridge import ridge
from quickstudy.networks import MLP
from quickstudy.tasks import Bernoulli, Categorical, Examples, Gaussian, TaskBatch

CLASSES = torch.ones(1, 3, dtype=torch.bool)


def learner(likelihood: object, penalty: float = 0.7, width: int = 16) -> R2D2:
    return R2D2(MLP(4, (width,), "none"), likelihood, penalty, scale=2.5).double().eval()


def x(n: int) -> torch.Tensor:
    return torch.randn(1, n, 4, dtype=torch.float64)


@pytest.mark.parametrize("n", [6, 40])  # fewer examples than features, and more
def test_classes_are_fitted_as_one_hot_vectors(n: int) -> None:
    r2d2, support, query = learner(Categorical()), Examples.of(x(n), torch.arange(n)[None] % 3), x(5)
    with torch.no_grad():
        features, asked = (r2d2.network(part, torch.ones(part.shape[:2]).bool())[0][0] for part in (support.x, query))
        oracle = Ridge(alpha=0.7).fit(features, F.one_hot(support.y[0], 3))
        probs = r2d2.predict(r2d2.adapt(support, CLASSES), query).probs[0]
    assert_close(probs, torch.from_numpy(2.5 * oracle.predict(asked)).softmax(-1))


@pytest.mark.parametrize("targets", [None, 2])
def test_real_targets_are_fitted_as_they_are(targets: int | None) -> None:
    shape = (1, 9) if targets is None else (1, 9, targets)
    r2d2, support, query = learner(Gaussian(targets)), Examples.of(x(9), 30 + torch.randn(shape).double()), x(5)
    with torch.no_grad():
        features, asked = (r2d2.network(part, torch.ones(part.shape[:2]).bool())[0][0] for part in (support.x, query))
        oracle = Ridge(alpha=0.7).fit(features, support.y[0])
        assert_close(r2d2.predict(r2d2.adapt(support), query).mean[0], torch.from_numpy(oracle.predict(asked)))
    assert not hasattr(r2d2, "log_scale")


def test_yes_and_no_are_one_and_minus_one_calibrated() -> None:
    r2d2, support, query = learner(Bernoulli()), Examples.of(x(9), (torch.arange(9)[None] % 2).double()), x(5)
    r2d2.shift.data.fill_(0.3)
    with torch.no_grad():
        features, asked = (r2d2.network(part, torch.ones(part.shape[:2]).bool())[0][0] for part in (support.x, query))
        oracle = Ridge(alpha=0.7).fit(features, 2 * support.y[0] - 1)
        odds = r2d2.predict(r2d2.adapt(support), query).logits[0]
    assert_close(odds, 2.5 * torch.from_numpy(oracle.predict(asked)) + 0.3)


def test_the_penalty_and_the_calibration_are_learned() -> None:
    r2d2 = learner(Categorical())
    batch = TaskBatch(Examples.of(x(6), torch.arange(6)[None] % 3), Examples.of(x(6), torch.arange(6)[None] % 3))
    r2d2(batch).sum().backward()
    for name, number in (("log_penalty", math.log(0.7)), ("log_scale", math.log(2.5))):
        parameter = getattr(r2d2, name)
        assert_close(float(parameter.detach()), number, rtol=1e-6, atol=0)
        step = 1e-5
        losses = []
        for shift in (step, -step):
            with torch.no_grad():
                parameter += shift
                losses.append(float(r2d2(batch)))
                parameter -= shift
        assert_close(float(parameter.grad), (losses[0] - losses[1]) / (2 * step), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("width", [3, 8])
def test_gradients_through_the_solution(width: int) -> None:
    """With respect to features, targets and the penalty, padding included, in both of the spaces."""
    features, y = torch.randn(2, 5, width).double(), torch.randn(2, 5, 2).double()
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    penalty = torch.tensor(0.4).double()
    inputs = [part.requires_grad_() for part in (features, y, penalty)]
    assert torch.autograd.gradcheck(lambda f, t, p: ridge(f, t, mask, p), inputs)


def test_without_examples_nothing_is_known() -> None:
    none = Examples.of(x(0), torch.zeros(1, 0, dtype=torch.int64))
    r2d2 = learner(Categorical())
    assert_close(r2d2.predict(r2d2.adapt(none, CLASSES), x(2)).probs, torch.full((1, 2, 3), 1 / 3).double())


def test_under_autocast_it_is_solved_in_single_precision() -> None:
    r2d2 = learner(Categorical()).float()
    support = Examples.of(x(6).float(), torch.arange(6)[None] % 3)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        phi = r2d2.adapt(support, CLASSES)
        outputs = r2d2.outputs(phi, support.x)
    assert phi["weight"].dtype == outputs.dtype == torch.float32
    assert_close(outputs, r2d2.outputs(r2d2.adapt(support, CLASSES), support.x).detach(), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(("argument", "value"), [("penalty", 0.0), ("scale", -1.0), ("penalty", math.inf)])
def test_numbers_out_of_range_are_refused(argument: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{argument}.*{value}"):
        R2D2(MLP(4), Categorical(), **{argument: value})
    with pytest.raises(ValueError, match="gives a mean, not a variance"):
        R2D2(MLP(4), Gaussian(variance=None))


def test_features_too_large_to_be_squared_are_refused() -> None:
    with pytest.raises(ValueError, match="features of x are not finite in task 0"):
        learner(Categorical()).float().adapt(Examples.of(x(3).float() * 1e30, torch.arange(3)[None]), CLASSES)
