import pytest
import torch
from torch import nn
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.networks import MLP, Conv4, Headed, Network, PerExample, ResNet12, as_network
from quickstudy.rebuild import describe, rebuild


def images(tasks: int = 2, n: int = 3, channels: int = 1, size: int = 28) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(tasks, n, channels, size, size), torch.ones(tasks, n, dtype=torch.bool)


def test_conv4_has_the_published_size() -> None:
    network = Conv4(channels=1)
    assert sum(p.numel() for p in network.parameters()) == 111_936  # Snell et al.'s encoder
    features, kept = network(*images())
    assert features.shape == (2, 3, network.width) == (2, 3, 64)
    assert sorted(kept) == ["block0", "block1", "block2", "block3"]
    assert Conv4(channels=3, size=84).width == 1600


def test_conv4_is_the_reference_network() -> None:
    """Against the plain modules in their published order, one task."""
    network = Conv4(channels=1, normalization="transductive")
    layers: list[nn.Module] = []
    for convolution, normalization in zip(network.convolutions, network.normalizations, strict=True):
        batch_norm = nn.BatchNorm2d(64)
        batch_norm.weight, batch_norm.bias = normalization.scale, normalization.shift
        layers += [convolution, batch_norm, nn.ReLU(), nn.MaxPool2d(2)]
    x, mask = images(1, 20)
    assert_close(network(x, mask)[0][0], nn.Sequential(*layers, nn.Flatten())(x[0]), rtol=1e-4, atol=1e-5)


def test_resnet12() -> None:
    network = ResNet12(channels=3)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) == 12
    assert 7.9e6 < sum(p.numel() for p in network.parameters()) < 8.1e6  # the 8.0 million of Meta-Baseline's
    features, kept = network(*images(channels=3, size=32))
    assert features.shape == (2, 3, 512)
    queries, _ = network(*images(channels=3, size=32), kept)
    assert queries.shape == (2, 3, 512)


@pytest.mark.parametrize("network", [Conv4(), ResNet12(1, (8, 8, 16, 16)), MLP(784, (32, 16), "support")])
def test_tasks_are_kept_apart(network: Network) -> None:
    x, mask = images(3, 4)
    together = network(x, mask)[0]
    assert_close(torch.cat([network(x[[t]], mask[[t]])[0] for t in range(3)]), together, rtol=1e-4, atol=1e-5)


def test_mlp_flattens_its_input() -> None:
    network = MLP(6, (5,))
    x, mask = torch.randn(2, 3, 2, 3), torch.ones(2, 3, dtype=torch.bool)
    assert_close(network(x, mask)[0], torch.relu(network.layers[0](x.flatten(2))))
    assert MLP(1, (5,))(torch.randn(2, 3), mask)[0].shape == (2, 3, 5)


def test_your_own_module() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 7))
    network = PerExample(module, 7)
    x = torch.randn(2, 3, 3, 4)
    assert_close(network(x, torch.ones(2, 3, dtype=torch.bool))[0], module(x.flatten(0, 1)).unflatten(0, (2, 3)))
    with pytest.raises(ValueError, match=r"0\.1 is BatchNorm1d, whose statistics mix tasks"):
        PerExample(nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))), 4)
    with pytest.raises(ValueError, match="must give vectors of width 5"):
        PerExample(module, 5)(x, torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"wrap a module .*PerExample\(module, width\)"):
        as_network(module)


@pytest.mark.parametrize("network", [Conv4(3, 32, 16, "layer"), ResNet12(1, (8, 8, 16, 16)), Headed(MLP(4), 3)])
def test_networks_are_rebuilt_from_their_description(network: Network) -> None:
    back = rebuild(describe(network))
    assert describe(back) == describe(network)
    assert {n: p.shape for n, p in back.named_parameters()} == {n: p.shape for n, p in network.named_parameters()}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Conv4()(*images(channels=3)), ValueError, r"takes images \[task, n, 1, height, width\]"),
        (lambda: Conv4()(*images(size=32)), ValueError, "built for 28×28 images"),
        (lambda: Conv4(size=8), ValueError, "size must be at least 16"),
        (lambda: ResNet12(filters=(8, 8)), ValueError, "filters must be four"),
        (lambda: MLP(3, ()), ValueError, "must be positive"),
        (lambda: MLP(3)(torch.randn(1, 2, 4), torch.ones(1, 2, dtype=torch.bool)), ValueError, "MLP takes 3"),
    ],
)
def test_bad_arguments(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()  # type: ignore[operator]


@pytest.mark.unchecked
def test_uint8_images_are_refused_with_advice() -> None:
    x, mask = images()
    with pytest.raises(TypeError, match="got torch.uint8; scale uint8 images by 1/255"):
        Conv4()((x * 255).to(torch.uint8), mask)


def test_your_own_module_on_trees() -> None:
    class Both(nn.Module):
        def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
            return torch.cat([x["image"].flatten(1), x["age"][:, None]], 1)

    x = {"image": torch.randn(2, 3, 1, 2, 2), "age": torch.randn(2, 3)}
    features, _ = PerExample(Both(), 5)(x, torch.ones(2, 3, dtype=torch.bool))
    assert torch.equal(features[1, 2], torch.cat([x["image"][1, 2].flatten(), x["age"][1, 2, None]]))
    learner = qs.learners.PrototypicalNetwork(PerExample(Both(), 5))
    support = qs.Examples.of(x, torch.tensor([[0, 1, 1]] * 2))
    assert learner.predict(learner.adapt(support), x).probs.shape == (2, 3, 2)
    with pytest.raises(TypeError, match="MLP takes one tensor, got dict"):
        qs.networks.MLP(4)(x, torch.ones(2, 3, dtype=torch.bool))
