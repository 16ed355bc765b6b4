"""What README.md says is what the cards say, and its example runs."""

import json
import re
from pathlib import Path

import pytest

from quickstudy.reporting.readme import fill, markdown

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def test_tables_are_those_of_the_cards() -> None:
    text = README.read_text(encoding="utf-8")
    assert "<!-- card: " in text
    assert fill(text, ROOT / "results") == text, "run `make readme`"


def test_every_card_is_shown_there_or_in_the_documentation() -> None:
    pages = [README, *(ROOT / "docs").rglob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    for card in (ROOT / "results").glob("*.json"):
        assert f"<!-- card: {card.stem} -->" in text


def test_answers_stand_in_a_row_each(tmp_path: Path) -> None:
    for name in ("one", "two"):
        card = {"claim": f"Expected of {name}.", "verdict": f"Found of {name}.", "recipe": name}
        (tmp_path / f"{name}.json").write_text(json.dumps(card))
    text = fill("<!-- answers: one two -->\nold\n<!-- end of answers -->", tmp_path)
    assert "| Expected of one. | Found of one. | `one` |\n| Expected of two. | Found of two. | `two` |" in text
    assert "old" not in text
    assert fill(text, tmp_path) == text


def test_a_missing_card_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no result at .*nothing\.json"):
        fill("<!-- card: nothing -->\n<!-- end of card -->", tmp_path)


def test_machine_and_command_stand_below() -> None:
    card = {
        "benchmark": "x",
        "claim": "Fast.",
        "command": "python benchmarks/x.py",
        "machine": {"cores": 2, "cpu": "A chip", "gpu": None, "torch": "2.13.0"},
        "metrics": {"speed": 12345, "seconds": [1.5, 2.5], "best": "one, two"},
    }
    text = markdown(card)
    assert "| speed | 12,345 |" in text
    assert "| seconds | 1.5, 2.5 |" in text
    assert "| best | one, two |" in text
    assert "`python benchmarks/x.py`; 2 × A chip, torch 2.13.0" in text


@pytest.mark.unchecked  # as a reader's program runs, and in half the time
def test_the_example_runs(capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks:
        short, changes = re.subn(r"steps=\d+", "steps=3", block)
        assert changes <= 1
        exec(short, names)
    assert "accuracy" in capsys.readouterr().out
