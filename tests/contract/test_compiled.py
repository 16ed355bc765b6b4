"""The last clause of the contract: `torch.compile(learner, fullgraph=True, dynamic=False)` changes nothing."""

import pytest
import torch
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.learners import (
    MAML,
    Baseline,
    FineTuning,
    FromScratch,
    GradientLearner,
    Implicit,
    ImplicitMAML,
    Learner,
    MAMLPlusPlus,
)

from .problems import Problems, kinds_to_train

pytestmark = pytest.mark.unchecked


def cases(cls: type[Learner]) -> list[tuple[str, str]]:
    """Every kind of task; and, where the whole network adapts, without normalization too."""
    kinds = [(kind, "support") for kind in kinds_to_train(cls)]
    return [("classification", "none"), *kinds] if cls is MAML else kinds


CASES = [
    pytest.param(cls, kind, policy, id=f"{name}-{kind}-{policy}")
    for name, cls in qs.registered(Learner).items()
    for kind, policy in cases(cls)
    if cls.__module__.startswith("quickstudy.")
]


@pytest.mark.parametrize(("cls", "kind", "policy"), CASES)
def test_one_graph(cls: type[Learner], kind: str, policy: str) -> None:
    """Traced as one graph, forward and backward, without the code generator (which every method shares)."""
    check(cls.example(kind, policy), Problems(kind).draw(0, 4, 0), "aot_eager")


@pytest.mark.parametrize("name", ["PrototypicalNetwork", "MAML", "InContextTransformer"])
def test_generated_code(name: str) -> None:
    """Through inductor, one learner of each way of adapting."""
    learner = qs.registered(Learner)[name].example("classification", "support")
    if isinstance(learner, MAML):
        learner.inner_steps = 1  # each takes as long again
    check(learner, Problems("classification").draw(0, 4, 0), "inductor")


def test_images() -> None:
    """Convolutions, pooling and grouped convolutions too."""
    learner = qs.learners.MAML(qs.networks.Conv4(filters=4, size=16), qs.tasks.Categorical(4), inner_steps=1)
    batch = Problems("classification").draw(0, 2, 0)
    pictures = batch.map(lambda leaf: leaf)
    for part in (pictures.support, pictures.query):
        part.x = torch.randn(*part.y.shape, 1, 16, 16)
    check(learner, pictures, "aot_eager")


def check(learner: Learner, batch: qs.TaskBatch, backend: str) -> None:
    torch._dynamo.reset()
    graph = not learner.optimizes  # an optimizer inside `adapt` compiles in parts
    if isinstance(learner, FineTuning | FromScratch | Baseline):
        learner.steps = 2  # each is traced
    if isinstance(learner, GradientLearner):
        learner.inner_steps = min(learner.inner_steps, 2)
    if isinstance(learner, ImplicitMAML):
        learner.meta_gradient = Implicit(learner.pull, iterations=2)
    compiled = torch.compile(learner, fullgraph=graph, dynamic=False, backend=backend)
    torch.manual_seed(0)
    eager = learner(batch)
    if isinstance(learner, MAMLPlusPlus):
        learner.seen.zero_()  # compiled, it is at the same step
    torch.manual_seed(0)  # what is drawn in training is drawn again
    result = compiled(batch)
    assert_close(result, eager, rtol=2e-4, atol=2e-5)
    if learner.trainable:
        learned = [weight for weight in learner.parameters() if weight.requires_grad]
        gradients = torch.autograd.grad(eager.sum(), learned, allow_unused=True)
        compiled_gradients = torch.autograd.grad(result.sum(), learned, allow_unused=True)
        for a, b in zip(gradients, compiled_gradients, strict=True):
            if a is not None:
                assert_close(b, a, rtol=2e-3, atol=2e-4)
