"""What a user takes, by factorization, and how it is rated, by a network on the same vectors of users and items.

Koren, Bell & Volinsky, "Matrix Factorization Techniques for Recommender Systems", IEEE Computer 2009; pairs as in
Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from quickstudy.arguments import check_flag, check_whole
from quickstudy.multitask.heads import Heads, check_widths, in_order, of_rows
from quickstudy.multitask.module import NamedModule, Objectives
from quickstudy.multitask.preference import BPR
from quickstudy.networks.embedded_fields import Vectors, category
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree
from quickstudy.tasks.likelihood import Reduction

__all__ = ["Factorization"]


@register
class Factorization(NamedModule):
    """s(u, i) = e_u · e_i + b_i for the preference, MLP([e_u, e_i, e_u ∗ e_i]) for every other task.

    Inputs are a dict of the numbers `user`, `item` and `other`, `[1, n]` int64 each: an example of the preference is
    that `item` was taken rather than `other`, as `movielens` has them. A bias of users would cancel out in every
    pair, so there is none.

    Args:
        users, items: how many there are.
        likelihoods: what each task's outputs mean; one of them is `BPR`, the others say what is predicted of a user and
            an item (a rating, say).
        embedding: length of a vector.
        hidden: widths of the hidden layers of the network, which every task but the preference has of its own.
        shared: whether both ways read the same vectors; otherwise each has its own, and nothing is shared.
        reduction: mean or sum over the examples of a task.

    Raises:
        ValueError: a size below one, or not exactly one `BPR`; and when called, a user or an item that there is not.
    """

    def __init__(
        self,
        users: int,
        items: int,
        likelihoods: Objectives,
        embedding: int = 32,
        hidden: Sequence[int] = (64,),
        shared: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihoods, reduction)
        sizes = {"users": users, "items": items, "embedding": embedding}
        check_whole(**sizes)
        check_flag(shared=shared)
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        pairs = [task for task, it in self.objectives.items() if isinstance(it.likelihood, BPR)]
        if len(pairs) != 1:
            raise ValueError(f"likelihoods must have exactly one task with BPR, got {', '.join(pairs) or 'none'}")
        self.users, self.items, self.embedding, self.shared = users, items, embedding, shared
        self.hidden = check_widths("hidden", hidden, 0)
        self.preference = pairs[0]
        # The second of each, where there is one, is read by the network alone.
        self.user, self.item = (
            nn.ModuleList(Vectors(size, embedding) for _ in range(1 if shared else 2)) for size in (users, items)
        )
        self.bias = nn.Parameter(torch.zeros(items))
        self.rated = [task for task in self.tasks if task != self.preference]
        outputs = max((self.objectives[task].likelihood.outputs for task in self.rated), default=1)
        self.heads = Heads(len(self.rated), 3 * embedding, outputs, self.hidden)

    @property
    def normalization(self) -> str:
        return "none"

    def own_parameters(self) -> list[nn.Parameter]:
        return list(self.parameters()) if not self.shared else [*super().own_parameters(), self.bias]

    def raw(
        self, x: Tree, mask: Bool[Tensor, "row n"], tasks: Sequence[int], of: Sequence[int]
    ) -> Float[Tensor, "task n outputs"]:
        user, item = category(x, "user", self.users), category(x, "item", self.items)
        names = [self.tasks[number] for number in tasks]
        pairs = [place for place, name in enumerate(names) if name == self.preference]
        rated = [place for place, name in enumerate(names) if name != self.preference]
        parts = []
        if pairs:
            other = category(x, "other", self.items)
            scores = torch.stack([self._score(user, each) for each in (item, other)], -1)
            parts.append(scores[[of[place] for place in pairs]])
        if rated:
            u, q = self.user[-1](user), self.item[-1](item)
            features = of_rows(torch.cat([u, q, u * q], -1), [of[place] for place in rated])
            parts.append(self.heads(features, [self.rated.index(names[place]) for place in rated]))
        return in_order(parts, [group for group in (pairs, rated) if group])

    def ranking(self, user: Int[Tensor, " n"]) -> Float[Tensor, "n item"]:
        """s(u, i) of these users and all items: high is first."""
        users = category({"user": user[None]}, "user", self.users)[0]
        return self.user[0](users) @ self.item[0].weight.mT + self.bias

    def _score(self, user: Int[Tensor, "row n"], item: Int[Tensor, "row n"]) -> Float[Tensor, "row n"]:
        return (self.user[0](user) * self.item[0](item)).sum(-1) + self.bias[item]
