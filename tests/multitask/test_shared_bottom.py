import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.multitask import NamedTasks, SharedBottom, named_tasks, shared_tasks
from quickstudy.networks import MLP, PerExample
from quickstudy.tasks import Categorical, Examples, Gaussian


def two_tasks(seed: int = 0) -> NamedTasks:
    """Real digits, two data sets with no image in common: which digit it is, and how much ink of another it has."""
    images, labels = load_digits(return_X_y=True)
    images = images / 16
    ink = images.mean(1)
    half = len(images) // 2
    return named_tasks(
        {
            "digit": (images[:half], labels[:half]),
            "ink": (images[half : half + 300], ((ink - ink.mean()) / ink.std())[half : half + 300]),
        },
        seed=seed,
    )


def module() -> SharedBottom:
    return SharedBottom(MLP(64, (64, 32)), {"digit": Categorical(10), "ink": Gaussian()})


def test_learns_both_through_the_same_fit() -> None:
    tasks, model = two_tasks(), module()
    history = qs.fit(model, tasks.train, steps=300, batch_size=64, validation=tasks.validation, device="cpu")
    assert history.best_step is not None
    test = tasks.test.draw(0, tasks.test.size, 0)
    with torch.no_grad():
        digit = model.predict("digit", test["digit"].x).probs.argmax(-1)
        ink = model.predict("ink", test["ink"].x).mean
    mask = test["digit"].mask
    assert (digit == test["digit"].y)[mask].float().mean() > 0.85
    mask = test["ink"].mask
    assert (ink - test["ink"].y)[mask].square().mean() < 0.4  # the mean has 1


def test_losses_are_those_of_two_networks_that_share_a_trunk() -> None:
    model, batch = module(), two_tasks().train.draw(0, 8, 0)
    losses = model(batch)
    trunk = nn.Sequential(model.network.layers[0], nn.ReLU(), model.network.layers[1], nn.ReLU())
    digit, ink = batch["digit"], batch["ink"]
    weight, bias = model.heads.layers[0].weight, model.heads.layers[0].bias
    assert_close(losses["digit"], F.cross_entropy(trunk(digit.x[0]) @ weight[0] + bias[0], digit.y[0]))
    squared = F.mse_loss((trunk(ink.x[0]) @ weight[1] + bias[1])[:, 0], ink.y[0])
    assert_close(losses["ink"], squared + 0.5 * np.log(np.pi))


def test_an_absent_task_costs_nothing() -> None:
    model, batch = module(), two_tasks().train.draw(0, 8, 0)
    batch["ink"] = Examples(
        torch.full_like(batch["ink"].x, torch.nan), batch["ink"].y, torch.zeros(1, 8, dtype=torch.bool)
    )
    losses = model(batch)
    assert losses["ink"].item() == 0
    losses["ink"].backward(retain_graph=True)
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    assert list(model({"digit": batch["digit"]})) == ["digit"]


def test_padding_and_other_tasks_change_nothing() -> None:
    model = SharedBottom(MLP(64, (16,), "running"), {"digit": Categorical(10), "ink": Gaussian()}).train()
    batch = two_tasks().train.draw(0, 8, 0)
    clean = model(batch)["digit"].item()
    batch["ink"].x = torch.full_like(batch["ink"].x, 50.0)
    more = batch["digit"].map(lambda leaf: torch.cat([leaf, leaf[:, :2]], 1))
    more.mask[:, 8:] = False
    more.x[:, 8:] = torch.nan
    assert_close(model(batch)["digit"].item(), clean)
    assert_close(model({"digit": more})["digit"].item(), clean)


def test_every_example_once_in_validation_and_in_rounds_in_training() -> None:
    tasks = named_tasks({"a": (np.arange(50.0)[:, None], np.zeros(50)), "b": (np.arange(20.0)[:, None], np.zeros(20))})
    test = tasks.test.draw(0, tasks.test.size, 0)
    assert test["a"].mask.sum() == 10
    assert test["b"].mask.sum() == 4
    seen = [set(getattr(tasks, split).data["a"][0][:, 0].tolist()) for split in ("train", "validation", "test")]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 50
    train = tasks.train.draw(0, 30, 0)
    assert train["b"].mask.all()
    assert len(set(train["b"].x[0, :12, 0].tolist())) == 12
    halves = [tasks.train.sample(1, 10, 3, rank=rank, world=2)["a"].x for rank in range(2)]
    assert torch.equal(torch.cat(halves, 1), tasks.train.sample(1, 10, 3)["a"].x)


def test_saves_and_loads(tmp_path: object) -> None:
    model, batch = module(), two_tasks().test.draw(0, 5, 0)
    qs.save(model, f"{tmp_path}/model")
    back = qs.load(f"{tmp_path}/model")
    assert_close(back(batch)["ink"], model(batch)["ink"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SharedBottom(MLP(64), {}), "likelihoods is empty"),
        (
            lambda: SharedBottom(MLP(4, (8,), "support"), {"a": Gaussian()}),
            "named tasks have no support set; use 'running'",
        ),
        (lambda: SharedBottom(MLP(4), {"a": Gaussian()}, reduction="max"), "reduction must be 'mean' or 'sum'"),
        (
            lambda: module()({"colour": Examples.of(torch.zeros(1, 1, 64), torch.zeros(1, 1))}),
            "no task 'colour'; this module has digit, ink",
        ),
        (lambda: module().predict("colour", torch.zeros(1, 1, 64)), "no task 'colour'"),
        (lambda: named_tasks({}), "data is empty"),
        (lambda: named_tasks({"a": (np.zeros((3, 1)), np.zeros(4))}), "the task 'a' has 3 inputs and 4 targets"),
        (lambda: named_tasks({"a": (np.full((9, 1), np.inf), np.zeros(9))}), "'a' has a value that is not finite"),
        (
            lambda: named_tasks({"a": (np.zeros((2, 1)), np.zeros(2))}),
            "'a' has 2 examples; shares .* leave a split empty",
        ),
        (
            lambda: named_tasks({"a": (np.zeros((9, 1)), np.zeros(9)), "b": (np.zeros((9, 2)), np.zeros(9))}),
            "inputs of 'b'",
        ),
    ],
)
@pytest.mark.unchecked
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


@pytest.mark.unchecked
def test_compiles_as_one_graph() -> None:
    model = SharedBottom(PerExample(nn.Linear(64, 8), 8), {"digit": Categorical(10), "ink": Gaussian()})
    batch = two_tasks().train.draw(0, 8, 0)
    torch.compiler.reset()  # forwards compiled by other tests count against the limit
    compiled = torch.compile(model, fullgraph=True, dynamic=False, backend="aot_eager")
    assert_close(compiled(batch)["ink"], model(batch)["ink"])


def test_a_network_that_works_in_place_leaves_the_batch_as_it_is() -> None:
    x, y = torch.randn(20, 3), {"a": np.ones(20), "b": np.zeros(20)}
    batch = shared_tasks(x.numpy(), y).train.draw(0, 8, 0)
    before = batch.x.clone()
    network = PerExample(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 4)), 4)
    module = SharedBottom(network, {"a": Gaussian(), "b": Gaussian()})
    module(batch)
    module.predict("a", batch.x)
    assert torch.equal(batch.x, before)
