"""Models out and in: the format goes by the file's name."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from disttrain import config
from disttrain.checkpoint import write_atomically
from disttrain.comm.alone import Alone
from disttrain.errors import CheckpointError, DisttrainError, UsageError
from disttrain.interop import safe
from disttrain.interop.adopted import Adopted, settings_for
from disttrain.interop.onnx_graph import OPSET
from disttrain.interop.onnx_read import take_onnx
from disttrain.interop.onnx_write import onnx_model
from disttrain.interop.torch_names import sequential
from disttrain.runs.ensembled import Ensemble
from disttrain.runs.trained import Trained, load_trained

__all__ = ["adopt", "export"]


def export(
    trained: Trained, path: Path, prepared: bool = False, plain: bool = False
) -> dict[str, Any]:
    """Write a network to `path` (.onnx or .safetensors) and return what was written (one rank).

    `prepared` and `plain` are those of `onnx_model`. Raises UsageError for another suffix, a
    library that is missing, or a layer that the format does not have; CheckpointError where the
    disk refuses.
    """
    widths, loss = trained.network.widths, trained.loss.kind
    if plain and trained.network.dtype == "float64":
        raise UsageError("--float32 is for networks that were trained in float32")
    if _suffix(path) == ".onnx":
        content = onnx_model(trained, prepared, plain)
        about = f"{widths}, {loss}, ONNX opset {OPSET}"
    elif plain:
        raise UsageError("--float32 is for ONNX: safetensors hold the weights as they are")
    elif prepared:
        raise UsageError("--prepared is for ONNX: safetensors hold weights alone")
    elif trained.network.dtype != trained.snapshot.settings(trained.path).model.dtype:
        raise UsageError("--float64 is for ONNX: safetensors hold the weights as they are")
    elif isinstance(trained, Ensemble):
        raise UsageError("safetensors hold one network: export its members, or to ONNX")
    else:
        content = safe.safe_tensors(trained)
        about = f"the weights of torch.nn.Sequential({', '.join(sequential(trained.network)[0])})"
    write_atomically(path.absolute(), content)
    return {"path": str(path), "bytes": len(content), "network": widths, "loss": loss,
            "digest": trained.snapshot.digest, "about": about}  # fmt: skip


def adopt(
    path: Path, out: Path, run: Path | None, layers: str | None, loss: str, data: str | None
) -> dict[str, Any]:
    """Write the network in a file to the checkpoint `out` and return what was written (one rank).

    `run` or `layers` say what a safetensors file does not; `data` is the data file that the network
    is meant for. Raises CheckpointError for a file that can't be read, UsageError for a network
    that is no stack of disttrain's layers.
    """
    suffix = _suffix(path)
    if out.suffix.lower() not in (".h5", ".hdf5"):
        raise UsageError(f"{out}: name the checkpoint to write, as in model.h5")
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: give an .onnx or .safetensors file")
    if suffix == ".onnx" and (run or layers):
        raise UsageError("--run and --layers are for safetensors: an ONNX graph has its layers")
    # Nothing is left at `out` that can't be loaded.
    with tempfile.TemporaryDirectory(prefix="disttrain-") as folder:
        draft = Path(folder) / out.name
        if suffix == ".onnx":
            take_onnx(path, draft, data)
        else:
            _weights(path, draft, run, layers, loss, data)
        try:
            made = load_trained(draft, Alone())
        except DisttrainError as error:
            said = str(error).replace(str(draft), str(out))
            raise CheckpointError(f"{path} holds no network that can be loaded: {said}") from None
        write_atomically(out.absolute(), draft.read_bytes())
    widths, loss = made.network.widths, made.loss.kind
    return {"path": str(out), "network": widths, "loss": loss,
            "digest": made.snapshot.digest, "about": f"{widths}, {loss}"}  # fmt: skip


def _weights(
    path: Path, out: Path, run: Path | None, layers: str | None, loss: str, data: str | None
) -> None:
    """Write the checkpoint of a safetensors file."""
    tensors, metadata = safe.read_tensors(path)
    if run is None and layers is None:
        if safe.taken_back(path, (tensors, metadata), out, data):
            return
        raise UsageError(
            f"{path} holds weights alone: say what the layers are by --run RUN.toml, or by "
            "--layers, as in 800:relu,10"
        )
    weights = safe.layers_of(path, tensors)
    if run is not None:
        settings = config.read(run)
        settings = settings.replace(data={"path": data}) if data else settings
        if settings.model.loss == "auto":
            settings = settings.replace(model={"loss": loss})
    else:
        dtype = str(weights[0]["weight"].dtype)
        settings = settings_for(tables_of(layers or ""), loss, dtype, path, data)
    inputs, outputs = weights[0]["weight"].shape[1], len(weights[-1]["bias"])
    classes = list(map(str, range(outputs))) if settings.model.loss == "softmax" else []
    Adopted(path, settings, (inputs,), weights, classes).save(out)


def tables_of(layers: str) -> list[dict[str, Any]]:
    """Return the layers that a text such as `800:relu,10` names. Raises UsageError."""
    found: list[dict[str, Any]] = []
    for part in layers.split(","):
        units, _, activation = part.strip().partition(":")
        if not units.isdecimal():
            raise UsageError(f"--layers {layers}: write units and activation, as in 800:relu,10")
        found.append({"units": int(units), "activation": activation or "identity"})
    return found


def _suffix(path: Path) -> str:
    known: tuple[str, ...] = (".onnx", ".safetensors")
    if path.suffix.lower() not in known:
        raise UsageError(f"{path}: give a file that ends with {' or '.join(known)}")
    return path.suffix.lower()
