"""The command: `quickstudy list`, `run RECIPE`, `compare RECIPE`, `report DIR…` and `predict PREDICTOR TABLE`.

Every recipe is a subcommand of `run` and of `compare`, whose options are the fields of the recipe's settings.
"""

import difflib
import inspect
import logging
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quickstudy import __version__
from quickstudy.estimators import TablePredictor, TargetsPredictor
from quickstudy.files import write_text
from quickstudy.learners import Learner
from quickstudy.rebuild import load, registered
from quickstudy.recipes import Recipe, recipes, report, run
from quickstudy.reporting import tables
from quickstudy.training import NonFiniteLossError, reuse_memory

__all__ = ["main"]

console = Console()


class _Suggesting(typer.core.TyperGroup):
    """A group of commands that answers a wrong name with the nearest right one."""

    # typer carries a click of its own or uses the installed one, by version: its types have no fixed name.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            near = difflib.get_close_matches(args[0], self.commands, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self.commands)}"
            ctx.fail(f"no {'recipe' if ctx.info_name in ('run', 'compare') else 'command'} {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Suggesting,
    no_args_is_help=True,
    add_completion=False,
    help="Learning across tasks.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        console.print(__version__)
        raise typer.Exit


@app.command("list")
def list_everything() -> None:
    """Recipes and learners, a line each."""
    for title, rows in (
        ("Recipes", [(name, cls.claim) for name, cls in recipes().items()]),
        ("Learners", [(name, _first_line(cls)) for name, cls in registered(Learner).items()]),
    ):
        table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column()
        for name, text in rows:
            table.add_row(name, text)
        console.print(table)
        console.print()


@app.command("report")
def report_of_runs(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of finished runs.")],
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; DIR/report.html, or report.html for several.")
    ] = None,
) -> None:
    """Make the report of a run again, or one page of several runs, paired where their test tasks are the same."""
    path = out or (folders[0] / "report.html" if len(folders) == 1 else Path("report.html"))
    report(folders, path)
    console.print(f"report: {path}", soft_wrap=True)


@app.command("predict")
def predict_rows(
    model: Annotated[Path, typer.Argument(metavar="PREDICTOR", help="The predictor.safetensors of a run.")],
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="A CSV file with the columns that it was trained on.")],
    out: Annotated[Path | None, typer.Option(help="The CSV file of predictions; by default they are printed.")] = None,
) -> None:
    """Predict what a table leaves empty: of own-tasks the target, where there is none; of when-to-share all targets."""
    if out is not None and out.is_dir():
        raise ValueError(f"--out is a folder, {out}; name a CSV file")
    predictor = load(model)
    if not isinstance(predictor, TablePredictor | TargetsPredictor):
        raise ValueError(
            f"{model} is of the class {type(predictor).__name__}, which knows nothing of tables; give the "
            "predictor.safetensors of a run of own-tasks or when-to-share, or save a TablePredictor"
        )
    found = predictor.predict(table).to_csv(index_label="row")
    if out is None:
        sys.stdout.write(found)
    else:
        write_text(out, found)
        console.print(f"predictions: {out}", soft_wrap=True)


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


class _StoppedError(Exception):
    """Someone stopped the run."""


def _recipe_command(cls: type[Recipe], everyone: bool) -> Callable[..., None]:
    """A function with one parameter per option, from which typer makes the command."""

    def command(**values: Any) -> None:
        settings = cls.Settings(**{item.name: values[item.name] for item in fields(cls.Settings)})
        if values["seeds"] and values["seed"] is not None:
            raise ValueError(f"give --seed or --seeds, not both; got {values['seed']} and {values['seeds']}")
        seeds = _parse_seeds(values["seeds"]) if values["seeds"] else [values["seed"] or 0]
        folder = values["out"] or Path("runs") / (f"{cls.name}-all" if everyone else cls.name)
        # What was interrupted and resumed is repeated, from its beginning, without that.
        line = shlex.join(["quickstudy", *(argument for argument in sys.argv[1:] if argument != "--resume")])
        try:
            result = run(
                cls(settings),
                folder,
                seeds=seeds,
                everyone=everyone,
                device=values["device"],
                resume=values["resume"],
                command=line,
                probes=values["probes"],
            )
        except KeyboardInterrupt as stop:  # before typer takes it, and with it what was said
            raise _StoppedError(f"{str(stop) or 'interrupted'}; add --resume to go on") from None
        _show(result, folder)

    common: list[tuple[str, Any, Any, str]] = [
        ("seed", int | None, None, "seed of the training run; 0 by default"),
        ("seeds", str, "", "several seeds, as in 0,1,2; gives intervals over seeds"),
        ("device", str, "auto", "auto, cpu, cuda, cuda:1 or mps"),
        ("out", Path | None, None, "folder of the run; runs/RECIPE by default"),
        ("resume", bool, False, "go on with the run in that folder"),
        ("probes", bool, False, "also train the main learner on 1/4 and 1/16 of its tasks; takes twice its time"),
    ]
    own = [
        (item.name, item.type, None if item.default is MISSING else item.default, item.metadata["help"])
        for item in fields(cls.Settings)
    ]
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[
                kind, typer.Option(_flag(name, kind), help=help, show_default=default not in ("", None))
            ],
        )
        for name, kind, default, help in [*own, *common]
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _flag(name: str, kind: Any) -> str:
    flag = "--" + name.replace("_", "-")
    return f"{flag}/--no-{flag[2:]}" if kind is bool and name not in ("resume", "probes") else flag


def _parse_seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"seeds must be whole numbers with commas between them, as in 0,1,2; got {text!r}") from None


def _show(result: dict[str, Any], folder: Path) -> None:
    """What fits a terminal: the scores and the verdict; the report has the rest."""
    for entry in tables(result):
        if "protocol" in entry["head"]:
            continue
        shown = [index for index, head in enumerate(entry["head"]) if head != "brier"]
        table = Table(title=entry["title"], title_justify="left")
        for index in shown:
            # A terminal is narrow.
            table.add_column(
                entry["head"][index].removeprefix("training "), justify="right" if index else "left", no_wrap=True
            )
        for row in entry["rows"]:
            table.add_row(*(escape(row[index]) for index in shown))
        console.print(table)
    if result.get("verdict"):
        console.print(result["verdict"], style="bold")
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)


for _name, _everyone, _help in (
    ("run", False, "Train and score a recipe's learner, and write a report."),
    ("compare", True, "Train and score a recipe's learner and everyone it is compared with, on the same tasks."),
):
    _group = typer.Typer(cls=_Suggesting, no_args_is_help=True, help=_help, rich_markup_mode=None)
    for _recipe in recipes().values():
        _group.command(_recipe.name, help=f"{_recipe.claim}\n\n{inspect.getdoc(_recipe)}")(
            _recipe_command(_recipe, _everyone)
        )
    app.add_typer(_group, name=_name)


def main() -> None:
    """The entry point: what is wrong with the input is said in a line; `QUICKSTUDY_TRACEBACK=1` shows where."""
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    reuse_memory()
    try:
        app()
    except _StoppedError as stop:
        print(f"quickstudy: {stop}", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except (ValueError, OSError, NonFiniteLossError) as error:
        if os.environ.get("QUICKSTUDY_TRACEBACK"):
            raise
        print(f"quickstudy: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
