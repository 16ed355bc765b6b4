"""Columns as numbers: what scikit-learn's own pipeline gives, now and after a round through JSON."""

import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from quickstudy.rebuild import describe, rebuild
from quickstudy.tasks import TableColumns, TableTarget

ROWS, TRAINING = 400, np.arange(0, 300)
DRAW = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "dose": DRAW.normal(3, 2, ROWS),
        "ward": DRAW.choice(["north", "south", None], ROWS),
        "weight": np.where(DRAW.random(ROWS) < 0.2, np.nan, DRAW.normal(70, 10, ROWS)),
        "late": np.where(np.arange(ROWS) < 300, np.nan, 1.0),  # empty in training
        "constant": 7,
        "smokes": pd.array(DRAW.choice([True, False, None], ROWS), dtype="boolean"),
        "code": pd.Categorical(DRAW.choice([f"c{number}" for number in range(150)], ROWS)),
    }
)
FRAME.loc[350, "ward"] = "east"  # never seen in training
FRAME.loc[360, "dose"] = np.nan  # never missing in training


def of_sklearn(frame: pd.DataFrame) -> NDArray[np.float64]:
    numbers, words = ["dose", "weight", "late", "constant", "smokes"], ["ward", "code"]
    frame = frame.assign(smokes=frame.smokes.astype("Float64"))
    frame[words] = frame[words].astype(object).where(frame[words].notna(), "missing").astype(str)
    transform = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=101, sparse_output=False), words),
    )
    with warnings.catch_warnings(action="ignore"):  # on a column without values
        return transform.fit(frame.iloc[TRAINING]).transform(frame)


def test_features_are_those_of_scikit_learn() -> None:
    columns = TableColumns.learned(FRAME, TRAINING)
    np.testing.assert_allclose(columns(FRAME), of_sklearn(FRAME), rtol=0, atol=1e-12)
    again = rebuild(json.loads(json.dumps(describe(columns))))
    np.testing.assert_array_equal(again(FRAME[::-1]), columns(FRAME)[::-1])


def test_rows_by_themselves_are_what_they_were_among_others() -> None:
    columns = TableColumns.learned(FRAME, TRAINING)
    alone = pd.concat([FRAME.iloc[[row]] for row in (3, 350, 360)])
    np.testing.assert_array_equal(columns(alone), columns(FRAME)[[3, 350, 360]])
    # Other columns and another order change nothing.
    np.testing.assert_array_equal(columns(FRAME.iloc[:5, ::-1].assign(more=1)), columns(FRAME)[:5])


def test_words_that_look_like_numbers_are_words_still() -> None:
    frame = pd.DataFrame({"code": pd.Categorical(["1", "2", "x", "1"]), "dose": [1.0, 2.0, 3.0, 4.0]})
    columns = TableColumns.learned(frame, np.arange(4))
    # As pandas would read a file in which the x, and one entry, are missing.
    later = pd.DataFrame({"code": [2.0, np.nan], "dose": [1.0, 1.0]})
    assert columns(later)[:, 1:].tolist() == [[0, 1, 0], [0, 0, 0]]


def test_bad_rows_are_named() -> None:
    columns = TableColumns.learned(FRAME, TRAINING)
    with pytest.raises(ValueError, match="features names the column 'dose', which the table does not have"):
        columns(FRAME.drop(columns="dose"))
    with pytest.raises(ValueError, match="the column 'dose' of the features does not hold numbers: .* 'much'"):
        columns(FRAME.head(2).assign(dose=["1.5", "much"]))
    with pytest.raises(ValueError, match="'dose' of the features has a value that is not finite"):
        columns(FRAME.head(2).assign(dose=[1.5, np.inf]))
    for dtype in ("timedelta64[s]", "complex64"):
        with pytest.raises(ValueError, match=rf"'dose' of the features holds {re.escape(dtype)}, not real numbers"):
            TableColumns.learned(pd.DataFrame({"dose": pd.Series([1, 2], dtype=dtype)}), np.arange(2))


# The same values as pandas may come to hold them: as they are, among missing ones, as categories, from a file.
SAME = {
    "yes and no": [
        pd.Series([True, False]),
        pd.Series([True, False], dtype="boolean"),
        pd.Series([True, False, None], dtype=object),
        pd.Series([True, False], dtype="category"),
    ],
    "codes": [
        pd.Series([1, 2]),
        pd.Series([1.0, 2.0, np.nan]),
        pd.Series([1, 2, None], dtype="Int64"),
        pd.Series([1, 2, None], dtype=object),
        pd.Series(["1", "2"]),
        pd.Series(["1.0", "2.0", None], dtype="category"),
        pd.Series([1, 2], dtype="category"),
        pd.Series([1.0, 2.0, np.nan], dtype="category"),
    ],
    "days": [
        pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"])),
        pd.Series(["2020-01-01", "2020-01-02", None]),
        pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"]), dtype="category"),
    ],
}


@pytest.mark.parametrize("values", SAME)
def test_a_value_is_the_same_however_pandas_holds_it(values: str) -> None:
    forms = SAME[values]
    for learned in forms:
        columns = TableColumns.learned(learned.to_frame("it"), np.arange(len(learned)))
        target = TableTarget.learned(learned.dropna().rename("it"), np.arange(2), "classification")
        expected, numbers = columns(learned.head(2).to_frame("it")), target(learned.head(2))
        assert len(np.unique(expected, axis=0)) == 2
        for later in forms:
            np.testing.assert_array_equal(columns(later.head(2).to_frame("it")), expected)
            np.testing.assert_array_equal(target(later.head(2)), numbers)


def test_lists_are_words_as_they_are_written() -> None:
    columns = TableColumns.learned(pd.DataFrame({"it": [[1], [2], None, [1]]}), np.arange(4))
    assert columns(pd.DataFrame({"it": [[2], [1]]})).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_long_numbers_are_words_of_their_own() -> None:
    accounts = pd.Series(["12345678901234567", "12345678901234568", "nan", "inf"])
    assert len(set(TableTarget.learned(accounts.rename("it"), np.arange(4), "classification").classes or ())) == 4


def test_a_column_of_other_words_is_said() -> None:
    columns = TableColumns.learned(FRAME, TRAINING)
    with pytest.warns(UserWarning, match="no value of the column 'ward', such as 'Nord', was there"):
        assert not columns(FRAME.assign(ward="Nord"))[:, -101 - 3 : -101].any()


def test_many_words_are_learned_in_time() -> None:
    frame = pd.DataFrame({"name": [f"n{number}" for number in range(100_000)]})
    with pytest.warns(UserWarning, match="taken for categories"):
        columns = TableColumns.learned(frame, np.arange(100_000))
    assert columns(frame.head(3)).shape == (3, 101)
