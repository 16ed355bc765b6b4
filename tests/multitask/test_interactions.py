"""The log against what made it: frequencies are the stated probabilities, and nothing later is trained on."""

import pytest
import torch
from torch.testing import assert_close

from quickstudy.multitask import Interactions, SharedBottom, logged_interactions
from quickstudy.networks import EmbeddedFields
from quickstudy.tasks import Bernoulli, Gaussian

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def log() -> Interactions:
    return logged_interactions(40, 20, 20_000, 5, bait=1.0)


def test_frequencies_are_the_true_probabilities(log: Interactions) -> None:
    split = log.train
    user, item, place = (split.x[name] for name in ("user", "item", "position"))
    clicked, count = split.y["click"], len(user)
    chance = log.examined[place] * log.attraction[user, item]
    assert_close(log.examined, 1 / torch.arange(1.0, 6.0))
    for k in range(5):
        here = place == k
        spread = (chance[here] * (1 - chance[here])).sum().sqrt() / here.sum()
        assert (clicked[here].mean() - chance[here].mean()).abs() < 4 * spread
    # Of one item, among many users: what it attracts can be had from the log by weighting clicks with 1 / examined.
    weighted = torch.zeros(20).index_add(0, item, clicked / log.examined[place]) / torch.bincount(item, minlength=20)
    expected = torch.zeros(20).index_add(0, item, log.attraction[user, item]) / torch.bincount(item, minlength=20)
    often = torch.bincount(item, minlength=20) > 1500
    assert often.sum() > 10
    assert (weighted - expected)[often].abs().max() < 0.1
    there = split.mask["engaged"]
    assert torch.equal(there, clicked == 1)
    assert torch.equal(there, split.mask["satisfaction"])
    assert there.sum() > 1000
    assert split.mask["click"].all()
    assert len(clicked) == count
    at = user[there], item[there]
    assert (split.y["engaged"][there].mean() - log.engagement[at].mean()).abs() < 4 * 0.5 / there.sum() ** 0.5
    error = split.y["satisfaction"][there] - log.satisfaction[at]
    assert error.mean().abs() < 0.05
    assert 0.45 < error.std() < 0.55


def test_what_is_promoted_stands_above_and_clickbait_disappoints(log: Interactions) -> None:
    item, place = log.train.x["item"], log.train.x["position"].float()
    seen = torch.bincount(item, minlength=20)
    mean = (torch.zeros(20).index_add(0, item, place) / seen)[seen > 100]
    assert seen.max() > 2 * seen.min()
    assert len(mean) > 12
    assert mean.max() - mean.min() > 1  # places are no accident, so that a naive model takes them for interest
    bait = log.clickbait
    assert bait.any()
    assert log.attraction[:, bait].mean() > log.attraction[:, ~bait].mean() + 0.1
    assert log.engagement[:, bait].mean() < log.engagement[:, ~bait].mean() - 0.1
    assert log.satisfaction[:, bait].mean() < log.satisfaction[:, ~bait].mean() - 0.1


def test_objectives_agree_as_much_as_they_are_told() -> None:
    for agreement in (0.0, 0.5, 1.0):
        log = logged_interactions(400, 100, 100, agreement=agreement, bait=0.0, latent=16)
        both = torch.stack([torch.logit(log.attraction).flatten(), torch.logit(log.engagement).flatten()])
        assert float(torch.corrcoef(both)[0, 1]) == pytest.approx(agreement, abs=0.06)


def test_splits_follow_one_another_in_time(log: Interactions) -> None:
    last = -1.0
    for name in SPLITS:
        times = log.times[name]
        assert len(times) == getattr(log, name).size
        assert (times.diff() >= 0).all()
        assert float(times[0]) >= last
        last = float(times[-1])
    sizes = [getattr(log, name).size for name in SPLITS]
    assert sizes == [70_000, 10_000, 20_000]


def test_the_same_seed_is_the_same_log_and_another_is_not() -> None:
    one, two, other = (logged_interactions(9, 8, 50, 3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.train.y["click"], two.train.y["click"])
    assert not torch.equal(one.attraction, other.attraction)


def test_everything_can_be_asked() -> None:
    log = logged_interactions(9, 8, 50, 3)
    network = EmbeddedFields({"user": 9, "item": 8}, 4, {"features": 4})
    module = SharedBottom(network, {"click": Bernoulli(), "engaged": Bernoulli(), "satisfaction": Gaussian()})
    with torch.no_grad():
        click = module.predict("click", log.everything()).probs.reshape(log.attraction.shape)
        alone = module.predict("click", log.inputs(torch.tensor([4]), torch.tensor([7]), 2)).probs
    assert_close(click[4, 7], alone[0, 0])
    assert set(module(log.train.sample(0, 16, 0))) == {"click", "engaged", "satisfaction"}


@pytest.mark.unchecked  # the checker of signatures would refuse some first
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": 0}, "users must be at least 1, got 0"),
        ({"items": 2.5}, "items must be a whole number"),
        ({"places": 300}, "places must be at most the number of items, 200"),
        ({"policy": 1.5}, "policy must be from 0 to 1, got 1.5"),
        ({"agreement": -1}, "agreement must be from 0 to 1, got -1"),
        ({"position_bias": -1.0}, "position_bias and bait must not be negative"),
        ({"days": 0.0}, "days positive"),
        ({"test": 1.0}, "leave a split empty"),
        ({"sessions": 3}, "leave a split empty"),
        ({"position_bias": float("nan")}, "position_bias must be"),
    ],
)
def test_bad_input_is_named(arguments: dict, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        logged_interactions(**arguments)


def test_a_split_without_a_click_is_named() -> None:
    def every() -> list[Interactions]:
        return [logged_interactions(3, 3, 3, 1, validation=0.34, test=0.34, seed=seed) for seed in range(20)]

    with pytest.raises(ValueError, match="there are 0 clicks in the .* split; raise sessions"):
        every()
