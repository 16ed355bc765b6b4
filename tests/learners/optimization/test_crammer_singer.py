"""The support vector machine against scikit-learn's, its conditions, and its gradients against finite differences."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.svm import LinearSVC
from torch import Tensor
from torch.testing import assert_close

from quickstudy.learners.optimization.crammer_singer import crammer_singer

# It converges slowly where many examples lie on a margin; how far it came is asserted.
pytestmark = pytest.mark.filterwarnings("ignore:Liblinear failed to converge")

# Examples, width, classes, C: with few and with many examples for their width, loose and tight.
SHAPES = [(5, 16, 5, 0.1), (25, 64, 5, 0.1), (25, 64, 5, 10.0), (20, 6, 4, 0.1), (60, 4, 3, 1.0), (60, 12, 20, 0.3)]


def problem(n: int, width: int, ways: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % ways
    centres = torch.randn(ways, width, generator=generator, dtype=torch.float64)
    return centres[y] + torch.randn(n, width, generator=generator, dtype=torch.float64), y


def alone(features: Tensor, y: Tensor, ways: int, inverse_penalty: float) -> Tensor:
    whole = torch.ones(1, len(y), dtype=torch.bool), torch.ones(1, ways, dtype=torch.bool)
    return crammer_singer(features[None], y[None], *whole, inverse_penalty)[0]


def primal(features: Tensor, y: Tensor, weight: Tensor, inverse_penalty: float) -> float:
    scores = features @ weight.T
    rows = torch.arange(len(y))
    hinge = 1 + scores - scores[rows, y][:, None]
    hinge[rows, y] = 0
    return float(weight.square().sum() / 2 + inverse_penalty * hinge.amax(1).sum())


def dual(features: Tensor, y: Tensor, alpha: Tensor) -> float:
    return float(alpha[torch.arange(len(y)), y].sum() - (alpha.T @ features).square().sum() / 2)


def check_optimal(features: Tensor, y: Tensor, alpha: Tensor, inverse_penalty: float, tolerance: float) -> None:
    """The conditions of Karush, Kuhn and Tucker, in the problem's own units."""
    own = F.one_hot(y, alpha.shape[1]).double()
    bound = inverse_penalty * own
    assert (alpha <= bound + tolerance).all()
    assert (alpha.sum(1).abs() <= tolerance).all()
    slope = own - features @ features.T @ alpha
    # Multipliers exist: what is away from its bound has the least slope of its example.
    excess = slope - slope.amin(1, keepdim=True)
    assert ((bound - alpha) * excess <= tolerance).all()


