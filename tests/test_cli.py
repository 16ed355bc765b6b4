import json
import sys
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

import quickstudy as qs
from quickstudy import __version__, cli
from quickstudy.recipes import recipes
from recipes.brief import make_brief

pytestmark = pytest.mark.unchecked  # many small calls, which the checks of shapes would make twice as slow


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quickstudy", *arguments])
    monkeypatch.setattr(cli, "reuse_memory", lambda: True)  # a setting of the whole process
    make_brief(monkeypatch, test_tasks=6)
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_list_names_recipes_and_learners(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert call(monkeypatch, "list") == 0
    out = capsys.readouterr().out
    for name in (*recipes(), "PrototypicalNetwork", "MAML", "FromScratch"):
        assert name in out


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.strip() == __version__


def test_run_writes_and_says_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    arguments = [
        "run",
        "sinusoid-maml",
        "--steps",
        "2",
        "--tasks",
        "2",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "r"),
    ]
    assert call(monkeypatch, *arguments) == 0
    assert "report.html" in capsys.readouterr().out
    result = json.loads((tmp_path / "r" / "result.json").read_text())
    assert result["command"] == "quickstudy " + " ".join(arguments)
    assert result["config"]["steps"] == 2
    assert call(monkeypatch, *arguments) == 2
    assert "pass --resume" in capsys.readouterr().err
    assert call(monkeypatch, *arguments, "--resume") == 0


def test_reports_are_made_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    for name, steps in (("a", "1"), ("b", "2")):
        short = ["run", "sinusoid-maml", "--steps", steps, "--tasks", "2", "--device", "cpu"]
        assert call(monkeypatch, *short, "--out", str(tmp_path / name)) == 0
    page = tmp_path / "a" / "report.html"
    before = page.read_text()
    page.unlink()
    capsys.readouterr()
    assert call(monkeypatch, "report", str(tmp_path / "a")) == 0
    assert capsys.readouterr().out.split() == ["report:", str(page)]
    assert page.read_text() == before
    both = tmp_path / "deep" / "both.html"
    assert call(monkeypatch, "report", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(both)) == 0
    assert "MAML (a) minus …" in both.read_text()
    assert call(monkeypatch, "report", str(tmp_path / "c")) == 2
    assert f"there is no folder {tmp_path / 'c'}" in capsys.readouterr().err
    assert call(monkeypatch, "report") == 2


def test_rows_are_predicted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    lines = [f"{row % 9},{row % 5},{row % 4}" for row in range(90)]
    (tmp_path / "t.csv").write_text("\n".join(["shop,price,sold", *lines]))
    source = qs.tasks.from_table(tmp_path / "t.csv", task="shop", target="sold", kind="regression")
    learner = qs.learners.NearestNeighbour(likelihood=qs.tasks.Gaussian())
    model = qs.save(qs.estimators.TablePredictor.of(learner, source), tmp_path / "predictor")
    (tmp_path / "new.csv").write_text("sold,shop,price\n3,new,1\n,new,1\n2,old,9\n,old,7\n")
    expected = "row,shop,sold\n1,new,3.0\n3,old,2.0\n"
    assert call(monkeypatch, "predict", str(model), str(tmp_path / "new.csv")) == 0
    assert rounded(capsys.readouterr().out) == expected
    assert call(monkeypatch, "predict", str(model), str(tmp_path / "new.csv"), "--out", str(tmp_path / "p.csv")) == 0
    assert rounded((tmp_path / "p.csv").read_text()) == expected
    assert call(monkeypatch, "predict", str(model), str(tmp_path / "new.csv"), "--out", str(tmp_path)) == 2
    assert "name a CSV file" in capsys.readouterr().err
    qs.save(learner, tmp_path / "learner")
    assert call(monkeypatch, "predict", str(tmp_path / "learner"), str(tmp_path / "new.csv")) == 2
    assert "is of the class NearestNeighbour, which knows nothing of tables" in capsys.readouterr().err


def rounded(text: str) -> str:
    """A file of predictions, in digits that float32 has."""
    return pd.read_csv(StringIO(text), index_col="row").round(4).to_csv()


def test_options_are_the_recipes_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    call(
        monkeypatch,
        "run",
        "sinusoid-maml",
        "--steps",
        "1",
        "--tasks",
        "2",
        "--first-order",
        "--inner-rate",
        "0.005",
        "--seeds",
        "3,4",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "r"),
    )
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["seeds"] == [3, 4]
    assert config["settings"]["first_order"] is True
    assert config["settings"]["inner_rate"] == 0.005
    assert (tmp_path / "r" / "seed4" / "result.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "omniglot-prototipical"], "no recipe 'omniglot-prototipical'; did you mean 'omniglot-prototypical'?"),
        (["compare", "zzz"], "no recipe 'zzz'; there are balancing-toy"),
        (["rnu"], "no command 'rnu'; did you mean 'run'?"),
        (["run", "sinusoid-maml", "--steps", "many"], "'--steps'"),
        (["run", "sinusoid-maml", "--steps", "0"], "must be at least 1 and rate positive, got steps 0"),
        (["run", "sinusoid-maml", "--seeds", "1;2"], "seeds must be whole numbers with commas between them"),
        (["run", "sinusoid-maml", "--seed", "1", "--seeds", "1,2"], "give --seed or --seeds, not both"),
        (["run", "sinusoid-maml", "--device", "tpu"], "device must be auto, cpu, cuda"),
        (["compare", "glyphs-compare", "--steps", "-5"], "steps must be at least 1, got -5"),
        (["run", "sinusoid-maml", "--shots", "-3"], "shots must not be negative"),
        (["run", "own-tasks"], "own-tasks needs --data"),
        (["predict", "no", "t.csv"], "no saved module at no.safetensors"),
        (["report", "."], "has no result.json: no run was written to it"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_help_shows_claim_and_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert call(monkeypatch, "run", "omniglot-maml", "--help") == 0
    out = capsys.readouterr().out
    for word in ("--inner-steps", "--first-order", "--seeds", "Finn et al."):
        assert word in out


@pytest.mark.parametrize("said", ["stopped after 3 of 9 steps", ""])
def test_interrupted(said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def stopped(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt(said)

    monkeypatch.setattr(cli, "run", stopped)
    assert call(monkeypatch, "run", "sinusoid-maml") == 130
    assert f"quickstudy: {said or 'interrupted'}; add --resume to go on" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [["--device", "tpu"], ["--steps", "0"], ["--tasks", "-2"], ["--inner-rate", "0"], ["--noise", "-1"]],
)
def test_a_wrong_value_leaves_nothing_behind(
    wrong: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "run", "sinusoid-maml", *wrong) == 2
    assert not list(tmp_path.iterdir())


def test_folders_of_others_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for text in ('{"theirs": 1}', "not json", "[]"):
        (tmp_path / "config.json").write_text(text)
        assert call(monkeypatch, "run", "sinusoid-maml", "--out", str(tmp_path), "--resume") == 2
        assert "is of something else; choose another --out" in capsys.readouterr().err


def test_a_traceback_is_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUICKSTUDY_TRACEBACK", "1")
    with pytest.raises(ValueError, match="device must be"):
        call(monkeypatch, "run", "sinusoid-maml", "--device", "tpu")
