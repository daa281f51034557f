"""Words of PyTorch, Keras, scikit-learn and Lightning are answered with the word that is ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import disttrain
from disttrain.config import Settings
from disttrain.config.habits import KEYS, NAMES, NO_VALUES, VALUES
from disttrain.config.homes import homes

RUN = 'data.path = "x.h5"\nmodel.layers = [{ units = 8, activation = "relu" }, { units = 2 }]\n'
# Where a user types the word, and the key that the sentence must name.
KEY_HABITS = {
    "schedule.learning_rate": ["lr", "optimizer.lr", "training.learning_rate", "eta0", "base_lr",
                               "learning_rate_init", "model.lr"],
    "training.batch_size": ["batch", "batchsize", "training.batch", "data.batch_size", "bs"],
    "training.epochs": ["n_epochs", "num_epochs", "max_epochs", "max_iter", "nb_epoch"],
    "data.validation_fraction": ["validation_split", "training.validation_split", "val_split"],
    "validation.every_epochs": ["validation_freq", "check_val_every_n_epoch"],
    "validation.every_steps": ["val_check_interval"],
    "validation.best": ["monitor", "training.monitor"],
    "validation.patience": ["early_stopping", "n_iter_no_change", "training.patience"],
    "checkpoint.keep": ["save_top_k", "max_to_keep"],
    "checkpoint.every_epochs": ["save_freq"],
    "model.layers": ["hidden_layer_sizes", "model.hidden_units"],
    "model.layers.0.units": ["out_features", "neurons"],
    "model.layers.0.size": ["kernel_size"],
    "model.layers.0.filters": ["out_channels"],
    "model.layers.0.initializer": ["kernel_initializer"],
    "model.layers.0.activation": ["activation", "model.activation"],
    "model.layers.0.dropout": ["dropout_rate", "model.dropout"],
    "model.loss": ["criterion", "training.loss", "loss_fn"],
    "model.dtype": ["precision"],
    "model.from": ["warm_start", "pretrained"],
    "model.average": ["ema"],
    "optimizer.weight_decay": ["alpha", "l2", "wd", "kernel_regularizer"],
    "optimizer.clip_norm": ["gradient_clip_val", "clipnorm", "max_grad_norm"],
    "optimizer.beta1": ["betas", "beta_1"],
    "optimizer.form": ["nesterov", "optimizer.nesterov"],
    "optimizer.kind": ["solver"],
    "schedule.kind": ["lr_scheduler", "scheduler"],
    "schedule.factor": ["gamma"],
    "schedule.every_epochs": ["step_size"],
    "schedule.warmup_epochs": ["warmup", "warmup_steps"],
    "training.accumulate": ["accumulate_grad_batches", "gradient_accumulation_steps"],
    "training.class_weights": ["class_weight"],
    "data.path": ["dataset", "train_path", "data.train"],
    "device.kind": ["accelerator", "gpu"],
    "reproducibility.mode": ["deterministic"],
    "seed": ["random_state", "seed_everything", "training.seed"],
}  # fmt: skip
ANSWERED = {
    "progress=False": ["verbose", "training.verbose", "enable_progress_bar"],
    "`seed` decides": ["shuffle", "data.shuffle"],
    "disttrain launch -n 4": ["devices", "num_nodes", "num_workers", "n_jobs", "strategy"],
    "validation=(X_val, y_val)": ["validation_data", "eval_set"],
    "weights=w": ["sample_weight"],
    "callbacks=[...]": ["callbacks"],
    "metrics={...}": ["metrics"],
    "--output": ["default_root_dir", "output_dir"],
    "--resume": ["ckpt_path", "resume_from_checkpoint"],
    "no mixed precision": ["amp", "fp16"],
    "clip_norm limits the norm of the whole gradient": ["clipvalue", "optimizer.clip_value"],
    "test=(X_test, y_test)": ["test_data", "test", "data.test"],
    'device.kind = "cpu"': ["no_cuda", "device.no_cuda"],
    'optimizer.epsilon is a key of the kinds "adam"': ["eps", "optimizer.eps"],
    "that of the data": ["input_shape", "in_features", "num_classes"],
}
VALUE_HABITS = {
    "model.layers.0.activation": {
        "relu": ["ReLU", "RELU"], "leaky-relu": ["LeakyReLU", "leaky_relu", "lrelu"],
        "sigmoid": ["logistic", "Sigmoid"], "identity": ["linear", "none"], "silu": ["swish"],
        "tanh": ["Tanh"], "gelu": ["GELU"],
    },
    "model.loss": {
        "squared": ["mse", "MSELoss", "mean_squared_error"],
        "softmax": ["cross_entropy", "crossentropy", "categorical_crossentropy", "bce",
                    "CrossEntropyLoss", "sparse_categorical_crossentropy", "log_loss"],
    },
    "optimizer.kind": {"adam": ["Adam"], "adamw": ["AdamW"], "sgd": ["SGD", "momentum"]},
    "schedule.kind": {
        "cosine": ["CosineAnnealingLR", "cosine_decay"], "step": ["StepLR"], "constant": ["none"],
    },
    "model.layers.0.kind": {
        "conv": ["Conv2d", "Convolution2D"], "dense": ["Linear"], "max-pool": ["MaxPool2d"],
        "batch-norm": ["BatchNorm2d", "BatchNormalization"], "flatten": ["Flatten"],
        "global-average-pool": ["GlobalAveragePooling2D"],
    },
    "model.layers.0.initializer": {"xavier": ["glorot_uniform"], "he": ["kaiming", "he_normal"]},
    "data.normalize": {"standardize": ["StandardScaler"], "range": ["minmax"], "none": ["false"]},
    "device.kind": {"gpu": ["cuda", "cuda:0", "GPU"]},
    "model.dtype": {"float32": ["float"], "float64": ["double"]},
    "validation.direction": {"max": ["maximize"]},
}  # fmt: skip


def said(change: str) -> str:
    with pytest.raises(disttrain.RunFileError) as caught:
        disttrain.parse(RUN, [change])
    return str(caught.value)


@pytest.mark.parametrize(
    ("typed", "key"), [(word, key) for key, words in KEY_HABITS.items() for word in words]
)
def test_a_key_of_other_programs_leads_to_ours(typed: str, key: str) -> None:
    assert said(f"{typed}=3") == f"run file: unknown key '{typed}'; did you mean '{key}'?"


@pytest.mark.parametrize(
    ("typed", "words"), [(word, key) for key, words in ANSWERED.items() for word in words]
)
def test_what_is_no_key_here_is_answered(typed: str, words: str) -> None:
    told = said(f"{typed}=3")
    assert told.startswith(f"run file: unknown key '{typed}'; ")
    assert words in told
    assert "did you mean" not in told


@pytest.mark.parametrize(
    ("key", "ours", "typed"),
    [(k, v, word) for k, vs in VALUE_HABITS.items() for v, words in vs.items() for word in words],
)
def test_a_value_of_other_programs_leads_to_ours(key: str, ours: str, typed: str) -> None:
    assert said(f"{key}={typed}").endswith(f"did you mean '{ours}'?")


def test_what_has_no_value_here_is_answered() -> None:
    softmax = said("model.layers.1.activation=softmax")
    assert "leave the activation of the last layer out" in softmax
    assert "an activation is a key of a layer" in said("model.layers.0.kind=ReLU")
    assert "there is no mixed precision" in said("model.dtype=bfloat16")
    assert "any function of the epoch" in said("schedule.kind=ReduceLROnPlateau")
    assert said("optimizer.kind=lbfgs").endswith("known kinds: sgd, adam, adamw")
    assert said("device=cuda").endswith('did you mean device.kind = "gpu"?')
    assert said("model.hidden=3").endswith("known keys: layers, from, input_dropout, average, "
                                           "loss, dtype")  # fmt: skip


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"optimizer": {"lr": 0.1}}, "did you mean the keyword learning_rate=...?"),
        ({"optimizer": {"learning_rate": 0.1}}, "did you mean the keyword learning_rate=...?"),
        ({"optimizer": {"momentumm": 0.1}}, "did you mean 'optimizer.momentum'?"),
        ({"lr": 0.1}, "did you mean 'learning_rate'?"),
        ({"n_epochs": 2}, "did you mean 'epochs'?"),
        ({"solver": "adam"}, "did you mean the keyword optimizer=...?"),
        ({"save_freq": 2}, "did you mean the keyword checkpoint={'every_epochs': ...}?"),
        ({"verbose": 0}, "in Python progress=False"),
        ({"validation_split": 0.2}, "did you mean 'validation_fraction'?"),
        ({"loss": "mse"}, "did you mean 'squared'?"),
    ],
)
def test_python_is_answered_with_keywords(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(disttrain.RunFileError) as caught:
        disttrain.settings("x.h5", layers=[8, 2], **keywords)
    assert words in str(caught.value)


def test_names_of_other_libraries_are_answered() -> None:
    for name, ours in (("Linear", "disttrain.Dense"), ("Adam", 'optimizer="adam"')):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; here it is .*{ours}"):
            getattr(disttrain, name)
    assert not hasattr(disttrain, "Nothing")
    for text in NAMES.values():
        name = text.removeprefix("disttrain.").partition("(")[0]
        assert hasattr(disttrain, name), text


def test_a_table_is_no_data_file(tmp_path: Path) -> None:
    table = tmp_path / "my pets.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(disttrain.DataError, match="is no data file: `disttrain prepare csv '"):
        disttrain.train(table, layers=[2])


def test_the_lists_name_what_there_is() -> None:
    known = homes(Settings)
    keys = {key.rpartition(".")[2] for key in KEYS if not key.endswith((".kind", ".from"))}
    assert keys <= known.keys()
    theirs = {word for words in KEYS.values() for word in words.split()}
    assert theirs & known.keys() == {"rate"}, "of a layer; elsewhere the learning rate"
    schema = str(Settings.model_json_schema())
    assert [value for value in VALUES if f"'{value}'" not in schema] == []
    assert all(word == word.lower() and word.isalnum() for _, word in NO_VALUES)
