"""Small families of tasks that every learner can learn something of: inputs `[task, n, 6]`, at most 4 classes."""

import math

import torch
from torch import Tensor

from quickstudy.learners import MAML, GradientLearner, Learner, MemoryAugmentedNetwork, RecurrentLearner
from quickstudy.tasks import Examples, Kind, Sampler, TaskBatch

WAYS = 4


def kinds_to_train(cls: type[Learner]) -> list[Kind]:
    """Every kind of task that a learner learns; one, where adapting is a loop: it takes long, and is alike for all."""
    loops = GradientLearner | RecurrentLearner | MemoryAugmentedNetwork
    if issubclass(cls, loops) and cls is not MAML:
        return ["classification"]
    return sorted(cls.kinds)


class Problems(Sampler[TaskBatch]):
    """Uneven tasks: 3 to `support` support and 2 to `query` query examples, 2 to 4 classes.

    Classes are clusters around centres of the task's own; yes and no are divided by a direction of the task's own;
    real targets are a wave in the first input.
    """

    def __init__(self, kind: Kind, support: int = 12, query: int = 8, name: str = "train") -> None:
        self.kind, self.support, self.query, self.name = kind, support, query, name

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        generator = torch.Generator().manual_seed(1_000_003 * seed + first + 17 * len(self.name))
        total = self.support + self.query
        noise = torch.randn(count, total, 6, generator=generator, dtype=torch.float64)
        y, x, classes = getattr(self, f"_{self.kind}")(count, total, noise, generator)
        sizes = torch.randint(3, self.support + 1, (count,), generator=generator)
        asked = torch.randint(2, self.query + 1, (count,), generator=generator)
        mask_s = torch.arange(self.support) < sizes[:, None]
        mask_q = torch.arange(self.query) < asked[:, None]
        return TaskBatch(
            Examples(x[:, : self.support], y[:, : self.support], mask_s),
            Examples(x[:, self.support :], y[:, self.support :], mask_q),
            classes,
        ).map(lambda leaf: leaf.to(torch.get_default_dtype()) if leaf.is_floating_point() else leaf)

    def _classification(self, count: int, total: int, noise: Tensor, generator: torch.Generator) -> tuple:
        ways = torch.randint(2, WAYS + 1, (count,), generator=generator)
        centres = 2 * torch.randn(count, WAYS, 6, generator=generator, dtype=torch.float64)
        y = (torch.rand(count, total, generator=generator) * ways[:, None]).long()
        x = centres.gather(1, y[..., None].expand(-1, -1, 6)) + 0.5 * noise
        return y, x, torch.arange(WAYS) < ways[:, None]

    def _binary(self, count: int, total: int, noise: Tensor, generator: torch.Generator) -> tuple:
        direction = torch.randn(count, 1, 6, generator=generator, dtype=torch.float64)
        return ((noise * direction).sum(-1) > 0).double(), noise, None

    def _regression(self, count: int, total: int, noise: Tensor, generator: torch.Generator) -> tuple:
        amplitude = 2 + 2 * torch.rand(count, 1, generator=generator, dtype=torch.float64)
        phase = math.pi * torch.rand(count, 1, generator=generator, dtype=torch.float64)
        return amplitude * torch.sin(noise[..., 0] - phase), noise, None


def poisoned(examples: Examples) -> Examples:
    """The same examples with the worst that could stand in their padding."""
    wide = examples.mask[..., None]
    labels = examples.y
    worst = torch.full_like(labels, 10**9) if labels.dtype == torch.int64 else torch.full_like(labels, math.nan)
    x = torch.where(wide, examples.x, torch.full_like(examples.x, math.nan))
    return Examples(x, torch.where(examples.mask, labels, worst), examples.mask)
