"""Reports made again from disk, of one run and of several, and retraining on fewer tasks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from quickstudy.evaluation import Adaptation, compare, inspect_adaptation, load_scores
from quickstudy.learners import MAML, NearestNeighbour
from quickstudy.rebuild import load
from quickstudy.recipes import SinusoidMAML, report, run
from quickstudy.recipes.fewer_tasks import FewTasks, fewest_tasks, with_fewer_tasks
from quickstudy.recipes.recipe import Contestant, Training
from quickstudy.reporting import open_run
from quickstudy.tasks import Episodes, from_arrays, glyphs, sinusoids

from .brief import make_brief

pytestmark = pytest.mark.unchecked  # many small calls, which the checks of shapes would make twice as slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three short runs: of two seeds, of one with other settings, and of everyone on tasks with fewer shots."""
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        make_brief(patch)
        for name, settings, seeds, everyone in (
            ("a", {"steps": 4, "tasks": 4}, (0, 1), False),
            ("b", {"steps": 8, "tasks": 2}, (0,), False),
            ("other", {"steps": 2, "tasks": 2, "shots": 3}, (0,), True),
        ):
            recipe = SinusoidMAML(SinusoidMAML.Settings(**settings))
            command = f"quickstudy run {name}"
            run(recipe, place / name, seeds=seeds, everyone=everyone, device="cpu", command=command)
    return {name: place / name for name in ("a", "b", "other")}


def test_runs_on_the_same_tasks_are_paired(runs: dict[str, Path], tmp_path: Path) -> None:
    card = report([runs["a"], runs["b"]], tmp_path / "both.html")
    assert list(card["learners"]) == ["MAML (a)", "MAML (b)"]
    assert [(d["first"], d["second"]) for d in card["differences"]] == [("MAML (a)", "MAML (b)")] * 2
    ours = [load_scores(runs["a"] / f"seed{seed}" / "scores.safetensors")["10shot"] for seed in (0, 1)]
    theirs = load_scores(runs["b"] / "scores.safetensors")["10shot"]
    expected = compare(ours, theirs, "mse").value
    assert card["differences"][0]["mean"] == pytest.approx(expected.mean)
    assert card["differences"][0]["ci95"] == pytest.approx(expected.ci95)
    text = (tmp_path / "both.html").read_text()
    for part in ("quickstudy run a", "quickstudy run b", "MAML (a) minus …", '<section id="tasks">'):
        assert part in text
    assert list(card["adaptation"]["learners"]) == ["MAML (a)", "MAML (b)"]
    assert "What the inner loop of MAML (a), MAML (b) does" in text
    assert "Test task 0 of 10shot, step by step" in text


def test_how_a_run_adapts_is_kept(runs: dict[str, Path], tmp_path: Path) -> None:
    card = report([runs["other"]], tmp_path / "alone.html")
    assert card["adaptation"]["protocol"] == "3shot"
    assert list(card["adaptation"]["learners"]) == ["MAML"], "of the others, none has an inner loop"
    kept = runs["other"] / "maml" / "seed0" / "adaptation.json"
    assert json.loads(kept.read_text()) == card["adaptation"]["learners"]["MAML"]
    found = Adaptation.from_json(card["adaptation"]["learners"]["MAML"])
    learner = load(runs["other"] / "maml" / "seed0" / "learner")
    assert isinstance(learner, MAML)
    assert (found.tasks, found.steps) == (12, 5)
    again = inspect_adaptation(learner, sinusoids(3).test, tasks=12, device="cpu")
    for ours, theirs in zip(found.query["mse"], again.query["mse"], strict=True):
        assert ours.mean == pytest.approx(theirs.mean, rel=1e-4)
    # What is known is not computed again: a mark in the file comes through.
    marked = json.loads(kept.read_text()) | {"still": ["marked"]}
    before = kept.read_text()
    try:
        kept.write_text(json.dumps(marked))
        with pytest.MonkeyPatch.context() as patch:
            make_brief(patch)
            recipe = SinusoidMAML(SinusoidMAML.Settings(steps=2, tasks=2, shots=3))
            resumed = run(
                recipe, runs["other"], everyone=True, device="cpu", resume=True, command="quickstudy run other"
            )
    finally:
        kept.write_text(before)
    assert resumed["adaptation"]["learners"]["MAML"]["still"] == ["marked"]


