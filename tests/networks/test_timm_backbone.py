"""On a stand-in with timm's interface; the library itself needs torchvision."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.networks import Frozen, frozen_features, timm_backbone
from quickstudy.tasks import ClassPool

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Model(nn.Module):
    """Pools, standardises and projects."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_features = 6
        self.pretrained_cfg = {"mean": MEAN, "std": DEVIATION}
        self.bn = nn.BatchNorm2d(channels)
        self.project = nn.Linear(channels, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.bn(x).mean((2, 3)))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What `timm` is asked for."""
    calls: list[tuple] = []

    def create_model(name: str, pretrained: bool = False, num_classes: int = 1000, in_chans: int = 3) -> nn.Module:
        calls.append((name, pretrained, num_classes, in_chans))
        return Model(in_chans)

    fake = types.ModuleType("timm")
    fake.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", fake)
    return calls


def test_the_model_without_its_head(asked: list[tuple]) -> None:
    network = timm_backbone("resnet18", pretrained=True)
    assert asked == [("resnet18", True, 0, 3)]
    assert isinstance(network, Frozen)
    assert network.width == 6
    x = torch.rand(2, 4, 3, 8, 8)
    features, statistics = network(x, torch.ones(2, 4, dtype=torch.bool))
    standardised = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]
    torch.testing.assert_close(features[1], network.module.model(standardised[1]))
    assert statistics == {}
    assert not any(part.training for part in network.train().module.modules())


def test_other_channels(asked: list[tuple]) -> None:
    network = timm_backbone("resnet18", channels=1)
    assert asked == [("resnet18", False, 0, 1)]
    assert network.module.mean.flatten().tolist() == pytest.approx([np.mean(MEAN)])
    assert network(torch.rand(1, 2, 1, 8, 8), torch.ones(1, 2, dtype=torch.bool))[0].shape == (1, 2, 6)


def test_a_pooled_width_that_is_not_that_of_the_last_block(asked: list[tuple], monkeypatch: pytest.MonkeyPatch) -> None:
    """As in MobileNetV3, which has a layer after pooling."""
    monkeypatch.setattr(Model, "head_hidden_size", 9, raising=False)
    assert timm_backbone("mobilenetv3").width == 9


def test_saved_and_rebuilt_without_downloading(asked: list[tuple], tmp_path: Path) -> None:
    network = timm_backbone("resnet18", pretrained=True)
    again = qs.load(qs.save(network, tmp_path / "backbone"))
    assert asked == [("resnet18", True, 0, 3), ("resnet18", False, 0, 3)]
    x, mask = torch.rand(1, 2, 3, 8, 8), torch.ones(1, 2, dtype=torch.bool)
    assert torch.equal(again(x, mask)[0], network(x, mask)[0])


def test_features_of_a_pool(asked: list[tuple]) -> None:
    images = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8)
    parts = {"train": ["a"], "validation": ["b"], "test": ["c"]}
    pool = ClassPool.from_labels(images, np.arange(12) % 3, ["a", "b", "c"], parts)
    network = timm_backbone("resnet18")
    found = frozen_features(pool, network, batch_size=5)
    expected, _ = network(images[None] / 255, torch.ones(1, 12, dtype=torch.bool))
    torch.testing.assert_close(found.examples, expected[0])


def test_without_timm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"timm_backbone needs the library timm.*pip install 'quickstudy\[timm\]'"):
        timm_backbone("resnet18")
