"""Objectives, missing targets, and how tasks are drawn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.multitask import BPR, MixedSplit, Objective, SharedBatch, SharedBottom, named_tasks, shared_tasks
from quickstudy.networks import MLP
from quickstudy.tasks import Bernoulli, Categorical, Examples, Gaussian
from quickstudy.training import Sum

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
TARGETS = {"number": X[:, 0] + 1, "yes": (X[:, 1] > 0).astype(float), "class": np.digitize(X[:, 2], [-0.5, 0.5])}
MASKS = {"class": RNG.random(60) < 0.6}


def targets() -> dict[str, np.ndarray]:
    """Every third number is missing, and two in five classes."""
    known = {task: y.copy() for task, y in TARGETS.items()}
    known["number"][::3] = np.nan
    return known


def module(reduction: str = "mean", weight: float = 1.0) -> SharedBottom:
    torch.manual_seed(0)
    likelihoods = {"number": Objective(Gaussian(), weight), "yes": Bernoulli(), "class": Categorical(3)}
    return SharedBottom(MLP(4, (8,)), likelihoods, reduction)


def test_missing_targets_cost_nothing_and_the_rest_what_they_cost_alone() -> None:
    tasks, model = shared_tasks(X, targets(), MASKS), module()
    batch = tasks.train.draw(0, 36, 0)
    losses = model(batch)
    hidden = torch.relu(model.network.layers[0](batch.x[0]))
    raw = torch.einsum("nw,two->tno", hidden, model.heads.layers[0].weight) + model.heads.layers[0].bias[:, None]
    there = batch.mask["number"][0]
    assert 0 < there.sum() < 36
    expected = F.mse_loss(raw[0, there, 0], batch.y["number"][0][there]) + 0.5 * np.log(np.pi)
    assert_close(losses["number"], expected)
    assert_close(losses["yes"], F.binary_cross_entropy_with_logits(raw[1, :, 0], batch.y["yes"][0]))
    there = batch.mask["class"][0]
    assert_close(losses["class"], F.cross_entropy(raw[2][there], batch.y["class"][0][there]))
    for task in batch.y:  # whatever stands where a target is missing
        junk = torch.nan if batch.y[task].is_floating_point() else 99
        batch.y[task] = torch.where(batch.mask[task], batch.y[task], torch.as_tensor(junk, dtype=batch.y[task].dtype))
    again = model(batch)
    assert_close(torch.stack(list(again.values())), torch.stack(list(losses.values())), rtol=0, atol=0)


def test_weights_are_factors_of_losses() -> None:
    batch = shared_tasks(X, targets(), MASKS).train.draw(0, 36, 0)
    once, thrice = module()(batch), module(weight=3.0)(batch)
    assert_close(thrice["number"], 3 * once["number"])
    assert_close(thrice["yes"], once["yes"])


def test_shared_inputs_are_the_same_as_data_sets_apart() -> None:
    """One pass through the trunk for all, or one for each: the same losses."""
    model, batch = module(), shared_tasks(X, targets(), MASKS).train.draw(0, 36, 0)
    apart = {task: Examples(batch.x, batch.y[task], batch.mask[task]) for task in batch.y}
    for task, loss in model(apart).items():
        assert_close(loss, model(batch)[task])


@pytest.mark.parametrize("form", ["apart", "mixed"])
def test_pooled_training_is_the_sum_of_the_tasks(form: str) -> None:
    """L over D = ∪ D_i is Σ L_i when losses are summed: one likelihood, data of three tasks, gradients too."""
    data = {name: (RNG.normal(size=(n, 4)), RNG.normal(size=n)) for name, n in (("a", 30), ("b", 20), ("c", 10))}
    tasks = named_tasks(data)
    tasks = tasks if form == "apart" else tasks.mixed()
    one = SharedBottom(MLP(4, (8,)), {"all": Gaussian()}, "sum")
    three = SharedBottom(MLP(4, (8,)), dict.fromkeys(data, Gaussian()), "sum")
    three.network.load_state_dict(one.network.state_dict())
    with torch.no_grad():
        for mine, other in zip(three.heads.parameters(), one.heads.parameters(), strict=True):
            mine.copy_(other.expand_as(mine))
    batch = tasks.train.draw(0, 24, 0)
    parts = [(those.x[those.mask], those.y[those.mask]) for _, those in batch.items()]
    x, y = (torch.cat(leaves)[None] for leaves in zip(*parts, strict=True))
    pooled, apart = one({"all": Examples.of(x, y)})["all"], torch.stack(list(three(batch).values())).sum()
    assert_close(apart, pooled)
    gradients = [
        torch.autograd.grad(loss, model.network.parameters()) for loss, model in ((pooled, one), (apart, three))
    ]
    for mine, other in zip(*gradients, strict=True):
        assert_close(mine, other)


def uneven() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    sizes = {"large": 1000, "middle": 250, "small": 50}
    return {
        task: (np.arange(n)[:, None] + 10_000.0 * i, RNG.normal(size=n)) for i, (task, n) in enumerate(sizes.items())
    }


@pytest.mark.parametrize("sampling", ["proportional", "uniform", "temperature", "stratified"])
def test_tasks_are_drawn_in_their_shares(sampling: str) -> None:
    split = named_tasks(uneven()).mixed(sampling, 2.0 if sampling == "temperature" else None).train
    sizes = np.array([600, 150, 30])
    expected = {
        "uniform": np.full(3, 1 / 3),
        "temperature": np.sqrt(sizes) / np.sqrt(sizes).sum(),
    }.get(sampling, sizes / sizes.sum())
    assert_close(split.probabilities, expected)
    batch = split.draw(0, 7800, 0)
    counts = np.array([int(mask.sum()) for mask in batch.mask.values()])
    assert counts.sum() == 7800  # every draw is of one task
    assert np.abs(counts / 7800 - expected).max() < (1e-9 if sampling == "stratified" else 0.02)
    if sampling == "stratified":
        small = split.draw(26, 26, 0)  # a thirtieth of a round
        assert np.abs(np.array([int(mask.sum()) for mask in small.mask.values()]) - [20, 5, 1]).max() <= 1
        assert len(set(split.draw(780, 780, 0).x[0, :, 0].tolist())) == 780
    # Examples stand beside the targets of their own task.
    for task, (x, y) in split.data.items():
        known = dict(zip(x[:, 0].tolist(), y.tolist(), strict=True))
        there = batch.mask[task][0]
        assert [known[value] for value in batch.x[0, there, 0].tolist()] == batch.y[task][0, there].tolist()


@pytest.mark.parametrize("form", ["mixed", "shared"])
def test_parts_of_a_batch_have_the_mean_of_the_whole(form: str) -> None:
    if form == "mixed":
        split, task = named_tasks(uneven()).mixed().train, "middle"
        model = SharedBottom(MLP(1, (8,)), dict.fromkeys(uneven(), Gaussian()))
    else:
        split, task, model = shared_tasks(X, targets(), MASKS).train, "number", module()
    whole = split.sample(3, 60, 0)
    parts = [split.sample(3, 60, 0, rank=rank, world=2) for rank in range(2)]
    assert whole.mask[task].sum() % 2 or parts[0].mask[task].sum() != parts[1].mask[task].sum()
    for name, loss in model(whole).items():
        assert_close(torch.stack([model(part)[name] for part in parts]).mean(), loss)


@pytest.mark.parametrize("form", ["mixed", "shared"])
def test_held_out_examples_come_once_and_validation_does_not_depend_on_the_batch(form: str) -> None:
    tasks = named_tasks(uneven()).mixed() if form == "mixed" else shared_tasks(X, targets(), MASKS)
    model = SharedBottom(MLP(1, (8,)), dict.fromkeys(uneven(), Gaussian())) if form == "mixed" else module()
    test = tasks.test.draw(0, tasks.test.size + 5, 0)
    assert not torch.stack(list(test.mask.values()))[..., -5:].any()
    assert len({tuple(x.tolist()) for x in test.x[0, :-5]}) == tasks.test.size
    values = []
    for size in (4, 100):
        history = qs.fit(
            model, tasks.train, steps=1, batch_size=size, optimizer=lambda p: torch.optim.SGD(p, lr=0.0),
            validation=tasks.validation, device="cpu",
        )  # fmt: skip
        values.append(history.validation[0][1])
    assert_close(values[0], values[1])


def test_learns_and_scores_by_each_metric() -> None:
    x = RNG.normal(size=(600, 4))
    y = {"number": x[:, 0].copy(), "yes": (x[:, 1] > 0).astype(float), "class": np.digitize(x[:, 2], [-0.5, 0.5])}
    y["number"][::2] = np.nan
    tasks = shared_tasks(x, y)
    torch.manual_seed(0)
    model = SharedBottom(
        MLP(4, (32,)),
        {"number": Gaussian(), "yes": Objective(Bernoulli(), metric="auc"), "class": Categorical(3)},
    )
    qs.fit(
        model, tasks.train, steps=300, batch_size=64, backward=Sum(), device="cpu",
        optimizer=lambda p: torch.optim.Adam(p, lr=0.01),
    )  # fmt: skip
    scores = model.scores(tasks.test)
    assert scores["number"] < 0.3
    assert scores["yes"] > 0.97
    assert scores["class"] > 0.85
    assert scores == pytest.approx(model.scores(tasks.test, batch_size=7))
    test = tasks.test.draw(0, tasks.test.size, 0)
    with torch.no_grad():
        probs = model.predict("yes", test.x).probs[0]
    assert scores["yes"] == pytest.approx(roc_auc_score(test.y["yes"][0], probs))


def test_metrics_by_hand() -> None:
    there = torch.tensor([True, True, True, False])
    prediction = Gaussian().distribution(torch.tensor([[1.0], [2.0], [3.0], [99.0]]))
    y = torch.tensor([1.0, 0.0, 2.0, 0.0])
    assert Objective(Gaussian(), metric="mae").score(prediction, y, there) == pytest.approx(1.0)
    assert Objective(Gaussian()).score(prediction, y, there) == pytest.approx((5 / 3) ** 0.5)
    assert np.isnan(Objective(Gaussian()).score(prediction, y, torch.zeros(4, dtype=torch.bool)))
    yes = Bernoulli().distribution(torch.tensor([[2.0], [-2.0], [1.0], [0.0]]))
    assert Objective(Bernoulli()).score(yes, torch.tensor([1.0, 0.0, 0.0, 1.0]), there) == pytest.approx(2 / 3)
    assert np.isnan(Objective(Bernoulli(), metric="auc").score(yes, torch.ones(4), there))


def test_a_nan_in_one_task_is_named() -> None:
    batch = shared_tasks(X, targets(), MASKS)
    batch.train.y["yes"][5] = torch.nan
    with pytest.raises(qs.training.NonFiniteLossError, match="yes"):
        qs.fit(module(), batch.train, steps=3, batch_size=36, device="cpu")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shared_tasks(X, {}), "targets is empty"),
        (lambda: shared_tasks(X, {"a": np.full(60, np.nan)}), "the task 'a' has no target at all"),
        (lambda: shared_tasks(X, {"a": np.zeros(59)}), "the task 'a' has 60 inputs and 59 targets"),
        (lambda: shared_tasks(X, {"a": ["x"] * 60}), "the targets of 'a' are .*number the classes"),
        (lambda: shared_tasks(X, {"a": np.arange(60.0)}, {"b": np.ones(60, bool)}), "masks names 'b'"),
        (lambda: shared_tasks(X, {"a": np.arange(60.0)}, {"a": np.ones(60)}), "the mask of 'a' must be bool"),
        (lambda: shared_tasks(X, targets(), {"number": np.ones(60, bool)}), "'number' is NaN for example 0"),
        (lambda: shared_tasks(X, {"a": np.arange(60.0)}, {"a": np.arange(60) < 1}), "'a' has 1 targets, none of them"),
        (lambda: shared_tasks(X, {"a": np.full(60, np.inf)}), "'a' has a value that is not finite in its targets"),
        (lambda: shared_tasks(X[:2], {"a": np.arange(2.0)}), "there are 2 examples; shares"),
        (lambda: named_tasks(uneven()).mixed("random"), "sampling must be one of proportional"),
        (lambda: named_tasks(uneven()).mixed("uniform", 2.0), "temperature is 2.0, but sampling is 'uniform'"),
        (lambda: named_tasks(uneven()).mixed("temperature", 0.5), "temperature must be at least 1"),
        (lambda: shared_tasks(X, targets()).mixed(), "these tasks share their inputs"),
        (lambda: Objective(Gaussian(), -1.0), "weight must not be negative"),
        (lambda: Objective(Gaussian(), metric="auc"), "metric must be one of log_loss, rmse, mae for regression"),
        (lambda: Objective("gaussian"), "likelihood must be a Likelihood"),
        (lambda: module()({}), "the batch holds no task"),
        (
            lambda: module()(shared_tasks(X, {"number": np.arange(60)}).train.draw(0, 4, 0)),
            "the targets of the task 'number' do not fit its likelihood: Gaussian takes floating-point",
        ),
        (
            lambda: module()(shared_tasks(X, {"class": TARGETS["yes"]}).train.draw(0, 4, 0)),
            "the targets of the task 'class' do not fit its likelihood: classification needs int64",
        ),
    ],
)
@pytest.mark.unchecked
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()  # type: ignore[operator]


def test_what_can_be_trained_but_should_not_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="the targets of 'a' are all 3"):
        shared_tasks(X, {"a": np.full(60, 3.0), "b": X[:, 0]})
    with pytest.warns(UserWarning, match="'large' has 1200 training targets and 'small' 6.*temperature"):
        named_tasks({"large": (np.zeros((2000, 1)), RNG.normal(size=2000)), "small": (X[:10, :1], X[:10, 1])})


@pytest.mark.unchecked
def test_compiles_as_one_graph() -> None:
    model, batch = module(), shared_tasks(X, targets(), MASKS).train.draw(0, 36, 0)
    torch.compiler.reset()  # forwards compiled by other tests count against the limit
    compiled = torch.compile(model, fullgraph=True, dynamic=False, backend="aot_eager")
    for task, loss in compiled(batch).items():
        assert_close(loss, model(batch)[task])


def test_saves_and_loads_with_objectives(tmp_path: object) -> None:
    model, batch = module(weight=2.0), shared_tasks(X, targets(), MASKS).test.draw(0, 5, 0)
    qs.save(model, f"{tmp_path}/model")
    back = qs.load(f"{tmp_path}/model")
    assert_close(back(batch)["number"], model(batch)["number"])
    assert isinstance(batch, SharedBatch)
    assert isinstance(named_tasks(uneven()).mixed().test, MixedSplit)


def test_bpr_is_the_log_odds_of_a_preference() -> None:
    """−log σ(s_i − s_j), by its definition and in what a module returns."""
    raw, y = torch.randn(1, 9, 2), (torch.arange(9) % 3 > 0).float()[None]
    difference = raw[..., 0] - raw[..., 1]
    signed = torch.where(y > 0, difference, -difference)
    loss = -BPR().log_prob(raw, Examples.of(raw, y), None, "mean")
    assert_close(loss[0], -torch.log(torch.sigmoid(signed)).mean())
    prediction = BPR().distribution(raw[0])
    right = Objective(BPR()).score(prediction, y[0], torch.ones(9, dtype=torch.bool))
    assert right == pytest.approx(float((signed > 0).float().mean()))
    model = SharedBottom(MLP(4, (8,)), {"preferred": BPR(), "number": Gaussian()})
    tasks = shared_tasks(X, {"preferred": TARGETS["yes"], "number": TARGETS["number"]})
    batch = tasks.train.draw(0, 12, 0)
    outputs = model.raw(batch.x, batch.mask["number"], [0], [0])
    expected = F.binary_cross_entropy_with_logits(outputs[..., 0] - outputs[..., 1], batch.y["preferred"])
    assert_close(model(batch)["preferred"], expected)