@pytest.mark.parametrize(("n", "width", "ways", "inverse_penalty"), SHAPES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_optimum_is_that_of_liblinear(n: int, width: int, ways: int, inverse_penalty: float, seed: int) -> None:
    features, y = problem(n, width, ways, seed)
    alpha = alone(features, y, ways, inverse_penalty)
    weight = alpha.T @ features
    machine = LinearSVC(multi_class="crammer_singer", fit_intercept=False, C=inverse_penalty, tol=1e-12, max_iter=10**5)
    machine.fit(features, y)
    theirs, ours = (primal(features, y, w, inverse_penalty) for w in (torch.from_numpy(machine.coef_), weight))
    assert ours <= theirs + 1e-12 * abs(theirs)
    assert_close(ours, theirs, rtol=1e-6, atol=0)
    # No gap is left between the two problems, so both are solved, whatever the other solver says.
    assert_close(dual(features, y, alpha), ours, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(features @ weight.T, machine.decision_function(features), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("n", "width", "ways", "inverse_penalty"), SHAPES)
def test_the_conditions_of_an_optimum_hold(n: int, width: int, ways: int, inverse_penalty: float) -> None:
    features, y = problem(n, width, ways)
    check_optimal(features, y, alone(features, y, ways, inverse_penalty), inverse_penalty, 1e-9)


@pytest.mark.parametrize("change", ["twins", "contradictions", "zeros", "all zero", "all the same"])
def test_degenerate_supports_are_solved(change: str) -> None:
    """Where K is singular, so that there are many α for the one w; gradients remain bounded there."""
    features, y = problem(20, 6, 4)
    features = {
        "twins": torch.cat([features[:4], features[:4], features[8:]]),
        "contradictions": torch.cat([features[:10], features[:10]]),
        "zeros": torch.cat([torch.zeros_like(features[:7]), features[7:]]),
        "all zero": torch.zeros_like(features),
        "all the same": torch.ones_like(features),
    }[change].requires_grad_()
    alpha = alone(features, y, 4, 0.1)
    check_optimal(features.detach(), y, alpha.detach(), 0.1, 1e-9)
    (gradient,) = torch.autograd.grad((alpha.T @ features).sin().sum(), features)
    assert gradient.abs().max() < 100


def uneven() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Three tasks, whole; with padding and without its class 1; with one example only."""
    features = torch.stack([problem(9, 5, 3, seed)[0] for seed in range(3)])
    y = (torch.arange(9) % 3).repeat(3, 1)
    y[1] = torch.tensor([0, 2, 2, 0, 2, 0, 0, 1, 1])
    mask = torch.arange(9) < torch.tensor([[9], [6], [1]])
    classes = torch.tensor([[True, True, True], [True, False, True], [True, True, True]])
    return torch.where(mask[..., None], features, 0.0), y, mask, classes


def test_padding_and_absent_classes_are_inert() -> None:
    features, y, mask, classes = uneven()
    alpha = crammer_singer(features, y, mask, classes, 0.5)
    assert_close(alpha[0], alone(features[0], y[0], 3, 0.5), rtol=1e-12, atol=1e-12)
    expected = torch.zeros(9, 3).double()
    expected[:6, [0, 2]] = alone(features[1, :6], y[1, :6] // 2, 2, 0.5)
    assert_close(alpha[1], expected, rtol=1e-12, atol=1e-12)
    assert_close(alpha[2, :1], alone(features[2, :1], y[2, :1], 3, 0.5), rtol=1e-12, atol=1e-12)
    assert (alpha[2, 1:] == 0).all()


def test_two_classes_are_a_machine_without_a_bias() -> None:
    features, y = problem(12, 5, 2)
    weight = alone(features, y, 2, 0.4).T @ features
    assert_close(weight[0], -weight[1])
    # ½ ‖w‖² + ½ ‖−w‖² with margins of 2 w·f is the common machine in v = 2 w, at twice the C.
    machine = LinearSVC(loss="hinge", fit_intercept=False, C=0.8, tol=1e-12, max_iter=10**5).fit(features, y)
    np.testing.assert_allclose(2 * weight[1], machine.coef_[0], atol=1e-6)


def test_without_examples_or_alternatives_it_is_zero() -> None:
    no = torch.zeros(2, 0, dtype=torch.bool)
    classes = torch.ones(2, 3, dtype=torch.bool)
    assert crammer_singer(torch.zeros(2, 0, 4), no.long(), no, classes, 0.1).shape == (2, 0, 3)
    empty = torch.zeros(2, 3, dtype=torch.bool)
    assert (crammer_singer(torch.zeros(2, 3, 4), empty.long(), empty, classes, 0.1) == 0).all()
    features, y = problem(4, 3, 1)
    assert_close(alone(features, y, 1, 0.1), torch.zeros(4, 1).double())


@pytest.mark.parametrize(("n", "width", "inverse_penalty"), [(6, 9, 0.1), (6, 9, 5.0), (9, 3, 0.2)])
def test_gradients_are_those_of_the_optimum(n: int, width: int, inverse_penalty: float) -> None:
    features, y = problem(n, width, 3)

    def weight(f: Tensor) -> Tensor:
        return alone(f, y, 3, inverse_penalty).T @ f

    assert torch.autograd.gradcheck(weight, features.requires_grad_(), eps=1e-6, atol=1e-6, rtol=1e-5)


def test_gradients_of_uneven_tasks() -> None:
    features, y, mask, classes = uneven()

    def weights(f: Tensor) -> Tensor:
        f = torch.where(mask[..., None], f, 0.0)
        return crammer_singer(f, y, mask, classes, 0.5).mT @ f

    assert torch.autograd.gradcheck(weights, features.requires_grad_(), eps=1e-6, atol=1e-6, rtol=1e-5, fast_mode=True)


@pytest.mark.parametrize("scale", [1e-18, 1e-9, 1e-4, 1e3])
@pytest.mark.parametrize("width", [4, 40])
def test_features_of_any_length_are_solved(scale: float, width: int) -> None:
    """f · t and C are f and C t², with α t² for α."""
    features, y = problem(20, width, 4)
    inverse_penalty = 0.1 if width == 40 or scale < 1 else 0.1 / scale  # what cannot be divided has digits for so much
    alpha = alone(features * scale, y, 4, inverse_penalty)
    check_optimal(features, y, alpha * scale**2, inverse_penalty * scale**2, 1e-9 * min(1, scale**2))


def test_what_has_no_solution_in_numbers_is_not_a_number_and_spoils_no_other() -> None:
    features, y = problem(20, 4, 4)
    both = torch.stack([features, features * 1e9]).requires_grad_()
    mask, classes = torch.ones(2, 20, dtype=torch.bool), torch.ones(2, 4, dtype=torch.bool)
    alpha = crammer_singer(both, y.expand(2, -1), mask, classes, 0.1)
    assert alpha[1].isnan().all()
    assert_close(alpha[0], alone(features, y, 4, 0.1))
    (gradient,) = torch.autograd.grad(alpha[0].square().sum(), both)
    assert torch.isfinite(gradient[0]).all()


def test_mapping_over_a_further_axis_is_more_tasks() -> None:
    features, y, mask, classes = uneven()
    scales = torch.tensor([0.5, 1.0, 2.0]).double()
    mapped = torch.vmap(lambda scale: crammer_singer(scale * features, y, mask, classes, 0.5))(scales)
    for scale, alpha in zip(scales, mapped, strict=True):
        assert_close(alpha, crammer_singer(scale * features, y, mask, classes, 0.5))


def test_every_small_problem_is_solved() -> None:
    """Uneven tasks of one example to eight, one class to four, any labels, lengths from 10⁻²⁰ to 30, tied or not."""
    tasks, n, ways, width = 400, 8, 4, 3
    mask = torch.arange(n) < torch.randint(1, n + 1, (tasks, 1))
    exist = torch.randint(1, ways + 1, (tasks, 1))
    classes, y = torch.arange(ways) < exist, (torch.rand(tasks, n) * exist).long()
    features = torch.randn(tasks, n, width).double()
    features[::4] = features[::4].round()  # twins, zeros, and examples that lie on a line
    features[1::8] = features[1::8].relu()
    lengths = 10 ** torch.empty(tasks, 1, 1).uniform_(-20, 1.5).double()
    features = torch.where(mask[..., None], features * lengths, 0.0)
    alpha = crammer_singer(features, y, mask, classes, 0.1)
    assert torch.isfinite(alpha).all()
    for task in range(tasks):
        real, kinds = features[task, mask[task]] / lengths[task], int(exist[task])
        scaled = alpha[task, mask[task], :kinds] * lengths[task] ** 2
        bound = 0.1 * float(lengths[task]) ** 2
        check_optimal(real, y[task, mask[task]], scaled, bound, 1e-8 * min(1.0, bound))


def test_two_rectified_clouds_are_solved() -> None:
    """Such as networks give; about one task in two hundred needs a safeguard against going round in circles."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    tasks, n, ways = 1000, 12, 2
    y = torch.randint(ways, (tasks, n), generator=generator)
    hidden = draw(tasks, ways, 2).gather(1, y[..., None].expand(-1, -1, 2)) + 0.6 * draw(tasks, n, 2)
    features = torch.relu(hidden @ draw(tasks, 2, 16) / 2**0.5 + 0.2 * draw(tasks, 1, 16))
    whole = torch.ones(tasks, n, dtype=torch.bool), torch.ones(tasks, ways, dtype=torch.bool)
    alpha = crammer_singer(features, y, *whole, 1.0)
    assert torch.isfinite(alpha).all()
    for task in range(0, tasks, 10):
        check_optimal(features[task], y[task], alpha[task], 1.0, 1e-6)
