"""Reports made again from what lies on disk: of one run, or of several on one page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quickstudy.learners import Learner
from quickstudy.recipes.recipe import Recipe, recipes
from quickstudy.recipes.run import drawings
from quickstudy.reporting import SavedRun, compare_runs, complete, open_run, write_report

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
    learners: dict[str, Learner] = {}
    notes: list[str] = []
    if len(runs) == 1:
        card, logs, verdict = complete(runs[0]), runs[0].logs(), None
        learners = runs[0].learners()
    else:
        several = compare_runs(runs)
        card, logs, verdict, notes = several.card, several.logs, several.verdict, list(several.notes)
        if several.same_protocol:
            learners = several.learners
    drawn, problem = _draw(learners, runs, card)
    write_report(card, out, logs=logs, **drawn, notes=[*notes, *problem], verdict=verdict)
    return card


def _draw(
    learners: dict[str, Learner], runs: Sequence[SavedRun], card: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """What is drawn, as arguments of `write_report`, or why nothing could be: the data of a run may be elsewhere by
    now."""
    if not learners:
        return {}, []
    try:
        recipe, seeds = _recipe(runs[0].folder)
        if len(runs) == 1:
            recipe.prepare(runs[0].folder, seeds, "cpu")
        drawn = drawings(recipe, learners, recipe.tests(), card)
        if len(runs) > 1:
            del drawn["figures"]  # they are of one run
        return drawn, []
    except (OSError, ValueError, KeyError, TypeError) as error:
        return {}, [f"The test tasks could not be drawn: {error}"]


def _recipe(folder: Path) -> tuple[Recipe, list[int]]:
    """The recipe of a run, with the settings in its folder, and its seeds.

    Raises:
        ValueError: the recipe is not known here.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["recipe"] not in recipes():
        raise ValueError(f"there is no recipe {config['recipe']!r}")
    cls = recipes()[config["recipe"]]
    return cls(cls.Settings(**config["settings"])), config["seeds"]
