from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close
from torch.utils._pytree import tree_map

import quickstudy as qs
from quickstudy.learners import Reptile
from quickstudy.networks import MLP
from quickstudy.tasks import Gaussian, TaskBatch, sinusoids

from .test_maml import double, regression, tanh_network

__all__ = ["double"]


def test_a_step_of_sgd_is_the_papers_update() -> None:
    """θ + ε · mean (φ − θ), with φ from torch's own optimizer on each task alone."""
    learner, batch = Reptile(tanh_network(), Gaussian(), 3, 0.1, inner_batch=None), regression()
    module = nn.Sequential(*learner.network.module, learner.predictor.head)
    before = [p.detach().clone() for p in module.parameters()]
    reached = []
    for task in range(3):
        one = batch[task]
        x = torch.cat([one.support.x[0][one.support.mask[0]], one.query.x[0]])
        y = torch.cat([one.support.y[0][one.support.mask[0]], one.query.y[0]])
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            F.mse_loss(module(x)[:, 0], y).backward()
            optimizer.step()
        reached.append([p.detach().clone() for p in module.parameters()])
        for parameter, old in zip(module.parameters(), before, strict=True):
            parameter.data.copy_(old)
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.25)
    optimizer.zero_grad()
    learner(batch).mean().backward()
    optimizer.step()
    for now, old, *ends in zip(module.parameters(), before, *reached, strict=True):
        assert_close(now.detach(), old + 0.25 * (torch.stack(ends).mean(0) - old))


def test_the_loss_is_honest() -> None:
    """Where the steps end in training; of the query after the support in evaluation."""
    learner, batch = Reptile(tanh_network(), Gaussian(), 0, inner_batch=None), regression()
    both = TaskBatch(batch.support, tree_map(lambda a, b: torch.cat([a, b], 1), batch.support, batch.query))
    assert_close(learner.train()(batch), learner.eval()(both))
    learner.inner_steps = 2
    expected = -learner.log_prob(learner.adapt(batch.support), batch.query) / batch.query.count
    assert_close(learner(batch), expected)


def test_inner_batches_hold_real_examples_only() -> None:
    learner = Reptile(MLP(2, (4,)), Gaussian(), inner_batch=3)
    support = regression().support
    part = learner._part(support)
    assert part.mask.shape == (3, 3)
    assert part.mask.sum(1).tolist() == support.mask.sum(1).clamp(max=3).tolist()
    assert learner._part(support.map(lambda leaf: leaf[:, :3])).mask.shape == (3, 3)


def test_inner_batches_differ_between_steps_and_tasks_and_repeat_with_the_seed() -> None:
    source = sinusoids(10, 10).train
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        learner = Reptile(MLP(1, (8,)), Gaussian(), 4, 0.05, inner_batch=5)
        qs.fit(
            learner,
            source,
            steps=5,
            batch_size=4,
            optimizer=partial(torch.optim.SGD, lr=0.5),
            device="cpu",
            precision="64-true",
        )
        weights.append([p.detach().clone() for p in learner.parameters()])
    assert_close(weights[0], weights[1], rtol=0, atol=0)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="inner_batch must be None or at least 1, got 0"):
        Reptile(MLP(2), Gaussian(), inner_batch=0)
