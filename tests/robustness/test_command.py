"""The command with absurd options: a line that says what is wrong, and never a traceback."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickstudy import cli
from quickstudy.recipes import Recipe

from .promises import modest

TABLES = {
    "good.csv": "task,x,y\n" + "".join(f"{n % 12},{n * 7 % 5},{n * 3 % 11}.5\n" for n in range(48)),
    "empty.csv": "",
    "header.csv": "task,x,y\n",
    "one.csv": "task,x,y\n1,2,3\n",
    "ragged.csv": "task,x,y\n1,2,3,4,5\n1\n",
    "words.csv": "task,x,y\na,b,c\nd,e,f\ng,h,i\n",
    "binary.csv": "\x00\x01\x02",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    for name, text in TABLES.items():
        (folder / name).write_text(text)
    (folder / "no-images").mkdir()
    return folder


values = st.sampled_from(
    ["-1", "0", "1", "2", "1e9", "nan", "inf", "-inf", "", "ten", "0.5", "99999999999999999999", "é"]
)
options = st.sampled_from(
    ["--steps", "--tasks", "--shots", "--noise", "--inner-steps", "--inner-rate", "--seed", "--seeds", "--device",
     "--wings", "--out"]
)  # fmt: skip
own = st.sampled_from(["--task", "--target", "--share", "--kind", "--labels", "--ways", "--shots", "--size", "--steps"])


def refused_or_done(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["quickstudy", *arguments])
        patch.setattr(cli, "reuse_memory", lambda: True)  # a setting of the whole process
        patch.setattr(cli, "run", lambda recipe, *_, **__: (recipe.tests(), recipe.contestants(), _DONE)[-1])
        patch.setattr(Recipe, "test_tasks", 2)
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    said = capsys.readouterr()
    assert code in (0, 1, 2)
    assert code == 0 or (said.err + said.out).strip(), "it ended without a word"
    assert "Traceback" not in said.err


# The recipe is built, with all that it checks; training is the business of other tests.
_DONE = {"metrics": {}, "recipe": "", "seconds": 0.0, "seeds": [0]}


@pytest.mark.unchecked
def test_options_are_taken_or_refused_in_a_line(capsys: pytest.CaptureFixture) -> None:
    @modest(80)
    @given(st.sampled_from(["run", "compare"]), st.lists(st.tuples(options, values), max_size=3))
    def some(verb: str, chosen: list[tuple[str, str]]) -> None:
        refused_or_done([verb, "sinusoid-maml", *(part for option in chosen for part in option)], capsys)

    some()


@pytest.mark.unchecked
def test_tables_and_folders_are_taken_or_refused_in_a_line(folder: Path, capsys: pytest.CaptureFixture) -> None:
    @modest(80)
    @given(
        st.sampled_from([*TABLES, "absent.csv", "no-images", "."]),
        st.lists(st.tuples(own, values | st.sampled_from(["task", "x", "y"])), max_size=3),
    )
    def some(name: str, chosen: list[tuple[str, str]]) -> None:
        more = [part for option in chosen for part in option]
        line = ["run", "own-tasks", "--data", str(folder / name), "--task", "task", "--target", "y", *more]
        refused_or_done(line, capsys)

    some()
