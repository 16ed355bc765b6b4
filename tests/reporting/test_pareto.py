"""The plane of two tasks: who is on the front, worked out by hand, and names that cover nothing."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from quickstudy.reporting.labels import label_points
from quickstudy.reporting.pareto import pareto_panels, undominated

RESULTS = Path(__file__).parents[2] / "results"


def made(
    scores: dict[str, tuple[float | None, float]], metrics: tuple[str, str] = ("auc", "auc"), half: float | None = 0.1
) -> dict[str, Any]:
    """A card of two tasks, `a` and `b`."""

    def value(mean: float) -> dict[str, Any]:
        return {"mean": mean, "ci95": half, "tasks": 1, "seeds": 1 if half is None else 5}

    protocol = {task: {"what": "one task", "metric": by, "tasks": 1} for task, by in zip("ab", metrics, strict=True)}
    return {
        "recipe": "two",
        "protocol": {"all": {"tasks": 2}, **protocol},
        "metrics": {},
        "learners": {
            name: {
                "role": "learner",
                "seconds": [1.0],
                "metrics": {
                    f"{task}.{by}": value(mean)
                    for task, by, mean in zip("ab", metrics, means, strict=True)
                    if mean is not None
                },
            }
            for name, means in scores.items()
        },
    }


def drawn(card: dict[str, Any]) -> list[Any]:
    return pareto_panels(card, {name: number for number, name in enumerate(card["learners"])})


def where(panel: Any) -> list[float]:
    """The numbers at the ticks of x, from left to right, as far as they are written."""
    return [float(text.replace("−", "-")) for text in re.findall(r"<text[^>]*>([−\d.]+)</text>", panel.svg)]


def test_the_front_is_that_of_the_definition() -> None:
    values = np.random.default_rng(0).normal(size=(60, 2)).round(1)  # so that there are ties
    values[3] = values[4]
    slow = [
        not any(all(other >= mine) and any(other > mine) for other in values)  # a point by every other
        for mine in values
    ]
    np.testing.assert_array_equal(undominated(values), slow)
    assert undominated(np.array([[1.0, 2.0]])).tolist() == [True]
    assert undominated(np.ones((3, 2))).tolist() == [True] * 3


def test_who_is_beaten_by_no_one_is_named_and_joined() -> None:
    (panel,) = drawn(made({"one": (0.9, 0.5), "two": (0.5, 0.9), "three": (0.7, 0.8), "four": (0.6, 0.7)}))
    assert panel.title == "a against b"
    assert "beaten by no one in both tasks: one, two, three (dotted line)" in panel.caption
    assert "one: a 0.9, b 0.5; two: a 0.5, b 0.9; three: a 0.7, b 0.8; four: a 0.6, b 0.7." in panel.svg
    assert "crosses are 95% intervals" in panel.caption
    for name in ("one", "two", "three", "four", "a: auc", "b: auc"):
        assert f">{name}</text>" in panel.svg
    ticks = where(panel)
    assert ticks[0] < ticks[1]


def test_up_and_right_is_better_whatever_the_metric() -> None:
    (panel,) = drawn(made({"good": (1.0, 0.9), "bad": (2.0, 0.8)}, ("rmse", "accuracy")))
    assert "by the means, good is beaten by no one in either task" in panel.caption
    assert ">a: rmse, less is better</text>" in panel.svg
    assert ">b: accuracy, %</text>" in panel.svg
    assert "good: a 1, b 90; bad: a 2, b 80." in panel.svg
    places = [float(x) for x in re.findall(r'<use [^>]*x="([\d.]+)"[^>]*style="fill: var\(--series', panel.svg)]
    assert places[0] > places[1]  # the smaller error stands to the right
    (both,) = drawn(made({"good": (1.0, 1.0), "bad": (2.0, 2.0)}, ("rmse", "mse")))
    assert "good is beaten by no one in either task" in both.caption


def test_one_run_has_no_crosses_and_what_is_not_known_is_left_out() -> None:
    (panel,) = drawn(made({"one": (0.9, 0.5), "two": (0.5, 0.9), "lost": (float("nan"), 0.9)}, half=None))
    assert "95%" not in panel.caption
    assert "lost" not in panel.svg
    (panel,) = drawn(made({"one": (0.9, 0.5), "two": (0.5, 0.9), "absent": (None, 0.9)}))
    assert "absent" not in panel.svg
    (same,) = drawn(made({"one": (0.9, 0.5), "two": (0.9, 0.5)}, half=None))
    assert "beaten by no one in both tasks: one, two" in same.caption


def test_of_other_cards_there_is_no_plane() -> None:
    card = made({"one": (0.9, 0.5), "two": (0.5, 0.9)})
    assert not drawn({**card, "axis": "p"})
    assert not drawn({**card, "learners": {"one": card["learners"]["one"]}})
    assert not drawn({**card, "protocol": {**card["protocol"], "c": {"tasks": 1, "metric": "auc"}}})
    assert not drawn({**card, "protocol": {"a": card["protocol"]["a"]}})
    episodes = {name: {"tasks": 600} for name in ("5way1shot", "5way5shot")}
    assert not drawn({**card, "protocol": episodes})


@pytest.mark.parametrize("recipe", ["multimnist-balancing", "census-experts"])
def test_finished_runs_have_it(recipe: str) -> None:
    (panel,) = drawn(json.loads((RESULTS / f"{recipe}.json").read_text()))
    assert panel.title in ("left against right", "income against marital")


@pytest.mark.parametrize("spread", [0.3, 0.05, 0.01])
def test_names_cover_neither_each_other_nor_a_point(spread: float) -> None:
    """Fourteen points, most of them in a crowd; sizes are matplotlib's own, of the text as it is drawn."""
    generator = np.random.default_rng(3)
    places = np.concatenate([[[0.0, 0.0], [1.0, 1.0]], 0.4 + spread * generator.normal(size=(12, 2))])
    figure = Figure(figsize=(330 / 72, 330 / 72), layout="constrained")
    axes = figure.subplots()
    axes.plot(*places.T, "o")
    names = [f"contestant {number}" for number in range(14)]
    label_points(axes, places, names)
    figure.draw_without_rendering()
    texts = [text for text in axes.texts if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    assert [text.get_text() for text in texts] == names
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
        assert figure.bbox.containsx(box.x0)
        assert figure.bbox.containsx(box.x1)
        if spread > 0.01:  # in such a crowd there are places without one, and names are near
            assert not any(box.contains(*point) for point in axes.transData.transform(places))
