import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.networks import MLP, Conv4, Frozen, Headed, Network, PerExample, ResNet12, frozen_features
from quickstudy.tasks import ClassPool, Examples

CLASSES, EACH = 9, 6


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUICKSTUDY_CACHE", str(tmp_path))
    return tmp_path


def pool(seed: int = 0, examples: Tensor | None = None) -> ClassPool:
    if examples is None:
        generator = torch.Generator().manual_seed(seed)
        examples = torch.randint(0, 256, (CLASSES * EACH, 1, 16, 16), dtype=torch.uint8, generator=generator)
    names = [f"c{i}" for i in range(CLASSES)]
    parts = {"train": names[:3], "validation": names[3:6], "test": names[6:]}
    groups = np.arange(CLASSES * EACH) % 3
    return ClassPool.from_labels(
        examples, np.repeat(np.arange(CLASSES), EACH), names, parts, groups, {"data": "noise"}, separate_groups=True
    )


def backbone() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(5)
    )


@pytest.fixture
def module() -> nn.Module:
    """With averages and weights that are not those it was born with."""
    module = backbone()
    module(torch.rand(8, 1, 16, 16) * 3)
    return module.train()


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_features_are_those_of_each_example_in_evaluation(module: nn.Module, batch_size: int) -> None:
    data = pool()
    found = frozen_features(data, module, batch_size=batch_size)
    assert module.training  # it stays as it is
    with torch.no_grad():
        expected = torch.cat([module.eval()(image[None].float() / 255) for image in data.examples])
    assert found.examples.dtype == torch.float32
    torch.testing.assert_close(found.examples, expected, atol=1e-5, rtol=1e-5)
    assert found.names == data.names
    assert np.array_equal(found.table, data.table)
    assert np.array_equal(found.groups, data.groups)
    assert found.separate_groups
    assert found.protocol["data"] == "noise"
    assert found.protocol["features"].startswith("Sequential ")
    found.episodes(3, 1, 2).test.draw(0, 4, 0).check_values()


