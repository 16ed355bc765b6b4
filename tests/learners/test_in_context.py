import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from quickstudy.learners import InContextTransformer
from quickstudy.networks import MLP
from quickstudy.tasks import Categorical, Examples, Gaussian


def learner(**kwargs: object) -> InContextTransformer:
    return InContextTransformer(MLP(3, (8,)), Categorical(4), width=16, layers=2, heads=2, **kwargs).double().eval()


def support(n: int = 5, tasks: int = 2) -> Examples:
    return Examples.of(torch.randn(tasks, n, 3).double(), torch.randint(0, 4, (tasks, n)))


EVERYTHING = torch.ones(2, 4, dtype=torch.bool)


def test_cached_support_equals_one_pass_over_everything() -> None:
    """Reading the support, keeping keys and values, then asking = one transformer pass with a block mask."""
    model, examples, queries = learner(), support(), torch.randn(2, 3, 3).double()
    raw = model.outputs(model.adapt(examples, EVERYTHING), queries)

    embed = lambda x: model.input(model.network(x, torch.ones(x.shape[:2], dtype=torch.bool))[0])
    first = model.first.expand(2, 1, -1)
    tokens = torch.cat([first, embed(examples.x) + model.label(examples.y), embed(queries) + model.asked], 1)
    n = 1 + 5
    visible = torch.zeros(n + 3, n + 3, dtype=torch.bool)
    visible[:, :n] = True
    for block in model.blocks:
        h = block.norm(tokens)
        query, (key, value) = block.query(h), block.key_value(h).chunk(2, -1)
        split = lambda t: t.unflatten(-1, (2, 8)).transpose(1, 2)
        scores = split(query) @ split(key).mT / 8**0.5
        weights = scores.masked_fill(~visible, -torch.inf).softmax(-1)
        tokens = tokens + block.merge((weights @ split(value)).transpose(1, 2).flatten(2))
        tokens = tokens + block.feed_forward(tokens)
    assert_close(raw, model.output(model.norm(tokens[:, n:])))


def test_update_appends_and_leaves_what_was_read() -> None:
    model, old, new = learner(), support(), support(3)
    phi = model.adapt(old, EVERYTHING)
    longer = model.update(phi, new)
    assert longer["keys"].shape[3] == 1 + 5 + 3
    assert torch.equal(longer["keys"][:, :, :, :6], phi["keys"])
    assert torch.equal(longer["values"][:, :, :, :6], phi["values"])
    queries = torch.randn(2, 3, 3).double()
    assert not torch.allclose(model.outputs(longer, queries), model.outputs(phi, queries))


def test_update_from_nothing_is_adapting() -> None:
    """When there is only the first token before them, new examples are read as the support would be."""
    model, examples = learner(), support()
    with torch.no_grad():
        for block in model.blocks:  # the first token does not look at the rest
            block.key_value.weight[:16] = 0
            block.key_value.bias.zero_()
    empty = examples.map(lambda leaf: leaf[:, :0])
    queries = torch.randn(2, 3, 3).double()
    model_empty = model.adapt(empty, EVERYTHING)
    first_sees_all = model.adapt(examples, EVERYTHING)["keys"][:, :, :, 1:].shape
    assert model.update(model_empty, examples)["keys"][:, :, :, 1:].shape == first_sees_all
    assert torch.isfinite(model.outputs(model.update(model_empty, examples), queries)).all()


def test_padding_in_updates_is_inert() -> None:
    model, old, new = learner(), support(), support(4)
    new.mask[:, 2:] = False
    short = Examples(new.x[:, :2], new.y[:, :2], new.mask[:, :2])
    new.x[:, 2:] = torch.nan
    queries = torch.randn(2, 3, 3).double()
    phi = model.adapt(old, EVERYTHING)
    assert_close(model.outputs(model.update(phi, new), queries), model.outputs(model.update(phi, short), queries))


def test_queries_and_keys_begin_alike() -> None:
    for block in InContextTransformer(MLP(3), Categorical(4), width=16, heads=2).blocks:
        assert torch.equal(block.query.weight, block.key_value.weight[:16])


@pytest.mark.parametrize("targets", [None, 2])
def test_regression_of_one_and_of_several_targets(targets: int | None) -> None:
    model = InContextTransformer(MLP(3), Gaussian(targets, variance=None), width=16, heads=2, layers=1)
    shape: tuple = (2, 5) if targets is None else (2, 5, targets)
    phi = model.adapt(Examples.of(torch.randn(2, 5, 3), torch.randn(shape)))
    mean: Tensor = model.predict(phi, torch.randn(2, 4, 3)).mean
    assert mean.shape == ((2, 4) if targets is None else (2, 4, targets))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 10, "heads": 4}, "width a multiple of heads, got 10, 4, 4"),
        ({"layers": 0}, "must be positive"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InContextTransformer(MLP(3), Categorical(4), **options)