def test_a_card_without_adaptation_has_no_such_section(runs: dict[str, Path], tmp_path: Path) -> None:
    path = runs["b"] / "result.json"
    before = path.read_text()
    try:
        card = json.loads(before)
        del card["adaptation"]
        path.write_text(json.dumps(card))
        report([runs["b"]], tmp_path / "old.html")
        report([runs["b"], runs["a"]], tmp_path / "mixed.html")
    finally:
        path.write_text(before)
    text = (tmp_path / "old.html").read_text()
    assert "How it adapts" not in text
    assert "step by step" not in text
    assert "What the inner loop of MAML (a) does" in (tmp_path / "mixed.html").read_text()


def test_runs_on_other_tasks_stand_side_by_side(runs: dict[str, Path], tmp_path: Path) -> None:
    card = report([runs["a"], runs["other"]], tmp_path / "mixed.html")
    assert {d["protocol"] for d in card["differences"]} == {"5shot"}, "both were also scored with 5 shots"
    text = (tmp_path / "mixed.html").read_text()
    assert "Only other was scored at 3shot." in text
    assert "Only a was scored at 10shot." in text
    assert "nearest neighbour (other)" in text
    assert "n/a" in text
    assert '<section id="tasks">' not in text, "there is no task that all were asked"


def test_runs_of_other_test_tasks_are_not_paired(runs: dict[str, Path], tmp_path: Path) -> None:
    longer = tmp_path / "longer"
    with pytest.MonkeyPatch.context() as patch:
        make_brief(patch, test_tasks=7)
        run(SinusoidMAML(SinusoidMAML.Settings(steps=1, tasks=2)), longer, device="cpu", command="quickstudy run c")
    card = report([runs["b"], longer], tmp_path / "unlike.html")
    assert card["differences"] == []
    text = (tmp_path / "unlike.html").read_text()
    assert "These runs cannot be paired" in text
    assert "cannot be paired: they were scored on different test tasks." in text


def test_a_report_without_its_data(runs: dict[str, Path], tmp_path: Path) -> None:
    """The recipe of a run may be of someone else's program, or its data be elsewhere: the rest is still shown."""
    config = runs["b"] / "config.json"
    before = config.read_text()
    try:
        config.write_text(json.dumps({**json.loads(before), "recipe": "theirs"}))
        report([runs["b"]], tmp_path / "again.html")
    finally:
        config.write_text(before)
    text = (tmp_path / "again.html").read_text()
    assert "The test tasks could not be drawn: there is no recipe &#39;theirs&#39;" in text
    assert '<section id="learning">' in text


