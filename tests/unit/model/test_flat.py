import numpy as np
import pytest

from disttrain.model import Parameter
from disttrain.model.flat import Layout

LAYERS = [
    {"weight": Parameter((5, 3)), "bias": Parameter((5,), decay=False)},
    {"gain": Parameter((5,), decay=False)},
    {},
    {"weight": Parameter((16, 5)), "bias": Parameter((16,), decay=False)},
]


def marked(layout: Layout) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
    vector = np.zeros(layout.length)
    views = layout.views(vector)
    for number, view in enumerate((v for views_ in views for v in views_.values()), 1):
        view += number
    return vector, views


def test_views_have_their_shapes_and_do_not_overlap() -> None:
    vector, views = marked(Layout(LAYERS))
    shapes = [{name: p.shape for name, p in layer.items()} for layer in LAYERS]
    assert [{name: v.shape for name, v in layer.items()} for layer in views] == shapes
    sizes = [v.size for layer in views for v in layer.values()]
    assert [int((vector == n).sum()) for n in range(1, len(sizes) + 1)] == sizes


def test_what_no_view_covers_is_less_than_a_cache_line_each() -> None:
    vector, views = marked(Layout(LAYERS))
    assert int((vector == 0).sum()) < 16 * sum(map(len, views))


def test_each_parameter_begins_on_a_cache_line() -> None:
    vector, views = marked(Layout(LAYERS))
    base = vector.__array_interface__["data"][0]
    for layer in views:
        for view in layer.values():
            assert (view.__array_interface__["data"][0] - base) // vector.itemsize % 16 == 0


def test_the_decayed_part_holds_the_weights_and_nothing_else() -> None:
    layout = Layout(LAYERS)
    vector, views = marked(layout)
    decayed = {float(v.flat[0]) for v in (views[0]["weight"], views[3]["weight"])}
    assert set(vector[: layout.decayed]) - {0.0} == decayed
    assert not decayed & set(vector[layout.decayed :])


def test_ready_rises_as_the_backward_pass_goes_and_ends_with_everything() -> None:
    layout = Layout(LAYERS)
    ready = layout.ready[::-1]
    assert ready == sorted(ready)
    assert ready[-1] == layout.length
    vector, views = marked(layout)
    # The last layer's weights are complete first, and only they.
    assert set(vector[: ready[0]]) - {0.0} == {float(views[3]["weight"].flat[0])}


@pytest.mark.parametrize("number", range(len(LAYERS)))
def test_what_is_ready_is_never_written_later(number: int) -> None:
    """`vector[:ready[l]]` must hold nothing of the layers before `l`: it has left already."""
    layout = Layout(LAYERS)
    vector = np.zeros(layout.length)
    for view in (v for views in layout.views(vector)[:number] for v in views.values()):
        view[...] = 1
    if number:
        assert not vector[: layout.ready[number]].any()


def test_a_network_without_parameters_is_an_empty_vector() -> None:
    layout = Layout([{}, {}])
    assert (layout.length, layout.decayed, layout.ready) == (0, 0, [0, 0])
