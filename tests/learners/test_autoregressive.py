import torch
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.evaluation import joint_log_prob
from quickstudy.learners import AutoregressiveTransformer, InContextTransformer
from quickstudy.networks import MLP
from quickstudy.tasks import Examples, Gaussian, TaskBatch, sinusoids


def learner(cls: type[InContextTransformer] = AutoregressiveTransformer) -> InContextTransformer:
    torch.manual_seed(0)
    return cls(MLP(3, (8,)), Gaussian(variance=None), width=16, layers=2, heads=2).double().eval()


def batch() -> TaskBatch:
    part = lambda n: Examples.of(torch.randn(2, n, 3).double(), torch.randn(2, n).double())
    tasks = TaskBatch(part(5), part(4))
    tasks.query.mask[1, 1] = False
    tasks.support.mask[0, 3:] = False
    return tasks


def test_one_pass_is_answering_and_reading_one_by_one() -> None:
    model, tasks = learner(), batch()
    at_once = model.log_prob(model.adapt(tasks.support), tasks.query)
    assert_close(at_once, joint_log_prob(model, tasks, by="update"))


def test_the_first_query_knows_the_support_alone() -> None:
    """One query: the same weights in the transformer that predicts queries apart say the same."""
    model, apart, tasks = learner(), learner(InContextTransformer), batch()
    apart.load_state_dict(model.state_dict())
    phi, first = model.adapt(tasks.support), tasks.query.map(lambda leaf: leaf[:, :1])
    assert_close(model.log_prob(phi, first), apart.log_prob(apart.adapt(tasks.support), first))
    whole = model.log_prob(phi, tasks.query)
    assert not torch.allclose(whole, apart.log_prob(phi, tasks.query))


def test_nothing_leaks_from_later_answers() -> None:
    """The gradient of log p(y_1 … y_i) with respect to what comes after i, and to what is masked, is zero."""
    model, tasks = learner(), batch()
    phi = model.adapt(tasks.support)
    x = tasks.query.x.clone().requires_grad_()
    earlier = tasks.query.map(lambda leaf: leaf.clone())
    earlier.mask[:, 2:] = False
    model.log_prob(phi, Examples(x, earlier.y, earlier.mask)).sum().backward()
    assert x.grad is not None
    assert x.grad[:, 2:].abs().max() == 0
    assert x.grad[1, 1].abs().max() == 0
    assert x.grad[:, 0].abs().min() > 0


def test_it_learns_that_queries_go_together() -> None:
    """Of a sinusoid of which nothing is known, later points tell what earlier ones could not."""
    torch.manual_seed(0)
    source = sinusoids(shots=(0, 2), queries=10, noise=0.1)
    model = AutoregressiveTransformer(MLP(1, (16,)), Gaussian(variance=None), width=32, layers=2, heads=2)
    qs.fit(model, source.train, steps=250, batch_size=16)
    scores = qs.evaluate(model, source.test, tasks=64)
    assert scores.values["joint_nll"].mean() < scores.values["nll"].mean() - 0.1
