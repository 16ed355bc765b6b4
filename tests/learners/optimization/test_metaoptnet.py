"""MetaOptNet: what it predicts, what it learns, and that a compiled graph holds it."""

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC
from torch.testing import assert_close

from quickstudy.learners import MetaOptNet
from quickstudy.networks import MLP
from quickstudy.tasks import Examples, TaskBatch

pytestmark = pytest.mark.filterwarnings("ignore:Liblinear failed to converge")


def batch(support: int = 12, dtype: torch.dtype = torch.float64) -> TaskBatch:
    """Two tasks of three classes, the second with padding and without its class 1."""
    y = torch.arange(support + 4).expand(2, -1) % 3
    y = torch.stack([y[0], torch.where(y[1] == 1, 0, y[1])])
    x = torch.randn(2, support + 4, 5, dtype=dtype) + 2 * torch.randn(2, 3, 5, dtype=dtype)[[[0], [1]], y]
    parts = [Examples.of(x[:, :support], y[:, :support]), Examples.of(x[:, support:], y[:, support:])]
    parts[0].mask[1, 7:] = False
    return TaskBatch(*parts, torch.tensor([[True, True, True], [True, False, True]]))


def test_predictions_are_those_of_the_machine_on_embedded_examples() -> None:
    learner, tasks = MetaOptNet(MLP(5, (16,), "none"), 0.3, scale=2.0).double(), batch()
    with torch.no_grad():
        phi = learner.adapt(tasks.support, tasks.classes)
        outputs = learner.outputs(phi, tasks.query.x)
        probs = learner.predict(phi, tasks.query.x).probs
        for task, exist in enumerate(tasks.classes):
            real = tasks.support.mask[task]
            features, asked = (
                learner.network(part.x, torch.ones(part.y.shape).bool())[0][task]
                for part in (tasks.support, tasks.query)
            )
            machine = LinearSVC(multi_class="crammer_singer", fit_intercept=False, C=0.3, tol=1e-12, max_iter=10**5)
            machine.fit(features[real], tasks.support.y[task, real])
            # With two classes scikit-learn keeps one row, the difference of theirs.
            ours = outputs[task][:, exist].numpy()
            theirs = 2 * machine.decision_function(asked)
            np.testing.assert_allclose(ours if exist.all() else ours[:, 1] - ours[:, 0], theirs, atol=1e-5)
    assert phi["weight"].shape == (2, 3, 16)
    assert (phi["weight"][1, 1] == 0).all()
    assert (probs[1, :, 1] == 0).all()


def test_the_loss_has_the_gradients_of_finite_differences() -> None:
    learner, tasks = MetaOptNet(MLP(5, (8,), "support"), 0.3).double(), batch()
    names, weights = zip(*learner.named_parameters(), strict=True)

    def losses(*values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(learner, dict(zip(names, values, strict=True)), (tasks,))

    assert torch.autograd.gradcheck(losses, weights, eps=1e-6, atol=1e-6, rtol=1e-5, fast_mode=True)


@pytest.mark.unchecked
def test_compiled_as_one_graph_it_is_the_same() -> None:
    learner, tasks = MetaOptNet(MLP(5, (8,), "support")).double(), batch()
    torch._dynamo.reset()
    compiled = torch.compile(learner, fullgraph=True, dynamic=False, backend="aot_eager")
    eager, result = learner(tasks), compiled(tasks)
    assert_close(result, eager, rtol=1e-10, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad(loss.sum(), learner.parameters()) for loss in (eager, result)), strict=True):
        assert_close(b, a, rtol=1e-8, atol=1e-10)


def test_under_autocast_only_the_embedding_is_in_half_precision() -> None:
    learner, tasks = MetaOptNet(MLP(5, (16,), "none")), batch(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        phi = learner.adapt(tasks.support, tasks.classes)
        outputs = learner.outputs(phi, tasks.query.x)
    assert phi["weight"].dtype == outputs.dtype == torch.float32
    exact = learner.adapt(tasks.support, tasks.classes)
    assert_close(phi["weight"], exact["weight"], rtol=0.1, atol=0.02)


def test_features_without_a_solution_are_refused_by_their_task() -> None:
    learner, tasks = MetaOptNet(MLP(5, (2,), "none")), batch(dtype=torch.float32)
    tasks.support.x[0] *= 1e12
    with pytest.raises(ValueError, match=r"features of x in task 0.*inverse_penalty=0\.1"):
        learner(tasks)


@pytest.mark.parametrize(("argument", "value"), [("inverse_penalty", 0.0), ("scale", -1.0), ("inverse_penalty", "1")])
def test_arguments_out_of_range_are_refused(argument: str, value: object) -> None:
    with pytest.raises((ValueError, TypeError), match=argument):
        MetaOptNet(MLP(5), **{argument: value})
