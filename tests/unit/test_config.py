import math
import tomllib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from disttrain.config import Settings, parse, read, read_study, schema, to_toml
from disttrain.errors import RunFileError

SHORTEST = """
[data]
path = "d.h5"
[model]
layers = [{ units = 800, activation = "relu" }, { units = 10 }]
"""

# The run file of the design: what it shows is the default of every key, but of the two that have
# none, of the run's own name, and of early stopping, which is off.
DESIGN = """
seed = 1
name = "mnist-800"

[data]
path = "data/mnist.h5"
normalize = "auto"
validation_fraction = 0.1

[model]
layers = [{ units = 800, activation = "relu" }, { units = 10 }]
loss = "auto"
dtype = "float32"

[training]
epochs = 20
protocol = "mini-batch"
batch_size = 128

[optimizer]
momentum = 0.9
form = "classical"
weight_decay = 1e-4

[schedule]
kind = "cosine"
learning_rate = 0.1
warmup_epochs = 0.5

[validation]
on = "rank0"
every_epochs = 1
patience = 5

[checkpoint]
every_epochs = 1
keep = 3

[reproducibility]
mode = "auto"
leaves = 8

[device]
kind = "auto"
"""
OWN = {("name",), ("data", "path"), ("model", "layers"), ("validation", "patience")}


def flat(table: dict, *before: str) -> dict[tuple[str, ...], object]:
    found: dict[tuple[str, ...], object] = {}
    for key, value in table.items():
        found |= flat(value, *before, key) if isinstance(value, dict) else {(*before, key): value}
    return found


SHOWN = flat(tomllib.loads(DESIGN))


def make(*changes: str) -> Settings:
    return parse(SHORTEST, changes)


def refused(*changes: str, text: str = SHORTEST) -> str:
    with pytest.raises(RunFileError) as caught:
        parse(text, changes)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("key", sorted(set(SHOWN) - OWN), ids=".".join)
def test_each_default_is_the_one_that_the_design_shows(key: tuple[str, ...]) -> None:
    assert flat(make().model_dump())[key] == SHOWN[key]


def test_early_stopping_is_off_and_a_name_is_given() -> None:
    assert make().validation.patience is None
    assert make().name == "run"


def test_the_run_file_of_the_design_is_read() -> None:
    settings = parse(DESIGN)
    assert settings.validation.patience == 5
    assert [layer.units for layer in settings.model.layers] == [800, 10]
    assert settings.name == "mnist-800"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("training.epoch=3", "unknown key 'training.epoch'; did you mean 'training.epochs'?"),
        ("trainning.epochs=3", "unknown key 'trainning'; did you mean 'training'?"),
        ("schedule.learningrate=3", "did you mean 'schedule.learning_rate'?"),
        ("epochs=3", "unknown key 'epochs'; did you mean 'training.epochs'?"),
        ("units=3", "did you mean 'model.layers.0.units'?"),
        ("optimizer.learning_rate=3", "did you mean 'schedule.learning_rate'?"),
        ("leraning_rate=3", "did you mean 'schedule.learning_rate'?"),
        ("lr=3", "did you mean 'schedule.learning_rate'?"),
        ("every_steps=3", "did you mean 'validation.every_steps' or 'checkpoint.every_steps'?"),
        ("optimizer.zzz=3", "known keys: kind, weight_decay, clip_norm, momentum, form"),
        ("model.layers=[{units=3, activaton='relu'}]", "did you mean 'model.layers.0.activation'?"),
    ],
)
def test_an_unknown_key_names_the_nearest(change: str, words: str) -> None:
    assert words in refused(change)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            ["schedule.kind='cosine'", "schedule.factor=0.5"],
            '\'schedule.factor\' is a key of kind = "step", and kind is "cosine" here',
        ),
        (
            ["schedule.k=0.5"],
            '\'schedule.k\' is a key of kind = "exponential" or "inverse-time", and kind is '
            '"cosine" here',
        ),
        (["optimizer.kind='adam'", "optimizer.form='nesterov'"], 'a key of kind = "sgd"'),
        (["optimizer.beta2=0.9"], 'a key of kind = "adam" or "adamw", and kind is "sgd" here'),
        (["optimizer.kind='adam'", "optimizer.beta3=0.9"], "did you mean 'optimizer.beta"),
        (["schedule.kind='cosin'"], "'schedule.kind' is 'cosin'; did you mean 'cosine'?"),
        (["optimizer.kind='rms'"], "'optimizer.kind' is 'rms'; known kinds: sgd, adam, adamw"),
        (["schedule.kind=[]"], "'schedule.kind' is []; known kinds: constant, step"),
        (["schedule=5"], "'schedule' is 5: it should be a table of keys"),
        (["optimizer=adam"], 'is a table of keys; did you mean optimizer.kind = "adam"?'),
        (["model.layers=[{kind='lstm', units=3}]"], "'model.layers.0.kind' is 'lstm'"),
    ],
)
def test_each_kind_has_its_own_keys(changes: list[str], words: str) -> None:
    assert words in refused(*changes)


