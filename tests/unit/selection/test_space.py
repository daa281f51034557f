"""Ranges of a study file: what is drawn from them, and the part around the best."""

import math

import pytest

from disttrain import config
from disttrain.config import Range, parse
from disttrain.errors import RunFileError
from disttrain.selection.space import axes_of, grid, random, settings_of, zoomed


def axes(**space):
    return axes_of({key: Range(**given) for key, given in space.items()})


def test_random_values_fill_their_ranges_evenly_on_their_own_scale():
    space = axes(
        rate={"low": 1e-5, "high": 1e-1, "scale": "log"},
        units={"low": 1, "high": 4},
        part={"low": 0.0, "high": 0.5},
        name={"choices": ["relu", "tanh"]},
    )
    drawn = [random(space, 1, 1, number) for number in range(4000)]
    rates = [math.log10(one["rate"]) for one in drawn]
    # A quarter in each decade, as far as 4,000 draws tell: five standard deviations.
    for decade in range(-5, -1):
        share = sum(decade <= rate < decade + 1 for rate in rates) / len(drawn)
        assert share == pytest.approx(0.25, abs=0.035)
    assert {type(one["units"]) for one in drawn} == {int}
    for units in (1, 2, 3, 4):
        share = sum(one["units"] == units for one in drawn) / len(drawn)
        assert share == pytest.approx(0.25, abs=0.035)
    assert all(0 <= one["part"] <= 0.5 for one in drawn)
    assert sum(one["part"] for one in drawn) / len(drawn) == pytest.approx(0.25, abs=0.02)
    assert {one["name"] for one in drawn} == {"relu", "tanh"}


def test_a_draw_depends_on_its_number_and_key_alone():
    one, other = (
        axes(a={"low": 0.0, "high": 1.0}),
        axes(b={"low": 0, "high": 9}, a={"low": 0.0, "high": 1.0}),
    )
    assert random(one, 1, 2, 3)["a"] == random(other, 1, 2, 3)["a"]
    assert random(one, 1, 2, 3) != random(one, 1, 2, 4)
    assert random(one, 1, 2, 3) != random(one, 2, 2, 3)


def test_a_grid_has_both_ends_and_all_pairs():
    space = axes(
        rate={"low": 1e-4, "high": 1e-1, "scale": "log", "steps": 4},
        units={"low": 1, "high": 3, "steps": 5},
    )
    assert [axis.grid() for axis in space] == [[1e-4, 1e-3, 1e-2, 1e-1], [1, 2, 3]]
    assert len(grid(space)) == 12
    assert grid(space)[1] == {"rate": 1e-4, "units": 2}


def test_a_zoom_is_around_the_best_and_inside_the_range():
    space = axes(
        rate={"low": 1e-5, "high": 1e-1, "scale": "log"},
        units={"low": 10, "high": 20},
        width={"choices": [32, 64, 128, 256]},
        name={"choices": ["relu", "tanh"]},
    )
    best = {"rate": 1e-3, "units": 20, "width": 128, "name": "tanh"}
    near = zoomed(space, best, 0.5)
    assert near[0].low == pytest.approx(1e-4)
    assert near[0].high == pytest.approx(1e-2)
    # At the end of the range the part is moved, not cut.
    assert (near[1].low, near[1].high) == (15, 20)
    assert near[2].choices == (64, 128)
    assert near[3].choices == ("tanh",)
    assert zoomed(space, best, 1.0) == space


def test_numbers_of_layers_are_whole_where_the_ends_are_written_with_a_point():
    (count,) = axes(**{"model.layers.count": {"low": 1.0, "high": 3.0}})
    drawn = [random([count], 1, 1, number)["model.layers.count"] for number in range(99)]
    assert set(drawn) == {1, 2, 3}
    assert {type(each) for each in drawn} == {int}
    (rate,) = axes(rate={"low": 1.0, "high": 3.0})
    assert not rate.integer


RUN = """
data.path = "data.h5"
model.layers = [{ units = 8, activation = "tanh", dropout = 0.5 }, { units = 3 }]
"""


