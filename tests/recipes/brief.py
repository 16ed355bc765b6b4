"""Runs of recipes that are over soon."""

from functools import wraps
from typing import Any

import pytest

from quickstudy.learners import Baseline, FineTuning, FromScratch
from quickstudy.recipes import Recipe, recipes
from quickstudy.recipes.recipe import Training

__all__ = ["make_brief"]


def make_brief(patch: pytest.MonkeyPatch, test_tasks: int = 12) -> None:
    """Few test and validation tasks, and few steps in each of them, show as well that everything is wired."""
    for recipe in (Recipe, *(cls for cls in recipes().values() if "test_tasks" in vars(cls))):
        patch.setattr(recipe, "test_tasks", min(recipe.test_tasks, test_tasks))
    arguments = Training.arguments
    patch.setattr(Training, "arguments", lambda self: {**arguments(self), "validation_size": 8})
    for cls in (Baseline, FineTuning, FromScratch):
        patch.setattr(cls, "__init__", _with_few_steps(cls.__init__))


def _with_few_steps(init: Any) -> Any:
    @wraps(init)
    def brief(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self.steps = min(self.steps, 5)

    return brief
