"""What queries attend to is what the transformer reads."""

import pytest
import torch
from torch.testing import assert_close

from quickstudy.learners import InContextTransformer, PrototypicalNetwork
from quickstudy.networks import MLP
from quickstudy.reporting import attention, draw_attention
from quickstudy.tasks import Categorical, Examples, Gaussian, TaskBatch, sinusoids


def learner() -> InContextTransformer:
    torch.manual_seed(0)
    return InContextTransformer(MLP(3, (8,)), Categorical(4), width=16, layers=2, heads=2).eval()


def batch() -> TaskBatch:
    part = lambda n: Examples.of(torch.randn(2, n, 3), torch.randint(0, 4, (2, n)))
    tasks = TaskBatch(part(7), part(5), torch.ones(2, 4, dtype=torch.bool))
    tasks.support.mask[0, 2] = False
    tasks.query.mask[0, 4] = False
    return tasks


def test_weights_are_those_by_which_values_are_read() -> None:
    """Of the first layer: the weights times the values, merged, is what attention adds to the tokens."""
    model, tasks = learner(), batch()
    phi = model.adapt(tasks.support, tasks.classes)
    weights = model.attention(phi, tasks.query.x, tasks.query.mask)
    assert weights.shape == (2, 2, 2, 5, 8)
    assert_close(weights.sum(-1), torch.ones(2, 2, 2, 5))
    assert (weights[0, ..., 1 + 2] == 0).all()  # padding
    features, _ = model.network(tasks.query.x, tasks.query.mask)
    tokens, block = model.input(features) + model.asked, model.blocks[0]
    read = (weights[:, 0] @ phi["values"][:, 0]).transpose(1, 2).flatten(2)
    expected = tokens + block.merge(read)
    expected = expected + block.feed_forward(expected)
    found = block(tokens, phi["keys"][:, 0], phi["values"][:, 0], phi["real"][:, None])
    assert_close(found[tasks.query.mask], expected[tasks.query.mask])


def test_the_figure_has_a_dot_for_every_pair_and_says_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, dots = [], attention._dots
    monkeypatch.setattr(attention, "_dots", lambda *given: drawn.append(given[1]) or dots(*given))
    model, tasks = learner(), batch()
    panel = draw_attention(model.train(), tasks, name="a")
    assert model.training
    assert [share.shape for share in drawn] == [(4, 6), (4, 6)]
    weights = model.eval().attention(model.adapt(tasks.support, tasks.classes), tasks.query.x)[0].mean(1)
    real = weights[:, :4, 1:][:, :, tasks.support.mask[0]]
    same = tasks.query.y[0, :4, None] == tasks.support.y[0, tasks.support.mask[0]]
    own = ", ".join(f"{100 * float((one * same).sum(1).mean()):.0f}%" for one in real)
    assert panel.caption.endswith(f"Of examples of its own class: {own}.")


def test_numbers_are_drawn_too_and_many_are_thinned() -> None:
    model = InContextTransformer(MLP(1, (8,)), Gaussian(), width=16, layers=1, heads=2)
    panel = draw_attention(model, sinusoids(60, queries=60).test.draw(0, 1, 0))
    assert "support, by target" in panel.svg
    assert "of the 24 examples shown" in panel.caption


def test_refusals() -> None:
    with pytest.raises(ValueError, match="a query and a support example"):
        draw_attention(
            learner(), TaskBatch(batch().support.map(lambda leaf: leaf[:, :0]), batch().query, batch().classes)
        )


@pytest.mark.unchecked
def test_a_learner_that_does_not_attend() -> None:
    with pytest.raises(TypeError, match="must be an InContextTransformer, got PrototypicalNetwork"):
        draw_attention(PrototypicalNetwork(MLP(3)), batch())
