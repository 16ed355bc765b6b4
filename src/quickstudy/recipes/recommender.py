"""A ranker on logged interactions whose truth is known: what experts bring, and what a tower for places brings."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from quickstudy.evaluation import compare, ndcg
from quickstudy.multitask import (
    Interactions,
    MultiGateMixture,
    MultiObjectiveRanker,
    NamedModule,
    Objective,
    SeparateNetworks,
    SharedBottom,
    combined_score,
    logged_interactions,
)
from quickstudy.networks import EmbeddedFields, evaluating
from quickstudy.recipes.named_recipe import NamedContestant, NamedRecipe, NamedTest, summed
from quickstudy.recipes.recipe import Contestant, Training, option, recipe
from quickstudy.reporting import Outcome
from quickstudy.tasks import Bernoulli, Gaussian

__all__ = ["Recommender"]

_PLACES = 10
_TOP = 10
_WIDTH = 32


@recipe
class Recommender(NamedRecipe):
    """Everyone trains on the same log, which lists of promoted items have bent, with the same steps and rate of Adam.

    `click`, `engaged` and `satisfaction` are scored on the latest fifth of the log, as a service could. `wanted` and
    `interest` are what it could not: the items of every user, ranked by the predicted log odds of a click without a
    place, against the true attraction. `enjoyed` ranks by the product of what is predicted for click and engaged,
    against the true probability of both. On the log, who takes places for interest is not punished: its test lists are
    made by the same policy.
    """

    name = "recommender"
    claim = "Shared experts predict better than separate networks, and a tower for places finds what users want."
    metric = "ndcg"

    @dataclass(frozen=True)
    class Settings:
        """Options of the recipe."""

        steps: int = option(1000, "training steps")
        batch_size: int = option(512, "impressions a step")
        rate: float = option(1e-2, "highest learning rate")
        users: int = option(100, "users")
        items: int = option(60, "items")
        sessions: int = option(12_000, "lists that were shown, ten items each")
        click_weight: float = option(3.0, "weight of the loss of clicks; that of the others is 1")

    def data(self) -> Interactions:
        chosen = self.settings
        return logged_interactions(chosen.users, chosen.items, chosen.sessions, _PLACES)

    def objectives(self) -> dict[str, Objective]:
        return {
            "click": Objective(Bernoulli(), self.settings.click_weight, "auc"),
            "engaged": Objective(Bernoulli(), metric="auc"),
            "satisfaction": Objective(Gaussian()),
        }

    def tests(self) -> dict[str, NamedTest]:  # type: ignore[override]
        log = self.tasks
        assert isinstance(log, Interactions)

        def truth(metric: str, what: str, score: Any) -> NamedTest:
            about = {
                "what": what,
                "metric": metric,
                "users": len(log.attraction),
                "items": len(log.features),
                "tasks": 1,
            }
            return NamedTest(log.test, metric, ("click",), True, about, score)

        return {
            "wanted": truth("ndcg", f"the best {_TOP} by true attraction", partial(_wanted, log)),
            "enjoyed": truth("ndcg", f"the best {_TOP} by true P(click and engaged)", partial(_enjoyed, log)),
            "interest": truth("correlation", "log odds of attraction, within users", partial(_interest, log)),
            **super().tests(),
        }

    def contestants(self) -> dict[str, Contestant]:
        chosen, data, known = self.settings, self.tasks, self.objectives()
        training = Training(
            data.train,
            chosen.steps,
            chosen.batch_size,
            chosen.rate,
            validation=data.validation,
            validation_size=min(4096, data.validation.size or 4096),
            validations=8,
        )

        def network(*hidden: int) -> EmbeddedFields:
            categories = {"user": chosen.users, "item": chosen.items}
            return EmbeddedFields(categories, 8, {"features": 4}, products=True, hidden=hidden)

        return {
            "MMoE and tower": NamedContestant(
                lambda: MultiObjectiveRanker(
                    network(), known, {"position": _PLACES}, ["click"], experts=4, hidden=(_WIDTH,)
                ),
                training,
                backward=summed,
            ),
            "MMoE": NamedContestant(
                lambda: MultiGateMixture(network(), known, 4, (_WIDTH,)), training, backward=summed
            ),
            "shared bottom": NamedContestant(lambda: SharedBottom(network(_WIDTH), known), training, backward=summed),
            "separate networks": NamedContestant(
                lambda: SeparateNetworks(network(_WIDTH), known), training, backward=summed, role="baseline"
            ),
        }

    def answer(self, outcomes: Mapping[str, Outcome]) -> str | None:
        if not {"MMoE and tower", "MMoE", "separate networks"} <= set(outcomes):
            return None

        def against(first: str, second: str, protocol: str, metric: str) -> str:
            return str(compare(outcomes[first].runs(protocol), outcomes[second].runs(protocol), metric))

        tower = [
            f"{protocol}, {metric}: {against('MMoE and tower', 'MMoE', protocol, metric)}"
            for protocol, metric in (("wanted", "ndcg"), ("interest", "correlation"), ("click", "auc"))
        ]
        experts = [
            f"{task}, {metric}: {against('MMoE', 'separate networks', task, metric)}"
            for task, metric in (("click", "auc"), ("engaged", "auc"), ("satisfaction", "rmse"))
        ]
        return (
            f"MMoE with the tower minus MMoE: {'; '.join(tower)}. MMoE minus separate networks: {'; '.join(experts)}."
        )


def _predicted(log: Interactions, module: NamedModule) -> Float[Tensor, "user item"]:
    """Log odds of a click of every user on every item."""
    with evaluating(module), torch.no_grad():
        odds = module.predict("click", log.everything()).logits  # type: ignore[attr-defined]
    return odds.reshape(log.attraction.shape)


def _wanted(log: Interactions, module: NamedModule) -> float:
    return float(ndcg(_predicted(log, module), log.attraction, _TOP).mean())


def _enjoyed(log: Interactions, module: NamedModule) -> float:
    score = combined_score(module, log.everything(), {"click": 1.0, "engaged": 1.0}, "product")
    return float(ndcg(score.reshape(log.attraction.shape), log.attraction * log.engagement, _TOP).mean())


def _interest(log: Interactions, module: NamedModule) -> float:
    guess, truth = _predicted(log, module), torch.logit(log.attraction)
    guess, truth = (each - each.mean(1, keepdim=True) for each in (guess, truth))
    return float(F.cosine_similarity(guess, truth, 1).mean())
