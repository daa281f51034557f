"""`disttrain predict`: the predictions of a trained network for new inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disttrain.cli.options import AsJson, Checkpoint, Verbose, listen, print_json, put, say

if TYPE_CHECKING:
    import numpy as np

    from disttrain.runs.trained import Trained

__all__ = ["command"]


def command(
    file: Checkpoint,
    inputs: Annotated[
        Path, typer.Argument(metavar="INPUTS", help="A data file (.h5) or an array (.npy).")
    ],
    split: Annotated[str, typer.Option(help="The split of a data file.")] = "test",
    output: Annotated[
        Path | None, typer.Option(help="Write here, as .csv or .npy [default: CSV, printed].")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Print the predicted class of each sample and the probabilities (or outputs) behind it."""
    from disttrain.comm import connect
    from disttrain.errors import UsageError
    from disttrain.runs.trained import load_trained

    comm = connect()
    listen(verbose=verbose)
    with comm.together("reading the arguments"):
        if output is not None and output.suffix not in (".csv", ".npy"):
            raise UsageError(f"--output {output}: its name must end in .csv or .npy")
    trained = load_trained(file, comm)
    outputs = _predicted(trained, inputs, split)
    with comm.together("writing predictions"):
        if outputs is not None:
            _show(trained, outputs, output, as_json)


def _predicted(trained: Trained, inputs: Path, split: str) -> np.ndarray | None:
    from disttrain.data.importers.arrays import read_npy
    from disttrain.errors import UsageError

    with trained.comm.together("reading the arguments"):
        if inputs.suffix not in (".npy", ".h5", ".hdf5"):
            raise UsageError(f"{inputs}: give inputs as an array (.npy) or a data file (.h5)")
    if inputs.suffix != ".npy":
        return trained.predict_split(trained.split(split, str(inputs)))
    with trained.comm.together("reading inputs"):
        array = read_npy(inputs)
    return trained.predict(array, everywhere=False)


def _show(trained: Trained, outputs: np.ndarray, output: Path | None, as_json: bool) -> None:
    """Write or print predictions (rank 0)."""
    import csv
    import io

    import numpy as np

    from disttrain.checkpoint import write_atomically
    from disttrain.errors import DataError

    facts = trained.snapshot.state["data"]
    names = facts["class_names"] or list(range(max(outputs.shape[1], facts["classes"])))
    # One output tells two classes apart by its sign.
    best = outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(int)
    chosen = [names[c] for c in best] if facts["classes"] else None
    each = chosen is not None and len(names) == outputs.shape[1]
    columns = [f"class_{n}" for n in names] if each else [
        f"output_{n}" for n in range(outputs.shape[1])
    ]  # fmt: skip
    head = ["row", "prediction", *columns] if chosen else ["row", *columns]
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(head)
    for n, row in enumerate(outputs):
        writer.writerow([n, *([chosen[n]] if chosen else []), *(f"{v:.7g}" for v in row)])
    if output is not None:
        buffer = io.BytesIO()
        if output.suffix == ".npy":
            np.save(buffer, outputs, allow_pickle=False)
        else:
            buffer.write(table.getvalue().encode())
        write_atomically(output, buffer.getvalue(), error=DataError)
        say(f"{len(outputs)} predictions in {output}", as_json)
    elif not as_json:
        put(table.getvalue().rstrip("\n"))
    if as_json:
        print_json(
            {
                "file": str(trained.path),
                "rows": len(outputs),
                "output": str(output) if output else None,
                "predictions": chosen,
                "outputs": outputs.tolist() if output is None else None,
            }
        )
