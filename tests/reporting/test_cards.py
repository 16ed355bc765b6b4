import json
from pathlib import Path

import numpy as np
import pytest

from quickstudy.evaluation import Scores
from quickstudy.reporting import Outcome, card, machine, read_card, tables, verdict, write_card
from quickstudy.reporting.plots import _mean


def outcome(role: str, means: list[float], spread: float = 0.1, metric: str = "accuracy") -> Outcome:
    """Runs with the given mean accuracies on 200 tasks that are hard or easy for everyone alike."""
    difficulty = np.random.default_rng(0).normal(0, spread, 200)
    runs = []
    for seed, mean in enumerate(means):
        own = np.random.default_rng([seed, len(role)]).normal(0, 0.01, 200)
        runs.append({"5way1shot": Scores({metric: mean + difficulty + own, "nll": 1 - mean - difficulty})})
    training = {"steps": 10} if role == "learner" else None
    return Outcome(role, runs, [1.5] * len(means), training, "layer")


def make(**outcomes: Outcome) -> dict:
    return card(
        "demo",
        "It works.",
        "quickstudy compare demo",
        [0, 1, 2],
        {"steps": 10},
        {"data": "glyphs"},
        outcomes,
        "accuracy",
        machine(),
    )


def test_a_card_has_what_a_reader_needs(tmp_path: Path) -> None:
    result = make(ours=outcome("learner", [0.8, 0.81, 0.82]), near=outcome("baseline", [0.5]))
    write_card(result, tmp_path / "result.json")
    assert read_card(tmp_path / "result.json") == json.loads(json.dumps(result))
    for key in ("recipe", "claim", "command", "seeds", "config", "protocol", "steps", "seconds", "machine", "metrics"):
        assert key in result
    value = result["metrics"]["5way1shot.accuracy"]
    assert value["mean"] == pytest.approx(0.81, abs=0.02)
    assert (value["tasks"], value["seeds"]) == (200, 3)
    assert result["learners"]["near"]["metrics"]["5way1shot.accuracy"]["seeds"] == 1
    assert result["seconds"] == 6.0


def test_verdicts() -> None:
    near = outcome("baseline", [0.5])
    helps = verdict({"ours": outcome("learner", [0.8]), "near": near}, "5way1shot", "accuracy")
    assert helps.startswith("Learning across tasks helps: at 5way1shot, ours against the best baseline, near: better")
    hurts = verdict({"ours": outcome("learner", [0.3]), "near": near}, "5way1shot", "accuracy")
    assert hurts.startswith("Learning across tasks does not help here")
    same = verdict({"ours": outcome("learner", [0.5]), "near": near}, "5way1shot", "accuracy")
    assert same.startswith("No difference is shown")
    picked = verdict(
        {"ours": outcome("learner", [0.6]), "near": near, "pool": outcome("baseline", [0.7])}, "5way1shot", "accuracy"
    )
    assert "pool: worse" in picked
    assert verdict({"ours": outcome("learner", [0.6])}, "5way1shot", "accuracy") == "There is nothing to compare."


def test_the_optimum_is_no_baseline() -> None:
    result = make(ours=outcome("learner", [0.8]), near=outcome("baseline", [0.5]), oracle=outcome("optimum", [1.0]))
    assert {d["second"] for d in result["differences"]} == {"near"}
    assert "near" in result["verdict"]


def test_tables_show_every_learner() -> None:
    scores, differences = tables(make(ours=outcome("learner", [0.8]), near=outcome("baseline", [0.5])))
    assert scores["head"] == ["", "accuracy", "nll", "training seconds"]
    assert [row[0] for row in scores["rows"]] == ["ours", "near"]
    assert scores["rows"][0][1].startswith("80.")
    assert differences["rows"][0][1] == "ours − near"
    single = tables(make(ours=outcome("learner", [0.8])))
    assert len(single) == 1
    assert single[0]["rows"][0][0] == "ours"


def test_machine_is_described() -> None:
    described = machine()
    assert described["cores"] >= 1
    assert described["torch"][0].isdigit()


def test_no_card(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no result at"):
        read_card(tmp_path / "result.json")


def test_calibration_and_probes_are_those_of_the_first_protocol() -> None:
    from .pages import result

    made, outcomes = result()
    assert made["calibration"]["protocol"] == made["probes"]["protocol"] == "3way2shot"
    bins = outcomes["prototypical"].runs("3way2shot")
    points = made["calibration"]["learners"]["prototypical"]
    assert sum(point["count"] for point in points) == sum(int(run.bins[..., 0].sum()) for run in bins)  # type: ignore[index]
    names = [each["name"] for each in made["probes"]["learners"]["prototypical"]]
    assert names == ["rotation", "noise", "occlusion", "fewer examples", "fewer training tasks"]
    assert made["metric"] == "accuracy"
    bare = make(ours=outcome("learner", [0.8], metric="mse"))
    assert "calibration" not in bare
    assert "probes" not in bare
    assert bare["learner"] == "ours"


def test_the_best_is_marked_but_never_the_optimum() -> None:
    scores = tables(
        make(ours=outcome("learner", [0.8]), near=outcome("baseline", [0.9]), best=outcome("optimum", [1.0]))
    )
    assert scores[0]["best"] == [None, 1, 1, None]
    assert scores[0]["roles"] == ["learner", "baseline", "optimum"]
    assert tables(make(ours=outcome("learner", [0.8])))[0]["best"] == [None, None, None, None]


def test_the_mean_curve_of_runs_that_were_logged_at_different_steps() -> None:
    one, two = np.array([[2.0, 4.0], [4.0, 2.0], [6.0, 1.0]]), np.array([[3.0, 1.0], [5.0, 3.0]])
    steps, mean = _mean([one, two])
    assert steps.tolist() == [3, 4, 5]
    assert mean.tolist() == [2.0, 2.0, 2.25]
    apart = np.array([[9.0, 1.0]])
    assert _mean([one, apart])[0].tolist() == [2, 4, 6]  # nothing in common: the longer one
    assert [part.tolist() for part in _mean([one])] == [[2, 4, 6], [4, 2, 1]]
