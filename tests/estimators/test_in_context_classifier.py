"""The face of scikit-learn: its own checks, and what it promises beyond them."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.dummy import DummyClassifier
from sklearn.metrics import log_loss
from sklearn.utils.estimator_checks import parametrize_with_checks

import quickstudy as qs
from quickstudy.estimators import InContextClassifier
from quickstudy.learners import InContextTransformer
from quickstudy.networks import MLP, TableNetwork
from quickstudy.tasks import Categorical

pytestmark = pytest.mark.unchecked  # scikit-learn's checks are many


@parametrize_with_checks([InContextClassifier(readings=2)])
def test_scikit_learn_is_content(estimator, check) -> None:
    check(estimator)


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris, load_wine])
def test_knows_more_than_the_shares_of_the_classes(load) -> None:
    x, y = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    learned, asked = order[: len(y) // 2], order[len(y) // 2 :]
    found = InContextClassifier().fit(x[learned], y[learned]).predict_proba(x[asked])
    shares = DummyClassifier(strategy="prior").fit(x[learned], y[learned]).predict_proba(x[asked])
    assert log_loss(y[asked], found) < 0.5 * log_loss(y[asked], shares)


def frame(rows: int = 120) -> tuple[pd.DataFrame, np.ndarray]:
    """A class that a word and a number decide together."""
    generator = np.random.default_rng(1)
    word, number = generator.choice(["low", "middle", "high"], rows), generator.normal(size=rows)
    y = np.where((word == "high") | (number > 1), "yes", "no")
    return pd.DataFrame({"number": number, "word": word, "noise": generator.normal(size=rows)}), y


def test_words_and_holes() -> None:
    x, y = frame()
    x.loc[::7, "number"] = np.nan
    x.loc[::11, "word"] = None
    model = InContextClassifier().fit(x[:80], y[:80])
    assert model.score(x[80:], y[80:]) > 0.75
    assert list(model.classes_) == ["no", "yes"]


def test_a_word_that_was_not_there_is_missing() -> None:
    x, y = frame()
    model = InContextClassifier().fit(x, y)
    unknown, missing = x[:5].assign(word="unheard of"), x[:5].assign(word=None)
    np.testing.assert_array_equal(model.predict_proba(unknown), model.predict_proba(missing))


def test_order_of_the_rows_does_not_matter() -> None:
    x, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    one, other = (InContextClassifier().fit(x[rows], y[rows]) for rows in (slice(None), order))
    np.testing.assert_allclose(one.predict_proba(x[:20]), other.predict_proba(x[:20]), atol=1e-9)


def test_wide_tables_are_read_by_what_tells_most() -> None:
    x, y = load_iris(return_X_y=True)
    noise = np.random.default_rng(0).normal(size=(len(y), 60))
    model = InContextClassifier().fit(np.concatenate([noise, x], 1), y)
    assert len(model.columns_) == model.learner_.network.features
    assert set(range(60, 64)) <= set(model.columns_)


def test_long_tables_are_read_in_parts() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(3000, 3))
    y = (x[:, 0] > 0).astype(int)
    y[:2] = 2  # a class of two rows
    model = InContextClassifier(most_rows=64).fit(x, y)
    assert model.phi_["keys"].shape[3] == 1 + 64
    assert model.score(x[2:200], y[2:200]) > 0.8
    assert model.predict_proba(x[:1500]).shape == (1500, 3)


def test_survives_pickle_and_clone() -> None:
    x, y = load_iris(return_X_y=True)
    model = InContextClassifier(readings=2, random_state=3).fit(x, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    np.testing.assert_array_equal(clone(model).fit(x, y).predict_proba(x), model.predict_proba(x))


def test_own_weights(tmp_path: Path) -> None:
    learner = InContextTransformer(TableNetwork(4, 16), Categorical(3), width=16, layers=1, heads=2)
    path = qs.save(learner, tmp_path / "learner")
    x, y = load_iris(return_X_y=True)
    model = InContextClassifier(path).fit(x, y)
    assert model.predict_proba(x).shape == (150, 3)
    assert all(weight.dtype == torch.float64 for weight in model.learner_.parameters())
    assert all(weight.dtype == torch.float32 for weight in learner.parameters())


def test_refusals(tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="y has 15 classes, but the network was trained for up to 10"):
        InContextClassifier().fit(x, np.arange(150) % 15)
    with pytest.raises(ValueError, match="readings and most_rows must be at least 1, got 0 and 256"):
        InContextClassifier(readings=0).fit(x, y)
    with pytest.raises(FileNotFoundError, match="no saved module"):
        InContextClassifier(tmp_path / "nothing").fit(x, y)
    path = qs.save(InContextTransformer(MLP(4), Categorical(3)), tmp_path / "other")
    with pytest.raises(ValueError, match="TableNetwork.*holds InContextTransformer on MLP"):
        InContextClassifier(path).fit(x, y)


def test_weights_that_come_along_are_small() -> None:
    folder = Path(qs.__file__).parent / "estimators"
    assert (folder / "tabular_classifier.safetensors").stat().st_size < 5e6