def test_adam_takes_the_rates_of_a_function() -> None:
    """They have no learning rate, so Adam's default is not given to them."""
    text = SHORTEST + "[schedule]\nkind = 'rates'\nrates = [0.01, 0.002]\n"
    changed = parse(text, ["optimizer.kind=adam"])
    assert changed.schedule.rates == (0.01, 0.002)
    adam = parse(SHORTEST, ["optimizer.kind=adam"])
    assert adam.replace(schedule={"kind": "rates", "rates": [0.5]}).schedule.learning_rate == 0.5


def test_another_kind_leaves_the_keys_of_the_kind_before() -> None:
    text = SHORTEST + "[schedule]\nkind = 'step'\nlearning_rate = 0.3\nfactor = 0.25\n"
    changed = parse(text, ["schedule.final_rate=0.01", "schedule.kind=cosine"]).schedule
    assert (changed.kind, changed.learning_rate, changed.final_rate) == ("cosine", 0.3, 0.01)
    assert parse(text).replace(schedule={"kind": "constant"}).schedule.learning_rate == 0.3
    assert "'cosin'" in refused("schedule.kind=cosin", text=text)


def test_a_change_reaches_into_lists() -> None:
    changed = make("model.layers.0.units=20", "model.layers.1.activation=tanh").model.layers
    assert [(layer.units, layer.activation) for layer in changed] == [(20, "relu"), (10, "tanh")]
    for change in ("model.layers.2.units=3", "model.layers.-1.units=3", "model.layers.a=3"):
        assert "model.layers has no" in refused(change)


def test_adam_has_a_rate_of_its_own() -> None:
    adam = make("optimizer.kind=adam")
    assert (adam.optimizer.kind, adam.schedule.learning_rate) == ("adam", 0.001)
    assert make("optimizer.kind=adamw", "schedule.learning_rate=0.5").schedule.learning_rate == 0.5


# What the first disttrain wrote as the resolved run file of a run, also into its checkpoints.
RESOLVED_BEFORE = """
[optimizer]
momentum = 0.9
form = "nesterov"
weight_decay = 0.0001

[schedule]
kind = "%s"
learning_rate = 0.3
factor = 0.25
every_epochs = 2
k = 0.7
final_rate = 0.01
warmup_epochs = 1.0
"""


@pytest.mark.parametrize("kind", ["constant", "step", "exponential", "inverse-time", "cosine"])
def test_a_run_file_that_was_resolved_before_kinds_had_keys_is_read(kind: str) -> None:
    before = parse(SHORTEST + RESOLVED_BEFORE % kind)
    assert (before.optimizer.kind, before.optimizer.form) == ("sgd", "nesterov")
    assert (before.schedule.kind, before.schedule.learning_rate) == (kind, 0.3)
    own = {"factor": 0.25, "every_epochs": 2, "k": 0.7, "final_rate": 0.01, "warmup_epochs": 1.0}
    for key in own.keys() & type(before.schedule).model_fields:
        assert getattr(before.schedule, key) == own[key]
    assert parse(to_toml(before)) == before


