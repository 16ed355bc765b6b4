import math

import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from quickstudy.tasks import Bernoulli, Categorical, Examples, Gaussian, GaussianMixture, Likelihood, likelihood_for


def test_categorical_masks_absent_classes_and_agrees_with_softmax() -> None:
    raw, classes = torch.randn(2, 3, 4), torch.tensor([[True] * 4, [True, False, True, False]])
    probs = Categorical(4).distribution(raw, classes).probs
    assert_close(probs[0], raw[0].softmax(-1))
    assert (probs[1][:, [1, 3]] == 0).all()
    assert_close(probs[1][:, [0, 2]], raw[1][:, [0, 2]].softmax(-1))


def test_gaussian_agrees_with_scipy() -> None:
    raw, y = torch.randn(2, 3, 1), torch.randn(2, 3)
    log_prob = Gaussian(variance=0.7).distribution(raw).log_prob(y)
    assert_close(
        log_prob.double(),
        torch.from_numpy(stats.norm.logpdf(y.double(), raw[..., 0].double(), math.sqrt(0.7))),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("targets", [None, 3])
@pytest.mark.parametrize("variance", [0.5, 2.0, None])
def test_the_log_probability_of_a_gaussian_is_that_of_its_distribution(
    targets: int | None, variance: float | None
) -> None:
    likelihood = Gaussian(targets, variance)
    raw = torch.randn(2, 4, likelihood.outputs, dtype=torch.float64)
    y = torch.randn(2, 4, *([] if targets is None else [targets]), dtype=torch.float64)
    examples = Examples(y, y, torch.arange(4) < torch.tensor([[2], [4]]))
    each = likelihood.distribution(raw).log_prob(y)
    assert_close(likelihood.log_prob(raw, examples), torch.stack([each[0, :2].sum(), each[1].sum()]))


def test_half_variance_is_the_squared_error() -> None:
    raw, y = torch.randn(1, 5, 1), torch.randn(1, 5)
    loss = -Gaussian().log_prob(raw, Examples.of(raw, y), reduction="mean")
    assert_close(loss - 0.5 * math.log(math.pi), (raw[..., 0] - y).square().mean(1))


def test_gaussian_of_several_targets_with_predicted_variance() -> None:
    likelihood = Gaussian(targets=2, variance=None)
    assert likelihood.outputs == 4
    prediction = likelihood.distribution(torch.randn(3, 5, 4))
    assert prediction.batch_shape == (3, 5)
    assert prediction.log_prob(torch.randn(3, 5, 2)).shape == (3, 5)
    assert (prediction.variance > 0).all()


def test_bernoulli() -> None:
    raw, y = torch.randn(1, 4, 1), torch.tensor([[0.0, 1.0, 1.0, 0.0]])
    expected = -torch.nn.functional.binary_cross_entropy_with_logits(raw[..., 0], y, reduction="sum")
    assert_close(Bernoulli().log_prob(raw, Examples.of(raw, y)), expected[None])


def test_reduction_is_explicit_and_ignores_padding() -> None:
    raw, y = torch.randn(1, 4, 1), torch.randn(1, 4)
    examples = Examples(raw, y, torch.tensor([[True, True, False, False]]))
    total = Gaussian().log_prob(raw, examples, reduction="sum")
    assert_close(Gaussian().log_prob(raw, examples, reduction="mean"), total / 2)
    empty = Examples(raw, y, torch.zeros(1, 4, dtype=torch.bool))
    assert Gaussian().log_prob(raw, empty, reduction="mean").item() == 0


def test_half_precision_outputs_give_full_precision_probabilities() -> None:
    prediction = Categorical(3).distribution(torch.randn(1, 2, 3).bfloat16())
    assert prediction.probs.dtype == torch.float32


def test_classes_are_inferred_padded_and_bounded() -> None:
    support = Examples.of(torch.zeros(1, 2, 1), torch.tensor([[0, 2]]))
    assert Categorical().resolve_classes(support, None).tolist() == [[True, False, True]]
    assert Categorical(4).resolve_classes(support, None).tolist() == [[True, False, True, False]]
    given = torch.ones(1, 3, dtype=torch.bool)
    assert Categorical(5).resolve_classes(support, given).tolist() == [[True] * 3 + [False] * 2]
    with pytest.raises(
        ValueError, match=r"up to 2 classes, but these have up to 3; build it with Categorical\(ways=3\)"
    ):
        Categorical(2).resolve_classes(support, given)


def test_mismatched_kinds_are_errors() -> None:
    real = Examples.of(torch.zeros(1, 2, 1), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="likelihood is Gaussian, for regression; use Categorical"):
        Gaussian().resolve_classes(real, torch.ones(1, 2, dtype=torch.bool))
    empty = Examples.of(torch.zeros(1, 0, 1), torch.zeros(1, 0).long())
    with pytest.raises(ValueError, match="classes must be given, since task 0 has no support"):
        Categorical().resolve_classes(empty, None)
    some = Examples(torch.zeros(2, 1, 1), torch.zeros(2, 1).long(), torch.tensor([[True], [False]]))
    with pytest.raises(ValueError, match="classes must be given, since task 1 has no support"):
        Categorical().resolve_classes(some, None)


@pytest.mark.parametrize(
    ("likelihood", "y", "message"),
    [
        (Categorical(2), torch.zeros(1, 2), "classification needs int64 class numbers"),
        (Categorical(2), torch.zeros(1, 2, 1).long(), "classification needs int64 class numbers"),
        (Categorical(2), torch.zeros(1, 2).int(), "classification needs int64 class numbers"),
        (Gaussian(), torch.zeros(1, 2, 1), r"one number per example.* or build it with Gaussian\(targets=1\)"),
        (Gaussian(), torch.zeros(1, 2).long(), "Gaussian takes floating-point targets, got torch.int64"),
        (Gaussian(3), torch.zeros(1, 2), r"Gaussian\(targets=3\) takes y \[task, n, 3\]"),
        (Gaussian(3), torch.zeros(1, 2, 2), r"Gaussian\(targets=3\) takes y \[task, n, 3\]"),
        (Bernoulli(), torch.zeros(1, 2, 1), "Bernoulli takes one number per example"),
        (Bernoulli(), {"a": torch.zeros(1, 2)}, "Bernoulli takes floating-point targets, got dict"),
    ],
)
def test_targets_of_another_form_are_refused(likelihood: Likelihood, y: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        likelihood.check(y)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Categorical(0), "ways must be at least 1, got 0"),
        (lambda: Gaussian(variance=0.0), "variance must be"),
        (lambda: Gaussian(variance=math.nan), "variance must be"),
        (lambda: Gaussian(targets=0), "targets must be None or at least 1"),
        (lambda: Categorical().outputs, "say how many classes"),
    ],
)
def test_bad_arguments(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


def test_likelihood_for() -> None:
    assert likelihood_for("classification", 3).outputs == 3
    assert isinstance(likelihood_for("binary"), Bernoulli)
    assert isinstance(likelihood_for("regression"), Gaussian)


def test_a_mixture_is_the_weighted_sum_of_its_components() -> None:
    raw, y = torch.randn(2, 5, 9).double(), torch.randn(2, 5).double()
    weights, mean, variance = raw[..., :3].softmax(-1), raw[..., 3:6], raw[..., 6:].exp()
    density = (
        weights * (-(y[..., None] - mean).square() / (2 * variance)).exp() / (2 * torch.pi * variance).sqrt()
    ).sum(-1)
    found = GaussianMixture(3).distribution(raw)
    assert_close(found.log_prob(y), density.log())
    assert_close(found.mean, (weights * mean).sum(-1))
    with pytest.raises(ValueError, match="components must be at least 1, got 0"):
        GaussianMixture(0)
    with pytest.raises(ValueError, match=r"one number per example, y \[task, n\], got the shape \(2, 5, 1\)"):
        GaussianMixture(3).check(y[..., None])
