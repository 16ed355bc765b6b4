"""The ranker against its formula, and what its tower is for: preferences out of a log that places have bent."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.multitask import (
    MultiGateMixture,
    MultiObjectiveRanker,
    NamedModule,
    Objective,
    combined_score,
    logged_interactions,
)
from quickstudy.networks import EmbeddedFields
from quickstudy.recipes import Training
from quickstudy.tasks import Bernoulli, Categorical, Gaussian

LIKELIHOODS = {"click": Bernoulli(), "engaged": Bernoulli(), "satisfaction": Gaussian()}
LOG = logged_interactions(40, 30, 4000, 10, policy=0.0)


def network() -> EmbeddedFields:
    return EmbeddedFields({"user": 40, "item": 30}, 8, {"features": 4}, products=True)


def ranker(**settings: object) -> MultiObjectiveRanker:
    torch.manual_seed(0)
    biased = settings.pop("biased", ["click"])
    arguments = {"experts": 2, "hidden": (16,), **settings}
    module = MultiObjectiveRanker(network(), LIKELIHOODS, {"position": 10}, biased, **arguments)  # type: ignore[arg-type]
    for layer in module.bias_tower.layers:
        torch.nn.init.normal_(layer.weight)  # type: ignore[arg-type]
    return module


def test_the_tower_is_added_to_what_is_logged_and_to_nothing_that_is_served() -> None:
    module = ranker().eval()
    x = LOG.test.draw(0, 50, 0).x
    place = x["position"]
    table = module.bias_tower.layers[0].weight[0, :, 0]  # type: ignore[index, union-attr]
    logged, served = (ask("click", x).logits for ask in (module.predict_logged, module.predict))
    assert_close(logged - served, table[place])  # type: ignore[index]
    assert_close(module.predict_logged("engaged", x).logits, module.predict("engaged", x).logits)
    elsewhere = x | {"position": 9 - place}
    for task in LIKELIHOODS:
        assert torch.equal(module.predict(task, x).mean, module.predict(task, elsewhere).mean)
    # The losses are of the log, those of a batch by hand.
    batch = LOG.test.draw(0, 50, 0)
    assert_close(module(batch)["click"], F.binary_cross_entropy_with_logits(logged, batch.y["click"]))


def test_scores_do_not_depend_on_places() -> None:
    module = ranker()
    before = module.scores(LOG.validation)
    module.bias_tower.layers[0].weight.data.mul_(7)  # type: ignore[operator, union-attr]
    assert module.scores(LOG.validation) == before


def test_the_tower_is_left_out_of_a_share_of_the_examples() -> None:
    module = ranker(bias_dropout=0.25, bias_hidden=(5,))
    x = {name: leaf.expand(1, 4000, *leaf.shape[2:]) for name, leaf in LOG.test.draw(0, 1, 0).x.items()}
    zeros = torch.zeros(3, 4000, 1)
    out = module.train()._blamed(x, [0, 1, 2], [0, 0, 0], zeros)
    assert (out[0] == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert not out[1:].any()
    assert not (module.eval()._blamed(x, [0], [0], zeros[:1]) == 0).any()


def test_the_tower_belongs_to_tasks_and_is_saved(tmp_path: object) -> None:
    module = ranker(biased=["engaged", "click"], bias_hidden=(5,)).eval()
    shared = {id(leaf) for leaf in module.shared_parameters()}
    assert not shared & {id(leaf) for leaf in module.bias_tower.parameters()}
    batch = LOG.test.draw(0, 20, 0)
    qs.save(module, f"{tmp_path}/module")
    assert_close(qs.load(f"{tmp_path}/module").eval()(batch), module(batch))
    loss = module(batch)["engaged"]
    gradient = torch.autograd.grad(loss, module.bias_tower.layers[1].weight)[0]  # type: ignore[arg-type, union-attr]
    assert gradient[0].any()
    assert not gradient[1].any()


@pytest.mark.unchecked  # a training
def test_places_are_told_from_preferences() -> None:
    """The correlation, within users, of predicted with true log odds of attraction."""

    def found(module: NamedModule) -> float:
        training = Training(LOG.train, 700, 512, 1e-2, validation=LOG.validation, validation_size=2000, validations=7)
        qs.fit(module, LOG.train, **training.arguments())
        module.eval()
        with torch.no_grad():
            guess = module.predict("click", LOG.everything()).logits.reshape(40, 30)
        guess, truth = (each - each.mean(1, keepdim=True) for each in (guess, torch.logit(LOG.attraction)))
        return float(F.cosine_similarity(guess, truth, 1).mean())

    likelihoods = {"click": Objective(Bernoulli(), 3.0), "engaged": Bernoulli(), "satisfaction": Gaussian()}
    torch.manual_seed(0)
    with_tower = MultiObjectiveRanker(network(), likelihoods, {"position": 10}, ["click"], experts=2, hidden=(16,))
    torch.manual_seed(0)
    without = MultiGateMixture(network(), likelihoods, 2, (16,))
    debiased, biased = found(with_tower), found(without)
    assert debiased > biased + 0.02
    # The table falls as the places are examined less.
    table = with_tower.bias_tower.layers[0].weight[0, :, 0]  # type: ignore[index, union-attr]
    assert float(torch.corrcoef(torch.stack([table.detach(), LOG.examined.log()]))[0, 1]) > 0.9  # type: ignore[list-item]


def test_combined_scores_by_hand() -> None:
    module, x = ranker(), LOG.test.draw(0, 9, 0).x
    module.eval()
    with torch.no_grad():
        click, engaged, liked = (module.predict(task, x).mean[0] for task in LIKELIHOODS)
    module.train()
    assert_close(combined_score(module, x, {"click": 2, "satisfaction": -0.5}), 2 * click - 0.5 * liked)
    product = combined_score(module, x, {"click": 1, "engaged": 1}, "product")
    assert torch.equal(product.argsort(), (click * engaged).argsort())
    assert module.training


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ranker(biased=["sale"]), "no task 'sale'"),
        (lambda: ranker(biased="click"), "biased a list of tasks"),
        (lambda: ranker(biased=[]), "must name a field of at least 1 value and a task"),
        (lambda: ranker(bias_dropout=1.0), "dropout must be a probability below 1"),
        (
            lambda: MultiObjectiveRanker(network(), {"a": Categorical(3)}, {"position": 10}, ["a"]),
            "'a' has more than one output",
        ),
        (lambda: ranker().predict_logged("click", {"user": LOG.train.x["user"][None]}), "field"),
        (
            lambda: ranker().predict_logged("click", LOG.inputs(torch.tensor([0]), torch.tensor([0]), 10)),
            r"x\['position'\] has the value 10",
        ),
        (lambda: combined_score(ranker(), LOG.everything(), {}), "weights is empty"),
        (lambda: combined_score(ranker(), LOG.everything(), {"sale": 1.0}), "no task 'sale'"),
        (
            lambda: combined_score(ranker(), LOG.everything(), {"click": 1.0}, "mean"),
            "form must be one of sum, product",
        ),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()  # type: ignore[operator]