def test_a_misspelled_required_key_is_shown_as_such() -> None:
    text = SHORTEST.replace("path", "pth")
    assert refused(text=text) == "run file: unknown key 'data.pth'; did you mean 'data.path'?"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("training.epochs='3'", "training.epochs"),
        ("training.epochs=2.5", "training.epochs"),
        ("training.epochs=true", "training.epochs"),
        ("training.epochs=0", "training.epochs"),
        ("training.batch_size=-1", "training.batch_size"),
        ("optimizer.momentum=1.0", "optimizer.momentum"),
        ("optimizer.momentum=nan", "optimizer.momentum"),
        ("optimizer.weight_decay=inf", "optimizer.weight_decay"),
        ("schedule.learning_rate=0", "schedule.learning_rate"),
        ("schedule.learning_rate=inf", "schedule.learning_rate"),
        ("schedule.kind=linear", "schedule.kind"),
        ("data.validation_fraction=1.0", "data.validation_fraction"),
        ("data.path=''", "data.path"),
        ("data=5", "data"),
        ("model.layers=[]", "model.layers"),
        ("model.layers=3", "model.layers"),
        ("model.layers=[{units=3}, {units=0}]", "model.layers.1.units"),
        ("model.layers=[{activation='relu'}]", "model.layers.0.units"),
        ("seed=-1", "seed"),
        ("name=../up", "name"),
        ("checkpoint.every_steps=0", "checkpoint.every_steps"),
    ],
)
def test_a_value_that_will_not_do_names_its_key(change: str, key: str) -> None:
    assert f"'{key}'" in refused(change)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model]\nlayers = [{ units = 2 }]", "'data.path' is missing and has no default"),
        ("[data]\npath = 'a'", "'model.layers' is missing and has no default"),
        ("[data]\n[model]\nlayers = [{ units = 2 }]", "'data.path' is missing"),
        ("", "'data.path' is missing and has no default (also wrong or missing: 'model.layers')"),
    ],
)
def test_what_has_no_default_is_asked_for(text: str, words: str) -> None:
    assert words in refused(text=text)


@pytest.mark.parametrize("text", ["[data", "a = ", "seed = 1\nseed = 2"])
def test_what_is_not_toml_says_so(text: str) -> None:
    assert "is not valid TOML" in refused(text=text)


def test_whole_numbers_are_numbers() -> None:
    assert make("schedule.learning_rate=1").schedule.learning_rate == 1.0


def test_changes_are_literals_or_else_strings_and_apply_in_order() -> None:
    settings = make(
        "seed=7", "name=other-1.5", "data.path=a b/c.h5", "schedule.kind='cosine'", "plot=true",
        "schedule.learning_rate=1e-3", " training.epochs = 3 ", "training.epochs=4",
        'model.layers=[{units=2, activation="tanh"}]', "checkpoint.keep=9", "data.normalize=none",
    )  # fmt: skip
    assert (settings.seed, settings.name, settings.data.path) == (7, "other-1.5", "a b/c.h5")
    assert (settings.schedule.kind, settings.schedule.learning_rate) == ("cosine", 1e-3)
    assert (settings.plot, settings.training.epochs, settings.checkpoint.keep) == (True, 4, 9)
    assert settings.model.layers[0].activation == "tanh"
    assert settings.data.normalize == "none"


def test_a_value_may_hold_an_equals_sign() -> None:
    assert make("data.path=a=b.h5").data.path == "a=b.h5"


@pytest.mark.parametrize("change", ["seed", "=3", "data.=3", ".path=a", ""])
def test_a_change_of_another_form_shows_the_form(change: str) -> None:
    assert "section.key=value" in refused(change)


def test_a_change_below_a_value_says_so() -> None:
    assert "seed is a value, not a section" in refused("seed=1", "seed.a=2")


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("training.protocol=batch",),
        ("training.protocol=single-sample",),
        ("checkpoint.every_steps=200", "validation.every_steps=7", "validation.patience=2"),
        ("schedule.warmup_epochs=0.5", "data.path=ä'b\"c.h5", "seed=9223372036854775807"),
        ("model.layers=[{units=2, initializer='small-random', scale=0.1, bias=-0.5}]",),
    ],
)
def test_resolved_settings_read_back_the_same(changes: tuple[str, ...]) -> None:
    settings = make(*changes)
    assert parse(to_toml(settings)) == settings
    assert to_toml(parse(to_toml(settings))) == to_toml(settings)


