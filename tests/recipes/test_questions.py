"""Every question: what is trained on, what is asked, and the words in which what came out is said."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from quickstudy.evaluation import Scores
from quickstudy.recipes import QuestionLongTail, QuestionOrder, Recipe, recipes
from quickstudy.reporting import Outcome

pytestmark = pytest.mark.skipif(
    not (Path(os.environ.get("QUICKSTUDY_DATA", "")) / "omniglot").exists(),
    reason="QUICKSTUDY_DATA has no omniglot, on which these recipes run",
)

QUESTIONS = {name: cls for name, cls in recipes().items() if name.startswith("question-") and cls.metric == "accuracy"}


def outcomes(recipe: Recipe, accuracies: list[float]) -> dict[str, Outcome]:
    """Scores as if the contestants, in their order, had these accuracies on every test."""
    noise = np.random.default_rng(0).normal(0, 0.02, 50)
    made = {}
    for number, (name, contestant) in enumerate(recipe.contestants().items()):
        value = accuracies[number % len(accuracies)]
        scores = {test: Scores({"accuracy": value + noise}) for test in recipe.tests()}
        made[name] = Outcome(contestant.role, [scores] * 2, [1.0] * 2, series=contestant.series, at=contestant.at)
    return made


@pytest.mark.parametrize("name", QUESTIONS)
def test_everyone_can_be_built_and_sees_as_many_drawings(name: str) -> None:
    recipe = QUESTIONS[name]()
    shown = set()
    for contestant in recipe.contestants().values():
        learner = contestant.build()
        assert contestant.role in ("learner", "transfer", "baseline")
        if contestant.training is not None:
            batch = contestant.training.tasks.draw(0, contestant.training.batch_size, 0)
            assert learner(batch).shape == (contestant.training.batch_size,)
            shown.add(int(batch.support.mask.sum() + batch.query.mask.sum()))
    if name in ("question-classes", "question-savings", "question-order", "question-hand-made"):
        assert shown == {180}
    else:  # episodes of unequal shots come near it
        assert all(90 <= drawings <= 320 for drawings in shown)


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_answer_names_what_was_found(name: str) -> None:
    recipe = QUESTIONS[name]()
    rising = recipe.answer(outcomes(recipe, [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95]))
    assert rising
    assert re.search(r"\d\d\.\d ± \d", rising) or "accuracy" in rising
    falling = recipe.answer(outcomes(recipe, [0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5]))
    assert falling
    assert rising != falling


def test_a_trend_says_where_it_is_not_shown() -> None:
    recipe = QUESTIONS["question-classes"]()
    said = recipe.answer(outcomes(recipe, [0.5, 0.6, 0.6, 0.7, 0.8, 0.85, 0.9]))
    assert "grows from 50.3 ± 0.5%" in said
    assert "not shown from 100 to 200" in said
    falling = recipe.answer(outcomes(recipe, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]))
    assert "falls from" in falling
    assert "every step is shown" in falling
    assert "does not change" in recipe.answer(outcomes(recipe, [0.5]))


def test_held_out_drawings_are_not_trained_on() -> None:
    recipe = QuestionLongTail()
    trained = {
        row
        for contestant in recipe.contestants().values()
        for row in contestant.training.tasks.table[contestant.training.tasks.table >= 0].tolist()
    }
    for name, source in recipe.tests().items():
        asked = set(source.test.table[source.test.table >= 0].tolist())
        assert asked
        assert not asked & trained, name


def test_the_groups_of_the_long_tail_are_told_by_their_training_examples() -> None:
    recipe = QuestionLongTail()
    split = next(iter(recipe.contestants().values())).training.tasks
    sizes = dict(zip(split.names, (split.table >= 0).sum(1), strict=True))
    for group, (least, most) in {"head": (10, 12), "medium": (4, 9), "tail": (2, 3)}.items():
        names = recipe.tests()[group].test.names
        assert len(names) >= 20
        assert all(least <= sizes[name] <= most for name in names)


def test_joint_training_sees_the_targets_training_drawings_and_no_others() -> None:
    recipe = QuestionOrder()
    everyone, pool = recipe.contestants(), recipe._pool
    letters = pool.table[pool.parts["test"]]
    told, asked = set(letters[:, :5].ravel().tolist()), set(letters[:, 5:].ravel().tolist())
    jointly, apart = (
        set(everyone[name].training.tasks.table.ravel().tolist())
        for name in ("simultaneous, frozen", "sequential, frozen")
    )
    assert told < jointly
    assert not asked & jointly
    assert not (told | asked) & apart
    task = recipe.tests()["alphabets"].test.draw(0, 2, 0)
    task.check_values()
    assert int(task.support.mask[0].sum()) == 5 * int(task.classes[0].sum())
