"""Networks that are not trained any more: pre-trained backbones, and their features computed once and kept on disk."""

import copy
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.networks.checksum import module_checksum, tensor_checksum
from quickstudy.networks.network import Network, folded
from quickstudy.networks.normalization import Normalization, Statistics
from quickstudy.progress import bar
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Tree
from quickstudy.tasks.datasets.storage import packed
from quickstudy.tasks.episodes import as_floats
from quickstudy.tasks.pool import ClassPool

__all__ = ["Frozen", "frozen_features"]

_VERSION = 1
_OF_THE_TASK = ("support", "transductive", "task")


@register
class Frozen(Network):
    """A trained module as a network that stays as it is: always in evaluation mode, and without gradients.

    Batch normalization then uses the averages that it has kept, so that pre-trained backbones serve which `PerExample`
    refuses. The module itself is set to that state.

    Args:
        module: a network whose features of an example depend on no other, or any module from `[example, ...]` to
            `[example, width]`. To save it, register its class (`quickstudy.register`).
        width: length of the features; by default `module.width`.

    Raises:
        ValueError: the module normalises by statistics of the task or the batch, or has no `width` and none is given.
    """

    def __init__(self, module: nn.Module, width: int | None = None) -> None:
        super().__init__()
        _refuse_statistics(module)
        width = getattr(module, "width", None) if width is None else width
        if not isinstance(width, int):
            raise ValueError(f"width must be the length of the features of {type(module).__name__}, got {width!r}")
        self.module, self.width = module.eval().requires_grad_(False), width
        self.normalization = getattr(module, "normalization", "none")

    def train(self, mode: bool = True) -> "Frozen":
        super().train(mode)
        self.module.eval()
        return self

    def forward(
        self, x: Tree, mask: Bool[Tensor, "task n"], statistics: Statistics | None = None
    ) -> tuple[Float[Tensor, "task n width"], Statistics]:
        features = self.module(x, mask)[0] if isinstance(self.module, Network) else folded(self.module, x)
        if features.ndim != 3 or features.shape[-1] != self.width:
            raise ValueError(
                f"module must give vectors of width {self.width}, got the shape {tuple(features.shape[1:])}"
            )
        return features, {}


def frozen_features(
    pool: ClassPool, module: nn.Module, *, batch_size: int = 256, device: str | torch.device = "cpu"
) -> ClassPool:
    """The pool with features in the place of its examples, `[width]` floats, from the cache when they were computed.

    Classes, splits and groups stay. The file's name is made from checksums of the module (its weights, settings and
    source) and of the examples, so other weights or other data give another file; it is written whole or not at all.

    Args:
        pool: uint8 images are given to the module as floats in [0, 1], as episodes give them.
        module: as for `Frozen`; it is copied, and stays as it is.
        batch_size: examples at a time.
        device: where they are computed; the features come back to where the examples are.

    Raises:
        ValueError: the module's features of an example depend on others, are no vectors or are not finite; the pool is
            empty; the batch size is below one.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if not len(pool.examples):
        raise ValueError("pool has no examples")
    _refuse_statistics(module)
    weights, device = module_checksum(module), torch.device(device)
    name = f"features-{type(module).__name__}-{weights}-{tensor_checksum(pool.examples)}-{device.type}"

    def build() -> tuple[dict[str, Tensor], dict[str, str]]:
        twin = copy.deepcopy(module).to(device).eval()
        return {"features": _computed(pool.examples, twin, batch_size)}, {}

    features = packed(name, _VERSION, build)[0]["features"].to(pool.examples.device)
    told = {"features": f"{type(module).__name__} {weights}"}
    return replace(pool, examples=features, protocol={**pool.protocol, **told})


def _refuse_statistics(module: nn.Module) -> None:
    """An error when the module says that its features of an example depend on other examples."""
    for name, part in module.named_modules():
        policy = part.policy if isinstance(part, Normalization) else getattr(part, "normalization", None)
        if isinstance(part, Normalization | Network) and policy in _OF_THE_TASK:
            raise ValueError(
                f"{name or 'module'} normalises by statistics of the task (policy {policy!r}), so that an example has "
                "no features of its own; use a network with 'running', 'layer', 'group', 'instance' or 'none'"
            )
        instance = isinstance(part, nn.modules.instancenorm._InstanceNorm)  # torch derives it from the other
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and not instance and part.running_mean is None:
            raise ValueError(
                f"{name or 'module'} is {type(part).__name__} without running averages, which normalises by "
                "statistics of the batch, so that an example has no features of its own"
            )


def _computed(examples: Tensor, module: nn.Module, batch_size: int) -> Float[Tensor, "example width"]:
    """The features of all examples, checked."""
    _check_alone(examples, module)
    features = torch.empty(0)
    with bar("computing features", len(examples)) as progress:
        for first in range(0, len(examples), batch_size):
            part = _features(examples[first : first + batch_size], module)
            if first == 0:
                features = torch.empty(len(examples), part.shape[1])
            wrong = (~part.isfinite()).any(1).nonzero()
            if len(wrong):
                raise ValueError(f"the features of example {first + int(wrong[0])} are not finite")
            features[first : first + len(part)] = part
            progress.advance(len(part))
    return features


def _check_alone(examples: Tensor, module: nn.Module) -> None:
    """What a module does not say of itself shows when two examples are given to it together and alone."""
    together = _features(examples[:2], module)
    alone = torch.cat([_features(example[None], module) for example in examples[:2]])
    precise = next((weight.dtype for weight in module.parameters()), torch.float32) in (torch.float32, torch.float64)
    room = (1e-3 if precise else 5e-2) * together.abs().max()  # batches of another size round in another way
    if (together - alone).abs().max() > room:
        raise ValueError(
            f"the features that {type(module).__name__} gives an example depend on the others in its batch, so that an "
            "example has no features of its own"
        )


@torch.no_grad()
def _features(examples: Tensor, module: nn.Module) -> Float[Tensor, "n width"]:
    """Features of one batch, on the CPU."""
    weight = next(module.parameters(), torch.empty(0, device=examples.device))
    x = as_floats(examples.to(weight.device))
    if x.is_floating_point():
        x = x.to(weight.dtype)
    if isinstance(module, Network):
        features = module(x[None], torch.ones(1, len(x), dtype=torch.bool, device=x.device))[0][0]
    else:
        features = module(x)
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(x):
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(f"module must give vectors [example, width], got {found} for {len(x)} examples")
    return features.float().cpu()
