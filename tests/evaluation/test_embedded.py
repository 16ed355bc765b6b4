import copy

import pytest
import torch
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.evaluation.embedded import embedded
from quickstudy.learners import Learner
from quickstudy.networks import Conv4

POOL = qs.tasks.glyphs()
LEARNERS = [
    lambda policy: qs.learners.PrototypicalNetwork(Conv4(filters=8, normalization=policy)),
    lambda policy: qs.learners.MatchingNetwork(Conv4(filters=8, normalization=policy)),
    lambda policy: qs.learners.SiameseNetwork(Conv4(filters=8, normalization=policy)),
    lambda policy: qs.learners.RelationNetwork(Conv4(filters=8, normalization=policy, pools=2)),
    lambda policy: qs.learners.SimpleShot(Conv4(filters=8, normalization=policy), qs.tasks.Categorical(7)),
]


@pytest.mark.parametrize("make", LEARNERS)
@pytest.mark.parametrize("policy", ["layer", "running"])
def test_scores_are_those_of_embedding_anew_in_every_task(make: object, policy: str) -> None:
    learner = make(policy).eval()
    split = POOL.episodes((3, 5), (1, 2), 2).test
    reader, drawn = embedded(learner, split, 1000)
    assert drawn is not split
    assert drawn.examples.shape == (int((split.table >= 0).sum()), learner.network.width)
    batch, features = split.draw(3, 6, 0), drawn.draw(3, 6, 0)
    with torch.no_grad():
        slow = learner.predict(learner.adapt(batch.support, batch.classes), batch.query.x, batch.query.mask)
        fast = reader.predict(reader.adapt(features.support, features.classes), features.query.x, features.query.mask)
    assert_close(fast.probs[batch.query.mask], slow.probs[batch.query.mask], rtol=1e-4, atol=1e-5)
    assert "convolutions.0.weight" in dict(learner.network.named_parameters())  # the learner itself is left whole


@pytest.mark.parametrize(
    "learner",
    [
        qs.learners.PrototypicalNetwork(Conv4(filters=8, normalization="support")),
        qs.learners.MAML(Conv4(filters=8, normalization="layer"), qs.tasks.Categorical(5)),
        qs.learners.NearestNeighbour(),
    ],
)
def test_left_alone_where_it_would_not_be_the_same(learner: Learner) -> None:
    split = POOL.episodes(5, 1, 2).test
    assert embedded(learner, split, 1000) == (learner, split)


def test_left_alone_where_it_would_not_save_anything() -> None:
    learner, split = LEARNERS[0]("layer"), POOL.episodes(5, 1, 2).test
    assert embedded(learner, split, 2) == (learner, split)


def test_evaluate_uses_it_in_the_precision_of_the_learner() -> None:
    learner = copy.deepcopy(LEARNERS[0]("layer")).double()
    scores = qs.evaluate(learner, POOL.episodes(5, 1, 2).test, tasks=300, device="cpu")
    plain = copy.deepcopy(learner)
    type(plain).embeds, was = False, type(plain).embeds
    try:
        expected = qs.evaluate(plain, POOL.episodes(5, 1, 2).test, tasks=300, device="cpu")
    finally:
        type(plain).embeds = was
    assert_close(torch.tensor(scores.values["nll"]), torch.tensor(expected.values["nll"]), rtol=1e-9, atol=1e-9)
