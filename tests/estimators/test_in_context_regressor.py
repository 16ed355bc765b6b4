"""The face of scikit-learn: its own checks, and what it promises beyond them."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.linear_model import LinearRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

import quickstudy as qs
from quickstudy.estimators import InContextClassifier, InContextRegressor
from quickstudy.learners import InContextTransformer
from quickstudy.networks import TableNetwork
from quickstudy.tasks import GaussianMixture

pytestmark = pytest.mark.unchecked  # scikit-learn's checks are many


@parametrize_with_checks([InContextRegressor(readings=2)])
def test_scikit_learn_is_content(estimator, check) -> None:
    check(estimator)


def halves(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    order = np.random.default_rng(0).permutation(len(y))
    learned, asked = order[: len(y) // 2], order[len(y) // 2 :]
    return x[learned], y[learned], x[asked], y[asked]


def test_a_real_table() -> None:
    """As much as least squares explains, but for a tenth of it."""
    x, y, asked, truth = halves(*load_diabetes(return_X_y=True))
    line = LinearRegression().fit(x, y).score(asked, truth)
    assert InContextRegressor().fit(x, y).score(asked, truth) > 0.9 * line


def test_what_no_line_explains() -> None:
    x, y, asked, truth = halves(*make_friedman1(300, noise=0.5, random_state=0))
    line = LinearRegression().fit(x, y).score(asked, truth)
    assert InContextRegressor().fit(x, y).score(asked, truth) > line + 0.02


def test_units_do_not_matter() -> None:
    """Another unit of the target gives predictions in that unit; another unit of a column changes nothing."""
    x, y, asked, _ = halves(*load_diabetes(return_X_y=True))
    found = InContextRegressor().fit(x, y).predict(asked)
    np.testing.assert_allclose(InContextRegressor().fit(x, 1000 * y - 7).predict(asked), 1000 * found - 7, rtol=1e-6)
    factors = np.geomspace(1e-3, 1e3, x.shape[1])
    np.testing.assert_allclose(InContextRegressor().fit(x * factors, y).predict(asked * factors), found, rtol=1e-3)


def test_words_and_holes() -> None:
    generator = np.random.default_rng(1)
    word, number = generator.choice(["low", "high"], 120), generator.normal(size=120)
    y = number + 3.0 * (word == "high")
    x = pd.DataFrame({"number": number, "word": word})
    x.loc[::9, "number"] = np.nan
    x.loc[::11, "word"] = None
    assert InContextRegressor().fit(x[:80], y[:80]).score(x[80:], y[80:]) > 0.6


def test_wide_and_long_tables() -> None:
    x, y = make_friedman1(600, n_features=40, noise=0.5, random_state=0)
    model = InContextRegressor(most_rows=64).fit(x, y)
    assert len(model.columns_) == model.learner_.network.features
    assert {0, 1, 3, 4} <= set(model.columns_)  # those on which y depends steadily
    assert model.phi_["keys"].shape[3] == 1 + 64


def test_a_constant_target_is_predicted() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    np.testing.assert_allclose(InContextRegressor().fit(x, np.full(40, 5.0)).predict(x), 5.0, atol=0.5)


def test_survives_pickle_and_clone() -> None:
    x, y = load_diabetes(return_X_y=True)
    model = InContextRegressor(readings=2, random_state=3).fit(x, y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(x), model.predict(x))
    np.testing.assert_array_equal(clone(model).fit(x, y).predict(x), model.predict(x))


def test_weights(tmp_path: Path) -> None:
    learner = InContextTransformer(TableNetwork(4, 16), GaussianMixture(2), width=16, layers=1, heads=2)
    path = qs.save(learner, tmp_path / "learner")
    x, y = load_diabetes(return_X_y=True)
    assert InContextRegressor(path).fit(x, y).predict(x).shape == (442,)
    with pytest.raises(ValueError, match="for classification.*holds InContextTransformer.*GaussianMixture"):
        InContextClassifier(path).fit(x, y.astype(int) % 2)
    folder = Path(qs.__file__).parent / "estimators"
    assert (folder / "tabular_regressor.safetensors").stat().st_size < 5e6