def test_protocols_fix_the_batch_size() -> None:
    assert make("training.batch_size=64").training.batch_size == 64
    assert make("training.protocol=batch", "training.batch_size=64").training.batch_size is None
    assert make("training.protocol=single-sample").training.batch_size == 1


def test_an_interval_is_in_epochs_unless_steps_are_given() -> None:
    assert make("checkpoint.every_epochs=3").checkpoint.steps(43) == 129
    assert make("checkpoint.every_steps=200").checkpoint.steps(43) == 200
    both = make("validation.every_epochs=3", "validation.every_steps=5").validation
    assert both.steps(43) == 5
    assert both.every_epochs is None


def test_settings_are_changed_by_assignment() -> None:
    settings = make()
    kept = settings.replace()
    settings.seed = 2
    settings.training.epochs = 3
    settings.model.layers[0].units = 5
    settings.model.from_ = "runs/other"
    settings.optimizer = "adam"
    settings.schedule.learning_rate = 0.01
    settings.schedule = {"kind": "step", "factor": 0.5}
    text = to_toml(settings)
    assert to_toml(parse(text)) == text
    assert (settings.seed, settings.training.epochs, settings.model.layers[0].units) == (2, 3, 5)
    assert (settings.optimizer.kind, settings.schedule.learning_rate) == ("adam", 0.01)
    assert "runs/other" in text
    assert kept == make(), "a copy is another one"


@pytest.mark.parametrize(
    ("section", "key", "value", "sentence"),
    [
        ("training", "epochs", "many", r"'epochs' is 'many': give a whole number"),
        ("training", "epoch", 3, r"unknown key 'epoch'; did you mean 'epochs'\?"),
        ("", "epochs", 3, r"unknown key 'epochs'; did you mean 'training\.epochs'\?"),
        ("", "optimizer", "adm", r"'optimizer\.kind' is 'adm'; did you mean 'adam'\?"),
        ("optimizer", "kind", "adam", r"assign it to the section, as in settings\.optimizer ="),
        ("model", "layers", [], r"'layers' is \[\]"),
    ],
)
def test_a_wrong_assignment_is_one_sentence_and_changes_nothing(
    section: str, key: str, value: Any, sentence: str
) -> None:
    settings = make()
    with pytest.raises(RunFileError, match=sentence):
        setattr(getattr(settings, section) if section else settings, key, value)
    assert settings == make()


def test_units_alone_are_a_layer() -> None:
    text = SHORTEST.partition("layers")[0]
    written = parse(text + 'layers = [{ units = 32, activation = "relu" }, 10]')
    assert written == parse(text + 'layers = [{ units = 32, activation = "relu" }, { units = 10 }]')
    assert read_units(parse(text + "layers = [32, 1]")) == [32, 1]
    for wrong in ("true", "1.5", "0", "-3"):
        with pytest.raises(RunFileError, match=r"model\.layers\.0"):
            parse(text + f"layers = [{wrong}, 1]")


def read_units(settings: Settings) -> list[int]:
    return [layer.units for layer in settings.model.layers]


def test_replace_validates() -> None:
    settings = make()
    changed = settings.replace(training={"epochs": 3})
    assert (changed.training.epochs, changed.training.batch_size) == (3, 128)
    assert settings.training.epochs == 20
    with pytest.raises(RunFileError, match=r"training\.epochs"):
        settings.replace(training={"epochs": 0})


def test_a_run_file_is_read_with_its_name_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(SHORTEST)
    assert read(path, ["seed=3"]).seed == 3
    path.write_text("[data]\nptah = 'a'")
    with pytest.raises(RunFileError, match=r"run file .*run\.toml: unknown key 'data\.ptah'"):
        read(path)


@pytest.mark.parametrize("what", ["missing", "folder", "binary"])
def test_a_run_file_that_can_not_be_read(tmp_path: Path, what: str) -> None:
    path = tmp_path / "run.toml"
    if what == "folder":
        path.mkdir()
    elif what == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunFileError, match=r"run\.toml.*give a TOML file"):
        read(path)


