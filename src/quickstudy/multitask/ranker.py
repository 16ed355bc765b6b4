"""A multi-objective ranker: experts that objectives share, and a shallow tower that takes the blame for places.

Zhao, Hong, Wei, Chen, Nath, Andrews, Kumthekar, Sathiamoorthy, Yi & Chi, "Recommending What Video to Watch Next: A
Multitask Ranking System", RecSys 2019.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.arguments import check_real, check_whole
from quickstudy.multitask.experts import check_dropout
from quickstudy.multitask.heads import Heads, check_widths, of_rows
from quickstudy.multitask.module import NamedModule, Objectives
from quickstudy.multitask.multi_gate import MultiGateMixture
from quickstudy.networks import evaluating
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree
from quickstudy.tasks.likelihood import Reduction

__all__ = ["Combination", "MultiObjectiveRanker", "combined_score"]

Combination: TypeAlias = Literal["sum", "product"]


@register
class MultiObjectiveRanker(MultiGateMixture):
    """MMoE, and for what a log biases: log odds(click | x, place) = h(x) + b(place).

    The tower b is part of the losses, since the log is biased: `module(batch)` has it, in training and in validation.
    Of what is served it is no part: `predict` and `scores` are h(x), whatever place the inputs name. In training b is
    left out of a share of the examples, which keeps h from leaving to it what it could know itself, and fixes what
    the two would otherwise trade: a constant.

    Args:
        network: what comes before the experts; it must not read the fields of `bias`.
        likelihoods: what the outputs of each task's head mean.
        bias: fields of the inputs that say how the log was made (the place in a list, the device), and how many
            values each has; `[task, n]` int64.
        biased: the tasks whose targets depend on them.
        bias_hidden: widths of the hidden layers of the tower; with none, b is a table.
        bias_dropout: the probability of leaving b out, in training.
        experts, hidden, tower, dropout, reduction: as of `MultiGateMixture`.

    Raises:
        ValueError: no field, no biased task, one that there is not or that has more than one output, or a number out of
            its range.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihoods: Objectives,
        bias: Mapping[str, int],
        biased: Sequence[str],
        bias_hidden: Sequence[int] = (),
        bias_dropout: float = 0.1,
        experts: int = 8,
        hidden: Sequence[int] = (64,),
        tower: Sequence[int] = (),
        dropout: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(network, likelihoods, experts, hidden, tower, dropout, reduction)
        if not isinstance(bias, Mapping) or isinstance(biased, str) or not isinstance(biased, Sequence):
            raise TypeError(
                f"bias must be a dict from fields to numbers of values and biased a list of tasks, got {bias!r} and "
                f"{biased!r}"
            )
        check_whole(**{f"bias[{field!r}]": size for field, size in bias.items()})
        if min(bias.values(), default=0) < 1 or not biased:
            raise ValueError(
                f"bias and biased must name a field of at least 1 value and a task, got {bias!r}, {biased!r}"
            )
        for task in biased:
            if self.objectives[self.tasks[self._number(task)]].likelihood.outputs != 1:
                raise ValueError(f"the task {task!r} has more than one output, and the tower gives one; see biased")
        check_dropout(bias_dropout)
        self.bias, self.biased, self.bias_dropout = dict(bias), tuple(biased), bias_dropout
        self.bias_hidden = check_widths("bias_hidden", bias_hidden, 0)
        self.bias_tower = Heads(len(self.biased), sum(bias.values()), 1, self.bias_hidden)
        if not self.bias_hidden:
            nn.init.zeros_(self.bias_tower.layers[0].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.bias_tower.layers[-1].bias)  # type: ignore[arg-type]

    def own_parameters(self) -> list[nn.Parameter]:
        return [*super().own_parameters(), *self.bias_tower.parameters()]

    def _as_logged(
        self, raw: Float[Tensor, "task n outputs"], x: Tree, tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        """Places included."""
        return raw + self._blamed(x, tasks, of, raw)

    def predict_logged(self, task: str, x: Tree, mask: Bool[Tensor, "1 n"] | None = None) -> Distribution:
        """As `predict`, of what the log would have at the places that the inputs name.

        Raises:
            ValueError: a task that the module was not built for.
        """
        return self._predicted(task, x, mask, logged=True)

    def _blamed(
        self, x: Tree, tasks: Sequence[int], of: Sequence[int], raw: Float[Tensor, "task n outputs"]
    ) -> Float[Tensor, "task n outputs"]:
        """b for the first output of every biased task, and zeros elsewhere."""
        columns = []
        for field, size in self.bias.items():
            if not isinstance(x, dict) or not isinstance(x.get(field), Tensor):
                raise ValueError(f"x must be a dict with the field {field!r}, which the tower of places reads")
            values = x[field]
            # Elsewhere the look would cost a wait; there a value that there is not stops the device.
            if values.device.type == "cpu" and values.numel() and not torch.compiler.is_compiling():
                low, high = (int(end) for end in values.aminmax())
                if low < 0 or high >= size:
                    raise ValueError(f"x[{field!r}] has the value {low if low < 0 else high}; see bias, {self.bias}")
            columns.append(F.one_hot(values, size).to(raw.dtype))
        own = [self._number(task) for task in self.biased]
        places = [place for place, number in enumerate(tasks) if number in own]
        blamed = torch.zeros_like(raw)
        if places:
            asked = of_rows(torch.cat(columns, -1), [of[place] for place in places])
            b = self.bias_tower(asked, [own.index(tasks[place]) for place in places])
            if self.training and self.bias_dropout > 0:
                b = b * (torch.rand_like(b) >= self.bias_dropout)
            blamed[places, :, :1] = b
        return blamed


@torch.no_grad()
def combined_score(
    module: NamedModule, x: Tree, weights: Mapping[str, float], form: Combination = "sum"
) -> Float[Tensor, " n"]:
    """One number to rank by, from what is expected of every objective: Σ_i w_i E[y_i | x], or Π_i E[y_i | x]^w_i.

    What an objective is worth is for the user to say; the paper tunes its weighted product by hand. A product suits
    objectives that follow one another: of P(click) and P(watched | click) it is the probability of both. The module
    predicts in evaluation mode.

    Args:
        module: with a task for every weight.
        x: inputs `[1, n, ...]`.
        weights: by the tasks' names; a negative one counts against.
        form: `sum` or `product`; in a product every expectation must be positive.

    Raises:
        ValueError: no weight, an unknown task or form, or an expectation that is not positive in a product.
    """
    if form not in get_args(Combination):
        raise ValueError(f"form must be one of {', '.join(get_args(Combination))}, got {form!r}")
    if not weights:
        raise ValueError("weights is empty: name a task and its weight")
    check_real(**{f"weights[{task!r}]": weight for task, weight in weights.items()})
    parts = []
    with evaluating(module):
        for task, weight in weights.items():
            expected = module.predict(task, x).mean[0]
            if expected.ndim != 1 or expected.isnan().any():
                raise ValueError(f"weights names {task!r}, which has classes or several targets: no number to weigh")
            if form == "product":
                if not (expected > 0).all():
                    raise ValueError(
                        f"{task!r} is expected to be {float(expected.min()):.3g}: a product takes positive ones"
                    )
                expected = expected.log()
            parts.append(weight * expected)
    return torch.stack(parts).sum(0)
