import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from quickstudy.learners import FullContextMatchingNetwork, MatchingNetwork
from quickstudy.networks import MLP
from quickstudy.tasks import Examples

CLASSES = torch.ones(1, 3, dtype=torch.bool)


def task() -> tuple[Examples, Tensor]:
    x, y = torch.randn(1, 7, 4).double(), torch.tensor([[0, 1, 1, 2, 2, 2, 0]])
    return Examples.of(x, y), torch.randn(1, 5, 4).double()


def embedded(learner: MatchingNetwork, x: Tensor) -> Tensor:
    return learner.network(x, torch.ones(x.shape[:2], dtype=torch.bool))[0][0]


def test_is_attention_weighted_labels() -> None:
    learner, (support, queries) = MatchingNetwork(MLP(4, (6,)), scale=3.0).double(), task()
    probs = learner.predict(learner.adapt(support, CLASSES), queries).probs[0]
    for query, p in zip(embedded(learner, queries), probs, strict=True):
        cosines = torch.stack([torch.cosine_similarity(query, s, dim=0) for s in embedded(learner, support.x)])
        weights = (3 * cosines).softmax(0)
        expected = torch.stack([weights[support.y[0] == k].sum() for k in range(3)])
        assert_close(p, expected, rtol=1e-4, atol=1e-5)  # up to the floor


def test_the_supports_context_is_a_bidirectional_lstm() -> None:
    """Held to torch's own, which cannot be masked."""
    learner, (support, _) = FullContextMatchingNetwork(MLP(4, (6,))).double(), task()
    theirs = nn.LSTM(6, 6, bidirectional=True, batch_first=True).double()
    for cell, suffix in ((learner.forwards, ""), (learner.backwards, "_reverse")):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(theirs, f"{name}_l0{suffix}").data.copy_(getattr(cell, name).data)
    plain = embedded(learner, support.x)[None]
    forwards, backwards = theirs(plain)[0].chunk(2, -1)
    assert_close(learner.adapt(support, CLASSES)["support"], plain + forwards + backwards)


def test_the_querys_context_follows_the_papers_equations() -> None:
    learner, (support, queries) = FullContextMatchingNetwork(MLP(4, (6,)), processing_steps=3).double(), task()
    phi = learner.adapt(support, CLASSES)
    g = phi["support"][0]
    for query, found in zip(
        embedded(learner, queries), learner._query_in_context(embedded(learner, queries)[None], phi)[0], strict=True
    ):
        h, c, r = torch.zeros(6).double(), torch.zeros(6).double(), torch.zeros(6).double()
        for _ in range(3):
            state, c = learner.reader(torch.cat([query, r])[None], (h[None], c[None]))
            c, h = c[0], state[0] + query
            r = ((g @ h).softmax(0)[:, None] * g).sum(0)
        assert_close(found, h)


def test_only_full_context_reads_the_support_in_order() -> None:
    support, queries = task()
    turned = support.map(lambda leaf: leaf.flip(1))
    for cls, same in ((MatchingNetwork, True), (FullContextMatchingNetwork, False)):
        learner = cls(MLP(4, (6,))).double()
        a, b = (learner.predict(learner.adapt(s, CLASSES), queries).probs for s in (support, turned))
        assert torch.allclose(a, b) is same


def test_a_class_without_shots_is_unlikely_but_possible() -> None:
    learner = MatchingNetwork(MLP(4, (6,)))
    support = Examples.of(torch.randn(1, 2, 4), torch.tensor([[0, 2]]))
    probs = learner.predict(learner.adapt(support, CLASSES), torch.randn(1, 3, 4)).probs
    assert (probs[..., 1] > 0).all()
    assert (probs[..., 1] < 1e-5).all()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"scale must be positive and finite, got 0\.0"):
        MatchingNetwork(MLP(4), scale=0.0)
    with pytest.raises(ValueError, match="processing_steps must be at least 1, got 0"):
        FullContextMatchingNetwork(MLP(4), processing_steps=0)
