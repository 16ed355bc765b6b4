import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from quickstudy.learners import DecoderTransformer
from quickstudy.networks import MLP
from quickstudy.tasks import Bernoulli, Categorical, Examples, Gaussian, Likelihood, TaskBatch

LIKELIHOODS = {"classification": Categorical(4), "binary": Bernoulli(), "regression": Gaussian()}
FORMS = [{}, {"positions": 12}, {"paired": True}]


def learner(likelihood: Likelihood = LIKELIHOODS["regression"], **kwargs: object) -> DecoderTransformer:
    return DecoderTransformer(MLP(3, (8,)), likelihood, width=16, layers=2, heads=2, **kwargs).double().eval()


def examples(n: int = 5, kind: str = "regression") -> Examples:
    y = {
        "classification": torch.randint(0, 4, (2, n)),
        "binary": torch.randint(0, 2, (2, n)).double(),
        "regression": torch.randn(2, n).double(),
    }[kind]
    return Examples.of(torch.randn(2, n, 3).double(), y)


def nothing(support: Examples) -> Examples:
    return support.map(lambda leaf: leaf[:, :0])


def classes(kind: str) -> Tensor | None:
    return torch.ones(2, 4, dtype=torch.bool) if kind == "classification" else None


def over_everything(model: DecoderTransformer, support: Examples, asked: Tensor) -> Tensor:
    """The plain way: the whole text x₁ y₁ … xₙ yₙ x, through causal attention written out, once for every query."""
    embed = lambda x: model.input(model.network(x, torch.ones(x.shape[:2], dtype=torch.bool))[0])
    n, found = support.mask.shape[1], []
    for query in range(asked.shape[1]):
        tokens = []
        for j in range(n):
            here = embed(support.x[:, [j]])
            label = model.label(support.y[:, [j]]) + (here if model.paired else 0)
            tokens += [here, label]
        text = torch.cat([*tokens, embed(asked[:, [query]])], 1)
        if model.place is not None:
            text = text + model.place(torch.arange(2 * n + 1) // 2)
        for block in model.blocks:
            h = block.norm(text)
            key, value = block.key_value(h).chunk(2, -1)
            split = lambda t: t.unflatten(-1, (2, 8)).transpose(1, 2)
            scores = split(block.query(h)) @ split(key).mT / 8**0.5
            future = torch.ones(2 * n + 1, 2 * n + 1, dtype=torch.bool).triu(1)
            weights = scores.masked_fill(future, -torch.inf).softmax(-1)
            text = text + block.merge((weights @ split(value)).transpose(1, 2).flatten(2))
            text = text + block.feed_forward(text)
        found.append(model.output(model.norm(text[:, -1:])))
    return torch.cat(found, 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_cached_support_equals_one_pass_over_everything(kind: str, form: dict) -> None:
    model, support, asked = learner(LIKELIHOODS[kind], **form), examples(kind=kind), torch.randn(2, 3, 3).double()
    assert_close(model.outputs(model.adapt(support, classes(kind)), asked), over_everything(model, support, asked))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_said_before_a_label_is_what_a_query_there_would_be_told(form: dict) -> None:
    """The prediction at every input of the support is that of adapting to the examples before it."""
    model, support = learner(**form), examples(6)
    said = model._said(support, nothing(support))
    for j in range(6):
        phi = model.adapt(support.map(lambda leaf, j=j: leaf[:, :j]))
        assert_close(said[:, [j]], model.outputs(phi, support.x[:, [j]]))


@pytest.mark.parametrize("form", FORMS)
def test_nothing_leaks_from_later_tokens(form: dict) -> None:
    model, support = learner(**form), examples(6)
    phi, said = model.adapt(support), model._said(support, nothing(support))
    changed = support.map(torch.clone)
    changed.y[:, 3] += 5  # the label of the fourth: what is said of it stays, what follows does not
    after, heard = model.adapt(changed), model._said(changed, nothing(changed))
    assert torch.equal(heard[:, :4], said[:, :4])
    assert (heard[:, 4:] != said[:, 4:]).all()
    assert torch.equal(after["keys"][:, :, :, :7], phi["keys"][:, :, :, :7])
    changed.x[:, 4] += 5
    heard = model._said(changed, nothing(changed))
    assert torch.equal(heard[:, :4], said[:, :4])


def test_gradients_know_nothing_of_later_tokens() -> None:
    model, support = learner(), examples(6)
    support.x.requires_grad_()
    said = model._said(support, nothing(support))
    gradient = torch.autograd.grad(said[:, 2].sum(), support.x)[0]
    assert (gradient[:, :3] != 0).any(-1).all()
    assert (gradient[:, 3:] == 0).all()


def test_order_matters() -> None:
    model, support, asked = learner(), examples(), torch.randn(2, 3, 3).double()
    assert model.order_matters
    straight, turned = (
        model.outputs(model.adapt(part), asked) for part in (support, support.map(lambda leaf: leaf.flip(1)))
    )
    assert (straight - turned).abs().amin() > 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_reading_on_equals_reading_everything(form: dict) -> None:
    model, old, new, asked = learner(**form), examples(5), examples(3), torch.randn(2, 4, 3).double()
    old.mask[0, 1] = False  # a gap
    new.mask[1] = False
    together = Examples(*(torch.cat([getattr(part, name) for part in (old, new)], 1) for name in ("x", "y", "mask")))
    read_on = model.update(model.adapt(old), new)
    assert_close(model.outputs(read_on, asked), model.outputs(model.adapt(together), asked))


@pytest.mark.parametrize("form", FORMS)
def test_gaps_are_closed(form: dict) -> None:
    """Padding in the middle of a support takes no place in the order."""
    model, support, asked = learner(**form), examples(5), torch.randn(2, 4, 3).double()
    support.mask[:, [1, 3]] = False
    short = support.map(lambda leaf: leaf[:, [0, 2, 4]])
    assert_close(model.outputs(model.adapt(support), asked), model.outputs(model.adapt(short), asked))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_the_loss_is_over_every_prefix(kind: str, reduction: str) -> None:
    model = learner(LIKELIHOODS[kind], reduction=reduction)
    support, query = examples(4, kind), examples(3, kind)
    support.mask[1, 2:] = False
    query.mask[0, 1] = False
    expected = torch.zeros(2).double()
    for task, count in enumerate((4, 2)):
        one = support[task].map(lambda leaf, count=count: leaf[:, :count])
        exist = None if classes(kind) is None else classes(kind)[:1]
        for j in range(count):
            phi = model.adapt(one.map(lambda leaf, j=j: leaf[:, :j]), exist)
            expected[task] -= model.log_prob(phi, one.map(lambda leaf, j=j: leaf[:, j : j + 1]))[0]
        expected[task] -= model.log_prob(model.adapt(one, exist), query[task])[0]
        if reduction == "mean":
            expected[task] /= count + int(query.mask[task].sum())
    assert_close(model(TaskBatch(support, query, classes(kind))), expected)


def test_more_examples_than_positions_are_refused() -> None:
    model = learner(positions=5)
    phi = model.adapt(examples(4))
    model.predict(phi, torch.randn(2, 2, 3).double())  # the query has the fifth
    with pytest.raises(ValueError, match="support has 5 examples or more in a task, and the learner has positions for"):
        model.predict(model.adapt(examples(5)), torch.randn(2, 2, 3).double())
    with pytest.raises(ValueError, match="support has 6 examples or more"):
        model.update(phi, examples(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 10, "heads": 4}, "width a multiple of heads, got 10, 4, 4"),
        ({"layers": 0}, "must be positive"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
        ({"positions": 0}, "positions must be None or at least 1, got 0"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecoderTransformer(MLP(3), Categorical(4), **options)
