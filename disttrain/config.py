"""A run file (TOML) becomes frozen models, or one error that names the key.

`read` is the only reader of TOML in the project and `to_toml` the only writer. Every key has a
default but `data.path` and `model.layers`; unknown keys are errors that name the nearest known one.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from disttrain.errors import RunFileError

__all__ = ["Layer", "Settings", "parse", "read", "schema", "to_toml"]

Activation = Literal["identity", "sigmoid", "tanh", "relu"]
Initializer = Literal["auto", "small-random", "xavier", "he"]
Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """A table of the run file: frozen, typed strictly, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=False)


class Data(Section):
    """Where the samples are and what is done to them before the network sees them."""

    path: str = Field(min_length=1)
    normalize: Literal["none", "mean-image", "standardize"] = "mean-image"
    validation_fraction: Fraction = 0.1
    inputs: str = "inputs"
    targets: str = "targets"
    memory: Literal["auto", "shared", "stream"] = "auto"
    block_rows: Positive = 1024


class Layer(Section):
    """One dense layer; `initializer = "auto"` is `he` for relu and `xavier` for the others."""

    units: Positive
    activation: Activation = "identity"
    initializer: Initializer = "auto"
    scale: PositiveFloat = 0.01
    bias: Annotated[float, Field(allow_inf_nan=False)] = 0.0


class Model(Section):
    """The network, its loss and the type of its numbers."""

    layers: Annotated[tuple[Layer, ...], Field(min_length=1, strict=False)]
    loss: Literal["softmax", "squared"] = "softmax"
    dtype: Literal["float32", "float64"] = "float32"


class Training(Section):
    """How long, and how many samples make one update.

    `batch_size` is that of all ranks together, for the mini-batch protocol; `batch` takes all
    samples and `single-sample` one, whatever it says.
    """

    epochs: Positive = 20
    protocol: Literal["mini-batch", "batch", "single-sample"] = "mini-batch"
    batch_size: Positive | None = 128

    @model_validator(mode="before")
    @classmethod
    def _batch_size_follows_protocol(cls, given: Any) -> Any:
        fixed = {"batch": None, "single-sample": 1}
        if not isinstance(given, Mapping) or given.get("protocol") not in fixed:
            return given
        return {**given, "batch_size": fixed[given["protocol"]]}


class Optimizer(Section):
    """The update: momentum, the form of it, and weight decay (biases are exempt)."""

    momentum: Fraction = 0.9
    form: Literal["classical", "averaged", "nesterov"] = "classical"
    weight_decay: NotNegative = 1e-4


class Schedule(Section):
    """The learning rate as a function of time; `k`, `warmup_epochs` in epochs."""

    kind: Literal["constant", "step", "exponential", "inverse-time", "cosine"] = "step"
    learning_rate: PositiveFloat = 0.1
    factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    every_epochs: Positive = 5
    k: NotNegative = 0.1
    final_rate: NotNegative = 0.0
    warmup_epochs: NotNegative = 0.0


