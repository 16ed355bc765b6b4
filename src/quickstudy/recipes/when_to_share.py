"""Your own table with several targets: which of them to learn together, which in groups, and which alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from quickstudy.estimators import TargetsPredictor
from quickstudy.evaluation import SharingReport, company_folder, sharing_report
from quickstudy.evaluation.sharing import Relations
from quickstudy.multitask import (
    Assembled,
    MultiGateMixture,
    NamedModule,
    Objective,
    SharedBottom,
    SharedSplit,
    TableTasks,
    tasks_from_table,
)
from quickstudy.multitask.module import Objectives
from quickstudy.networks import MLP, Inputs
from quickstudy.rebuild import load
from quickstudy.recipes.named_recipe import NamedContestant, NamedRecipe, NamedTest
from quickstudy.recipes.named_run import NamedRun
from quickstudy.recipes.recipe import Training, option, recipe
from quickstudy.reporting import Outcome, Panel, sharing_panels
from quickstudy.tasks.table_file import check_columns, read_table
from quickstudy.training import read_log

__all__ = ["SharingRun", "WhenToShare"]

_TOGETHER, _GROUPED, _ALONE = "together", "in groups", "alone"
_PAIRED = 5  # with more tasks than that pairs would be many trainings
_TRAININGS = "trainings"


@recipe
class WhenToShare(NamedRecipe):
    """Every target is trained alone, in pairs, together and in the groups that pairs suggest, with as many steps on the
    same rows (see `evaluation.sharing_report`). Groups are chosen on validation rows, and judged on test rows.

    A target of two values is a yes or no, scored by its AUC; of words or few whole numbers, a class; others are
    numbers, whose errors are in standard deviations. A verdict wants several seeds: give --seeds 0,1,2,3,4. They are
    seeds of trainings: all are judged on the same test rows, so that with few of these (some hundreds) another split of
    the rows may give another verdict; --split draws one.
    """

    name = "when-to-share"
    claim = "Which of your own targets gain from being learned together, which in groups, and which are best alone."
    metric = "rmse"

    @dataclass(frozen=True)
    class Settings:
        """Options of the recipe."""

        data: str = option("", "a CSV file with a header")
        targets: str = option("", "the columns to predict, as in income,marital")
        ignore: str = option("", "columns to leave out of what they are predicted from")
        split: int = option(0, "draws which rows are for training, validation and test")
        relations: str = option("", "what groups are chosen by: pairs or affinity; by default pairs, up to 5 targets")
        groups: int = option(0, "the most groups; 0 for any number")
        experts: int = option(0, "experts of a mixture (MMoE) that targets share; 0 for a shared bottom")
        width: int = option(64, "units of the hidden layer, or of an expert")
        steps: int = option(500, "steps of each training")
        batch_size: int = option(64, "rows a step")
        rate: float = option(3e-3, "highest learning rate")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        chosen = self.settings
        self._targets = _listed(chosen.targets)
        if not chosen.data or len(self._targets) < 2:
            raise ValueError(
                "when-to-share needs --data, a CSV file, and --targets, two or more of its columns with commas between "
                f"them; got {chosen.data!r} and {chosen.targets!r}"
            )
        if chosen.relations not in ("", *get_args(Relations)):
            raise ValueError(f"relations must be one of {', '.join(get_args(Relations))}, got {chosen.relations!r}")
        if chosen.groups < 0:
            raise ValueError(f"groups must be at least 1, or 0 for any number, got {chosen.groups}")
        if chosen.width < 1:
            raise ValueError(f"width must be at least 1, got {chosen.width}")
        self.metric = next(iter(self.objectives().values())).metric
        self.found: SharingReport | None = None
        self._folder = Path()

    def data(self) -> TableTasks:
        ignored, features = _listed(self.settings.ignore), None
        frame = read_table(Path(self.settings.data))
        for column in ignored:
            check_columns(frame, {"ignore": column}, None)
        if ignored:
            features = [column for column in map(str, frame.columns) if column not in (*self._targets, *ignored)]
        return tasks_from_table(frame, self._targets, features=features, seed=self.settings.split)

    def objectives(self) -> dict[str, Objective]:
        assert isinstance(self.tasks, TableTasks)
        return self.tasks.objectives

    def tests(self) -> dict[str, NamedTest]:  # type: ignore[override]
        tests, tasks = super().tests(), self.tasks
        assert isinstance(tasks, TableTasks)
        for target in tasks.targets:
            if target.name in tests:
                tests[target.name].protocol.update(
                    {"unit": f"{target.std:.4g}, its standard deviation"}
                    if target.classes is None
                    else {"classes": ", ".join(target.classes)}
                )
        return tests

    def contestants(self) -> dict[str, NamedContestant]:
        training = self._training()
        return {
            _TOGETHER: NamedContestant(self._everyone, training),
            _GROUPED: NamedContestant(self._everyone, training),
            _ALONE: NamedContestant(self._everyone, training, role="baseline"),
        }

    def prepare(self, folder: Path, seeds: Sequence[int], device: str) -> None:
        chosen, self._folder = self.settings, folder / _TRAININGS
        arguments = self._training().arguments()
        kept = ("optimizer", "schedule", "clip", "precision", "validation_size", "validate_every")
        self.found = sharing_report(
            self._made,
            self.objectives(),
            self.tasks,
            steps=chosen.steps,
            batch_size=chosen.batch_size,
            seeds=seeds,
            relations=chosen.relations or ("pairs" if len(self._targets) <= _PAIRED else "affinity"),
            groups=chosen.groups or None,
            folder=self._folder,
            resume=True,
            device=device,
            **{name: arguments[name] for name in kept},
        )

    def places(self, name: str, seed: int) -> list[Path]:
        """Where the trainings are that a contestant is put together from."""
        assert self.found is not None
        everyone = list(range(len(self._targets)))
        companies = {_TOGETHER: [everyone], _GROUPED: self.found.groups, _ALONE: [[number] for number in everyone]}
        return [company_folder(self._folder, company, seed) for company in companies[name]]

    def predictor(self, learner: NamedModule) -> TargetsPredictor:
        assert isinstance(self.tasks, TableTasks)
        return TargetsPredictor.of(learner, self.tasks)

    def answer(self, outcomes: Mapping[str, Outcome]) -> str:
        assert self.found is not None
        verdicts = "; ".join(f"{task}: {verdict}" for task, verdict in self.found.verdicts.items())
        return f"{verdicts}. {str(self.found).splitlines()[-1]}."

    def figures(self, learners: Mapping[str, Any]) -> list[Panel]:
        drawn = super().figures(learners)
        return drawn if self.found is None else [*sharing_panels(self.found), *drawn]

    def _training(self) -> Training:
        chosen, data = self.settings, self.tasks
        return Training(
            data.train,
            chosen.steps,
            chosen.batch_size,
            chosen.rate,
            validation=data.validation,
            validation_size=data.validation.size or 1,
        )

    def _everyone(self) -> NamedModule:
        return self._made(self.objectives())

    def _made(self, objectives: Objectives) -> NamedModule:
        chosen = self.settings
        assert isinstance(self.tasks.train, SharedSplit)
        inputs = self.tasks.train.x.shape[1]
        if chosen.experts:
            return MultiGateMixture(Inputs(inputs), objectives, chosen.experts, (chosen.width,))
        return SharedBottom(MLP(inputs, (chosen.width,)), objectives)


class SharingRun(NamedRun):
    """A contestant put together from the trainings that the report on sharing made."""

    recipe: WhenToShare

    def _trained(self) -> tuple[NamedModule, float]:
        places = self.recipe.places(self.name, self.seed)
        parts = [load(place / "learner.safetensors") for place in places]
        seconds = sum(read_log(place / "log.jsonl")[-1]["seconds"] for place in places)
        return (parts[0] if len(parts) == 1 else Assembled(parts)), seconds


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
