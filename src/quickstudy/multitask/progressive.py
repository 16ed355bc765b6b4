"""Progressive layered extraction: experts that all tasks share beside experts of each task, level upon level.

Tang, Liu, Zhao & Gong, "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning Model for Personalized
Recommendations", RecSys 2020. One level is the paper's customized gate control (CGC).
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.multitask.batch import rows
from quickstudy.multitask.experts import Experts, check_dropout, gated
from quickstudy.multitask.heads import Parallel, check_widths
from quickstudy.multitask.module import NamedModule, Objectives, trunk
from quickstudy.multitask.multi_gate import used
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree
from quickstudy.tasks.likelihood import Reduction

__all__ = ["ProgressiveExtraction"]


class _Level(nn.Module):
    """Streams in, streams out: one for each task, and one for all (the last of them, which the last level has not).

    A task's gate mixes its own experts and the shared ones; the shared gate mixes all experts there are.
    """

    def __init__(self, tasks: int, inputs: int, hidden: Sequence[int], own: int, shared: int, last: bool) -> None:
        super().__init__()
        self.tasks, self.own, self.shared_count, self.last = tasks, own, shared, last
        self.own_experts = Experts(tasks * own, inputs, hidden) if own else None
        self.shared_experts = Experts(shared, inputs, hidden)
        self.gates = Parallel(tasks, inputs, own + shared)
        self.shared_gate = None if last else nn.Linear(inputs, tasks * own + shared)

    def forward(
        self, streams: Float[Tensor, "stream row n inputs"], dropout: float
    ) -> tuple[Float[Tensor, "next row n width"], Float[Tensor, "task row n expert"]]:
        for_all = streams[-1]
        shared = self.shared_experts(for_all.expand(self.shared_count, *for_all.shape))
        said = shared.expand(self.tasks, *shared.shape)  # [task, expert, row, n, width], a task's own first
        everyone = shared
        if self.own_experts is not None:
            own = self.own_experts(streams[:-1].repeat_interleave(self.own, 0))
            everyone = torch.cat([own, shared])
            said = torch.cat([own.unflatten(0, (self.tasks, self.own)), said], 1)
        shares = gated(self.gates(streams[:-1]), dropout, self.training)
        mixed = torch.einsum("trnk,tkrnw->trnw", shares, said)
        if self.shared_gate is None:
            return mixed, shares
        common = gated(self.shared_gate(for_all), dropout, self.training)
        return torch.cat([mixed, torch.einsum("rnk,krnw->rnw", common, everyone)[None]]), shares


@register
class ProgressiveExtraction(NamedModule):
    """PLE: what is common and what is a task's own are learned by different experts.

    Args:
        network: what comes before the experts, shared by all: `Inputs` for none.
        likelihoods: what the outputs of each task's head mean.
        own: experts of every task; with none, and one level, this is a multi-gate mixture.
        shared: experts for all.
        levels: how many; one is CGC.
        hidden: widths of the layers of an expert.
        tower: widths of hidden layers that each task has of its own, before its output layer.
        dropout: the probability of leaving an expert out of an example's mixture, in training.
        reduction: mean or sum over the examples of a task.

    Raises:
        ValueError: no task, no shared expert, no level, no layer, or a dropout that is no probability below one.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihoods: Objectives,
        own: int = 2,
        shared: int = 2,
        levels: int = 1,
        hidden: Sequence[int] = (64,),
        tower: Sequence[int] = (),
        dropout: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihoods, reduction)
        check_whole(own=own, shared=shared, levels=levels)
        if own < 0 or shared < 1 or levels < 1:
            raise ValueError(
                f"own must not be negative, shared and levels at least 1, got {own}, {shared} and {levels}"
            )
        check_dropout(dropout)
        self.network, self.hidden, self.dropout = trunk(network), check_widths("hidden", hidden), dropout
        self.own, self.shared, self.levels, self.tower = own, shared, levels, tuple(tower)
        widths = [self.network.width, *[self.hidden[-1]] * (levels - 1)]
        self.extraction = nn.ModuleList(
            _Level(len(self.tasks), width, self.hidden, own, shared, number == levels - 1)
            for number, width in enumerate(widths)
        )
        self.heads = self._heads(self.hidden[-1], tower)

    def own_parameters(self) -> list[nn.Parameter]:
        own = list(self.heads.parameters())
        for level in self.extraction:
            assert isinstance(level, _Level)
            own += level.gates.parameters()
            # Those of earlier levels feed the experts that all share.
            own += level.own_experts.parameters() if level.own_experts is not None and level.last else []
        return own

    def raw(
        self, x: Tree, mask: Bool[Tensor, "row n"], tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        streams, _ = self._extracted(x, mask)
        return self.heads(streams[list(tasks), list(of)], tasks)

    def _extracted(self, x: Tree, mask: Bool[Tensor, "row n"]) -> tuple[Tensor, list[Tensor]]:
        features, _ = self.network(x, mask)
        streams, shares = features.expand(len(self.tasks) + 1, *features.shape), []
        for level in self.extraction:
            streams, share = level(streams, self.dropout)
            shares.append(share)
        return streams, shares

    @torch.no_grad()
    def gate_usage(self, batch: Any, level: int = -1) -> dict[str, Float[Tensor, " expert"]]:
        """The share that each expert has at a level, a task's own first, on average over a batch's examples of it."""
        view = rows(batch)
        shares = self._extracted(view.x, view.mask)[1][level]
        return {
            task: used(shares[self._number(task), row], one.mask[0])
            for row, (task, one) in zip(view.of, view.labels.items(), strict=True)
        }
