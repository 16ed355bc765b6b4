"""The heads on frozen features, each held to an independent solver."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import linear_model
from sklearn.neighbors import NearestCentroid
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.learners.ridge import ridge
from quickstudy.learners.transfer.logistic import logistic_regression
from quickstudy.networks import MLP
from quickstudy.tasks import Categorical, Examples

WAYS = 3


def features(n: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """`[1, n, width]` features of length one and labels that show every class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.cat([torch.arange(WAYS), torch.randint(0, WAYS, (n - WAYS,), generator=generator)])[None]
    x = torch.randn(1, n, width, generator=generator, dtype=torch.float64) + 0.5 * F.one_hot(y, width)
    return F.normalize(x, dim=-1), y


@pytest.mark.parametrize(("n", "width"), [(5, 30), (12, 12), (60, 8)])
@pytest.mark.parametrize("inverse_penalty", [0.1, 1.0, 30.0])
def test_logistic_regression_is_the_optimum_of_scikit_learn(n: int, width: int, inverse_penalty: float) -> None:
    x, y = features(n, width)
    mask, classes = torch.ones(1, n, dtype=torch.bool), torch.ones(1, WAYS, dtype=torch.bool)
    weight, bias = logistic_regression(x, F.one_hot(y, WAYS).double(), mask, classes, inverse_penalty, 1000)
    oracle = linear_model.LogisticRegression(C=inverse_penalty, tol=1e-10, max_iter=10_000).fit(x[0], y[0])
    assert_close((x @ weight + bias).softmax(-1)[0].numpy(), oracle.predict_proba(x[0]), rtol=1e-5, atol=1e-6)
    assert_close(weight[0].numpy(), oracle.coef_.T, rtol=1e-4, atol=1e-4)


def test_a_hundred_iterations_reach_single_precision_on_features_of_length_one() -> None:
    x, y = features(60, 64)
    mask, classes = torch.ones(1, 60, dtype=torch.bool), torch.ones(1, WAYS, dtype=torch.bool)
    few, many = (logistic_regression(x, F.one_hot(y, WAYS).double(), mask, classes, 1.0, k)[0] for k in (100, 5000))
    assert_close(few, many, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("n", "width"), [(5, 30), (12, 12), (60, 8)])
@pytest.mark.parametrize("penalty", [0.01, 1.0, 100.0])
def test_ridge_is_that_of_scikit_learn(n: int, width: int, penalty: float) -> None:
    x, _ = features(n, width)
    y = torch.randn(1, n, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weight, bias = ridge(x, y, torch.ones(1, n, dtype=torch.bool), penalty)
    oracle = linear_model.Ridge(alpha=penalty).fit(x[0], y[0])
    assert_close(weight[0].numpy(), oracle.coef_.T, rtol=1e-7, atol=1e-9)
    assert_close(bias[0].numpy(), oracle.intercept_, rtol=1e-7, atol=1e-9)


def test_padding_and_other_tasks_change_no_solution() -> None:
    (x, y), more = features(9, 6), 4
    longer = torch.cat([x, torch.full((1, more, 6), 1e6).double()], 1)
    labels = torch.cat([y, torch.full((1, more), 2)], 1)
    mask = torch.arange(9 + more)[None] < 9
    both = torch.cat([longer, longer.flip(2)]), torch.cat([labels, labels]), torch.cat([mask, mask])
    one_hot = F.one_hot(both[1], WAYS).double()
    classes = torch.ones(2, WAYS, dtype=torch.bool)
    real = torch.ones(1, 9, dtype=torch.bool)
    alone = logistic_regression(x, F.one_hot(y, WAYS).double(), real, classes[:1], 1.0, 200)
    assert_close(logistic_regression(both[0], one_hot, both[2], classes, 1.0, 200)[0][:1], alone[0])
    assert_close(ridge(both[0], one_hot, both[2], 1.0)[0][:1], ridge(x, F.one_hot(y, WAYS).double(), real, 1.0)[0])


def support(n: int = 12) -> Examples:
    x, y = features(n, 6)
    return Examples.of(x, y)


def test_simple_shot_is_the_nearest_centroid_of_centred_features_of_length_one() -> None:
    learner = qs.learners.SimpleShot(MLP(6, (8,)), Categorical(7)).double().eval()
    learner.running_mean.copy_(torch.rand(8))
    learner.weight_of_mean.fill_(0.5)
    told, asked = support(), torch.randn(1, 20, 6).double()
    with torch.no_grad():
        made = [learner.network(x, torch.ones(x.shape[:2], dtype=torch.bool))[0][0] for x in (told.x, asked)]
    centred = [F.normalize(f - learner.running_mean / 0.5, dim=-1).numpy() for f in made]
    oracle = NearestCentroid().fit(centred[0], told.y[0].numpy())
    predicted = learner.predict(learner.adapt(told), asked).probs[0].argmax(-1)
    assert np.array_equal(predicted.numpy(), oracle.predict(centred[1]))


def test_the_running_mean_follows_that_of_the_training_features() -> None:
    learner = qs.learners.SimpleShot(MLP(6, (8,)), Categorical(WAYS)).train()
    pool = qs.TaskBatch(support().map(_single), support(30).map(_single))
    for _ in range(30):
        learner(pool)
    examples = torch.cat([pool.support.x, pool.query.x], 1)
    mean = learner.network(examples, torch.ones(examples.shape[:2], dtype=torch.bool))[0].mean((0, 1))
    assert_close(learner.running_mean / learner.weight_of_mean, mean, rtol=1e-4, atol=1e-5)


def _single(leaf: torch.Tensor) -> torch.Tensor:
    return leaf.float() if leaf.is_floating_point() else leaf


def test_the_baseline_descends_as_torch_does_on_one_task() -> None:
    learner = qs.learners.Baseline(MLP(6, (8,)), Categorical(7), steps=25, rate=0.3).double().eval()
    told = support()
    phi = learner.adapt(told)
    with torch.no_grad():
        made = learner.network(told.x, told.mask)[0][0]
    layer = torch.nn.Linear(8, WAYS).double()
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3, momentum=0.9, dampening=0.9, weight_decay=1e-3)
    for _ in range(25):
        optimizer.zero_grad()
        F.cross_entropy(layer(made), told.y[0]).backward()
        optimizer.step()
    assert_close(phi["head"]["weight"][0], layer.weight.detach())
    assert_close(phi["head"]["bias"][0], layer.bias.detach())


