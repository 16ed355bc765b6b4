"""Categories as learned vectors: users, items, whatever has a number and no features of its own."""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from quickstudy.arguments import check_flag, check_whole
from quickstudy.networks.network import Network
from quickstudy.networks.normalization import Statistics
from quickstudy.networks.vectorised import in_vmap
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree

__all__ = ["EmbeddedFields", "Vectors", "category"]


@register
class EmbeddedFields(Network):
    """[e_user, e_item, e_user ∗ e_item, features], then layers with ReLU.

    Inputs are a dict of fields. Fields of categories hold their numbers, `[task, n]` int64, and have an embedding each;
    fields of numbers, `[task, n, length]` or `[task, n]`, are taken as they are; others are left unread.

    Args:
        categories: how many categories there are, by the field's name.
        embedding: length of an embedding.
        numbers: the lengths of the fields of numbers, by name.
        products: whether the product of every two embeddings, element by element, stands beside them: what matrix
            factorization adds up, and what layers with ReLU are slow to find.
        hidden: widths of the layers; none by default.

    Raises:
        ValueError: no field, a size below one; and when called, a field that is missing or of another form, or a
            category that there is not.
    """

    def __init__(
        self,
        categories: Mapping[str, int],
        embedding: int = 16,
        numbers: Mapping[str, int] | None = None,
        products: bool = False,
        hidden: Sequence[int] = (),
    ) -> None:
        super().__init__()
        numbers = {} if numbers is None else numbers
        for name, given in (("categories", categories), ("numbers", numbers)):
            if not isinstance(given, Mapping):
                raise TypeError(f"{name} must be a dict from fields to sizes, got {type(given).__name__}")
        if not isinstance(hidden, Sequence) or isinstance(hidden, str):
            raise TypeError(f"hidden must be a sequence of widths such as (40, 40), got {hidden!r}")
        check_flag(products=products)
        sizes = {
            "embedding": embedding,
            **{f"categories[{field!r}]": size for field, size in categories.items()},
            **{f"numbers[{field!r}]": size for field, size in numbers.items()},
            **{f"hidden[{place}]": size for place, size in enumerate(hidden)},
        }
        check_whole(**sizes)
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if not categories:
            raise ValueError("categories is empty: for numbers alone use MLP")
        if both := sorted(set(categories) & set(numbers)):
            raise ValueError(f"categories and numbers both name {both[0]!r}")
        self.categories, self.numbers, self.products, self.hidden = dict(categories), dict(numbers), products, hidden
        self.embedding = embedding
        self.embeddings = nn.ModuleList(Vectors(size, embedding) for size in categories.values())
        count = len(categories)
        inputs = embedding * (count + products * count * (count - 1) // 2) + sum(numbers.values())
        widths = (inputs, *hidden)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.width = widths[-1]

    def forward(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "task n width"], Statistics]:
        vectors = [
            table(category(x, field, size))
            for (field, size), table in zip(self.categories.items(), self.embeddings, strict=True)
        ]
        products = [a * b for a, b in combinations(vectors, 2)] if self.products else []
        numbers = [self._numbers(x, field, length).to(vectors[0].dtype) for field, length in self.numbers.items()]
        hidden = torch.cat([*vectors, *products, *numbers], -1)
        for layer in self.layers:
            hidden = F.relu(layer(hidden))
        return hidden, {}

    @staticmethod
    def _numbers(x: Tree, field: str, length: int) -> Tensor:
        leaf = _field(x, field)
        leaf = leaf[..., None] if leaf.ndim == 2 else leaf
        if not leaf.is_floating_point() or leaf.shape[-1] != length or leaf.ndim != 3:
            raise ValueError(
                f"x[{field!r}] must be floating-point [task, n, {length}], got {leaf.dtype} {tuple(leaf.shape)}"
            )
        return leaf


class Vectors(nn.Embedding):
    """Vectors of length about one, whatever their number of entries, also when they are drawn anew."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)


def category(x: Tree, field: str, size: int) -> Int[Tensor, "task n"]:
    """The numbers of a field of `size` categories.

    Raises:
        TypeError, ValueError: the field is not there, holds other things, or names a category that there is not.
    """
    leaf = _field(x, field)
    if leaf.dtype != torch.int64 or leaf.ndim != 2:
        raise ValueError(f"x[{field!r}] must be int64 numbers [task, n], got {leaf.dtype} {tuple(leaf.shape)}")
    # Elsewhere the look would cost a wait, or cannot be had.
    if leaf.device.type == "cpu" and leaf.numel() and not torch.compiler.is_compiling() and not in_vmap():
        low, high = (int(end) for end in leaf.aminmax())
        if low < 0 or high >= size:
            raise ValueError(
                f"x[{field!r}] has the number {low if low < 0 else high}, but there are {size} categories, from 0"
            )
    return leaf


def _field(x: Tree, field: str) -> Tensor:
    if not isinstance(x, dict):
        raise TypeError(f"x must be a dict of fields, got {type(x).__name__}")
    if not isinstance(x.get(field), Tensor):
        raise ValueError(f"x must have a tensor for the field {field!r}; it has {', '.join(x) or 'none'}")
    return x[field]
