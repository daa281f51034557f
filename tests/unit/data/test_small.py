import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from disttrain.data.importers import small
from disttrain.errors import DataError

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "data" / "small"

# Rows per class as the literature gives them, by the name of the class or its number.
LITERATURE = {
    "digits": (64, None, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]),
    "iris": (4, ["setosa", "versicolor", "virginica"], [50, 50, 50]),
    "wine": (13, ["class_0", "class_1", "class_2"], [59, 71, 48]),
    "breast-cancer": (30, ["benign", "malignant"], [357, 212]),
}


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(SHIPPED, tmp_path / "small"))


@pytest.mark.parametrize("name", LITERATURE)
def test_the_shipped_tables_are_those_of_the_literature(name):
    features, classes, counts = LITERATURE[name]
    imported = small.import_small(name, SHIPPED)
    inputs, targets = imported.splits["train"]
    assert inputs[0].size == features
    assert inputs.dtype == np.float32
    assert imported.classes == classes
    assert np.bincount(targets).tolist() == counts


def test_means_of_the_literature():
    iris = small.import_small("iris").splits["train"][0]
    np.testing.assert_allclose(iris.mean(axis=0), [5.84, 3.05, 3.76, 1.20], atol=0.01)
    wine = small.import_small("wine").splits["train"][0]
    np.testing.assert_allclose(wine[:, [0, 12]].mean(axis=0), [13.0, 746], rtol=0.002)
    tumours = small.import_small("breast-cancer").splits["train"][0]
    np.testing.assert_allclose(tumours[:, 0].min(), 6.981)
    np.testing.assert_allclose(tumours[:, 23].max(), 4254)


def test_iris_is_fishers_own_and_not_the_copy_with_two_wrong_rows():
    rows = small.import_small("iris").splits["train"][0]
    np.testing.assert_allclose(rows[34], [4.9, 3.1, 1.5, 0.2])
    np.testing.assert_allclose(rows[37], [4.9, 3.6, 1.4, 0.1])


def test_digits_are_images_from_black_to_white():
    images, targets = small.import_small("digits").splits["train"]
    assert images.shape == (1797, 8, 8)
    assert (images.min(), images.max()) == (0, 1)
    np.testing.assert_array_equal(images * 16 % 1, 0)
    np.testing.assert_array_equal(targets[:10], np.arange(10))


def test_they_are_found_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(small.import_small("iris").splits["train"][0]) == 150
    monkeypatch.setattr(small, "shipped_folders", lambda name: ())
    with pytest.raises(DataError, match=r"no data/small with iris\.csv\.gz here: .* --from FOLDER"):
        small.import_small("iris")


def test_an_unzipped_table_is_taken_too(folder):
    (folder / "iris.csv").write_bytes(gzip.decompress((folder / "iris.csv.gz").read_bytes()))
    (folder / "iris.csv.gz").unlink()
    assert len(small.import_small("iris", folder).splits["train"][0]) == 150
    (folder / "iris.csv").unlink()
    with pytest.raises(DataError, match="does not hold iris"):
        small.import_small("iris", folder)


@pytest.mark.parametrize("name", LITERATURE)
def test_a_changed_table_is_named(folder, name):
    path = folder / f"{name}.csv.gz"
    text = gzip.decompress(path.read_bytes()).replace(b"1", b"2", 1)
    path.write_bytes(gzip.compress(text))
    with pytest.raises(DataError, match=f"{path} is not the {name} data") as caught:
        small.import_small(name, folder)
    assert caught.value.exit_code == 3


def test_the_readme_gives_every_checksum():
    text = (SHIPPED / "README.md").read_text()
    assert all(checksum in text for checksum in small.SHA256.values())


def test_the_zipped_files_hold_no_time_and_no_name():
    for name in small.SHA256:
        header = (SHIPPED / f"{name}.csv.gz").read_bytes()[:10]
        assert header[3] == 0
        assert header[4:8] == bytes(4)
