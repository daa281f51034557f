"""A study whose log ends anywhere, as a kill may leave it, comes to the same table."""

import pytest

from disttrain import config
from disttrain.comm.alone import Alone
from disttrain.selection.search import search


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_candidates_that_were_asked_for_in_part_are_all_trained(data_path, tmp_path, kind):
    if kind == "tpe":
        pytest.importorskip("optuna")
    (tmp_path / "run.toml").write_text(f"""
        data.path = "{data_path}"
        model.layers = [{{ units = 3 }}]
        training.batch_size = 32
        device.kind = "cpu"
    """)
    study = config.Study(
        run=str(tmp_path / "run.toml"),
        stages=(config.Stage(kind=kind, candidates=4, epochs=1, generation=2),),
        space={"schedule.learning_rate": config.Range(low=1e-3, high=1.0, scale="log")},
    )
    folder, quiet = tmp_path / "study", {"say": lambda line: None}

    def scores(table):
        rows = table["candidates"]
        return [(row["number"], row["settings"], row["score"], row["digest"]) for row in rows]

    whole = scores(search(study, folder, Alone(), **quiet))
    lines = (folder / "study.jsonl").read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines)):
        (folder / "study.json").unlink()
        (folder / "study.jsonl").write_bytes(b"".join(lines[:kept]))
        assert scores(search(study, folder, Alone(), resume=True, **quiet)) == whole
    # A result file without its log says nothing: what was trained is found in its folders.
    (folder / "study.jsonl").write_bytes(b"")
    assert scores(search(study, folder, Alone(), resume=True, **quiet)) == whole
