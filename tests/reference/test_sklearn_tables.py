"""What becomes of categories and gaps, held against scikit-learn's own transformers."""

from pathlib import Path

import numpy as np
import pandas
import pytest

from disttrain.data.importers.tables import Options, import_table

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import LabelEncoder, OneHotEncoder


def passengers(rows: int, seed: int) -> pandas.DataFrame:
    """Return a table of people on a ship: quantities, names of few kinds, and gaps."""
    random = np.random.default_rng(seed)
    table = pandas.DataFrame(
        {
            "age": np.round(random.gamma(5, 6, rows), 1),
            "sex": random.choice(["female", "male"], rows),
            "fare": random.lognormal(3, 1, rows),
            "alone": random.random(rows) < 0.5,
            "port": random.choice(["Cherbourg", "Queenstown", "Southampton"], rows),
            "survived": random.choice(["no", "yes"], rows),
        }
    )
    table.loc[random.random(rows) < 0.2, "age"] = np.nan
    table.loc[random.random(rows) < 0.1, "fare"] = np.nan
    return table


@pytest.mark.parametrize("strategy", ["mean", "median", "indicator"])
def test_inputs_are_those_of_scikit_learn(tmp_path: Path, strategy: str) -> None:
    train, test = passengers(300, 1), passengers(80, 2)
    for name, table in (("train.csv", train), ("test.csv", test)):
        table.to_csv(tmp_path / name, index=False)
    imported = import_table(
        tmp_path / "train.csv",
        Options(target="survived", missing=strategy),  # type: ignore[arg-type]
        others={"test": tmp_path / "test.csv"},
    )
    indicator = strategy == "indicator"
    imputer = SimpleImputer(strategy="mean" if indicator else strategy, add_indicator=indicator)
    theirs = ColumnTransformer(
        [("n", imputer, ["age", "fare"]), ("c", OneHotEncoder(), ["sex", "port"])],
        remainder="passthrough",
    ).fit(train.drop(columns="survived"))
    # Theirs: age, fare, their indicators, sex, port, alone. Ours: the order of the table.
    gaps = [2, 3] if indicator else []
    shift = len(gaps)
    sex, port = [2 + shift, 3 + shift], [4 + shift, 5 + shift, 6 + shift]
    order = [0, *gaps[:1], *sex, 1, *gaps[1:], 7 + shift, *port]
    encoder = LabelEncoder().fit(train["survived"])
    for split, table in (("train", train), ("test", test)):
        inputs, targets = imported.splits[split]
        want = np.asarray(theirs.transform(table.drop(columns="survived")), float)[:, order]
        np.testing.assert_allclose(inputs, want, rtol=1e-6)
        np.testing.assert_array_equal(targets, encoder.transform(table["survived"]))