def test_folders_without_a_run_are_named(runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.json").write_text("{}")
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "result.json").write_text('{"benchmark": "x"}')
    for folder, message in (
        ("nothing", "there is no folder .*nothing"),
        ("empty", "empty has no result.json: no run was written to it"),
        ("begun", "begun has no result.json: its run is not finished; go on with --resume"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            report([tmp_path / folder], tmp_path / "out.html")
    with pytest.raises(ValueError, match=r"result\.json is not the result of a recipe"):
        report([tmp_path / "bench"], tmp_path / "out.html")
    with pytest.raises(ValueError, match="give one or more different folders of runs"):
        report([runs["a"], runs["a"]], tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()
    scores = runs["b"] / "scores.safetensors"
    moved = scores.rename(tmp_path / "elsewhere")
    try:
        with pytest.raises(FileNotFoundError, match="has a result, but no scores of MAML"):
            open_run(runs["b"])
    finally:
        moved.rename(scores)


def test_fewer_tasks_are_trained_on_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_brief(monkeypatch)
    arguments = Training.arguments
    monkeypatch.setattr(Training, "arguments", lambda self: {**arguments(self), "validation": None})
    recipe = SinusoidMAML(SinusoidMAML.Settings(steps=3, tasks=25))
    plain = run(recipe, tmp_path / "run", device="cpu")
    assert {each["changes"] for each in plain["probes"]["learners"]["MAML"]} == {"queries", "support"}
    # A finished run can be given them later; what it has stays as it is.
    result = run(recipe, tmp_path / "run", device="cpu", resume=True, probes=True)
    assert result["metrics"] == plain["metrics"]
    *cheap, fewer = result["probes"]["learners"]["MAML"]
    assert cheap == plain["probes"]["learners"]["MAML"]
    assert (fewer["changes"], fewer["levels"]) == ("training tasks", [256.0, 64.0, 16.0])
    assert fewer["unit"] == "training tasks (of an endless stream, 256 stand for all)"
    assert fewer["values"][0]["mean"] == plain["metrics"]["10shot.mse"]["mean"]
    assert len({value["mean"] for value in fewer["values"]}) == 3
    assert "Fewer training tasks" in (tmp_path / "run" / "report.html").read_text()


def test_few_tasks_are_the_first_of_their_stream() -> None:
    split = sinusoids(4, queries=3).train
    few = FewTasks(split, 5)
    batch, known = few.draw(3, 9, seed=2), split.draw(0, 5, 2)
    for row, number in enumerate([3, 4, 0, 1, 2, 3, 4, 0, 1]):
        assert torch.equal(batch.query.x[row], known.query.x[number])
    assert not torch.equal(few.draw(0, 5, seed=3).query.x, known.query.x)
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        FewTasks(split, 0)


def test_fewer_classes_are_some_of_the_classes() -> None:
    train = glyphs().episodes(5, 1, 3).train
    assert isinstance(train, Episodes)
    fewer = train.with_classes(7)
    assert fewer.names == train.with_classes(7).names
    assert len(set(fewer.names)) == 7
    assert set(fewer.names) < set(train.names)
    known = {row for name, rows in zip(train.names, train.table, strict=True) if name in fewer.names for row in rows}
    plan = fewer.plan(0, 40, 0)
    assert set(plan.support.ravel()) | set(plan.query.ravel()) <= known
    assert len(np.unique(plan.classes)) == 7
    # Support and query of a class still come from different groups.
    batch = fewer.draw(0, 2, 0)
    assert batch.support.x.shape[:2] == (2, 5)
    for count in (4, len(train.names) + 1):
        with pytest.raises(ValueError, match=rf"count must be between 5 \(ways\) and .* got {count}"):
            train.with_classes(count)


def test_shares_of_what_there_is() -> None:
    def contestant(tasks: object) -> Contestant:
        return Contestant(lambda: None, Training(tasks, 1, 1))  # type: ignore[arg-type, return-value]

    def fewer(tasks: object, share: float) -> object:
        training = with_fewer_tasks(contestant(tasks), share).training
        assert training is not None
        assert training.steps == 1
        return training.tasks

    letters = glyphs().episodes(5, 1, 3).train
    assert len(fewer(letters, 1 / 4).names) == round(len(letters.names) / 4)  # type: ignore[attr-defined]
    assert len(fewer(letters, 1e-6).names) == 5  # type: ignore[attr-defined]
    finite = from_arrays([(np.random.default_rng(i).normal(size=(6, 2)), np.arange(6) % 2) for i in range(50)]).train
    assert fewer(finite, 1 / 4).limit == round(finite.size / 4)  # type: ignore[attr-defined, operator]
    assert fewer(sinusoids(3).train, 1 / 16).limit == 16  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="share must be above 0 and at most 1, got 0"):
        with_fewer_tasks(contestant(letters), 0)
    with pytest.raises(ValueError, match="learns nothing across tasks"):
        with_fewer_tasks(Contestant(lambda: None), 0.5)  # type: ignore[arg-type, return-value]


def test_pre_training_on_all_classes_has_no_tasks_to_leave_out() -> None:
    training = Training(glyphs().all_classes(20), 1, 1)
    with pytest.raises(ValueError, match="plain is trained on all classes at once, not on tasks"):
        fewest_tasks({"plain": Contestant(NearestNeighbour, training)})
    with pytest.raises(ValueError, match="no learner of this recipe is trained across tasks"):
        fewest_tasks({"nearest": Contestant(NearestNeighbour, role="baseline")})
