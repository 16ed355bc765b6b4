import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from quickstudy.networks import POLICIES, Normalization

SHAPES = [(3, 7, 16), (3, 7, 16, 5, 4)]


def layer(policy: str) -> Normalization:
    normalization = Normalization(16, policy).double()
    with torch.no_grad():
        for parameter in normalization.parameters():
            parameter.add_(torch.randn_like(parameter))
    return normalization


def everything(shape: tuple) -> tuple[Tensor, Tensor]:
    return torch.randn(shape, dtype=torch.float64), torch.ones(shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("policy", ["support", "transductive"])
def test_own_statistics_are_batch_normalization_of_each_task(policy: str, shape: tuple) -> None:
    x, mask = everything(shape)
    normalization = layer(policy)
    out, _ = normalization(x, mask)
    for task in range(3):
        expected = F.batch_norm(x[task], None, None, normalization.scale, normalization.shift, True)
        assert_close(out[task], expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_masked_statistics_are_those_of_the_real_examples(shape: tuple) -> None:
    x, mask = everything(shape)
    mask[1, 4:] = False
    normalization = layer("support")
    out, kept = normalization(x, mask)
    short, kept_short = normalization(x[1:2, :4], mask[1:2, :4])
    assert_close(out[1:2, :4], short)
    assert_close(kept["variance"][1:2], kept_short["variance"])
    assert kept["count"].tolist() == [7, 4, 7]


@pytest.mark.parametrize("shape", SHAPES)
def test_queries_use_the_support_under_support_and_not_under_transductive(shape: tuple) -> None:
    x, mask = everything(shape)
    queries = 3 * torch.randn_like(x) + 1
    support = layer("support")
    _, kept = support(x, mask)
    out, passed_on = support(queries, mask, kept)
    mean, std = (kept[k].reshape(3, 1, 16, *[1] * (x.ndim - 3)) for k in ("mean", "variance"))
    scale, shift = (p.reshape(-1, *[1] * (x.ndim - 3)) for p in (support.scale, support.shift))
    assert_close(out, (queries - mean) / (std + 1e-5).sqrt() * scale + shift)
    assert passed_on is kept
    transductive = layer("transductive")
    _, nothing = transductive(x, mask)
    assert nothing == {}
    assert_close(transductive(queries, mask, kept)[0], transductive(queries, mask)[0])


@pytest.mark.parametrize(("policy", "groups"), [("layer", 1), ("group", 8), ("instance", 16)])
def test_per_example_policies_are_group_normalization(policy: str, groups: int) -> None:
    x, mask = everything(SHAPES[1])
    normalization = layer(policy)
    out, kept = normalization(x, mask)
    expected = F.group_norm(x.flatten(0, 1), groups, normalization.scale, normalization.shift)
    assert kept == {}
    assert_close(out.flatten(0, 1), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("policy", ["layer", "group"])
def test_per_example_policies_agree_inside_vmap(policy: str, shape: tuple) -> None:
    x, mask = everything(shape)
    normalization = layer(policy)
    inside = torch.vmap(lambda row, real: normalization(row[None], real[None])[0][0])(x, mask)
    assert_close(inside, normalization(x, mask)[0])


def test_running_is_ordinary_batch_normalization_when_there_is_one_task() -> None:
    ours, theirs = Normalization(16, "running").double(), nn.BatchNorm2d(16).double()
    for _ in range(3):
        x, mask = everything((1, 9, 16, 3, 3))
        assert_close(ours(x, mask)[0][0], theirs(x[0]))
    assert_close(ours.running_mean, theirs.running_mean)
    n = 9 * 9  # torch keeps the unbiased variance
    assert_close(ours.running_variance - 1, (theirs.running_var - 1) * (n - 1) / n, rtol=0.05, atol=0.05)
    x, mask = everything((2, 4, 16, 3, 3))
    ours.eval()
    assert_close(ours(x, mask)[0][:, :1], ours(x[:, :1], mask[:, :1])[0])


def test_tasknorm_blends_by_the_size_of_the_support() -> None:
    x, mask = everything((2, 6, 16, 4, 4))
    normalization = Normalization(16, "task").double()
    _, kept = normalization(x, mask)
    with torch.no_grad():
        normalization.offset.fill_(50.0)
    assert_close(normalization(x, mask, kept)[0], Normalization(16, "support").double()(x, mask, kept)[0])
    with torch.no_grad():
        normalization.offset.fill_(-50.0)
    instance = F.instance_norm(x.flatten(0, 1)).unflatten(0, (2, 6))
    assert_close(normalization(x, mask, kept)[0], instance)
    with torch.no_grad():
        normalization.offset.fill_(0.0)
        normalization.slope.fill_(0.3)
    weight = torch.sigmoid(torch.tensor(0.3 * 6, dtype=torch.float64))
    support = {k: v[:, None, :, None, None] for k, v in kept.items() if k != "count"}
    own_mean, own_variance = x.mean((3, 4), keepdim=True), x.var((3, 4), correction=0, keepdim=True)
    mean = weight * support["mean"] + (1 - weight) * own_mean
    variance = weight * (support["variance"] + (support["mean"] - mean) ** 2)
    variance = variance + (1 - weight) * (own_variance + (own_mean - mean) ** 2)
    assert_close(normalization(x, mask, kept)[0], (x - mean) / (variance + 1e-5).sqrt())


@pytest.mark.parametrize("policy", POLICIES)
def test_gradients_of_both_orders(policy: str) -> None:
    """Against finite differences, through the statistics too."""
    normalization = Normalization(4, policy, groups=2).double()
    if policy == "task":
        with torch.no_grad():
            normalization.slope.fill_(0.1)
    x = torch.randn(2, 3, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    queries = torch.randn(2, 2, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    real = torch.ones(2, 2, dtype=torch.bool)

    def forward(x: Tensor, queries: Tensor) -> Tensor:
        out, kept = normalization(x * mask[..., None, None, None], mask)
        asked, _ = normalization(queries, real, kept or None)
        return (out * mask[..., None, None, None]).sin().sum((1, 2, 3, 4)) + asked.sin().sum((1, 2, 3, 4))

    assert torch.autograd.gradcheck(forward, (x, queries))
    assert torch.autograd.gradgradcheck(forward, (x, queries))


def test_half_precision_keeps_its_statistics_precise() -> None:
    x = (torch.randn(1, 50, 8, 6, 6) + 3).bfloat16()
    mask = torch.ones(1, 50, dtype=torch.bool)
    _, kept = Normalization(8, "support")(x, mask)
    assert kept["mean"].dtype == torch.float32
    exact = x.double()
    assert_close(kept["mean"][0].double(), exact.mean((0, 1, 3, 4)), rtol=1e-5, atol=1e-5)
    assert_close(kept["variance"][0].double(), exact[0].var((0, 2, 3), correction=0), rtol=2e-2, atol=2e-2)


@pytest.mark.unchecked
def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="normalization must be one of support, transductive, .* got 'batch'"):
        Normalization(8, "batch")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="6 channels cannot be divided into 8 groups"):
        Normalization(6, "group")
    with pytest.raises(ValueError, match="instance normalization needs spatial axes; use 'layer'"):
        Normalization(8, "instance")(torch.randn(1, 2, 8), torch.ones(1, 2, dtype=torch.bool))


def test_running_averages_leave_out_tasks_without_examples() -> None:
    x, mask = everything((3, 5, 4, 2, 2))
    mask[1] = False
    ours, theirs = Normalization(4, "running").double(), Normalization(4, "running").double()
    ours(x, mask)
    theirs(x[[0, 2]], mask[[0, 2]])
    assert_close(ours.running_mean, theirs.running_mean)
    before = ours.running_mean.clone()
    ours(x, torch.zeros_like(mask))
    assert torch.equal(ours.running_mean, before)
