"""Constructors, training and scoring with arguments that make no sense."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import quickstudy as qs
from quickstudy.evaluation import GaussianProcessOracle, LinearOracle, SinusoidOracle
from quickstudy.learners import (
    ANIL,
    BOIL,
    CAVIA,
    MAML,
    R2D2,
    SNAIL,
    AttentiveLatentNeuralProcess,
    AttentiveNeuralProcess,
    AutoregressiveTransformer,
    CompletePooling,
    ConditionalNeuralProcess,
    ConvolutionalNeuralProcess,
    ConvolutionalReader,
    DecoderTransformer,
    FirstOrder,
    FromScratch,
    FullContextMatchingNetwork,
    GradientBoosting,
    GreedyTree,
    Hypernetwork,
    ImplicitMAML,
    InContextTransformer,
    Lasso,
    LatentNeuralProcess,
    MAMLPlusPlus,
    MatchingNetwork,
    MemoryAugmentedNetwork,
    MetaOptNet,
    MetaSGD,
    NearestNeighbour,
    PrototypicalNetwork,
    RecurrentLearner,
    Reptile,
    SiameseNetwork,
)
from quickstudy.networks import MLP, Conv4, Headed, Inputs, Normalization, PerExample, ResNet12, TableNetwork
from quickstudy.tasks import (
    RBF,
    AnyOf,
    Binned,
    Categorical,
    EpisodeShape,
    Gaussian,
    GaussianMixture,
    Mixture,
    Periodic,
    decision_trees,
    from_tables,
    gaussian_processes,
    likelihood_for,
    linear_functions,
    relu_networks,
    sawtooths,
    sinusoids,
    tabular_prior,
)

from .promises import kept, modest, refused
from .strategies import absurd, numbers

pytestmark = pytest.mark.unchecked

NETWORK = MLP(1, (4,))
TABLES = {str(number): (np.arange(24.0).reshape(12, 2), np.arange(12) % 2) for number in range(4)}
# What builds, and with which arguments it surely does.
BUILDERS = {
    MLP: {"inputs": 2, "hidden": (3,), "normalization": "none"},
    Inputs: {"inputs": 2},
    Conv4: {"channels": 1, "size": 16, "filters": 2, "normalization": "none"},
    ResNet12: {"channels": 1, "filters": (2, 2, 2, 2), "normalization": "none"},
    Headed: {"network": NETWORK, "outputs": 2},
    PerExample: {"module": torch.nn.Identity(), "width": 3},
    Normalization: {"channels": 8, "policy": "group", "groups": 2, "momentum": 0.1, "epsilon": 1e-5},
    Categorical: {"ways": 3},
    Gaussian: {"targets": 2, "variance": 0.5},
    EpisodeShape: {"ways": 2, "shots": 1, "queries": 1},
    sinusoids: {"shots": 3, "queries": 2, "noise": 0.1},
    likelihood_for: {"kind": "classification", "ways": 2},
    SinusoidOracle: {"noise": 0.1, "grid": 16},
    GaussianMixture: {"components": 2},
    Binned: {"borders": [-1.0, 0.0, 1.0]},
    Mixture: {"component": Gaussian(), "components": 2},
    RBF: {"lengthscale": 0.5, "scale": (0.5, 1.0)},
    Periodic: {"lengthscale": 0.5, "period": (0.5, 1.0), "scale": 1.0},
    AnyOf: {"kernels": [RBF(), Periodic()]},
    gaussian_processes: {"kernel": RBF(), "shots": 3, "queries": 2, "noise": 0.1, "interval": (-1.0, 1.0)},
    sawtooths: {
        "shots": 3, "queries": 2, "noise": 0.1, "frequency": (0.5, 1.0), "scale": 2.0, "query_scale": 1.0,
    },
    from_tables: {
        "tables": TABLES, "kind": "classification", "features": 2, "shots": (4, 6), "queries": 2, "ways": 3,
        "targets": "any", "most_rows": 10, "validation": 0.25, "test": 0.25, "seed": 1,
    },
    tabular_prior: {"kind": "classification", "features": 3, "shots": 8, "queries": 2, "ways": 2},
    TableNetwork: {"features": 3, "width": 4},
    linear_functions: {
        "dimensions": 3, "shots": 3, "queries": 2, "noise": 0.1, "sparsity": 2, "scale": 2.0, "query_scale": 1.0,
    },
    relu_networks: {
        "dimensions": 3, "hidden": 4, "shots": 3, "queries": 2, "noise": 0.1, "scale": 2.0, "query_scale": 1.0,
    },
    decision_trees: {
        "dimensions": 3, "depth": 2, "shots": 3, "queries": 2, "noise": 0.1, "scale": 2.0, "query_scale": 1.0,
    },
    GaussianProcessOracle: {"kernel": RBF(), "noise": 0.1, "grid": 2},
    LinearOracle: {"dimensions": 3, "noise": 0.1, "sparsity": 2},
    PrototypicalNetwork: {
        "network": NETWORK, "distance": "cosine", "scale": 1.0, "learn_scale": True, "reduction": "mean",
    },
    MatchingNetwork: {"network": NETWORK, "scale": 1.0, "reduction": "sum"},
    FullContextMatchingNetwork: {"network": NETWORK, "scale": 1.0, "processing_steps": 1, "reduction": "sum"},
    SiameseNetwork: {"network": NETWORK, "margin": 1.0, "reduction": "mean"},
    R2D2: {"network": NETWORK, "likelihood": Gaussian(), "penalty": 1.0, "scale": 1.0, "reduction": "mean"},
    MetaOptNet: {"network": NETWORK, "inverse_penalty": 0.1, "scale": 1.0, "reduction": "mean"},
    InContextTransformer: {
        "network": NETWORK, "likelihood": Gaussian(), "width": 4, "layers": 1, "heads": 2, "dropout": 0.1,
        "reduction": "mean",
    },
    AutoregressiveTransformer: {
        "network": NETWORK, "likelihood": Gaussian(), "width": 4, "layers": 1, "heads": 2, "dropout": 0.1,
        "reduction": "mean",
    },
    DecoderTransformer: {
        "network": NETWORK, "likelihood": Gaussian(), "width": 4, "layers": 1, "heads": 2, "positions": 3,
        "paired": True, "dropout": 0.1, "reduction": "mean",
    },
    ConditionalNeuralProcess: {
        "network": NETWORK, "likelihood": Gaussian(), "context": 2, "width": 4, "layers": 1, "condition": "film",
        "reduction": "mean",
    },
    AttentiveNeuralProcess: {
        "network": NETWORK, "likelihood": Gaussian(), "width": 4, "layers": 1, "heads": 2, "condition": "film",
        "reduction": "mean",
    },
    RecurrentLearner: {
        "network": NETWORK, "likelihood": Gaussian(), "width": 4, "layers": 1, "labels": "shifted", "reduction": "mean",
    },
    MemoryAugmentedNetwork: {
        "network": NETWORK, "likelihood": Gaussian(), "width": 4, "slots": 4, "slot_width": 2, "heads": 2,
        "decay": 0.9, "scale": 2.0, "labels": "beside", "reduction": "mean",
    },
    SNAIL: {
        "network": NETWORK, "likelihood": Gaussian(), "width": 4, "filters": 2, "attention": 2, "blocks": 1,
        "reach": 4, "reduction": "mean",
    },
    ConvolutionalNeuralProcess: {
        "likelihood": Gaussian(), "interval": (-1.0, 1.0), "resolution": 2, "channels": 2, "layers": 1, "kernel": 3,
        "network": None, "reduction": "mean",
    },
    Hypernetwork: {
        "network": NETWORK, "likelihood": Gaussian(), "hidden": (3,), "context": 2, "width": 4, "layers": 1,
        "reduction": "mean",
    },
    LatentNeuralProcess: {
        "network": NETWORK, "likelihood": Gaussian(), "latent": 2, "width": 4, "layers": 1, "samples": 2,
        "training_samples": 1, "objective": "elbo", "seed": 0, "condition": "film", "reduction": "mean",
    },
    AttentiveLatentNeuralProcess: {
        "network": NETWORK, "likelihood": Gaussian(), "latent": 2, "width": 4, "heads": 2, "layers": 1, "samples": 2,
        "training_samples": 1, "objective": "elbo", "seed": 0, "condition": "film", "reduction": "mean",
    },
    ConvolutionalReader: {
        "network": NETWORK, "likelihood": Gaussian(), "width": 4, "layers": 2, "decoder_layers": 1,
        "condition": "film", "reduction": "mean",
    },
    NearestNeighbour: {"network": None, "likelihood": None, "neighbours": 1, "smoothing": 1.0},
    Lasso: {"penalty": 0.1, "intercept": True},
    GreedyTree: {"depth": 3},
    GradientBoosting: {"trees": 2, "rate": 0.1, "depth": 2},
    CompletePooling: {"network": NETWORK, "likelihood": Gaussian(), "reduction": "mean"},
    FromScratch: {
        "network": NETWORK, "likelihood": Gaussian(), "steps": 1, "rate": 0.1, "weight_decay": 0.0,
        "tasks_at_once": 1, "reduction": "mean",
    },
    **{
        cls: {
            "network": NETWORK, "likelihood": Gaussian(), "inner_steps": 1, "inner_rate": 0.1, "evaluation_steps": 1,
            "tasks_at_once": 1, "reduction": "mean", **more,
        }
        for cls, more in (
            (MAML, {"adapting": "", "meta_gradient": FirstOrder()}),
            (MAMLPlusPlus, {"adapting": "", "multi_step_losses": 3, "first_order_steps": 2}),
            (ImplicitMAML, {"adapting": "", "pull": 1.0, "iterations": 2}),
            (CAVIA, {"contexts": 2, "place": "layers.0"}),
            (ANIL, {}),
            (BOIL, {}),
            (MetaSGD, {"adapting": "", "per_step": True}),
            (Reptile, {"inner_batch": 2}),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("builder", BUILDERS, ids=lambda builder: builder.__name__)
def test_arguments_are_taken_or_refused_by_name(builder: type) -> None:
    """One argument at a time is replaced by each of the absurd things."""
    whole = BUILDERS[builder]
    builder(**whole)

    @modest(60)
    @given(st.sampled_from(sorted(whole)), absurd | numbers)
    def one(name: str, value: object) -> None:
        aliases = {
            "inner_steps": "steps", "evaluation_steps": "steps", "policy": "normalization",
        }  # fmt: skip
        kept(lambda: builder(**{**whole, name: value}), rf"{name}|{aliases.get(name, name)}")

    one()


@pytest.mark.parametrize(
    ("builder", "arguments"),
    [
        (MAML, {"inner_rate": math.inf}),
        (MAML, {"inner_steps": True}),
        (MAML, {"inner_steps": 1.5}),
        (MAML, {"meta_gradient": "no"}),
        (MAML, {"adapting": "("}),
        (MAML, {"adapting": None}),
        (Conv4, {"filters": 0}),
        (Conv4, {"channels": -1}),
        (MLP, {"inputs": 10**12}),
        (MLP, {"hidden": "34"}),
        (NearestNeighbour, {"smoothing": math.inf}),
        (NearestNeighbour, {"neighbours": "one"}),
        (FromScratch, {"rate": math.inf}),
        (FromScratch, {"weight_decay": math.nan}),
        (SiameseNetwork, {"margin": math.inf}),
        (InContextTransformer, {"dropout": "0.1"}),
        (PrototypicalNetwork, {"learn_scale": 1}),
        (likelihood_for, {"kind": "ranking"}),
        (EpisodeShape, {"shots": (2, 1)}),
        (EpisodeShape, {"ways": True}),
        (Headed, {"outputs": 0}),
    ],
)
def test_what_was_taken_before(builder: type, arguments: dict) -> None:
    refused(lambda: builder(**{**BUILDERS[builder], **arguments}), "|".join([*arguments, "steps"]))


TASKS = sinusoids(shots=2, queries=2)
FIT = {
    "steps": 1, "batch_size": 1, "seed": 0, "clip": 1.0, "validation_size": 1, "validate_every": 1, "patience": 1,
    "checkpoint_every": 1, "device": "cpu", "precision": "32-true",
}  # fmt: skip
# A billion steps are taken, and would run.
impatient = absurd | numbers.filter(lambda value: not (isinstance(value, int) and value > 2))


@modest(120)
@given(st.sampled_from([*sorted(FIT), "tasks", "module", "optimizer", "folder"]), impatient)
def test_fit_takes_or_refuses(tmp_path_factory: pytest.TempPathFactory, name: str, value: object) -> None:
    if name == "folder" and isinstance(value, str | bytes):
        return  # a folder's name may be anything
    arguments = {"module": CompletePooling(MLP(1, (4,)), Gaussian()), "tasks": TASKS.train, **FIT, name: value}
    history = kept(
        lambda: qs.fit(validation=TASKS.validation, **arguments), rf"{name}|{'path' if name == 'folder' else name}"
    )
    if history is not None:
        assert math.isfinite(history.losses[-1][1])


@modest(80)
@given(st.sampled_from(["tasks", "seed", "batch_size", "device", "precision", "split", "learner"]), impatient)
def test_evaluate_takes_or_refuses(name: str, value: object) -> None:
    arguments = {
        "learner": NearestNeighbour(likelihood=Gaussian()), "split": TASKS.test, "tasks": 2, "seed": 0,
        "batch_size": 1, "device": "cpu", "precision": "32-true", name: value,
    }  # fmt: skip
    scores = kept(lambda: qs.evaluate(**arguments), name)
    if scores is not None:
        assert all(math.isfinite(number) for number in scores.values["mse"])


@modest(60)
@given(numbers, numbers, numbers)
def test_draws_take_or_refuse(first: object, count: object, seed: object) -> None:
    if isinstance(count, int) and count > 2:
        return  # so many tasks are taken, and fill the memory
    kept(lambda: TASKS.train.draw(first, count, seed), "first|count|seed|task")


def test_what_is_not_finite_in_training_is_named_by_its_draw(tmp_path: Path) -> None:
    class Poisoned(type(TASKS.train)):
        def draw(self, first: int, count: int, seed: int) -> qs.TaskBatch:
            batch = super().draw(first, count, seed)
            if first <= 5 < first + count:
                batch.support.x[5 - first, 0] = math.nan
            return batch

    split = Poisoned("train", 2, 2, 0.0)
    module = CompletePooling(MLP(1, (4,)), Gaussian())
    refused(
        lambda: qs.fit(module, split, steps=9, batch_size=4, device="cpu"), r"support\.x .* task 1.*draw\(4, 4, 0\)"
    )
    refused(lambda: qs.evaluate(module, split, tasks=9, batch_size=4), r"support\.x .* task 1.*draw\(4, 4, 0\)")
