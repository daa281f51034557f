import builtins
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from disttrain.data.importers import images
from disttrain.data.importers.images import Looks, import_images, read_image
from disttrain.errors import DataError, UsageError

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def picture(path, value=7, size=(4, 3), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "PNG" if path.suffix == ".jfif" else None
    Image.new(mode, size, value if mode == "L" else None).save(path, kind)
    return path


def test_folders_become_classes_in_the_order_of_their_names(tmp_path):
    picture(tmp_path / "dog" / "b.png", 2)
    picture(tmp_path / "dog" / "a.png", 1)
    picture(tmp_path / "cat" / "c.PNG", 3)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    picture(tmp_path / "loose.png")
    (tmp_path / ".hidden").mkdir()
    imported = import_images(tmp_path)
    inputs, targets = imported.splits["train"]
    assert imported.classes == ["cat", "dog"]
    assert imported.notes == (
        "passed over 1 file called *.txt, which are not images",
        f"passed over 1 file in {tmp_path} that lie in no folder of a class",
    )
    assert inputs.shape == (3, 3, 4)
    assert inputs.dtype == np.uint8
    assert inputs[:, 0, 0].tolist() == [3, 1, 2]
    assert targets.tolist() == [0, 1, 1]


def test_colour_has_a_last_axis_of_three(tmp_path):
    picture(tmp_path / "a" / "1.png", mode="RGB")
    picture(tmp_path / "b" / "2.png", mode="RGBA")
    assert import_images(tmp_path).splits["train"][0].shape == (2, 3, 4, 3)
    assert import_images(tmp_path, grey=True).splits["train"][0].shape == (2, 3, 4)


def test_train_and_test_folders_stay_apart(tmp_path):
    for split in ("train", "val", "test"):
        picture(tmp_path / split / "a" / "1.png")
        picture(tmp_path / split / "b" / "1.png")
    imported = import_images(tmp_path)
    assert set(imported.splits) == {"train", "validation", "test"}
    assert imported.classes == ["a", "b"]
    extra = picture(tmp_path / "test" / "c" / "1.png")
    with pytest.raises(DataError, match=f"{extra.parent} is a class that the training"):
        import_images(tmp_path)


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "dev"])
def test_every_name_of_a_validation_folder_is_known(tmp_path, name):
    for split in ("train", name, "extra"):
        picture(tmp_path / split / "a" / "1.png")
        picture(tmp_path / split / "b" / "1.png")
    imported = import_images(tmp_path)
    assert set(imported.splits) == {"train", "validation"}
    assert imported.notes == (
        f"passed over {tmp_path / 'extra'} with 2 files: it is not a split of this data",
    )


def test_images_in_folders_inside_a_class_belong_to_it(tmp_path):
    picture(tmp_path / "a" / "morning" / "1.png", 1)
    picture(tmp_path / "a" / "2.png", 2)
    picture(tmp_path / "b" / "deep" / "er" / "1.png", 3)
    (tmp_path / "b" / "deep" / "round").symlink_to(tmp_path / "b")
    inputs, targets = import_images(tmp_path).splits["train"]
    assert inputs[:, 0, 0].tolist() == [2, 1, 3]
    assert targets.tolist() == [0, 0, 1]