def test_values_reach_layers_their_number_and_kinds(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(RUN)
    made = settings_of(str(path), {"model.layers.0.units": 20, "schedule.learning_rate": 0.5})
    assert [layer.units for layer in made.model.layers] == [20, 3]
    assert made.schedule.learning_rate == 0.5
    deep = settings_of(
        str(path), {"model.layers.count": 4, "model.layers.2.units": 5, "model.layers.7.units": 9}
    )
    assert [layer.units for layer in deep.model.layers] == [8, 8, 5, 3]
    assert [layer.dropout for layer in deep.model.layers] == [0.5, 0.5, 0.5, 0.0]
    whole = settings_of(str(path), {"model.layers.count": 3.0})
    assert [layer.units for layer in whole.model.layers] == [8, 8, 3]
    alike = settings_of(str(path), {"model.layers.count": 3, "model.layers.*.units": 6})
    assert [layer.units for layer in alike.model.layers] == [6, 6, 3]
    # A layer that is not there takes no value: these units would be the outputs.
    flat = settings_of(str(path), {"model.layers.count": 1, "model.layers.0.units": 5})
    assert [layer.units for layer in flat.model.layers] == [3]
    # As with --set: a rate that goes with Adam.
    adam = settings_of(str(path), {"optimizer.beta1": 0.8, "optimizer.kind": "adam"})
    assert (adam.optimizer.kind, adam.schedule.learning_rate) == ("adam", 0.001)
    assert adam.optimizer.beta1 == 0.8


def test_a_whole_value_is_put_before_its_parts_and_stays_as_the_study_has_it(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(RUN)
    layers = [{"units": 4}, {"units": 3}]
    values = {"model.layers.0.units": 7, "model.layers.*.units": 5, "model.layers": layers}
    assert [one.units for one in settings_of(str(path), values).model.layers] == [7, 3]
    # A list that a study offers for several candidates: what one of them changes is its own.
    assert layers == [{"units": 4}, {"units": 3}]
    deep = settings_of(str(path), {"model.layers.count": 4, "model.layers": layers})
    assert [one.units for one in deep.model.layers] == [4, 4, 4, 3]
    del values["model.layers"]
    assert [one.units for one in settings_of(str(path), values).model.layers] == [7, 3]


def test_what_was_stated_reads_back_the_same_and_leaves_the_rest_to_the_data(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(RUN)
    made = settings_of(str(path), {"schedule.learning_rate": 0.5})
    again = parse(config.to_toml(made, stated=True))
    assert again == made
    assert "batch_size" not in config.to_toml(made, stated=True)


STUDY = (
    'run = "run.toml"\nstages = [{{ {stage} }}]\n[space]\n"schedule.learning_rate" = {{ {range} }}'
)
GOOD = {"stage": "candidates = 3", "range": "low = 0.1, high = 0.2"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"range": "low = 0.3, high = 0.2"}, "the range is empty"),
        ({"range": 'low = 0, high = 1, scale = "log"'}, "low = 0 has no logarithm"),
        ({"range": "low = 0.1"}, "give low and high, or choices"),
        ({"range": "choices = []"}, "choices is empty"),
        ({"range": "low = 0.1, high = 1.0, integer = true"}, "whole numbers"),
        ({"range": "low = 0.1, hgih = 1.0"}, ".high'?"),
        ({"stage": 'kind = "grid"'}, "needs the number of steps of space.schedule.learning_rate"),
        ({"stage": 'kind = "random"'}, "needs candidates"),
        ({"stage": 'kind = "bayes"'}, "stages.0.kind"),
        ({"stage": "candidates = 3, zoom = 2.0"}, "at most 1"),
    ],
)
def test_a_study_file_is_refused_in_one_sentence(tmp_path, change, says):
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(**GOOD | change))
    with pytest.raises(RunFileError, match="study file") as caught:
        config.read_study(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_metric_and_a_missing_run_file_are_named(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text('metric = "f1"\n' + STUDY.format(**GOOD))
    with pytest.raises(RunFileError, match="'validation_accuracy' or 'validation_loss'"):
        config.read_study(path)
