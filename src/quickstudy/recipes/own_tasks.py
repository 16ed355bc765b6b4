"""Your own tasks: a table with a task column, or a folder of images by class."""

from dataclasses import dataclass
from pathlib import Path

from quickstudy.estimators import TablePredictor
from quickstudy.learners import (
    MAML,
    CompletePooling,
    FineTuning,
    FromScratch,
    InContextTransformer,
    Learner,
    LogisticRegression,
    NearestNeighbour,
    PrototypicalNetwork,
    RidgeRegression,
)
from quickstudy.networks import MLP, Conv4
from quickstudy.recipes.plain_transfer import plain_transfer
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe
from quickstudy.tasks import ClassPool, TableSource, TaskSource, from_folder, from_table, likelihood_for

__all__ = ["OwnTasks"]

_HEADS = {LogisticRegression: "logistic regression", RidgeRegression: "ridge regression"}


@recipe
class OwnTasks(Recipe):
    """Does learning across these tasks help? Everyone on the same held-out tasks, with a verdict."""

    name = "own-tasks"
    claim = "Whether learning across your own tasks helps, and by how much, on tasks held out whole."

    @dataclass(frozen=True)
    class Settings:
        """A table wants `task` and `target`; a folder wants `ways`, `shots` and `queries`."""

        data: str = option("", "a CSV file, or a folder with one folder of images per class")
        task: str = option("", "the column that names the task (table)")
        target: str = option("", "the column to predict (table)")
        share: float = option(0.5, "share of each task's rows that is its support, or a whole number of them (table)")
        kind: str = option("", "classification or regression, when it should not be guessed (table)")
        labels: str = option("shared", "whether classes mean the same in every task: shared or own (table)")
        ways: int = option(5, "classes per task (folder)")
        shots: int = option(1, "support images per class (folder)")
        queries: int = option(5, "query images per class (folder)")
        size: int = option(28, "images are scaled to this many pixels (folder)")
        steps: int = option(500, "training steps")

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        if not self.settings.data:
            raise ValueError("own-tasks needs --data: a CSV file, or a folder with one folder of images per class")
        if not Path(self.settings.data).exists():
            raise FileNotFoundError(f"--data names {self.settings.data!r}, which does not exist")
        self._images = Path(self.settings.data).is_dir()
        self._pool = from_folder(self.settings.data, size=self.settings.size) if self._images else None
        self._source = self._table() if self._pool is None else self._episodes(self._pool)
        self.metric = "mse" if self._source.train.kind == "regression" else "accuracy"

    def _episodes(self, pool: ClassPool) -> TaskSource:
        return pool.episodes(self.settings.ways, self.settings.shots, self.settings.queries)

    def _table(self) -> TaskSource:
        chosen = self.settings
        if not (chosen.task and chosen.target):
            raise ValueError("a table needs --task, the column that names the task, and --target, the one to predict")
        return from_table(
            chosen.data,
            task=chosen.task,
            target=chosen.target,
            kind=chosen.kind or None,
            shots=chosen.share,
            labels=chosen.labels,
        )

    def tests(self) -> dict[str, TaskSource]:
        return {"own": self._source}

    def predictor(self, learner: Learner) -> TablePredictor | None:
        return TablePredictor.of(learner, self._source) if isinstance(self._source, TableSource) else None

    def contestants(self) -> dict[str, Contestant]:
        source, steps = self._source, self.settings.steps
        likelihood = likelihood_for(source.train.kind, source.train.ways)
        inputs = source.train.draw(0, 1, 0).support.x.shape[2:]

        def network() -> Conv4 | MLP:
            return Conv4(inputs[0], inputs[1], normalization="layer") if self._images else MLP(inputs[0], (64, 64))

        def training(rate: float, batch_size: int = 8) -> Training:
            return Training(source.train, steps, batch_size, rate, validation=source.validation)

        contestants = {
            "in-context": Contestant(
                lambda: InContextTransformer(network(), likelihood, width=64, layers=2), training(1e-3)
            ),
            "MAML": Contestant(lambda: MAML(network(), likelihood, inner_steps=3, inner_rate=0.05), training(1e-3)),
            "complete pooling": Contestant(
                lambda: CompletePooling(network(), likelihood), training(1e-3), role="baseline"
            ),
            "from scratch": Contestant(
                lambda: FromScratch(network(), likelihood, steps=100, rate=3e-3, weight_decay=0.01), role="baseline"
            ),
            "nearest neighbour": Contestant(
                lambda: NearestNeighbour(likelihood=likelihood, neighbours=1 if self._images else 5), role="baseline"
            ),
        }
        if self._pool is not None:
            prototypical = Contestant(lambda: PrototypicalNetwork(network()), training(1e-3))
            plain = plain_transfer(network, Training(self._pool.all_classes(100), steps, 1))
            return {"prototypical": prototypical, **contestants, **plain}
        if self.settings.labels == "own" and source.train.kind == "classification":
            return contestants  # no label means the same in two tasks: there is nothing to pre-train on
        # Pre-trained as complete pooling is, which ignores what task an example is of.
        tuned = Contestant(lambda: FineTuning(network(), likelihood), training(1e-3), role="transfer")
        contestants["fine-tuning"] = tuned
        head = {"classification": LogisticRegression, "regression": RidgeRegression}.get(source.train.kind)
        if head is not None:
            contestants[_HEADS[head]] = Contestant(
                lambda: head(network(), likelihood), role="transfer", like="fine-tuning"
            )
        return contestants
