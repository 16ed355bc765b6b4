"""Labelled examples of many classes, the classes parted into train, validation and test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from quickstudy.arguments import check_real, check_seed, check_whole
from quickstudy.tasks import draws
from quickstudy.tasks.all_classes import AllClasses
from quickstudy.tasks.episodes import ClassSampling, Episodes, EpisodeShape, Range
from quickstudy.tasks.source import SPLITS, TaskSource

__all__ = ["ClassPool", "part_classes"]


@dataclass(frozen=True)
class ClassPool:
    """Examples by class, in one tensor on one device.

    Attributes:
        examples: `[example, ...]`, uint8 for images (0 … 255, given to learners as 0 … 1) or floating point.
        table: `[class, most]` int64, the rows of `examples` that each class has, −1 where it has no more.
        names: one name per class.
        parts: the class numbers of each split.
        groups: `[example]` int64, what examples have in common beside their class (the face of a letter, who drew it,
            the session of a recording), or None.
        protocol: what a reader must know of the data.
        separate_groups: whether episodes take support and query of a class from different groups, unless told.
    """

    examples: Tensor
    table: NDArray[np.int64]
    names: tuple[str, ...]
    parts: Mapping[str, NDArray[np.int64]]
    groups: NDArray[np.int64] | None = None
    protocol: dict[str, Any] = field(default_factory=dict)
    separate_groups: bool = False

    @classmethod
    def from_labels(
        cls,
        examples: Tensor,
        labels: Sequence[int] | NDArray[np.int64],
        names: Sequence[str],
        parts: Mapping[str, Sequence[str]],
        groups: NDArray[np.int64] | None = None,
        protocol: dict[str, Any] | None = None,
        separate_groups: bool = False,
    ) -> "ClassPool":
        """A pool from one class number per example and the class names of each split.

        Raises:
            ValueError: lengths differ; a name stands twice, is unknown or is in two splits; a split is missing.
        """
        if not isinstance(examples, Tensor) or not examples.ndim:
            raise TypeError(f"examples must be a tensor [example, ...], got {type(examples).__name__}")
        if not isinstance(parts, Mapping) or not all(isinstance(part, list | tuple) for part in parts.values()):
            raise TypeError(f"parts must hold a list of class names for every split, got {parts!r}")
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"names must be a list of texts, got {names!r}")
        try:
            labels = np.asarray(labels).astype(np.int64, casting="safe")
        except (TypeError, ValueError) as error:
            raise TypeError(f"labels must be whole numbers, one per example: {error}") from error
        if labels.ndim != 1:
            raise ValueError(f"labels must be [example], got the shape {labels.shape}")
        if groups is not None and np.shape(groups) != labels.shape:
            raise ValueError(f"groups must be [example], as labels {labels.shape}, got {np.shape(groups)}")
        if len(labels) != len(examples):
            raise ValueError(f"labels has {len(labels)} entries for {len(examples)} examples")
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
            raise ValueError(f"labels must lie in 0 … {len(names) - 1}, got {labels.min()} … {labels.max()}")
        number = {name: index for index, name in enumerate(names)}
        if len(number) != len(names):
            raise ValueError("names must differ: " + ", ".join(sorted({n for n in names if list(names).count(n) > 1})))
        owner: dict[str, str] = {}
        for split in SPLITS:
            if split not in parts:
                raise ValueError(f"parts must name the classes of {', '.join(SPLITS)}; {split!r} is missing")
            for name in parts[split]:
                if name not in number:
                    raise ValueError(f"the {split} split names the class {name!r}, of which there is no example")
                if name in owner:
                    raise ValueError(f"the class {name!r} is in {owner[name]} and in {split}; splits must be disjoint")
                owner[name] = split
        order = np.argsort(labels, kind="stable")
        sizes = np.bincount(labels, minlength=len(names))
        table = np.full((len(names), sizes.max(initial=0)), -1, dtype=np.int64)
        table[np.arange(table.shape[1]) < sizes[:, None]] = order
        numbers = {split: np.array([number[name] for name in parts[split]], dtype=np.int64) for split in SPLITS}
        return cls(examples, table, tuple(names), numbers, groups, protocol or {}, separate_groups)

    def to(self, device: Any) -> "ClassPool":
        """The same pool with its examples on `device`."""
        return replace(self, examples=self.examples.to(device))

    def classes(self, split: str) -> tuple[str, ...]:
        """The names of the classes of a split."""
        return tuple(self.names[number] for number in self.parts[self._known(split)])

    def only(self, split: str, names: Sequence[str]) -> "ClassPool":
        """The same pool with `split` restricted to the classes `names`.

        Raises:
            ValueError: a class is of another split, or of none.
        """
        self._known(split)
        if not isinstance(names, list | tuple):
            raise TypeError(f"names must be a list of class names, got {names!r}")
        number = {name: index for index, name in enumerate(self.names)}
        chosen: list[int] = []
        for name in names:
            if number.get(name) in chosen:
                raise ValueError(f"names has the class {name!r} twice")
            if name not in number:
                raise ValueError(f"there is no class {name!r}")
            if number[name] not in self.parts[split]:
                owner = [other for other in SPLITS if number[name] in self.parts[other]]
                raise ValueError(f"the class {name!r} belongs to {owner[0] if owner else 'no split'}, not to {split}")
            chosen.append(number[name])
        return replace(self, parts={**self.parts, split: np.array(chosen, dtype=np.int64)})

    def reduced(
        self, classes: int | None = None, examples: int | None = None, *, seed: int = 0, split: str = "train"
    ) -> "ClassPool":
        """The same pool with fewer classes in one split, or fewer examples of each, drawn at random.

        The draws are nested: with one seed, 50 classes are among 100, and 5 examples of a class among its 10.

        Raises:
            ValueError: a number below one, or more classes than the split has.
        """
        given = {key: value for key, value in (("classes", classes), ("examples", examples)) if value is not None}
        check_whole(**given)
        check_seed(seed)
        rows = self.parts[self._known(split)]
        if classes is not None and not 1 <= classes <= len(rows):
            raise ValueError(f"classes must lie in 1 … {len(rows)}, as many as the {split} split has, got {classes}")
        if examples is not None and examples < 1:
            raise ValueError(f"examples must be at least 1, got {examples}")
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(rows))
        table = self.table
        if examples is not None:
            table = table.copy()
            keys = generator.random(table.shape) + (table < 0)
            shuffled = np.take_along_axis(table, np.argsort(keys, 1), 1)[:, :examples]
            table[rows] = np.pad(shuffled, ((0, 0), (0, table.shape[1] - shuffled.shape[1])), constant_values=-1)[rows]
        chosen = rows if classes is None else np.sort(rows[order[:classes]])
        protocol = {**self.protocol, f"reduced {split}": {**given, "seed": seed}}
        return replace(self, table=table, parts={**self.parts, split: chosen}, protocol=protocol)

    def long_tailed(
        self, exponent: float, minimum: int, seed: int = 0, split: str = "train", *, head: int = 1
    ) -> "ClassPool":
        """The same pool with class sizes that follow Zipf's law in one split: the class of rank r keeps
        n · (head / r)^exponent examples, at most the n that the largest class has.

        Which class has which rank, and which examples it keeps, is drawn from `seed`. The other splits are left alone,
        so that scores stay comparable.

        Args:
            exponent: 0 keeps everything, 1 is Zipf's law.
            minimum: what every class keeps at least, as far as it has it.
            head: the ranks up to which a class keeps everything.
        """
        check_real(exponent=exponent)
        check_whole(minimum=minimum, head=head)
        check_seed(seed)
        if exponent < 0 or head < 1:
            raise ValueError(f"exponent must not be negative and head at least 1, got {exponent} and {head}")
        rows = self.parts[self._known(split)]
        generator = np.random.default_rng(seed)
        rank = 1 + generator.permutation(len(rows))
        sizes = (self.table[rows] >= 0).sum(1)
        kept = np.minimum(sizes, np.maximum(minimum, np.round(sizes.max() * (head / rank) ** exponent))).astype(
            np.int64
        )
        table = self.table.copy()
        for row, size, keep in zip(rows, sizes, kept, strict=True):
            table[row] = -1
            table[row, :keep] = np.sort(generator.permutation(self.table[row, :size])[:keep])
        protocol = {
            **self.protocol,
            "long_tail": {"exponent": exponent, "minimum": minimum, "head": head, "seed": seed},
        }
        return replace(self, table=table, protocol=protocol)

    def episodes(
        self,
        ways: Range,
        shots: Range,
        queries: Range = 15,
        *,
        separate_groups: bool | None = None,
        class_sampling: ClassSampling = "uniform",
    ) -> TaskSource:
        """N-way K-shot tasks: three streams of episodes, each from its own classes.

        Args:
            ways: classes per task, fixed or (least, most).
            shots: support examples per class, fixed or (least, most); 0 is allowed.
            queries: query examples per class, likewise.
            separate_groups: draw support and query of a class from different groups; by default as the pool says.
            class_sampling: in training, draw every class equally often (`uniform`), or in proportion to its number of
                examples. Validation and test are always uniform.

        Raises:
            ValueError: an impossible shape; or, when a split is first asked for, that it has too few classes or a class
                too few examples (the message names it).
        """
        separate_groups = self.separate_groups if separate_groups is None else separate_groups
        shape = EpisodeShape(ways, shots, queries, separate_groups)

        def split(name: str) -> Episodes:
            table, sampling = self.table[self.parts[name]], class_sampling if name == "train" else "uniform"
            return Episodes(name, self.examples, table, self.classes(name), shape, self.groups, sampling)

        asked: dict[str, Any] = {"ways": ways, "shots": shots, "queries": queries, "separate_groups": separate_groups}
        if class_sampling != "uniform":
            asked["class_sampling"] = class_sampling
        train, validation, test = (partial(split, name) for name in SPLITS)
        return TaskSource(train, validation, test, {**self.protocol, **asked})

    def all_classes(self, size: int, *, sampling: ClassSampling = "proportional") -> AllClasses:
        """Examples of all training classes at once, labelled by the class's number: what to pre-train on.

        Args:
            size: examples per draw.
            sampling: draw among all examples (`proportional`), or first a class and then one of its examples.

        Raises:
            ValueError: a size below one, or an unknown sampling.
        """
        table = self.table[self.parts["train"]]
        return AllClasses("train", self.examples, table, self.classes("train"), size, sampling)

    def _known(self, split: str) -> str:
        if not isinstance(split, str) or split not in self.parts:
            raise ValueError(f"split must be one of {', '.join(self.parts)}, got {split!r}")
        return split


def part_classes(
    names: Sequence[str], fractions: tuple[float, float] = (0.2, 0.2), seed: int = 0
) -> dict[str, list[str]]:
    """Part class names at random into train, validation and test.

    Args:
        fractions: the shares of validation and test.

    Raises:
        ValueError: a split would be empty.
    """
    check_real(**{f"fractions[{place}]": fraction for place, fraction in enumerate(fractions)})
    order = np.argsort(draws.uniforms(seed, "part classes", 0, 1, len(names))[0])
    validation, test = (round(fraction * len(names)) for fraction in fractions)
    if min(validation, test, len(names) - validation - test) < 1:
        raise ValueError(f"fractions {fractions} of {len(names)} classes leave a split empty")
    shuffled = [names[i] for i in order]
    return {
        "validation": shuffled[:validation],
        "test": shuffled[validation : validation + test],
        "train": shuffled[validation + test :],
    }
