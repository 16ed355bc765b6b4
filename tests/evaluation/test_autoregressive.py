import pytest
import torch
from torch.distributions import MultivariateNormal
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.evaluation import (
    GaussianProcessOracle,
    compare,
    evaluate_jointly,
    interval,
    joint_log_prob,
    sample_jointly,
)
from quickstudy.learners import R2D2, ConditionalNeuralProcess, NearestNeighbour, PrototypicalNetwork
from quickstudy.networks import MLP
from quickstudy.tasks import RBF, Examples, Gaussian, TaskBatch, gaussian_processes

NOISE = 0.2


def tasks(support: int = 4, query: int = 5) -> TaskBatch:
    """Two tasks in float64, the second with an example and a query less."""
    part = lambda n: Examples.of(torch.randn(2, n, 1).double(), torch.randn(2, n).double())
    batch = TaskBatch(part(support), part(query))
    batch.support.mask[1, 0] = False
    batch.query.mask[1, 1] = False
    return batch


def posterior(batch: TaskBatch, task: int, lengthscale: float) -> tuple[MultivariateNormal, torch.Tensor, torch.Tensor]:
    """Of the queries given the support, together; the prior density of the support; and the targets."""
    known, asked = batch.support.mask[task], batch.query.mask[task]
    x = torch.cat([batch.support.x[task, known, 0], batch.query.x[task, asked, 0]])
    covariance = torch.exp(-((x[:, None] - x) ** 2) / (2 * lengthscale**2)) + NOISE**2 * torch.eye(len(x)).double()
    n, y = int(known.sum()), batch.support.y[task, known]
    a, b, c = covariance[:n, :n], covariance[n:, :n], covariance[n:, n:]
    given = MultivariateNormal(b @ torch.linalg.solve(a, y), c - b @ torch.linalg.solve(a, b.T))
    evidence = MultivariateNormal(torch.zeros(n).double(), a).log_prob(y)
    return given, evidence, batch.query.y[task, asked]


def test_the_chain_of_a_gaussian_process_is_its_joint_density() -> None:
    batch, oracle = tasks(), GaussianProcessOracle(RBF(0.7, 1.0), NOISE)
    result = joint_log_prob(oracle, batch)
    for task in range(2):
        given, _, y = posterior(batch, task, 0.7)
        assert_close(result[task], given.log_prob(y), rtol=1e-6, atol=1e-6)
    phi = oracle.adapt(batch.support)
    assert_close(oracle.log_prob(phi, batch.query), result)
    apart = oracle.predict(phi, batch.query.x, batch.query.mask).log_prob(batch.query.y)
    assert not torch.allclose(result, torch.where(batch.query.mask, apart, 0).sum(1), atol=1e-2)


def test_the_chain_over_kernels_is_their_joint_mixture() -> None:
    """Each answer also tells of the kernel: Bayes' rule, in both ways of writing it."""
    batch = tasks()
    result = joint_log_prob(GaussianProcessOracle(RBF((0.4, 1.2), 1.0), NOISE, grid=2), batch)
    for task in range(2):
        parts = [posterior(batch, task, lengthscale) for lengthscale in (0.6, 1.0)]
        weights = torch.stack([evidence for _, evidence, _ in parts]).log_softmax(0)
        expected = (weights + torch.stack([given.log_prob(y) for given, _, y in parts])).logsumexp(0)
        assert_close(result[task], expected, rtol=1e-6, atol=1e-6)


def test_samples_have_the_mean_and_covariance_of_the_process() -> None:
    batch = tasks(3, 4)
    drawn = sample_jointly(GaussianProcessOracle(RBF(0.7, 1.0), NOISE), batch.support, batch.query.x, samples=4000)
    assert drawn.shape == (2, 4000, 4)
    given, _, _ = posterior(TaskBatch(batch.support, Examples.of(batch.query.x, batch.query.y)), 0, 0.7)
    assert_close(drawn[0].mean(0), given.mean, rtol=0, atol=0.06)
    assert_close(drawn[0].T.cov(), given.covariance_matrix, rtol=0, atol=0.09)


def test_samples_repeat_and_leave_the_generator_alone() -> None:
    learner = ConditionalNeuralProcess(MLP(1, (8,)), Gaussian(variance=None), width=8).double()
    batch, state = tasks(), torch.get_rng_state()
    first, again, other = (
        sample_jointly(learner, batch.support, batch.query.x, samples=2, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert learner.training


def test_updating_and_adapting_anew_agree() -> None:
    learner, batch = ConditionalNeuralProcess(MLP(1, (8,)), Gaussian(variance=None), width=8).double(), tasks()
    assert_close(joint_log_prob(learner, batch, by="update"), joint_log_prob(learner, batch))
    poisoned = batch.map(lambda leaf: leaf.clone())
    poisoned.query.y[1, 1] = float("nan")
    assert_close(joint_log_prob(learner, poisoned), joint_log_prob(learner, batch))
    with pytest.raises(NotImplementedError, match="cannot add examples"):
        joint_log_prob(R2D2(MLP(1, (8,)), Gaussian()).double(), batch, by="update")


def test_classes_are_drawn_too() -> None:
    support = Examples.of(torch.randn(2, 4, 3), torch.tensor([[0, 1, 0, 1]] * 2))
    drawn = sample_jointly(PrototypicalNetwork(MLP(3, (4,))), support, torch.randn(2, 5, 3), samples=3)
    assert drawn.shape == (2, 3, 5)
    assert drawn.dtype == torch.int64
    assert set(drawn.unique().tolist()) <= {0, 1}


def test_scores_of_a_split() -> None:
    """Numbered tasks, paired with another's; what is joint is better than each apart, by Bayes' rule."""
    source = gaussian_processes(RBF(0.5, 1.0), 3, 6, noise=NOISE)
    oracle = GaussianProcessOracle(RBF(0.5, 1.0), NOISE)
    wrong = GaussianProcessOracle(RBF(2.0, 1.0), NOISE)
    best, other = (evaluate_jointly(each, source.test, tasks=60, device="cpu") for each in (oracle, wrong))
    assert compare(best, other, "joint_nll").better is True
    apart = qs.evaluate(oracle, source.test, tasks=60, device="cpu")
    assert apart.asked == best.asked
    assert interval(apart.values["nll"] - best.values["joint_nll"]).low > 0


@pytest.mark.unchecked  # arguments of other types
def test_bad_arguments() -> None:
    batch, learner = tasks(), NearestNeighbour(likelihood=Gaussian())
    with pytest.raises(ValueError, match="by must be one of adapt, update, got 'again'"):
        joint_log_prob(learner, batch, by="again")
    with pytest.raises(TypeError, match="learner must be a Learner, got str"):
        joint_log_prob("mean", batch)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        sample_jointly(learner, batch.support, batch.query.x, samples=0)
    with pytest.raises(ValueError, match="x must be of the 2 tasks of the support, got 1"):
        sample_jointly(learner, batch.support, batch.query.x[:1])
