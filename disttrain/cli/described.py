"""What a training will be, as plain values and as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from disttrain.cli.options import say

if TYPE_CHECKING:
    from disttrain.training import Run

__all__ = ["describe", "print_facts"]


def print_facts(facts: dict[str, Any], title: str, dtype: str) -> None:
    """Print what a training will be."""
    from disttrain.data import in_words

    say(title)
    for layer in facts["layers"]:
        shapes = "  ".join(f"{k} {'x'.join(map(str, v))}" for k, v in layer["shapes"].items())
        say(f"  {layer['name']:10}{layer['activation']:10}{shapes}  {layer['parameters']:,}")
    say(f"  parameters      {facts['parameters']:,} ({dtype})")
    say(f"  bytes a step    {facts['bytes_per_step']:,} (the message each rank adds)")
    vectors = ", ".join(facts["vectors"]).replace("_", " ")
    say(f"  memory a rank   {facts['bytes_of_state']:,} bytes of {vectors}")
    for name, rows in facts["samples"].items():
        say(f"  {name + ' samples':20}{rows:,}")
    say(f"  inputs          {in_words(tuple(facts['shape']))} a sample ({facts['input_dtype']})")
    fitted = "numbers to be fitted, one for each unit of the last layer"
    names = [*facts["class_names"][:10], *["..."] * (len(facts["class_names"]) > 10)]
    classes = f"{facts['classes']} classes" + (f" ({', '.join(names)})" if names else "")
    say(f"  targets         {classes if facts['classes'] else fitted}")
    say(
        f"  steps           {facts['steps_per_epoch']} an epoch, {facts['steps']} in all, "
        f"global batch {facts['batch_size']}"
    )
    if facts["pretraining"]:
        say(f"  pre-training    {facts['pretraining']}")
    rate, kind = facts["learning_rate"], facts["schedule"]
    say(f"  learning rate   {rate:g}, {kind}")
    if facts["by_the_data"]:
        say(f"  not stated, so chosen: {', '.join(facts['by_the_data'])}")
    if facts["initial_weights"]:
        say(f"  {facts['initial_weights']}")
    then = " once, then replayed by one call into C" if facts["step"] == "recorded" else ""
    say(f"  a step is       {facts['step']}{then}")
    for line in facts["warnings"]:
        say(f"warning: {line}")


def pretraining_in_words(run: Run) -> str:
    """Return what comes before the training; "" where nothing does."""
    asked, layers = run.settings.pretraining, len(run.network.hidden)
    if asked is None:
        return ""
    rows = run.dataset.every_row.count
    return (
        f"{asked.kind}, {layers} layer{'s' * (layers > 1)}, {asked.epochs} epochs each on {rows:,} "
        "rows"
    )


def describe(run: Run) -> dict[str, Any]:
    """Return what a training of `run` will be, as plain values."""
    network = run.network
    itemsize = run.work.reducer.totals.itemsize
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
    vectors = ["weights", "gradients", *run.optimizer.slots]
    return {
        "name": run.settings.name,
        "layers": layers,
        "parameters": network.count,
        "bytes_per_step": length * itemsize + 8 * 5,
        "vectors": vectors,
        "bytes_of_state": len(vectors) * length * itemsize,
        "samples": {name: split.count for name, split in run.dataset.splits.items()},
        "inputs": network.inputs,
        "shape": list(network.shapes[0]),
        "input_dtype": str(run.dataset.splits["train"].rows.dtype),
        "classes": run.dataset.classes,
        "class_names": list(run.dataset.class_names),
        "learning_rate": run.settings.schedule.learning_rate,
        "schedule": run.settings.schedule.kind,
        "batch_size": run.work.batches.batch_size,
        "steps_per_epoch": run.steps_per_epoch,
        "steps": run.total_steps,
        "pretraining": pretraining_in_words(run),
        "device": network.device.name,
        "step": run.recordings.in_words,
        "valid": True,
    }
