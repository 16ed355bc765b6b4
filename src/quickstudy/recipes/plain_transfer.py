"""The plain baselines of every comparison: pre-train on all training classes, then a new head for each task."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from quickstudy.learners import (
    Baseline,
    BaselinePlusPlus,
    LogisticRegression,
    Pretrained,
    RidgeRegression,
    SimpleShot,
)
from quickstudy.networks import Network
from quickstudy.recipes.recipe import Contestant, Training
from quickstudy.tasks import Categorical

__all__ = ["plain_transfer"]


def plain_transfer(
    network: Callable[[], Network], training: Training, batch_size: int = 32, cosine_rate: float | None = None
) -> dict[str, Contestant]:
    """Two pre-trainings, with a linear and with a cosine head, and the other heads on the features of the first.

    Args:
        network: makes the feature extractor.
        training: on `ClassPool.all_classes`.
        batch_size: tasks at a time when they are scored.
        cosine_rate: the learning rate of Baseline++, whose pre-training differs; that of `training` by default.
    """
    cosine = replace(training, rate=cosine_rate or training.rate)
    known = Categorical(training.tasks.ways)

    def contestant(cls: type[Pretrained], trained: Training | None = None) -> Contestant:
        like = None if trained else "baseline"
        return Contestant(partial(_built, cls, network, known), trained, batch_size, role="transfer", like=like)

    return {
        "baseline": contestant(Baseline, training),
        "baseline++": contestant(BaselinePlusPlus, cosine),
        "logistic regression": contestant(LogisticRegression),
        "ridge regression": contestant(RidgeRegression),
        "SimpleShot": contestant(SimpleShot),
    }


def _built(cls: type[Pretrained], network: Callable[[], Network], known: Categorical) -> Pretrained:
    return cls(network(), known)
