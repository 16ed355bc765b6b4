"""Reports made again from what lies on disk: of one run, or of several on one page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quickstudy.learners import Learner
from quickstudy.recipes.recipe import recipes
from quickstudy.recipes.run import drawn_fits, drawn_tasks
from quickstudy.reporting import Episode, Panel, SavedRun, compare_runs, complete, open_run, write_report
from quickstudy.tasks import TaskSource

__all__ = ["report"]


def report(folders: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write one page about finished runs.

    Several runs stand side by side, and where they were scored on the same test tasks they are also paired, the first
    one's learner against those of the others.

    Args:
        folders: of finished runs; one gives the report that the run itself wrote.
        out: the HTML file.

    Returns:
        The card that the page shows.

    Raises:
        FileNotFoundError, ValueError: a folder holds no finished run; no folder, or one twice.
    """
    if not folders or len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError(f"give one or more different folders of runs, got {', '.join(map(str, folders)) or 'none'}")
    runs = [open_run(folder) for folder in folders]
    learners, notes = {}, []
    if len(runs) == 1:
        card, logs, verdict = complete(runs[0]), runs[0].logs(), None
        learners = runs[0].learners()
    else:
        several = compare_runs(runs)
        card, logs, verdict, notes = several.card, several.logs, several.verdict, list(several.notes)
        if several.same_protocol:
            learners = several.learners
    episodes, fits, problem = _draw(learners, runs[0], card)
    write_report(card, out, logs=logs, episodes=episodes, fits=fits, notes=[*notes, *problem], verdict=verdict)
    return card


def _draw(
    learners: dict[str, Learner], run: SavedRun, card: dict[str, Any]
) -> tuple[list[Episode], list[Panel], list[str]]:
    """The drawn test tasks and fits, or why they could not be drawn: the data of a run may be elsewhere by now."""
    if not any(isinstance(learner, Learner) for learner in learners.values()):
        return [], [], []  # named tasks have no episodes
    try:
        tests = _tests(run.folder)
        return drawn_tasks(learners, tests, card), drawn_fits(learners, tests, card), []
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [], [], [f"The test tasks could not be drawn: {error}"]


def _tests(folder: Path) -> dict[str, TaskSource]:
    """The protocols that a run was scored on, from the recipe and the settings in its folder.

    Raises:
        ValueError: the recipe is not known here.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["recipe"] not in recipes():
        raise ValueError(f"there is no recipe {config['recipe']!r}")
    cls = recipes()[config["recipe"]]
    return cls(cls.Settings(**config["settings"])).tests()