class Interval(Section):
    """A section that happens every so many epochs, or, where stated, every so many steps."""

    every_epochs: Positive | None = 1
    every_steps: Positive | None = None

    @model_validator(mode="before")
    @classmethod
    def _steps_win(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("every_steps") is not None:
            return {**given, "every_epochs": None}
        return given

    def steps(self, steps_per_epoch: int) -> int:
        """Return the length of the interval in steps."""
        return self.every_steps or (self.every_epochs or 1) * steps_per_epoch


class Validation(Interval):
    """When and where the model is validated, and after how many idle intervals training stops."""

    on: Literal["rank0", "all"] = "rank0"
    patience: Positive | None = None


class Checkpoint(Interval):
    """How often the state is saved and how many of the newest are kept."""

    keep: Positive = 3


class Reproducibility(Section):
    """`fast`: one share a rank; `exact`: the same bits on any number of ranks."""

    mode: Literal["fast", "exact"] = "fast"
    leaves: Positive = 8


class Device(Section):
    """Where the arithmetic happens; `auto` takes a GPU that works, and says why if none does."""

    kind: Literal["auto", "cpu", "gpu"] = "auto"


class Communication(Section):
    """How gradients are summed over ranks, and how long a rank may stay in one phase."""

    sum: Literal["auto", "window", "allreduce", "buckets", "ring"] = "auto"
    bucket_mib: PositiveFloat = 4.0
    deadline_seconds: NotNegative = 600.0


class Settings(Section):
    """A whole run file."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "run"
    plot: bool = False
    data: Data
    model: Model
    training: Training = Training()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    validation: Validation = Validation()
    checkpoint: Checkpoint = Checkpoint()
    reproducibility: Reproducibility = Reproducibility()
    device: Device = Device()
    communication: Communication = Communication()

    def replace(self, **sections: Mapping[str, Any]) -> Self:
        """Return a copy with some keys of some sections changed, validated again."""
        plain = self.model_dump(exclude_none=True)
        for name, keys in sections.items():
            plain[name] = {**plain[name], **keys}
        return _validated(type(self), plain, "settings")


def read(path: str | Path, changes: Sequence[str] = ()) -> Settings:
    """Return the settings of the run file at `path`, with `a.b=value` changes applied in order.

    A relative `data.path` becomes absolute: from the working directory, or else, where nothing is
    there, from the run file's own folder. A run without a name gets the file's.

    Raises RunFileError (exit code 2), one sentence, for a file that can't be read, is not TOML, or
    holds a key or a value that is not allowed.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise RunFileError(
            f"run file {path}: {error.strerror or error}; give a TOML file"
        ) from None
    except UnicodeDecodeError:
        raise RunFileError(f"run file {path} is not text in UTF-8; give a TOML file") from None
    name = re.sub(r"[^A-Za-z0-9._-]", "-", Path(path).stem).lstrip(".-_") or "run"
    settings = parse(text, changes, source=f"run file {path}", name=name)
    return settings.replace(data={"path": _found(settings.data.path, Path(path).parent)})


def parse(
    text: str, changes: Sequence[str] = (), *, source: str = "run file", name: str = "run"
) -> Settings:
    """Return the settings that `text` (TOML) states; `source` names it in errors.

    `name` is the run's where the text states none.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RunFileError(f"{source} is not valid TOML: {error}") from None
    for change in changes:
        _apply(table, change)
    return _validated(Settings, {"name": name, **table}, source)


def to_toml(settings: Settings) -> str:
    """Return `settings` with every default written out, as a run file that reads back the same."""
    return tomli_w.dumps(settings.model_dump(exclude_none=True))


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a run file."""
    return Settings.model_json_schema()


def _found(path: str, beside: Path) -> str:
    here = Path(path)
    if not here.exists() and (beside / path).exists():
        here = beside / path
    return str(here.absolute())


def _apply(table: dict[str, Any], change: str) -> None:
    """Set one `a.b=value` in `table`; a value that is no TOML literal is taken as a string."""
    key, equals, value = change.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise RunFileError(f"--set {change!r}: write it as section.key=value")
    for name in names[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise RunFileError(f"--set {change!r}: {name} is a value, not a section")
    try:
        table[names[-1]] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        table[names[-1]] = value


def _validated(kind: type[S], table: Mapping[str, Any], source: str) -> S:
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        raise RunFileError(f"{source}: {_sentence(error)}") from None


def _sentence(error: ValidationError) -> str:
    """Return the first problem as one sentence, an unknown key before all others."""
    problems = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    first, more = problems[0], len(problems) - 1
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        known = list(_section_at(first["loc"][:-1]).model_fields)
        near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        text = f"unknown key {key!r}; {hint}"
    elif first["type"] == "missing":
        inner = [k for k, f in _section_at(first["loc"]).model_fields.items() if f.is_required()][
            :1
        ]
        text = f"{'.'.join([key, *inner])!r} is missing and has no default"
    elif first["type"] == "value_error":
        text = f"{key!r}: {first['ctx']['error']}"
    else:
        text = f"{key!r} is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"
    return text + (f" (and {more} more)" if more else "")


def _section_at(location: Sequence[str | int]) -> type[BaseModel]:
    """Return the section at `location`, or a section without keys where there is a plain value."""
    kind: type[BaseModel] = Settings
    for part in location:
        if isinstance(part, str):
            annotation = kind.model_fields[part].annotation
            found = [annotation, *get_args(annotation)]
            sections = [k for k in found if isinstance(k, type) and issubclass(k, BaseModel)]
            kind = sections[0] if sections else Section
    return kind
