"""`disttrain check`: reads a run file and its data as a training would, and trains nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.options import AsJson, RunFile, Set, print_json, say

if TYPE_CHECKING:
    from disttrain.training import Run

__all__ = ["command"]


def show_schema(asked: bool) -> None:
    """Print the JSON Schema of a run file and end."""
    if asked:
        from disttrain import config

        print_json(config.schema())
        raise typer.Exit


def command(
    run_file: RunFile,
    set_: Set = [],  # noqa: B006 - typer reads the default, nobody writes to it
    as_json: AsJson = False,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema",
            is_eager=True,
            callback=show_schema,
            help="Print the JSON Schema of a run file, and no more.",
        ),
    ] = False,
) -> None:
    """Validate a run file and its data; print layers, parameters, bytes and steps."""
    from disttrain import config
    from disttrain.comm import connect
    from disttrain.training import build_run

    comm = connect()
    with comm.together("configuration"):
        settings = config.read(run_file, set_)
    facts = describe(build_run(settings, comm))
    if not comm.is_root:
        return
    if as_json:
        print_json(facts)
        return
    say(f"{run_file}: {settings.name}")
    for layer in facts["layers"]:
        shapes = "  ".join(f"{k} {'x'.join(map(str, v))}" for k, v in layer["shapes"].items())
        say(f"  {layer['name']:10}{layer['activation']:10}{shapes}  {layer['parameters']:,}")
    say(f"  parameters      {facts['parameters']:,} ({settings.model.dtype})")
    say(f"  bytes a step    {facts['bytes_per_step']:,} (the message each rank adds)")
    say(f"  memory a rank   {facts['bytes_of_state']:,} bytes of weights, gradients, velocity")
    for name, rows in facts["samples"].items():
        say(f"  {name + ' samples':20}{rows:,}")
    say(f"  inputs          {facts['inputs']} numbers a sample ({facts['input_dtype']})")
    say(f"  targets         {facts['classes'] or 'no'} classes")
    say(
        f"  steps           {facts['steps_per_epoch']} an epoch, {facts['steps']} in all, "
        f"global batch {facts['batch_size']}"
    )
    say("ready to train")


def describe(run: Run) -> dict[str, Any]:
    """Return what a training of `run` will be, as plain values."""
    network = run.network
    itemsize = run.reducer.gradients.itemsize
    layers = []
    for name, layer, views in zip(
        network.names, network.layers, network.layout.views(network.values), strict=True
    ):
        layers.append(
            {
                "name": name,
                "activation": getattr(layer, "activation", ""),
                "shapes": {key: list(view.shape) for key, view in views.items()},
                "parameters": sum(int(view.size) for view in views.values()),
            }
        )
    length = network.layout.length
    return {
        "name": run.settings.name,
        "layers": layers,
        "parameters": network.count,
        "bytes_per_step": length * itemsize + 8 * 5,
        "bytes_of_state": 3 * length * itemsize,
        "samples": {name: split.count for name, split in run.dataset.splits.items()},
        "inputs": run.dataset.inputs,
        "input_dtype": str(run.dataset.splits["train"].rows.dtype),
        "classes": run.dataset.classes,
        "batch_size": run.batches.batch_size,
        "steps_per_epoch": run.batches.steps_per_epoch,
        "steps": run.total_steps,
        "device": network.device.name,
        "valid": True,
    }
