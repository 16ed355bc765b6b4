"""What the pages show runs, prints what they say it prints, and names commands and cards that there are."""

import re
from pathlib import Path

import pytest

from docs.pages import PAGES, ROOT, agree, blocks, run
from quickstudy import rebuild
from quickstudy.recipes import recipes
from quickstudy.reporting.readme import fill

EVERY = sorted((ROOT / "docs").rglob("*.md"))
_COMMON = {"seed", "seeds", "device", "out", "resume", "probes", "help"}


def test_there_are_pages_to_run() -> None:
    names = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES}
    assert names >= {"start.md", "migration.md", "tutorials/folder.md", "tutorials/table.md", "tutorials/learner.md"}


@pytest.mark.unchecked  # as a reader's program runs, and in half the time
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs_and_prints_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rebuild, "_registry", dict(rebuild._registry))  # a page's own learners stay its own
    for block, printed in run(page):
        where = f"{page.name}, line {block.line}"
        if block.said is None:
            assert not printed, f"{where} prints what the page does not show: {printed}"
        else:
            assert agree(block.said, printed), f"{where} prints:\n{printed}\nrun `make outputs`"


@pytest.mark.parametrize("page", EVERY, ids=lambda page: page.relative_to(ROOT / "docs").as_posix())
def test_commands_exist(page: Path) -> None:
    """Every `quickstudy run …` and `quickstudy compare …` names a recipe, and options that it has."""
    known = recipes()
    for line in re.findall(r"quickstudy (?:run|compare) ([^`\n#]+)", page.read_text(encoding="utf-8")):
        name, *rest = line.split()
        if name == "RECIPE":
            continue
        assert name in known, f"{page.name}: no recipe {name!r}"
        options = {field.replace("_", "-") for field in known[name].Settings.__dataclass_fields__} | _COMMON
        for flag in (part.removeprefix("--") for part in rest if part.startswith("--")):
            assert flag.removeprefix("no-") in options, f"{page.name}: {name} has no option --{flag}"


@pytest.mark.parametrize("page", EVERY, ids=lambda page: page.relative_to(ROOT / "docs").as_posix())
def test_tables_are_those_of_the_cards(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert fill(text, ROOT / "results") == text, "run `make readme`"


def test_outputs_are_compared() -> None:
    assert agree("accuracy 80.1 ± 1.2 (200 tasks)\n", "accuracy 81.0 ± 1.1 (200 tasks)\n")
    assert not agree("accuracy 80.1\n", "accuracy 30.1\n")
    assert not agree("200 tasks\n", "201 tasks\n")
    assert not agree("better (accuracy +3.0)\n", "no difference shown (accuracy +3.0)\n")


def test_blocks_and_their_outputs_are_found() -> None:
    ran = "Text.\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n"
    text = ran + "```python\nx = 2\n```\n\nMore.\n\n```text\nno output\n```\n"
    first, second = blocks(text)
    assert (first.code, first.said, first.line) == ("print(1)\n", "1\n", 4)
    assert (second.code, second.said) == ("x = 2\n", None)