@pytest.mark.parametrize("policy", ["running", "layer", "group", "instance", "none"])
def test_networks_that_normalise_each_example(policy: str) -> None:
    network = Conv4(size=16, filters=8, normalization=policy)
    found = frozen_features(pool(), network, batch_size=10).examples
    mask = torch.ones(1, len(found), dtype=torch.bool)
    with torch.no_grad():
        expected, _ = network.eval()(pool().examples[None] / 255, mask)
    torch.testing.assert_close(found, expected[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("policy", ["support", "transductive", "task"])
@pytest.mark.parametrize("make", [frozen_features, lambda data, network: Frozen(network)], ids=["features", "network"])
def test_statistics_of_the_task_are_refused(policy: str, make: object) -> None:
    for network in (
        Conv4(size=16, filters=4, normalization=policy),
        ResNet12(1, filters=(4, 4, 4, 4), normalization=policy),
        nn.Sequential(Headed(MLP(256, (4,), policy), 3)),
    ):
        with pytest.raises(
            ValueError, match=rf"statistics of the task \(policy '{policy}'\), so that an example has no"
        ):
            make(pool(), network)


def test_statistics_of_the_batch_are_refused() -> None:
    blind = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(256, track_running_stats=False))
    with pytest.raises(ValueError, match="1 is BatchNorm1d without running averages"):
        frozen_features(pool(), blind)
    kind = nn.Sequential(nn.InstanceNorm2d(1), nn.Flatten())
    assert frozen_features(pool(), kind).examples.shape == (CLASSES * EACH, 256)


def test_what_a_module_does_not_say_is_found_out(own_cache: Path) -> None:
    class Centred(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x - x.mean(0)).flatten(1)

    class Secret(Network):
        width = 256

        def forward(self, x: Tensor, mask: Tensor, statistics: object = None) -> tuple:
            return Centred()(x[0])[None], {}

    for secret in (Centred(), Secret()):
        with pytest.raises(ValueError, match="features that (Centred|Secret) gives an example depend on the others"):
            frozen_features(pool(), secret)
    assert list(own_cache.iterdir()) == []


def test_computed_once_and_again_for_other_weights_settings_or_examples(
    module: nn.Module, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = frozen_features(pool(), module)
    with monkeypatch.context() as patch:
        patch.setattr("quickstudy.networks.frozen._computed", lambda *_: pytest.fail("computed again"))
        again = frozen_features(pool(), module.eval(), batch_size=3)
        assert torch.equal(again.examples, first.examples)
    files = len(list(own_cache.iterdir()))
    assert files == 1
    other = frozen_features(pool(seed=1), module)
    assert not torch.equal(other.examples, first.examples)
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] += 1
    changed = frozen_features(pool(), module)
    assert not torch.equal(changed.examples, first.examples)
    assert changed.protocol["features"] != first.protocol["features"]
    module[2] = nn.GELU()
    assert not torch.equal(frozen_features(pool(), module).examples, changed.examples)
    module[1].running_mean += 1  # a buffer
    frozen_features(pool(), module)
    assert len(list(own_cache.iterdir())) == 5


def test_float_examples_take_the_precision_of_the_module() -> None:
    data = pool(examples=torch.rand(CLASSES * EACH, 7, dtype=torch.float64))
    for precision in (torch.float32, torch.bfloat16):
        found = frozen_features(data, nn.Linear(7, 3).to(precision)).examples
        assert found.dtype == torch.float32
        assert found.shape == (CLASSES * EACH, 3)


def test_what_cannot_be_features(own_cache: Path) -> None:
    with pytest.raises(ValueError, match=r"vectors \[example, width\], got \(2, 1, 16, 16\) for 2 examples"):
        frozen_features(pool(), nn.Identity())
    data = pool(examples=torch.rand(CLASSES * EACH, 3))
    data.examples[7, 1] = torch.nan
    with pytest.raises(ValueError, match="the features of example 7 are not finite"):
        frozen_features(data, nn.Identity(), batch_size=4)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        frozen_features(pool(), nn.Flatten(), batch_size=0)
    assert list(own_cache.iterdir()) == []


def test_a_killed_writer_leaves_nothing_half(own_cache: Path) -> None:
    """It is killed when half of the file has been written; the next one computes it anew."""
    script = """
import os, signal
import numpy as np, torch
from torch import nn
from quickstudy.networks import frozen_features
from quickstudy.tasks import ClassPool
from quickstudy.tasks.datasets import storage

def half(tensors, path, metadata):
    whole(tensors, path, metadata=metadata)
    os.truncate(path, os.path.getsize(path) // 2)
    os.kill(os.getpid(), signal.SIGKILL)

whole, storage.save_file = storage.save_file, half
parts = {"train": ["a"], "validation": ["b"], "test": ["c"]}
pool = ClassPool.from_labels(torch.arange(12.0).reshape(6, 2), np.arange(6) % 3, ["a", "b", "c"], parts)
frozen_features(pool, nn.Flatten())
"""
    killed = subprocess.run([sys.executable, "-c", script], env=dict(os.environ), timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not list(own_cache.glob("features-*"))
    assert list(own_cache.glob(".features-*.tmp"))  # what it had begun is nobody's
    parts = {"train": ["a"], "validation": ["b"], "test": ["c"]}
    x = torch.arange(12.0).reshape(6, 2)
    data = ClassPool.from_labels(x, np.arange(6) % 3, ["a", "b", "c"], parts)
    assert torch.equal(frozen_features(data, nn.Flatten()).examples, x)
    assert len(list(own_cache.glob("features-*"))) == 1


def test_a_frozen_network_stays_as_it_is(module: nn.Module, tmp_path: Path) -> None:
    frozen = Frozen(module, width=5)
    learner = qs.learners.PrototypicalNetwork(Headed(frozen, 3))
    learner.train()
    assert not any(part.training for part in module.modules())
    assert not any(weight.requires_grad for weight in module.parameters())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    qs.fit(learner, pool().episodes(2, 2, 2).train, steps=3)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert learner.normalization == "none"


def test_a_frozen_network_gives_the_features_that_are_kept(module: nn.Module) -> None:
    data = pool()
    kept = frozen_features(data, module).episodes(3, 1, 2).test.draw(0, 4, 0)
    images = data.episodes(3, 1, 2).test.draw(0, 4, 0)
    features, _ = Frozen(module, 5)(images.query.x, images.query.mask)
    torch.testing.assert_close(features, kept.query.x, atol=1e-5, rtol=1e-5)


def test_a_frozen_network_is_saved_and_checked(tmp_path: Path) -> None:
    frozen = Frozen(Conv4(size=16, filters=4, normalization="layer"))
    assert frozen.width == 4
    again = qs.load(qs.save(frozen, tmp_path / "frozen"))
    examples = Examples.of(torch.rand(2, 3, 1, 16, 16), torch.zeros(2, 3, dtype=torch.int64))
    assert torch.equal(again(examples.x, examples.mask)[0], frozen(examples.x, examples.mask)[0])
    with pytest.raises(ValueError, match="width must be the length of the features of Flatten, got None"):
        Frozen(nn.Flatten())
    with pytest.raises(ValueError, match=r"module must give vectors of width 3, got the shape \(3, 256\)"):
        Frozen(nn.Flatten(), 3)(examples.x, examples.mask)
    with pytest.raises(ValueError, match="whose statistics mix tasks"):
        PerExample(backbone(), 5)


@pytest.mark.parametrize("cls", [qs.learners.FineTuning, qs.learners.FromScratch])
def test_a_frozen_network_is_not_trained_on_a_task_either(cls: type) -> None:
    inner = MLP(4, (8,), "layer")
    learner = cls(Frozen(inner), qs.tasks.Categorical(3))
    assert learner.normalization == "layer"
    x, y = torch.randn(1, 6, 4), torch.arange(6)[None] % 3
    phi = learner.adapt(qs.tasks.Examples.of(x, y))
    weights = phi["network"] if cls is qs.learners.FineTuning else phi["weights"]
    assert not [name for name in weights if "layers" in name]
    assert learner.predict(phi, x).probs.shape == (1, 6, 3)
