"""Figures of an inner loop show its numbers, for one learner and for several, and can be kept as files."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from quickstudy.evaluation import Adaptation, Interval, inspect_adaptation
from quickstudy.learners import ANIL, CAVIA, MAML
from quickstudy.networks import MLP
from quickstudy.reporting import Panel, adaptation_panels, draw_gradients, draw_layer_steps, draw_layers, draw_steps
from quickstudy.tasks import Gaussian, sinusoids


@pytest.fixture(scope="module")
def found() -> dict[str, Adaptation]:
    learners = {
        "MAML": MAML(MLP(1, (8, 8)), Gaussian(), 3, 0.05),
        "ANIL & co": ANIL(MLP(1, (8, 8)), Gaussian(), 3, 0.05),
        "CAVIA": CAVIA(MLP(4, (8,)), Gaussian(), 3, inner_steps=2, inner_rate=0.5),
    }
    split = sinusoids(6, queries=9).test
    return {name: inspect_adaptation(each, split, tasks=5, device="cpu") for name, each in learners.items()}


def words(panel: Panel) -> list[str]:
    """Everything that is written in a figure."""
    root = ET.fromstring(f'<svg xmlns:x="x">{panel.svg}</svg>')
    return [" ".join("".join(text.itertext()).split()) for text in root.iter("text")]


def drawn(panel: Panel, number: int) -> int:
    """How many lines, areas and markers are in the colour of a learner."""
    return len(re.findall(rf"(?:stroke|fill): var\(--series-{number}\)", panel.svg))


def test_numbers_are_those_that_were_found(found: dict[str, Adaptation]) -> None:
    one = found["MAML"]
    written = words(draw_layers(one))
    for layer, course in one.changes.items():
        assert layer.removeprefix("network.") in written
        assert f"{course[-1].mean:.2g}" in written
    cells = words(draw_layer_steps(one))
    for course in one.changes.values():
        for step in (1, 2, 3):
            assert f"{course[step].mean:.2g}" in cells
    begin, *_, end = one.query["mse"]
    assert f"from {begin.mean:.3g} to {end.mean:.3g} in 3 steps" in draw_steps(one, "mse").svg
    assert f"from {one.gradient[0].mean:.3g} to {one.gradient[-1].mean:.3g}" in draw_gradients(one).svg


def test_several_learners_are_told_apart(found: dict[str, Adaptation]) -> None:
    for panel in adaptation_panels(found):
        for number in range(3):
            assert drawn(panel, number), f"{panel.title}, learner {number}"
        assert not drawn(panel, 3)
    assert {"MAML, query", "ANIL & co, support"} <= set(words(draw_steps(found)))
    assert set(found) <= set(words(draw_gradients(found))) & set(words(draw_layers(found)))
    chosen = draw_gradients(found, {"MAML": 5, "ANIL & co": 6, "CAVIA": 7})
    assert [bool(drawn(chosen, number)) for number in (0, 1, 2, 5, 6, 7)] == [False] * 3 + [True] * 3


def test_what_does_not_move_is_said(found: dict[str, Adaptation]) -> None:
    assert "Hollow" not in draw_layers(found["MAML"]).caption
    alone = draw_layers(found["ANIL & co"])
    assert "Hollow: does not adapt." in alone.caption
    assert {"layers.0", "layers.1", "head"} <= set(words(alone))
    assert "layers.0" not in words(draw_layer_steps(found["ANIL & co"]))
    for panel in (draw_layers(found), draw_layer_steps(found)):
        assert "context: begins at zero, so ‖φ − θ‖." in panel.caption


def flat(layers: int, steps: int, tasks: int = 3) -> Adaptation:
    """A made-up adaptation, whose layer i moves by i in every step."""

    def course(slope: float) -> tuple[Interval, ...]:
        return tuple(Interval(slope * step, 0.1 if tasks > 1 else float("nan"), tasks) for step in range(steps + 1))

    changes = {f"network.blocks.of.a.very.long.name.{i}": course(float(i)) for i in range(layers)}
    return Adaptation({}, {"nll": course(-0.1), "mse": course(1.0)}, course(1.0), changes, changes)


def test_many_layers_and_steps_are_thinned_out() -> None:
    many = flat(60, 100)
    for panel in (draw_layers(many), draw_layer_steps(many)):
        names = [word for word in words(panel) if word.startswith("…")]
        assert len(names) == 24
        assert names[0].endswith(".36")
        assert max(map(len, names)) == 24
        assert "The 24 of 60 layers that move most." in panel.caption
    steps = [word for word in words(draw_layer_steps(many)) if word in map(str, range(101))]
    assert steps[:6] == ["1", "21", "41", "60", "80", "100"]


@pytest.mark.parametrize("made", [flat(2, 0), flat(1, 3, tasks=1)], ids=["no steps", "one task"])
def test_what_there_is_little_of_can_be_drawn(made: Adaptation) -> None:
    panels = adaptation_panels({"a": made})
    assert len(panels) == 5
    for panel in panels:
        assert "nan" not in panel.svg.lower().replace("dominant", "")


def test_figures_are_files(found: dict[str, Adaptation], tmp_path: Path) -> None:
    for number, panel in enumerate(adaptation_panels(found)):
        as_text = panel.save(str(tmp_path / f"{number}.svg"))
        as_path = panel.save(tmp_path / "folder" / str(number))
        assert (as_text, as_path) == (tmp_path / f"{number}.svg", tmp_path / "folder" / f"{number}.svg")
        assert as_text.read_bytes() == as_path.read_bytes()
        root = ET.parse(as_text).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.find("{http://www.w3.org/2000/svg}title").text == panel.title  # type: ignore[union-attr]
        text = as_text.read_text(encoding="utf-8")
        assert "prefers-color-scheme: dark" in text
        # Every colour that is used is one that is set, in the file itself.
        assert set(re.findall(r"var\((--[a-z0-9-]+)\)", text)) <= set(re.findall(r"(--[a-z0-9-]+):", text))
        assert 'href="http' not in text
    with pytest.raises(ValueError, match=r"path must end in \.svg, which is what is written, got '.*x\.png'"):
        panel.save(tmp_path / "x.png")


def test_what_is_wrong_is_named(found: dict[str, Adaptation]) -> None:
    with pytest.raises(ValueError, match="metric must be one of mse, nll, got 'accuracy'"):
        draw_steps(found, "accuracy")
    with pytest.raises(ValueError, match="found is empty"):
        draw_layers({})
