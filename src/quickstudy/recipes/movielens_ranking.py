"""What a user watches next and how it is rated: vectors shared or not, weights of the losses, and when to stop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.evaluation import compare, reciprocal_rank
from quickstudy.multitask import BPR, Factorization, MovieLens, NamedModule, Objective, RatedSplit, movielens
from quickstudy.networks import evaluating
from quickstudy.rebuild import register
from quickstudy.recipes.named_recipe import NamedContestant, NamedRecipe, NamedTest, summed
from quickstudy.recipes.recipe import Training, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import Gaussian
from quickstudy.tasks.batch import Tree

__all__ = ["MovieLensRanking"]

_DAMPED = 10
_WEIGHTS = {"99 : 1": (0.99, 0.01), "1 : 1": (0.5, 0.5)}


@recipe
class MovieLensRanking(NamedRecipe):
    """Factorization with a loss on pairs for what is watched, a network on [u, q, u ∗ q] for the stars.

    `watch` is the mean over users of 1 / rank of the first film that they rate in the test, among all films that they
    had not rated before. Everyone makes as many steps. Those that stop early keep the weights of the lowest validation
    loss, weighted as in training; the `last step` of each stands beside them. Averages know how often a film was rated,
    how, and how a user rates.

    With vectors of their own the two tasks share nothing, and Adam takes little notice of the weights of losses.
    """

    name = "movielens-ranking"
    claim = "Watching and rating learned together beat vectors of their own, if training stops in time."
    metric = "mrr"

    @dataclass(frozen=True)
    class Settings:
        """The data must be had from their publisher. At these, a training takes a minute and a half on one core."""

        path: str = option("", "the folder of u.data, u.item and u.user of MovieLens-100K")
        steps: int = option(12_000, "training steps, of which about three hundred are a round of the ratings")
        batch_size: int = option(256, "ratings a step")
        rate: float = option(3e-3, "highest learning rate")
        embedding: int = option(32, "length of the vector of a user or a film")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        if not self.settings.path:
            raise ValueError(
                "movielens-ranking needs --path: the folder of u.data, u.item and u.user of MovieLens-100K, which "
                "GroupLens has (ml-100k.zip)"
            )

    def data(self) -> MovieLens:
        return movielens(self.settings.path)

    def objectives(self) -> dict[str, Objective]:
        return _objectives(*_WEIGHTS["1 : 1"])

    def tests(self) -> dict[str, NamedTest]:  # type: ignore[override]
        films = self._films
        about = {"users": len(films.ages), "items": len(films.titles), "tasks": 1}
        ranked = {"what": "the first film rated in the test, among those not rated before", "metric": "mrr", **about}
        rated = {"what": "stars", "metric": "mse", "test examples": films.test.size, "tasks": 1}
        return {
            "watch": NamedTest(films.test, "mrr", ("watch",), True, ranked, partial(_mrr, films)),
            "rating": NamedTest(films.test, "mse", ("rating",), True, rated, partial(_mse, films)),
        }

    def contestants(self) -> dict[str, NamedContestant]:
        chosen, films = self.settings, self._films
        stopped = Training(
            films.train,
            chosen.steps,
            chosen.batch_size,
            chosen.rate,
            validation=films.validation,
            validation_size=films.validation.size or 1,
            validations=40,
        )
        found = {}
        for shared, whose in ((True, "shared"), (False, "separate")):
            for ratio, weights in _WEIGHTS.items():
                build = partial(
                    Factorization,
                    len(films.ages),
                    len(films.titles),
                    _objectives(*weights),
                    chosen.embedding,
                    shared=shared,
                )
                for training, until in ((stopped, ""), (replace(stopped, validation=None), ", last step")):
                    found[f"{whose}, {ratio}{until}"] = NamedContestant(
                        build, training, backward=summed, role="learner" if shared else "baseline"
                    )
        return {**found, "averages": NamedContestant(partial(Averages.of, films), role="baseline")}

    def answer(self, outcomes: Mapping[str, Outcome]) -> str | None:
        if len(outcomes) < len(self.contestants()):
            return None

        def against(first: str, second: str) -> str:
            each = (
                f"{test} {compare(outcomes[first].runs(test), outcomes[second].runs(test), metric)}"
                for test, metric in (("watch", "mrr"), ("rating", "mse"))
            )
            return "; ".join(each)

        ratios = list(_WEIGHTS)
        return " ".join(
            [
                *(
                    f"Shared against separate vectors, {ratio}, stopped early: "
                    f"{against(f'shared, {ratio}', f'separate, {ratio}')}."
                    for ratio in ratios
                ),
                *(
                    f"Stopping early against the last step, {whose}, {ratio}: "
                    f"{against(f'{whose}, {ratio}', f'{whose}, {ratio}, last step')}."
                    for whose in ("shared", "separate")
                    for ratio in ratios
                ),
                f"Shared, {ratios[0]} against averages: {against(f'shared, {ratios[0]}', 'averages')}.",
            ]
        )

    @property
    def _films(self) -> MovieLens:
        assert isinstance(self.tasks, MovieLens)
        return self.tasks


@register
class Averages(NamedModule):
    """Films by how often they were rated; stars by the mean, how a film differs from it, and how a user does.

    Differences are drawn to zero as by ten more ratings without any. Koren, "Factor in the Neighbors", ACM TKDD 2010,
    has these as baseline estimates.

    Args:
        users, items: how many there are.
    """

    often: Tensor
    film: Tensor
    user: Tensor
    mean: Tensor

    def __init__(self, users: int, items: int) -> None:
        super().__init__(_objectives(*_WEIGHTS["1 : 1"]))
        self.users, self.items = users, items
        self.heads = nn.Identity()
        for name, shape in (("often", items), ("film", items), ("user", users), ("mean", ())):
            self.register_buffer(name, torch.zeros(shape))

    @classmethod
    def of(cls, films: MovieLens) -> "Averages":
        """Those of the training ratings."""
        assert isinstance(films.train, RatedSplit)
        module = cls(len(films.ages), len(films.titles))
        user, item, rating = films.train.x["user"], films.train.x["item"], films.train.y["rating"]
        module.often += torch.bincount(item, minlength=module.items)
        module.mean += rating.mean()
        rest = rating - module.mean
        module.film += module.film.index_add(0, item, rest) / (module.often + _DAMPED)
        rest = rest - module.film[item]
        rated = torch.bincount(user, minlength=module.users)
        module.user += module.user.index_add(0, user, rest) / (rated + _DAMPED)
        return module

    @property
    def normalization(self) -> str:
        return "none"

    def raw(
        self, x: Tree, mask: Bool[Tensor, "row n"], tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        user, item, other = (x.get(field, x["item"]) for field in ("user", "item", "other"))
        stars = self.mean + self.film[item] + self.user[user]
        known = {"watch": [self.often[item], self.often[other]], "rating": [stars, stars]}
        return torch.cat([torch.stack(known[self.tasks[task]], -1)[[row]] for task, row in zip(tasks, of, strict=True)])

    def ranking(self, user: Tensor) -> Float[Tensor, "n item"]:
        """The same for all users."""
        return self.often.expand(len(user), -1)


def _objectives(watch: float, rating: float) -> dict[str, Objective]:
    return {"watch": Objective(BPR(), watch), "rating": Objective(Gaussian(), rating)}


@torch.no_grad()
def _mrr(films: MovieLens, module: Factorization | Averages) -> float:
    with evaluating(module):
        scores = module.ranking(torch.arange(len(films.ages)))
    return float(reciprocal_rank(scores, films.relevant["test"], ~films.before["test"]).nanmean())


def _mse(films: MovieLens, module: NamedModule) -> float:
    return module.scores(films.test)["rating"] ** 2