def test_a_folder_named_in_latin_1_gives_its_class_that_name(tmp_path):
    picture(tmp_path / "a" / "1.png")
    picture(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")) / "1.png")
    assert import_images(tmp_path).classes == ["a", "café"]


def test_grey_and_coloured_images_mix_with_colour(tmp_path):
    picture(tmp_path / "a" / "1.png", 7)
    picture(tmp_path / "b" / "2.png", mode="RGB")
    with pytest.raises(DataError, match="--colour"):
        import_images(tmp_path)
    inputs, _ = import_images(tmp_path, colour=True).splits["train"]
    assert inputs[:, 0, 0].tolist() == [[7, 7, 7], [0, 0, 0]]
    with pytest.raises(UsageError, match="not both"):
        import_images(tmp_path, colour=True, grey=True)


def test_an_image_that_went_away_is_called_missing(tmp_path):
    gone = tmp_path / "1.png"
    with pytest.raises(DataError, match=f"{gone} is missing: put it back, or leave it out"):
        read_image(gone, Looks())


@pytest.mark.parametrize("format", ["EPS", "PCX", "SGI", "TGA"])
def test_a_format_that_is_not_meant_is_refused_whatever_the_name(tmp_path, monkeypatch, format):
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a program was started"))
    picture(tmp_path / "a" / "1.png")
    bad = tmp_path / "b" / "x.png"
    bad.parent.mkdir()
    Image.new("RGB", (4, 3)).save(bad, format)
    with pytest.raises(DataError, match=f"{bad} is not a readable image"):
        import_images(tmp_path)


def test_a_pipe_and_a_broken_link_are_named(tmp_path):
    bad = picture(tmp_path / "a" / "1.png").with_name("2.png")
    os.mkfifo(bad)
    with pytest.raises(DataError, match=f"{bad} is not a file"):
        import_images(tmp_path)
    bad.unlink()
    bad.symlink_to("nowhere")
    with pytest.raises(DataError, match=f"{bad} is not a file"):
        import_images(tmp_path)


def test_small_files_that_become_gigabytes_are_refused_before_memory_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "SMALL", 1 << 20)
    for number in range(8):
        picture(tmp_path / "ab"[number % 2] / f"{number}.png", size=(1000, 1000))
    with pytest.raises(DataError, match=r"the 8 images in .* unpack to 8,000,000 bytes.*--size"):
        import_images(tmp_path)
    assert import_images(tmp_path, size=(2, 2)).splits["train"][0].shape == (8, 2, 2)


def test_a_class_may_be_called_train(tmp_path):
    picture(tmp_path / "train" / "1.png")
    picture(tmp_path / "plane" / "1.png")
    assert import_images(tmp_path).classes == ["plane", "train"]


def test_another_shape_names_the_file_and_size_scales(tmp_path):
    picture(tmp_path / "a" / "1.png")
    odd = picture(tmp_path / "b" / "2.png", size=(5, 3))
    with pytest.raises(DataError, match=rf"{odd} has shape \(3, 5\), but .*--size"):
        import_images(tmp_path)
    assert import_images(tmp_path, size=(6, 8)).splits["train"][0].shape == (2, 6, 8)


def test_bad_images_are_named(tmp_path):
    good = picture(tmp_path / "a" / "1.png", size=(40, 40))
    bad = tmp_path / "a" / "2.png"
    for content in (b"", b"no image", good.read_bytes()[:-30]):
        bad.write_bytes(content)
        with pytest.raises(DataError, match=f"{bad} is not a readable image") as caught:
            import_images(tmp_path)
        assert caught.value.exit_code == 3
    Image.fromarray(np.full((40, 40), 1000, dtype=np.uint16)).save(bad)
    with pytest.raises(DataError, match=f"{bad} has more than 8 bits"):
        import_images(tmp_path)


def test_folders_without_images_are_named(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path} holds no folders with images"):
        import_images(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match=f"{tmp_path / 'a'} holds no images"):
        import_images(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        import_images(tmp_path / "nope")


def test_without_pillow_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_pillow(name, *args, **kwargs):
        if name.startswith("PIL"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(UsageError, match=r"pip install 'disttrain\[images\]'"):
        import_images(tmp_path)


def test_one_class_is_nothing_to_learn(tmp_path):
    picture(tmp_path / "a" / "1.png")
    with pytest.raises(DataError, match="all training rows are of one class"):
        import_images(tmp_path)


@pytest.fixture
def flat(tmp_path):
    folder = tmp_path / "flat"
    for number, name in enumerate(("a.png", "b.png", "deep/c.png", "d.png"), 1):
        picture(folder / name, number)

    def read(text, **more):
        labels = tmp_path / "labels.csv"
        labels.write_text(text)
        return import_images(folder, labels=labels, **more)

    return read


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na.png,dog\nb.png,cat\ndeep/c.png,dog\n",
        "id,breed\na,dog\nb,cat\ndeep/c,dog\n",
        "class;file\ndog;a.png\ncat;b.png\ndog;deep/c.png\n",
        "a.png,dog\nb.png,cat\ndeep/c.png,dog\n",
        "a.png dog\nb.png cat\ndeep/c.png dog\n",
    ],
)
def test_a_table_says_what_images_in_one_folder_show(flat, text):
    imported = flat(text)
    inputs, targets = imported.splits["train"]
    assert imported.classes == ["cat", "dog"]
    assert inputs[:, 0, 0].tolist() == [1, 2, 3]
    assert targets.tolist() == [1, 0, 1]
    (note,) = imported.notes
    assert note.startswith("passed over 1 image in ")


