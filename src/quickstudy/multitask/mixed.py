"""Several data sets drawn as one: every draw is an example of one task, and how the task is chosen is explicit."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quickstudy.arguments import check_real
from quickstudy.multitask.batch import SharedBatch
from quickstudy.multitask.shared import part_of
from quickstudy.tasks import draws
from quickstudy.tasks.source import Sampler

__all__ = ["MixedSplit", "Sampling"]

Sampling: TypeAlias = Literal["proportional", "uniform", "temperature", "stratified"]


class MixedSplit(Sampler[SharedBatch]):
    """D = ∪ D_i: each draw is an input with the target of its own task, all others missing.

    In training, the task of a draw is chosen with probability p_i, and the example uniformly among the task's:

        proportional   p_i ∝ n_i            every example counts alike
        uniform        p_i = 1 / T          every task counts alike
        temperature    p_i ∝ n_i^(1 / τ)    between the two (τ = 1 and τ = ∞)
        stratified     n_i / Σ n_j of every batch, up to one example, and every example once in a round

    In the other splits the draws 0 … size − 1 are every example exactly once.

    Arivazhagan et al., "Massively Multilingual Neural Machine Translation in the Wild", 2019 (temperature).

    Args:
        name: the split's name.
        data: (x `[n_i, ...]`, y `[n_i, ...]`) of every task.
        sampling: how the task of a draw is chosen.
        temperature: τ, for `temperature`.

    Raises:
        ValueError: an unknown sampling, a temperature below 1, or one where none is meant.
    """

    size: int

    def __init__(
        self,
        name: str,
        data: Mapping[str, tuple[Tensor, Tensor]],
        sampling: Sampling = "proportional",
        temperature: float | None = None,
    ) -> None:
        if sampling not in get_args(Sampling):
            raise ValueError(f"sampling must be one of {', '.join(get_args(Sampling))}, got {sampling!r}")
        if (temperature is not None) != (sampling == "temperature"):
            raise ValueError(f"temperature is {temperature}, but sampling is {sampling!r}; the two go together")
        if temperature is not None:
            check_real(temperature=temperature)
            if temperature < 1:
                raise ValueError(f"temperature must be at least 1, got {temperature}")
        self.name, self.data, self.sampling, self.temperature = name, dict(data), sampling, temperature
        self.sizes = np.array([len(x) for x, _ in self.data.values()])
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.size = int(self.sizes.sum())
        self._x = torch.cat([x for x, _ in self.data.values()])

    def to(self, device: Any) -> "MixedSplit":
        """The same examples on `device`."""
        data = {task: (x.to(device), y.to(device)) for task, (x, y) in self.data.items()}
        return MixedSplit(self.name, data, self.sampling, self.temperature)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """p_i, the share of each task in what is drawn for training."""
        power = {"uniform": 0.0, "temperature": 1 / (self.temperature or 1)}.get(self.sampling, 1.0)
        weights = self.sizes.astype(float) ** power
        return weights / weights.sum()

    def draw(self, first: int, count: int, seed: int) -> SharedBatch:
        """The draws `first` … `first + count − 1`."""
        if self.name != "train":
            rows = np.arange(first, first + count)
            return self._batch(rows % self.size, rows < self.size)
        return self._batch(self._drawn(first, count, seed), np.ones(count, bool))

    def sample(self, step: int, size: int, seed: int, *, rank: int = 0, world: int = 1) -> SharedBatch:
        """As `Sampler.sample`; means are over the examples of the whole batch."""
        super().sample(step, size, seed, rank=rank, world=world)
        return part_of(self.draw(step * size, size, seed), rank, world)

    def _drawn(self, first: int, count: int, seed: int) -> NDArray[np.int64]:
        """Numbers of examples, those of the first task first."""
        stream = f"mixed/{self.name}/{self.sampling}"
        if self.sampling == "stratified":
            return self._strata(first, count, seed, stream)
        uniform = draws.uniforms(seed, stream, first, count, 2)
        task = np.searchsorted(np.cumsum(self.probabilities), uniform[:, 0], side="right").clip(max=len(self.sizes) - 1)
        return self.starts[task] + draws.integers(uniform[:, 1], 0, self.sizes[task] - 1)

    def _strata(self, first: int, count: int, seed: int, stream: str) -> NDArray[np.int64]:
        """Place k of the n_i examples of a task stands at (k + 1/2) / n_i of a round: the tasks are spread evenly."""
        places = np.concatenate([(np.arange(n) + 0.5) / n for n in self.sizes])
        task = np.repeat(np.arange(len(self.sizes)), self.sizes)
        order = np.argsort(places, kind="stable")
        number = np.arange(first, first + count)
        drawn = np.empty(count, np.int64)
        for turn in np.unique(number // self.size):
            here = number // self.size == turn
            shuffled = np.lexsort((draws.uniforms(seed, stream, int(turn), 1, self.size)[0], task))
            drawn[here] = shuffled[order[number[here] % self.size]]
        return drawn

    def _batch(self, rows: NDArray[np.int64], real: NDArray[np.bool_]) -> SharedBatch:
        device = self._x.device
        row, there = torch.from_numpy(rows).to(device), torch.from_numpy(real).to(device)
        y, mask = {}, {}
        for (task, (_, targets)), start, size in zip(self.data.items(), self.starts, self.sizes, strict=True):
            mine = there & (row >= start) & (row < start + size)
            y[task] = targets[(row - int(start)).clamp(0, int(size) - 1)][None]
            mask[task] = mine[None]
        count = {task: those.sum(1).float() for task, those in mask.items()}
        return SharedBatch(self._x[row][None], y, mask, count)