def test_the_schema_knows_every_section() -> None:
    assert set(schema()["properties"]) == set(Settings.model_fields)


SCHEMA = schema()


def numeric_keys(
    table: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield each numeric key of the schema, its facts there, and what it needs beside it."""
    if "$ref" in table:
        table = SCHEMA["$defs"][table["$ref"].rpartition("/")[2]]
    kind = table.get("properties", {}).get("kind", {})
    tag = kind.get("const") or kind.get("enum", [""])[0]
    needs = (f"{'.'.join(path)}.kind={tag}",) if tag and tag != "dense" else ()
    if "filters" in table.get("required", []):
        needs += (f"{'.'.join(path)}.filters=2",)
    if "rates" in table.get("required", []):
        needs += (f"{'.'.join(path)}.rates=[0.1]",)
    for name, value in table.get("properties", {}).items():
        inner = (*path, name)
        if "$ref" in value or "oneOf" in value:
            for one in value.get("oneOf", [value]):
                yield from numeric_keys(one, inner)
        elif {"$ref", "oneOf"} & value.get("items", {}).keys():
            for one in value["items"].get("oneOf", [value["items"]]):
                yield from numeric_keys(one, (*inner, "0"))
        for one in [value, *value.get("anyOf", [])]:
            if one.get("type") in ("integer", "number"):
                yield ".".join(inner), one, needs


NUMERIC = list(numeric_keys(SCHEMA))


def limits(facts: dict[str, Any]) -> tuple[Any, Any]:
    low = facts.get("minimum", facts.get("exclusiveMinimum"))
    return low, facts.get("maximum", facts.get("exclusiveMaximum"))


def test_the_schema_shows_every_number() -> None:
    names = {key for key, _, _ in NUMERIC}
    assert {"seed", "model.layers.0.units", "optimizer.beta2", "schedule.final_rate"} <= names
    assert len(names) > 25


@pytest.mark.parametrize(("key", "facts", "needs"), NUMERIC, ids=[k for k, _, _ in NUMERIC])
def test_every_number_has_two_limits(
    key: str, facts: dict[str, Any], needs: tuple[str, ...]
) -> None:
    low, high = limits(facts)
    assert low is not None
    assert high is not None
    beyond = [
        -1e308,
        1e308,
        math.nan,
        math.inf,
        10**40,
        -(10**40),
        low - abs(low) - 1,
        2 * high + 1,
    ]
    for value in [*beyond, "0x" + "f" * 100_000, "[1]", "'1'", "true"]:
        assert f"'{key}'" in refused(*needs, f"{key}={value}")
    assert "digits" in refused(text=f"{SHORTEST}[training]\nepochs = {'1' * 100_000}\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model.layers.0.units=1000000000", "'model.layers.0.units' is 1000000000: it should "
         "be at most 16777216"),
        ("model.layers.0.dropout=0.99999999999", "should be at most 0.99"),
        ("communication.bucket_mib=1e308", "should be at most 65536"),
        ("reproducibility.leaves=100000", "should be at most 256"),
        ("training.protocol=[]", "'training.protocol' is []: it should be 'mini-batch'"),
        ("a" + ".a" * 32_000 + "=1", "write it as section.key=value"),
        ("seed=" + "[" * 100_000, "'seed' is '[[["),
        ("seed=" + "{a=" * 50_000, "'seed' is '{a={a="),
        ("name=" + "a" * 100_000, "'name' is 'aaa"),
        ("name=\x1b[2J\nx", "'name' is '\\x1b[2J\\nx'"),
        ("data.path=a\x00b", "'data.path' is 'a\\x00b'"),
        ("data.path=\udcff", "'data.path' is '\\udcff'"),
        ("x" * 100_000 + "=1", "unknown key 'xxx"),
        ("model.layers=[" + "{units=1}," * 1001 + "]", "'model.layers' is [{'units': 1}, "),
    ],
    ids=range(14),
)  # fmt: skip
def test_wild_values_are_one_short_sentence(change: str, words: str) -> None:
    text = refused(change)
    assert words in text
    assert text.isprintable()
    assert len(text) < 700


@pytest.mark.parametrize(
    "key",
    ["a." * 32_000 + "b", "'a'." * 9_000 + "b", '"a\\"." . ' * 5_000 + "b", "a . " * 9_000 + "b"],
    ids=range(4),
)
@pytest.mark.parametrize("form", ["{} = 1", "[{}]", "[[{}]]", "x = {{ {} = 1 }}"])
def test_a_key_of_thousands_of_parts_costs_nothing(key: str, form: str) -> None:
    begin = tracemalloc.get_traced_memory()
    tracemalloc.start()
    try:
        assert "has over 32 parts" in refused(text=SHORTEST + form.format(key))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000, begin
    finally:
        tracemalloc.stop()


def test_texts_with_many_dots_are_no_keys() -> None:
    dots = "x/../" * 200 + "a.b.c d.e.f" * 20
    assert make(f"data.path='{dots}'").data.path == dots
    assert "over 256 KiB" in refused(text=SHORTEST + "#" * 300_000)
    assert "nested too deep" in refused(text=SHORTEST + "[training]\nepochs = " + "[" * 100_000)


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SHORTEST.replace("\n", "\r\n").encode())
    assert read(path).name == "run"


def test_another_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match="is a study file: `disttrain search` takes it"):
        parse("run = 'run.toml'\n[[stages]]\ncandidates = 3\n")
    (tmp_path / "run.toml").write_text("data.path = 'd.h5'\nmodel.layers = [2]\n")
    with pytest.raises(RunFileError, match=r"study file .*none\.toml does not exist"):
        read_study(tmp_path / "none.toml")
    with pytest.raises(RunFileError, match=r"run\.toml is a run file: a study file names it"):
        read_study(tmp_path / "run.toml")
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(RunFileError, match=r"is the folder of a run; its run file is .*run\.toml"):
        read(tmp_path)


def test_settings_are_shown_short() -> None:
    settings = parse("data.path = 'd.h5'\nmodel.layers = [2]\ntraining.epochs = 3\n")
    assert repr(settings) == (
        "Settings(data=Data(path='d.h5'), model=Model(layers=(Dense(units=2),)), "
        "training=Training(epochs=3))"
    )


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("{ 0 = 1, cat = 2.5 }", {"0": 1.0, "cat": 2.5}),
        ("'balanced'", "balanced"),
        ([1, 2], (1, 2)),
    ],
)
def test_class_weights_have_three_forms(given: object, taken: object) -> None:
    run = f"data.path='d.h5'\nmodel.layers=[2]\ntraining.class_weights={given}"
    assert parse(run).training.class_weights == taken


@pytest.mark.parametrize("given", ["'uneven'", "[-1.0, 2.0]", "{ cat = 'two' }", "3"])
def test_other_class_weights_are_refused_in_one_sentence(given: str) -> None:
    with pytest.raises(RunFileError, match='not class weights: give "balanced", a number') as error:
        parse(f"data.path='d.h5'\nmodel.layers=[2]\ntraining.class_weights={given}")
    assert "also wrong" not in str(error.value)


def test_of_two_kinds_the_later_one_counts() -> None:
    changes = ["optimizer.kind=adam", "training.epochs=2", "optimizer.kind=adamw"]
    assert parse(SHORTEST, changes).optimizer.kind == "adamw"


def test_a_kind_counts_before_the_other_keys_of_its_table_and_after_the_table() -> None:
    layers = 'model.layers=[{kind="max-pool",size=3},{units=3}]'
    first = "model.layers.0.kind=average-pool"
    changed = [parse(DESIGN, changes).model.layers[0] for changes in (
        [layers, first], [layers, "model.layers.0.size=4", first],
    )]  # fmt: skip
    assert [(layer.kind, layer.size) for layer in changed] == [  # type: ignore[union-attr]
        ("average-pool", 3), ("average-pool", 4),
    ]  # fmt: skip
    moved = parse(DESIGN, ["optimizer.beta1=0.8", "optimizer.kind=adam"]).optimizer
    assert moved.beta1 == 0.8  # type: ignore[union-attr]
