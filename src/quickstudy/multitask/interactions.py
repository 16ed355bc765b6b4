"""Logged interactions of which the truth is known: who was shown what, where, what they clicked, and why.

    P(click | u, i, place k) = examined_k · attraction(u, i)

Only what is clicked shows whether it was watched to the end and how it was liked. A log of a real service is like
that, but nobody knows the attraction there; here a model can be compared with it.

The position-based model: Craswell, Zoeter, Taylor & Ramsey, "An experimental comparison of click position-bias models",
WSDM 2008.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from quickstudy.arguments import check_real, check_seed, check_whole
from quickstudy.multitask.named import NamedTasks
from quickstudy.multitask.shared import SharedSplit
from quickstudy.tasks import draws
from quickstudy.tasks.source import SPLITS

__all__ = ["Interactions", "logged_interactions"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_CANDIDATES = 2  # times as many as there are places, from which the policy chooses
_SHARE = 0.2  # of the items are clickbait
_NOISE = 0.5  # standard deviation of a rating around its expectation, in stars
_MOOD = 0.3  # standard deviation of what is random in a policy's scores: no item is always at one place


@dataclass(frozen=True)
class Interactions(NamedTasks):
    """A log in three splits, and what is true of it; `logged_interactions` makes it.

    Attributes:
        train, validation, test: the tasks `click`, `engaged` and `satisfaction` of the same impressions; the last two
            have a target only where there was a click. Inputs are `user`, `item`, `position` (from 0) and `features`
            of the item.
        times: of the impressions of every split, in days, rising.
        examined: the probability that a place is looked at.
        attraction: P(click) of who looks: what debiasing is to recover.
        engagement: P(watched to the end) of who clicked.
        satisfaction: the expected rating by who clicked, in stars around 3.
        features: what a model may know of an item.
        clickbait: which items promise more than they hold.
    """

    times: dict[str, Float[Tensor, " impression"]]
    examined: Float[Tensor, " place"]
    attraction: Float[Tensor, "user item"]
    engagement: Float[Tensor, "user item"]
    satisfaction: Float[Tensor, "user item"]
    features: Float[Tensor, "item length"]
    clickbait: Bool[Tensor, " item"]

    def inputs(self, users: Int[Tensor, " n"], items: Int[Tensor, " n"], position: int = 0) -> dict[str, Tensor]:
        """What a module takes, `[1, n, ...]`, for users and items that are asked about, all at one place."""
        return _inputs(users[None], items[None], torch.full_like(items, position)[None], self.features)

    def everything(self) -> dict[str, Tensor]:
        """The inputs of every user with every item; predictions for them have the shape of `attraction` when they are
        reshaped to it."""
        users, items = self.attraction.shape
        return self.inputs(torch.arange(users).repeat_interleave(items), torch.arange(items).repeat(users))


def logged_interactions(
    users: int = 300,
    items: int = 200,
    sessions: int = 6000,
    places: int = 10,
    *,
    latent: int = 4,
    position_bias: float = 1.0,
    policy: float = 0.1,
    agreement: float = 0.5,
    bait: float = 1.5,
    days: float = 30.0,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
) -> Interactions:
    """Sessions of users to whom a policy showed a ranked list each, and what they did with it.

    A policy scores items by how well they fit the user (a share `policy`) and by how much it happens to promote them
    (the rest), and shows the best of some at random, the best first. Promoted items are therefore seen more often and
    further up than the users' interest would have them: a model that takes places for interest learns the promotion.

    Args:
        users, items, sessions: how many.
        places: the length of a list.
        latent: length of the vectors behind tastes, and of the items' features, which are those vectors with noise.
        position_bias: η; place k = 1, 2, … is examined with probability k^−η. 0 is no bias.
        policy: from 0, lists that ignore the user, to 1, lists by the user's true taste.
        agreement: the correlation of what users like with what attracts them.
        bait: log odds by which a fifth of the items attract more, and are watched to the end less; 0 is no conflict.
        days: how long the log goes on.
        validation, test: shares of the sessions; the test is the latest, the validation what comes before it.
        seed: draws all of it.

    Raises:
        ValueError: a number out of its range, or a split without any click.
    """
    counts = {"users": users, "items": items, "sessions": sessions, "places": places, "latent": latent}
    check_whole(**counts)
    check_real(
        position_bias=position_bias, policy=policy, agreement=agreement, bait=bait, days=days,
        validation=validation, test=test,
    )  # fmt: skip
    check_seed(seed)
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    if places > items:
        raise ValueError(f"places must be at most the number of items, {items}, got {places}")
    for name, share in {"policy": policy, "agreement": agreement}.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {share}")
    if position_bias < 0 or bait < 0 or not days > 0:
        raise ValueError(
            f"position_bias and bait must not be negative and days positive, got {position_bias}, {bait} and {days}"
        )
    held = [round(share * sessions) for share in (validation, test)]
    if min(*held, sessions - sum(held)) < 1:
        raise ValueError(f"there are {sessions} sessions; shares of {validation} and {test} leave a split empty")

    truth = _truth(users, items, latent, agreement, bait, seed)
    times = np.sort(draws.uniforms(seed, "interactions/times", 0, sessions, 1)[:, 0]) * days
    user, shown = _shown(truth, sessions, places, policy, seed)
    at = user[:, None], shown
    examined = np.arange(1, places + 1) ** -float(position_bias)
    happens = draws.uniforms(seed, "interactions/happens", 0, sessions, 2 * places).reshape(sessions, 2, places)
    click = happens[:, 0] < examined * truth["attraction"][at]
    y = {
        "click": click,
        "engaged": happens[:, 1] < truth["engagement"][at],
        "satisfaction": truth["satisfaction"][at] + _NOISE * _normal(seed, "ratings", sessions, places),
    }
    features = torch.from_numpy(truth["features"]).float()
    ends = np.cumsum([sessions - sum(held), *held])
    parts, when = {}, {}
    for split, first, last in zip(SPLITS, (0, *ends), ends, strict=False):
        rows = slice(int(first), int(last))
        if not (clicks := click[rows].sum()) > 0:
            raise ValueError(f"there are {clicks} clicks in the {split} split; raise sessions")
        number = np.broadcast_to(np.arange(places), (last - first, places))
        who = np.broadcast_to(user[rows, None], number.shape)
        flat = [torch.from_numpy(each.flatten()) for each in (who, shown[rows], number)]
        there = {task: torch.ones(number.size, dtype=torch.bool) if task == "click" else click[rows] for task in y}
        parts[split] = SharedSplit(
            split,
            _inputs(flat[0], flat[1], flat[2], features),
            {task: torch.from_numpy(each[rows].flatten()).float() for task, each in y.items()},
            {task: torch.as_tensor(mask).flatten() for task, mask in there.items()},
        )
        when[split] = torch.from_numpy(np.repeat(times[rows], places))
    known = {name: torch.from_numpy(truth[name]).float() for name in ("attraction", "engagement", "satisfaction")}
    return Interactions(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        times=when,
        examined=torch.from_numpy(examined).float(),
        attraction=known["attraction"],
        engagement=known["engagement"],
        satisfaction=known["satisfaction"],
        features=features,
        clickbait=torch.from_numpy(truth["clickbait"]),
    )


def _normal(seed: int, what: str, count: int, each: int) -> Floats:
    return draws.normals(draws.uniforms(seed, f"interactions/{what}", 0, count, each))


def _truth(users: int, items: int, latent: int, agreement: float, bait: float, seed: int) -> dict[str, Any]:
    """What users want and like, and what items are."""
    vectors = _normal(seed, "items", items, latent)
    # Two products of standard normal vectors, each of variance one.
    taste, other = (_normal(seed, what, users, latent) @ vectors.T / latent**0.5 for what in ("wants", "likes"))
    liking = agreement * taste + (1 - agreement**2) ** 0.5 * other
    clickbait = draws.uniforms(seed, "interactions/clickbait", 0, items, 1)[:, 0] < _SHARE
    return {
        "taste": taste,
        "attraction": expit(1.5 * taste - 1 + bait * clickbait),
        "engagement": expit(1.5 * liking - bait * clickbait),
        "satisfaction": 3 + liking - bait / 2 * clickbait,
        "features": vectors + 0.5 * _normal(seed, "features", items, latent),
        "clickbait": clickbait,
    }


def _shown(truth: dict[str, Any], sessions: int, places: int, policy: float, seed: int) -> tuple[Integers, Integers]:
    """The user of every session, some of whom come more often, and the list that the policy showed, the best first."""
    users, items = truth["taste"].shape
    activity = np.cumsum(np.exp(0.5 * _normal(seed, "activity", users, 1)[:, 0]))
    comes = draws.uniforms(seed, "interactions/comes", 0, sessions, 1)[:, 0] * activity[-1]
    user = np.searchsorted(activity, comes, side="right").clip(max=users - 1)
    count = min(items, _CANDIDATES * places)
    candidates = np.argsort(draws.uniforms(seed, "interactions/candidates", 0, sessions, items), 1)[:, :count]
    promoted = _normal(seed, "promoted", items, 1)[candidates, 0]
    score = policy * truth["taste"][user[:, None], candidates] + (1 - policy) * promoted
    score += _MOOD * _normal(seed, "mood", sessions, count)
    return user, np.take_along_axis(candidates, np.argsort(-score, 1)[:, :places], 1)


def _inputs(users: Tensor, items: Tensor, positions: Tensor, features: Tensor) -> dict[str, Tensor]:
    return {"user": users, "item": items, "position": positions, "features": features[items]}
