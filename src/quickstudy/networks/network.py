"""What every network here is: a map from the examples of T tasks to feature vectors, padding and tasks kept apart."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from quickstudy.arguments import check_whole
from quickstudy.networks.normalization import Statistics
from quickstudy.networks.vectorised import in_vmap
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree, map_tensors

__all__ = ["Network", "PerExample", "as_network", "expect_precision", "folded"]


class Network(nn.Module, ABC):
    """A feature extractor.

    Attributes:
        width: length of the feature vector.
        maps: (channels, height, width) when the feature vector is a flattened image; None when it is none.
        normalization: the policy of its normalization layers (see `quickstudy.networks.normalization`), reported on
            result cards.
        input_shape: the axes of an example, when the network takes one tensor and says which.
        adaptable: it is known that it can be differentiated twice and vectorised over weights, and that it keeps no
            state, so that learners with an inner loop need not try. A subclass with another forward says False.
    """

    width: int
    maps: tuple[int, int, int] | None = None
    normalization: str = "none"
    adaptable: bool = False

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        return None

    @abstractmethod
    def forward(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "task n width"], Statistics]:
        """Features of `x` `[task, n, ...]`.

        Args:
            x: inputs.
            mask: which of them are real; features of the others are finite and mean nothing.
            statistics: what this network returned for the support, when `x` are queries; None for the support itself.

        Returns:
            The features, and the statistics that normalization keeps for the queries.
        """


def folded(function: Callable[[Tree], Tensor], x: Tree) -> Float[Tensor, "task n *out"]:
    """Apply a function of a batch `[example, ...]`, a tensor or a tree of them, to `[task, n, ...]`."""
    return function(map_tensors(lambda leaf: leaf.flatten(0, 1), x)).unflatten(0, tree_leaves(x)[0].shape[:2])


@register
class PerExample(Network):
    """Your own module as a network: anything that maps a batch `[example, ...]` (or a tree: an image with what is
    known of it) to vectors `[example, width]`.

    Args:
        module: applied to the examples of all tasks at once. To save it, register its class (`quickstudy.register`).
        width: length of its output.
        inputs: the axes of an example, if it takes one tensor; learners that must look into the module (whether it
            can be differentiated twice, say) then do so when they are made, and otherwise at their first task.

    Raises:
        TypeError: it is not a module.
        ValueError: a width or an axis below one, or the module contains batch normalization, which would let tasks and
            padding into one another.
    """

    def __init__(self, module: nn.Module, width: int, inputs: Sequence[int] | None = None) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
        check_whole(width=width)
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        if inputs is not None:
            if not isinstance(inputs, Sequence) or isinstance(inputs, str):
                raise TypeError(f"inputs must be the axes of an example such as (3, 32, 32), got {inputs!r}")
            check_whole(**{f"inputs[{place}]": length for place, length in enumerate(inputs)})
            if min(inputs, default=1) < 1:
                raise ValueError(f"inputs must be the axes of an example, all positive, got {inputs!r}")
        for name, part in module.named_modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and not isinstance(
                part, nn.modules.instancenorm._InstanceNorm
            ):
                raise ValueError(
                    f"{name or 'module'} is {type(part).__name__}, whose statistics mix tasks and padding; use "
                    "nn.GroupNorm or nn.LayerNorm there, or write a Network with quickstudy.networks.Normalization"
                )
        self.module, self.width = module, width
        self.inputs = None if inputs is None else tuple(inputs)

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        return self.inputs

    def forward(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "task n width"], Statistics]:
        features = folded(self.module, x)
        if features.ndim != 3 or features.shape[-1] != self.width:
            raise ValueError(
                f"module must give vectors of width {self.width}, got the shape {tuple(features.shape[1:])}"
            )
        return features, {}


def as_network(module: nn.Module) -> Network:
    """`module` if it is a network.

    Raises:
        TypeError: it is something else; the message says how to wrap it.
    """
    if not isinstance(module, Network):
        raise TypeError(
            f"network must be a quickstudy Network, got {type(module).__name__}; wrap a module that maps "
            "[example, ...] to [example, width] as quickstudy.networks.PerExample(module, width)"
        )
    return module


def expect_images(x: Tree, channels: int, name: str) -> Tensor:
    """`x` if it is a floating-point image tensor `[task, n, channels, height, width]`.

    Raises:
        TypeError, ValueError: it is not.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        found = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} takes floating-point images, got {found}; scale uint8 images by 1/255")
    if x.ndim != 5 or x.shape[2] != channels:
        raise ValueError(f"{name} takes images [task, n, {channels}, height, width], got the shape {tuple(x.shape)}")
    return x


def expect_precision(x: Tensor, network: nn.Module) -> None:
    """Refuse inputs of another precision than the weights, unless autocast brings them together.

    Raises:
        TypeError: they are of another.
    """
    precision = next(network.parameters()).dtype
    # Autocast leaves float64 alone.
    casts = torch.is_autocast_enabled(x.device.type) and torch.float64 not in (x.dtype, precision)
    if x.dtype != precision and not casts:
        raise TypeError(
            f"x is {x.dtype}, but the weights of {type(network).__name__} are {precision}; convert the one or the other"
        )


def channels_last(x: Float[Tensor, "task n channel height width"]) -> Float[Tensor, "example channel height width"]:
    """The images of all tasks as one batch, channels innermost in memory (1.5 times faster convolutions on CPUs)."""
    images = x.flatten(0, 1)
    if torch.compiler.is_compiling() or in_vmap():  # neither can ask for a memory format; the compiler chooses its own
        return images
    return images.contiguous(memory_format=torch.channels_last)