def test_classes_that_are_numbers_count_as_numbers(flat):
    imported = flat("file,label\na.png,10\nb.png,9\ndeep/c.png,10\nd.png,2\n")
    assert imported.classes == ["2", "9", "10"]
    assert imported.splits["train"][1].tolist() == [2, 1, 2, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\na.png,dog\nz.png,cat\n", "line 3, column 'file': there is no image 'z.png'"),
        ("file,label\na.png,dog\n../x.png,cat\n", "line 3, column 'file': there is no image"),
        ("file,label\na.png,dog\na.png,cat\n", "line 3, column 'label': a.png is of"),
        ("file,label\na.png,dog\nb.png,\n", "line 3, column 'label': the class is missing"),
        ("file,label\na.png,dog\nb.png,dog\n", "all training rows are of one class"),
        ("file\na.png\nb.png\n", "one column"),
    ],
)  # fmt: skip
def test_mistakes_in_the_table_of_labels_name_the_line(flat, text, words):
    with pytest.raises(DataError, match=words):
        flat(text)


def test_splits_one_folder_further_down_are_named(tmp_path):
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            picture(tmp_path / "photos" / split / name / "1.png")
    with pytest.raises(DataError, match=rf"one folder further down: give {tmp_path}/photos$"):
        import_images(tmp_path)
    assert import_images(tmp_path / "photos").classes == ["cat", "dog"]


def test_of_an_image_with_several_frames_the_first_is_taken_and_that_is_said(tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        picture(tmp_path / name / "still.jfif")
        frames = [Image.new("L", (4, 3), value), Image.new("L", (4, 3), 9)]
        frames[0].save(tmp_path / name / "film.tif", save_all=True, append_images=frames[1:])
    imported = import_images(tmp_path)
    assert imported.splits["train"][0][:, 0, 0].tolist() == [1, 7, 2, 7]
    assert imported.notes == ("2 images with several frames or pages: the first was taken",)


def test_folders_of_splits_without_classes_are_no_classes(tmp_path):
    picture(tmp_path / "train" / "cat.1.png")
    picture(tmp_path / "test" / "1.png")
    with pytest.raises(DataError, match="test and train hold images, but no folder for each class"):
        import_images(tmp_path)


def test_numbers_are_classes_in_the_order_of_their_values(tmp_path):
    for name in ("10", "2", "1"):
        picture(tmp_path / name / "a.png", int(name))
    imported = import_images(tmp_path)
    assert imported.classes == ["1", "2", "10"]
    inputs, targets = imported.splits["train"]
    assert dict(zip(targets.tolist(), inputs[:, 0, 0].tolist(), strict=True)) == {0: 1, 1: 2, 2: 10}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,width,breed\n1.png,8,a\n2.png,9,b\n", "has the columns file, width, breed: call"),
        ("file,cat,dog\n1.png,0,1\n2.png,1,0\n", "call the one with the classes label, target"),
        ("file,price\n1.png,1\n2.png,2.5\n", "line 3, column 'price': 2.5 is a quantity, no class"),
    ],
)
def test_labels_that_say_no_class_are_refused(tmp_path, text, words):
    for name in ("1.png", "2.png"):
        picture(tmp_path / "i" / name)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        import_images(tmp_path / "i", labels=tmp_path / "labels.csv")


def test_labels_without_a_header_for_images_called_by_numbers(tmp_path):
    for name in ("1", "2", "3"):
        picture(tmp_path / "i" / f"{name}.png", int(name))
    (tmp_path / "labels.csv").write_text("3.png,odd\n2.png,even\n1.png,odd\n")
    imported = import_images(tmp_path / "i", labels=tmp_path / "labels.csv")
    assert imported.classes == ["even", "odd"]
    inputs, targets = imported.splits["train"]
    assert sorted(zip(inputs[:, 0, 0].tolist(), targets.tolist(), strict=True)) == [
        (1, 1), (2, 0), (3, 1),
    ]  # fmt: skip
