"""Embedded fields against torch's own layers, under vmap, and with what is wrong."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.multitask import SeparateNetworks
from quickstudy.networks import EmbeddedFields
from quickstudy.tasks import Gaussian

X = {
    "user": torch.tensor([[0, 4, 2]]),
    "item": torch.tensor([[1, 1, 0]]),
    "features": torch.randn(1, 3, 2),
    "age": torch.rand(1, 3),
    "unread": torch.zeros(1, 3, 7),
}
MASK = torch.ones(1, 3, dtype=torch.bool)


def network(**settings: object) -> EmbeddedFields:
    torch.manual_seed(0)
    return EmbeddedFields({"user": 5, "item": 2}, 4, {"features": 2, "age": 1}, **settings)  # type: ignore[arg-type]


def test_embeddings_their_product_and_numbers_stand_side_by_side() -> None:
    model = network(products=True, hidden=(6,))
    user, item = (F.embedding(X[name], model.embeddings[k].weight) for k, name in enumerate(("user", "item")))
    beside = torch.cat([user, item, user * item, X["features"], X["age"][..., None]], -1)
    assert_close(model(X, MASK)[0], F.relu(F.linear(beside, model.layers[0].weight, model.layers[0].bias)))
    assert model.width == 6
    assert network().width == 4 + 4 + 2 + 1


def test_vectors_are_of_length_about_one() -> None:
    table = EmbeddedFields({"user": 2000}, 16).embeddings[0]
    assert_close(table.weight.square().sum(1).mean(), torch.tensor(1.0), atol=0.05, rtol=0)  # type: ignore[operator, union-attr]


def test_networks_of_their_own_run_as_one_and_start_alike() -> None:
    """Under `SeparateNetworks`, which maps over stacked weights and draws every copy anew."""
    module = SeparateNetworks(EmbeddedFields({"user": 2000}, 16), {"a": Gaussian(), "b": Gaussian()})
    users = torch.tensor([[3, 3, 7]])
    out = module.raw({"user": users}, MASK, [0, 1], [0, 0])
    for task in range(2):
        vectors = module.weights[0][task][users[0]]
        head = module.heads.layers[0]  # type: ignore[union-attr, index]
        assert_close(out[task], vectors @ head.weight[task] + head.bias[task])  # type: ignore[union-attr]
    assert_close(module.weights[0].square().sum(-1).mean(1), torch.ones(2), atol=0.05, rtol=0)


def test_saves_and_loads(tmp_path: object) -> None:
    model = network(products=True, hidden=(6,))
    qs.save(model, f"{tmp_path}/model")
    assert_close(qs.load(f"{tmp_path}/model")(X, MASK)[0], model(X, MASK)[0])


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EmbeddedFields({}), "categories is empty"),
        (lambda: EmbeddedFields({"user": 0}), r"categories\['user'\] must be at least 1, got 0"),
        (lambda: EmbeddedFields({"user": 3}, numbers={"user": 2}), "both name 'user'"),
        (lambda: EmbeddedFields(["user"]), "categories must be a dict"),
        (lambda: EmbeddedFields({"user": 3}, hidden=4), "hidden must be a sequence"),
        (lambda: network()(X["user"], MASK), "x must be a dict of fields"),
        (lambda: network()({"user": X["user"]}, MASK), "the field 'item'"),
        (lambda: network()(X | {"item": X["item"] + 1}, MASK), r"x\['item'\] has the number 2, but there are 2"),
        (lambda: network()(X | {"user": X["user"] - 1}, MASK), r"x\['user'\] has the number -1"),
        (lambda: network()(X | {"user": X["user"].float()}, MASK), r"x\['user'\] must be int64"),
        (lambda: network()(X | {"features": X["features"][..., :1]}, MASK), r"x\['features'\] must be floating"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()  # type: ignore[operator]
