"""`disttrain predict`: the predictions of a trained network for new inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.options import AsJson, Checkpoint, Float64, Verbose, listen, print_json, put, say
from disttrain.cli.own import Layers, own_layers

if TYPE_CHECKING:
    import numpy as np

    from disttrain.data.others import Other
    from disttrain.data.taught import Taught

__all__ = ["command"]

ROWS_AT_ONCE = 4096
Silent = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the predictions, warnings and errors alone.")
]


def command(
    file: Checkpoint,
    inputs: Annotated[
        Path,
        typer.Argument(
            metavar="INPUTS",
            help="An array (.npy, .npz), a data file (.h5), a table (.csv, .parquet), an image or "
            "a folder of images. It needs no targets.",
        ),
    ],
    split: Annotated[
        str | None,
        typer.Option(help="One split of it [default: all; test of the data of the training]."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write here, as .csv or .npy [default: CSV, printed]."),
    ] = None,
    layers: Layers = None,
    float64: Float64 = False,
    as_json: AsJson = False,
    quiet: Silent = False,
    verbose: Verbose = False,
) -> None:
    """Print the predicted class of each sample and the probabilities (or outputs) behind it."""
    from disttrain.comm import connect
    from disttrain.errors import UsageError
    from disttrain.runs.ensembled import load_model

    comm = connect()
    with comm.together("reading the arguments"):
        listen(quiet, verbose)
        if output is not None and output.suffix not in (".csv", ".npy"):
            raise UsageError(f"--output {output}: its name must end in .csv or .npy")
        own = own_layers(layers)
    trained = load_model(file, comm, own.layers, own.loss, float64=float64)
    found = trained.samples(str(inputs), split, labelled=False)
    outputs = trained.predict_split(found.split)
    with comm.together("writing predictions"):
        if outputs is not None:
            for note in found.notes:
                say(note, as_json=True)
            _show(str(trained.path), Table(trained.taught, found, outputs), output, as_json)
            if output is not None and not quiet:
                say(f"{len(outputs)} predictions in {output}", as_json)


class Table:
    """Predictions as rows of text: what the sample is called, its class, the outputs behind it."""

    def __init__(self, taught: Taught, found: Other, outputs: np.ndarray) -> None:
        self.found, self.outputs = found, outputs
        self._called: Sequence[Any] = taught.names or range(taught.classes)
        width, made = outputs.shape[1], taught.preparation
        names: list[Any] = list(range(width))
        if taught.classes and len(taught.called) == width:
            names = list(taught.called)
        elif made is not None and not made.classes and len(made.targets) == width:
            names = list(made.targets)
        word = "class" if taught.classes and len(taught.called) == width else "output"
        self.head = [
            found.kind, *(["split"] if found.parts else []),
            *(["prediction"] if taught.classes else []), *(f"{word}_{name}" for name in names),
        ]  # fmt: skip

    def classes(self, low: int = 0, high: int | None = None) -> list[Any]:
        """Return the predicted classes of rows `low..high-1` by name, None for rows with gaps."""
        import numpy as np

        outputs = self.outputs[low:high]
        # One output tells two classes apart by its sign.
        best = outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(int)
        many = len(self._called)
        found = [self._called[c] if c < many else c for c in best.tolist()]
        gaps = np.isnan(outputs[:, 0]).tolist()
        return [None if gap else name for gap, name in zip(gaps, found, strict=True)]

    def texts(self) -> Iterator[str]:
        """Yield it as CSV, some rows at a time."""
        import csv
        import io

        found, chosen = self.found, "prediction" in self.head
        for low in range(0, len(self.outputs), ROWS_AT_ONCE):
            text = io.StringIO(newline="")
            writer = csv.writer(text, lineterminator="\n")
            if not low:
                writer.writerow(self.head)
            high = min(low + ROWS_AT_ONCE, len(self.outputs))
            classes = self.classes(low, high) if chosen else []
            for n in range(low, high):
                first = [found.names[n], *([found.parts[n]] if found.parts else [])]
                first += [classes[n - low]] if chosen else []
                row = self.outputs[n].tolist()
                writer.writerow([*first, *("" if v != v else f"{v:.7g}" for v in row)])
            yield text.getvalue()


def _show(file: str, table: Table, output: Path | None, as_json: bool) -> None:
    """Write or print predictions (rank 0)."""
    import io

    import numpy as np

    from disttrain.checkpoint import write_atomically
    from disttrain.errors import DataError

    outputs, found = table.outputs, table.found
    if output is not None and output.suffix == ".npy":
        head = io.BytesIO()
        facts = np.lib.format.header_data_from_array_1_0(outputs)
        np.lib.format.write_array_header_1_0(head, facts)
        parts = (head.getvalue(), outputs.reshape(-1).view(np.uint8).data)
        write_atomically(output, parts, error=DataError)
    elif output is not None:
        texts = (text.encode(errors="backslashreplace") for text in table.texts())
        write_atomically(output, texts, error=DataError)
    elif not as_json:
        for text in table.texts():
            put(text.rstrip("\n"))
    if as_json:
        whole = output is None
        print_json(
            {
                "file": file,
                "rows": len(outputs),
                "output": str(output) if output else None,
                "names": [n if isinstance(n, str) else int(n) for n in found.names]
                if whole else None,
                "splits": list(found.parts) if whole and found.parts else None,
                "predictions": table.classes() if "prediction" in table.head else None,
                "outputs": outputs.tolist() if whole else None,
                "columns": table.head,
            }
        )  # fmt: skip
