import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.tree import DecisionTreeRegressor

from quickstudy.learners import GradientBoosting, GreedyTree, Learner
from quickstudy.tasks import Examples, decision_trees


@pytest.mark.parametrize(
    ("learner", "theirs"),
    [
        (GreedyTree(3), lambda: DecisionTreeRegressor(max_depth=3, random_state=0)),
        (GreedyTree(30), lambda: DecisionTreeRegressor(random_state=0)),
        (GradientBoosting(7, 0.2, 2), lambda: GradientBoostingRegressor(
            n_estimators=7, learning_rate=0.2, max_depth=2, random_state=0
        )),
    ],
)  # fmt: skip
def test_trees_as_tensors_say_what_scikit_learn_says(learner: Learner, theirs: object) -> None:
    batch = decision_trees(4, 3, shots=(1, 20), queries=40, noise=0.3).test.draw(0, 8, 0)
    found = learner.predict(learner.adapt(batch.support), batch.query.x).mean
    for task in range(8):
        real = batch.support.mask[task]
        model = theirs().fit(batch.support.x[task, real].numpy(), batch.support.y[task, real].numpy())
        np.testing.assert_allclose(found[task], model.predict(batch.query.x[task].numpy()), rtol=1e-5, atol=1e-6)


def test_a_deep_tree_repeats_what_it_was_shown() -> None:
    batch = decision_trees(4, 4, shots=20).test.draw(0, 4, 0)
    learner = GreedyTree(30)
    found = learner.predict(learner.adapt(batch.support), batch.support.x).mean
    np.testing.assert_allclose(found, batch.support.y, rtol=1e-5)


@pytest.mark.parametrize("learner", [GreedyTree(), GradientBoosting(3)])
def test_nothing_is_said_of_nothing(learner: Learner) -> None:
    support = Examples.of(torch.randn(2, 5, 3), 1 + torch.rand(2, 5))
    support.mask[1] = False
    mean = learner.predict(learner.adapt(support), torch.randn(2, 4, 3)).mean
    assert (mean[0] > 0).all()
    assert (mean[1] == 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GreedyTree(0), "depth must be of 1 … 30, got 0"),
        (lambda: GradientBoosting(trees=0), "trees must be at least 1 and rate positive, got 0"),
        (lambda: GradientBoosting(rate=-1.0), "rate positive, got 50 and -1"),
        (lambda: GradientBoosting(depth=31), "depth must be of 1 … 30, got 31"),
    ],
)
def test_bad_arguments(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
