"""Your own tables as the tasks to learn from: does that help with the next table, and does the synthetic prior?"""

from dataclasses import dataclass
from importlib.resources import as_file, files

from quickstudy.learners import FromScratch, InContextTransformer, Learner, NearestNeighbour
from quickstudy.networks import TableNetwork
from quickstudy.rebuild import load
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.tasks import Categorical, Gaussian, GaussianMixture, Likelihood, TaskSource, from_tables, read_tables
from quickstudy.tasks.datasets.pmlb import pmlb

__all__ = ["TabularOwnTables"]

_WAYS, _FEATURES = 10, 24  # of the weights that come along
_WEIGHTS = {"classification": "tabular_classifier", "regression": "tabular_regressor"}


@recipe
class TabularOwnTables(Recipe):
    """Tables that are held out whole, each halved twenty times. The weights of a run serve the estimators, as do those
    of `tabular-prior`.

    In training any column of a table may be the one to predict, so that few tables make many tasks.
    """

    name = "tabular-own-tables"
    claim = "Whether learning across your own tables helps with a table that was not among them."
    main = "prior, then own tables"

    @dataclass(frozen=True)
    class Settings:
        """The tables, and a budget of two minutes for each training on one core."""

        data: str = option("", "a folder of tables <name>.csv or .tsv, compressed or not; by default those of PMLB")
        target: str = option("target", "the column to predict, of this name in every table")
        kind: str = option("classification", "classification or regression")
        targets: str = option("any", "what to predict in training: a table's own target, or any column in turn")
        shots: int = option(128, "the most rows to learn from")
        steps: int = option(1500, "training steps")
        tasks: int = option(8, "tables per step")
        rate: float = option(3e-4, "highest learning rate")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        chosen = self.settings
        if chosen.kind not in _WEIGHTS:
            raise ValueError(f"kind must be classification or regression, got {chosen.kind!r}")
        tables = read_tables(chosen.data, chosen.target) if chosen.data else pmlb()
        if not chosen.data:  # not everyone can be told apart by ten outputs
            tables = {name: (x, y) for name, (x, y) in tables.items() if y.max() < _WAYS}
        least = min(16, chosen.shots)
        self._source = from_tables(
            tables,
            kind=chosen.kind,
            features=_FEATURES,
            shots=(least, chosen.shots),
            ways=_WAYS,
            targets=chosen.targets,
        )
        self.metric = "accuracy" if chosen.kind == "classification" else "mse"

    def tests(self) -> dict[str, TaskSource]:
        return {"held-out tables": self._source}

    def contestants(self) -> dict[str, Contestant]:
        chosen, source = self.settings, self._source
        sorted_out = chosen.kind == "classification"
        likelihood: Likelihood = Categorical(_WAYS) if sorted_out else GaussianMixture(5)

        def new() -> Learner:
            return InContextTransformer(TableNetwork(_FEATURES, 96), likelihood, 96, 4, heads=4)

        def given() -> Learner:
            with as_file(files("quickstudy.estimators").joinpath(f"{_WEIGHTS[chosen.kind]}.safetensors")) as path:
                return load(path)

        training = Training(
            source.train, chosen.steps, chosen.tasks, chosen.rate, clip=1.0, validation=source.validation
        )
        return {
            "prior, then own tables": Contestant(given, training),
            "own tables": Contestant(new, training),
            "prior": Contestant(given, role="transfer"),
            "nearest neighbour": Contestant(
                lambda: NearestNeighbour(likelihood=None if sorted_out else Gaussian(), neighbours=5), role="baseline"
            ),
            "from scratch": Contestant(
                lambda: FromScratch(TableNetwork(_FEATURES, 96), likelihood, steps=100, rate=1e-2, weight_decay=0.01),
                role="baseline",
            ),
        }