def test_baseline_plus_plus_looks_at_directions_alone() -> None:
    learner = qs.learners.BaselinePlusPlus(MLP(6, (8,)), Categorical(7)).double().eval()
    phi = learner.adapt(support())
    asked = torch.randn(1, 5, 6).double()
    raw = learner.outputs(phi, asked)
    assert raw.abs().max() <= learner.scale
    longer = {**phi, "head": {"weight": 7 * phi["head"]["weight"]}}
    assert_close(learner.outputs(longer, asked), raw)


def test_heads_share_one_pre_training() -> None:
    first = qs.learners.Baseline(MLP(6, (8,)), Categorical(7))
    for cls in (qs.learners.SimpleShot, qs.learners.RidgeRegression, qs.learners.LogisticRegression):
        other = cls(MLP(6, (8,)), Categorical(7))
        other.load_state_dict(first.state_dict())
        batch = qs.TaskBatch(support().map(_single), support(20).map(_single), torch.ones(1, WAYS, dtype=torch.bool))
        assert_close(other.eval()(batch), first.eval()(batch))  # the loss of pre-training is the same, too


def test_fine_tuning_without_steps_says_nothing_and_with_steps_fits_its_support() -> None:
    told = support().map(_single)
    before, after = (
        qs.learners.FineTuning(MLP(6, (16, 16)), Categorical(7), steps=steps, rate=1e-2).eval() for steps in (0, 200)
    )
    after.load_state_dict(before.state_dict())
    assert_close(before.predict(before.adapt(told), told.x).probs, torch.full((1, 12, WAYS), 1 / WAYS))
    fitted = after.predict(after.adapt(told), told.x).probs.argmax(-1)
    assert torch.equal(fitted, told.y)


def test_fine_tuning_begins_at_the_pre_trained_weights() -> None:
    learner = qs.learners.FineTuning(MLP(6, (8,)), Categorical(7), steps=1, rate=1e-9)
    phi = learner.adapt(support().map(_single))
    for name, weight in learner.network.named_parameters():
        assert_close(phi["network"][name][0], weight.detach())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: qs.learners.Baseline(MLP(6), Categorical(7), rate=0.0), "rate must be positive"),
        (lambda: qs.learners.Baseline(MLP(6), Categorical()), "say how many classes"),
        (lambda: qs.learners.BaselinePlusPlus(MLP(6), Categorical(7), scale=0.0), "scale must be positive"),
        (lambda: qs.learners.SimpleShot(MLP(6), Categorical(7), scale=0.0), "scale must be positive"),
        (lambda: qs.learners.RidgeRegression(MLP(6), Categorical(7), penalty=0.0), "penalty and scale"),
        (lambda: qs.learners.RidgeRegression(MLP(6), qs.tasks.Gaussian(variance=None)), "gives a mean"),
        (lambda: qs.learners.LogisticRegression(MLP(6), Categorical(7), iterations=0), "iterations at least 1"),
        (lambda: qs.learners.SimpleShot(MLP(6), qs.tasks.Gaussian()), "learns classification"),
        (lambda: qs.learners.FineTuning(MLP(6), Categorical(7), steps=-1), "steps must not be negative"),
        (lambda: qs.learners.FineTuning(MLP(6, (8,), "running"), Categorical(7)), "running averages cannot follow"),
        (lambda: qs.learners.LinearSVM(inverse_penalty=0.0), "inverse_penalty must be positive"),
    ],
)
def test_bad_arguments(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("ways", [1, 2, 3])
def test_the_support_vector_machine_is_that_of_scikit_learn(ways: int) -> None:
    from sklearn.svm import LinearSVC

    x, y = features(30, 6)
    y = y % ways
    asked = torch.randn(1, 20, 6).double()
    learner = qs.learners.LinearSVM(inverse_penalty=3.0)
    predicted = learner.predict(learner.adapt(Examples.of(x, y)), asked).probs[0].argmax(-1)
    if ways == 1:
        assert (predicted == 0).all()
        return
    oracle = LinearSVC(C=3.0, dual=False, tol=1e-10).fit(x[0], y[0])
    assert np.array_equal(predicted.numpy(), oracle.predict(asked[0]))
