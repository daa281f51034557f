"""What other programs call our keys and values: PyTorch, Keras, scikit-learn, Lightning, Slurm."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["about_value", "answer", "here", "plain_word", "same_key", "same_value"]

# Our key for a word of theirs; with a dot where its place can't be told from the word alone.
KEYS = {
    "learning_rate": "lr rate eta eta0 base_lr initial_lr learning_rate_init step_length",
    "batch_size": "batch bs minibatch_size train_batch_size per_device_train_batch_size",
    "epochs": "n_epochs num_epochs max_epochs max_iter nb_epoch num_train_epochs",
    "validation_fraction": "validation_split val_split val_fraction valid_size val_size",
    "validation.every_epochs": "validation_freq check_val_every_n_epoch eval_freq eval_every",
    "validation.every_steps": "val_check_interval eval_steps",
    "best": "monitor metric_for_best_model",
    "direction": "greater_is_better",
    "patience": "early_stopping early_stopping_patience early_stopping_rounds n_iter_no_change",
    "checkpoint.every_epochs": "save_freq save_every checkpoint_freq period",
    "checkpoint.every_steps": "save_steps",
    "keep": "save_top_k max_to_keep save_total_limit",
    "layers": "hidden_layer_sizes hidden_layers hidden_units hidden_sizes hidden_dims",
    "units": "neurons out_features n_units num_units output_dim",
    "size": "kernel_size filter_size pool_size",
    "filters": "out_channels n_filters num_filters",
    "stride": "strides",
    "initializer": "kernel_initializer weight_initializer init weight_init init_method",
    "dropout": "p drop drop_rate dropout_rate dropout_p",
    "model.from": "warm_start pretrained init_from load_weights initial_weights weights_from",
    "average": "ema ema_decay swa averaging",
    "loss": "criterion loss_fn loss_function objective",
    "dtype": "precision float_type",
    "weight_decay": "wd l2 alpha decay l2_regularization kernel_regularizer regularization lambda",
    "clip_norm": "clipnorm clip grad_clip gradient_clip_val max_grad_norm max_norm clip_grad_norm",
    "beta1": "betas beta_1 b1",
    "beta2": "beta_2 b2",
    "form": "nesterov nesterovs_momentum use_nesterov",
    "optimizer.kind": "solver optim updater",
    "schedule.kind": "scheduler lr_scheduler lr_schedule lr_scheduler_type learning_rate_schedule",
    "factor": "gamma drop_factor decay_rate",
    "schedule.every_epochs": "step_size",
    "final_rate": "eta_min min_lr end_learning_rate",
    "warmup_epochs": "warmup warmup_steps num_warmup_steps warmup_ratio",
    "accumulate": "accumulate_grad_batches gradient_accumulation_steps accumulation_steps",
    "class_weights": "class_weight pos_weight",
    "label_smoothing": "smoothing label_smoothing_factor",
    "data.path": "dataset train_data data_path train_path datapath data_file filename file train",
    "augment": "transform transforms augmentation data_augmentation",
    "normalize": "standardize scaler scale_inputs normalization normalise",
    "device.kind": "gpu accelerator cuda use_gpu use_cuda",
    "mode": "deterministic",
    "seed": "random_state rng manual_seed random_seed seed_everything",
}
# Habits for which there is no key, and how it is done here.
ANSWERS = {
    "verbose verbosity progress_bar enable_progress_bar silent quiet disp":
        "the option --quiet, in Python progress=False, has only warnings and errors printed",
    "shuffle drop_last":
        "every epoch takes all samples, in another order, which `seed` decides",
    "devices num_nodes n_jobs num_workers workers world_size strategy num_processes nproc ranks "
    "gpus n_gpus num_gpus ntasks nodes":
        "`disttrain launch -n 4 ...` says how many ranks train, one for each core or GPU",
    "validation_data val_data eval_set valid_data x_val y_val":
        "validation rows are a part of the data: data.validation_fraction sets some aside, in "
        "Python Data(X, y, validation=(X_val, y_val)) names them",
    "test test_data test_size x_test y_test test_split":
        "test rows are a part of the data: `disttrain prepare` takes --test-fraction, Python "
        "Data(X, y, test=(X_test, y_test))",
    "sample_weight sample_weights":
        "weights of samples are a part of the data: `disttrain prepare csv` takes --weights "
        "COLUMN, Python Data(X, y, weights=w)",
    "callback callbacks":
        "callbacks are given in Python: disttrain.train(..., callbacks=[...])",
    "metric metrics scoring":
        "loss and accuracy are always computed; metrics of your own are given in Python, "
        "disttrain.train(..., metrics={...}), or by `disttrain evaluate --metrics`",
    "output output_dir out_dir save_dir default_root_dir log_dir logdir folder save_path run_dir":
        "the run folder is named by --output, in Python by the second argument",
    "resume resume_from resume_from_checkpoint ckpt_path checkpoint_path initial_epoch":
        "the option --resume, in Python resume=True, goes on with the run in its folder",
    "overwrite force": "the option --overwrite, in Python overwrite=True, replaces a run",
    "amp fp16 bf16 mixed_precision use_amp half":
        'there is no mixed precision: model.dtype is "float32" or "float64"',
    "steps_per_epoch max_steps limit_train_batches num_steps iterations":
        "an epoch is all samples once: training.epochs says how many",
    "input_shape input_dim in_features n_features in_channels input_size input":
        "the number of inputs is that of the data",
    "n_classes num_classes num_labels": "the number of classes is that of the data",
    "min_delta tol restore_best_weights":
        "validation.patience alone says when training stops; the best weights are kept",
    "milestones t_max":
        'schedule.kind is "cosine", "step", "exponential", "inverse-time" or "constant"; in Python '
        "schedule may be any function of the epoch",
    "clipvalue clip_value":
        "gradients are not clipped value by value: optimizer.clip_norm limits the norm of the "
        "whole gradient",
    "no_cuda": 'device.kind = "cpu" trains without a GPU',
    "eps":
        'optimizer.epsilon is a key of the kinds "adam" and "adamw"; layers of the kinds '
        '"batch-norm" and "layer-norm" have an epsilon of their own',
    "momentum_decay amsgrad dampening rho": "this optimizer has no such key here",
    "task problem_type": "classes and numbers are told apart by the targets of the data",
    "fast_dev_run overfit_batches": "`disttrain check RUN.toml --overfit` tries a few samples",
}  # fmt: skip
# Our values for words of theirs; the first that the key has is meant.
VALUES = {
    "sigmoid": "logistic sigm hardsigmoid expit", "identity": "linear none",
    "silu": "swish", "relu": "relu6 rectifier rectified", "leaky-relu": "lrelu prelu",
    "elu": "selu celu", "gelu": "geluapproximate", "sign": "signum step hardlim",
    "squared": "mse meansquarederror squarederror l2 regression rmse leastsquares mseloss sse",
    "softmax": "crossentropy crossentropyloss categoricalcrossentropy bce bceloss "
    "sparsecategoricalcrossentropy binarycrossentropy bcewithlogits bcewithlogitsloss logloss nll "
    "nllloss logistic classification softmaxcrossentropy ce",
    "sgd": "momentum nesterov gd stochasticgradientdescent",
    "cosine": "cosineannealing cosineannealinglr cosinedecay cosineannealingwarmrestarts",
    "exponential": "exponentiallr exponentialdecay",
    "step": "steplr multistep multisteplr", "constant": "constantlr none fixed zeros ones",
    "inverse-time": "invscaling inversetimedecay",
    "conv": "convolution convolutional cnn", "dense": "linear fc fullyconnected mlp",
    "max-pool": "maxpooling pooling pool", "average-pool": "avgpool averagepooling meanpool",
    "batch-norm": "batchnormalization bn", "layer-norm": "layernormalization ln",
    "global-average-pool": "globalaveragepooling adaptiveavgpool adaptiveaveragepooling gap",
    "xavier": "glorot glorotuniform glorotnormal xavieruniform xaviernormal",
    "he": "kaiming kaiminguniform kaimingnormal heuniform henormal",
    "small-random": "normal randomnormal uniform randomuniform gaussian random",
    "standardize": "standard standardscaler zscore normal", "range": "minmax minmaxscaler",
    "none": "false off no", "max": "maximize higher", "min": "minimize lower",
    "mini-batch": "minibatch", "batch": "fullbatch full",
    "single-sample": "online stochastic sgd single",
    "gpu": "cuda cuda0 mps rocm", "float32": "float fp32 single 32", "float64": "double fp64 64",
}  # fmt: skip
# Habits for which a key has no value: the last word of the key (of a kind, the section too), and
# the word.
NO_VALUES = {
    (key, word): how
    for key, words, how in (
        ("activation", "softmax logsoftmax",
         'the loss "softmax" (the usual one for classes) is softmax and cross-entropy in one: '
         "leave the activation of the last layer out"),
        ("model.kind", "relu leakyrelu sigmoid tanh gelu elu silu activation",
         'an activation is a key of a layer: { units = 32, activation = "relu" }'),
        ("schedule.kind",
         "plateau reducelronplateau linear linearlr polynomial poly onecycle onecyclelr cyclic "
         "adaptive",
         'the kinds are "cosine", "step", "exponential", "inverse-time" and "constant"; in Python '
         "schedule may be any function of the epoch"),
        ("dtype", "float16 bfloat16 fp16 bf16 half 16mixed", "there is no mixed precision"),
    )
    for word in words.split()
}  # fmt: skip

# Names that other libraries have, and what is written here.
NAMES = {
    "Linear FullyConnected": "disttrain.Dense",
    "Conv2d Conv2D Convolution2D": "disttrain.Conv",
    "MaxPool2d MaxPooling2D": "disttrain.MaxPool",
    "AvgPool2d AveragePooling2D": "disttrain.AveragePool",
    "BatchNorm1d BatchNorm2d BatchNormalization": "disttrain.BatchNorm",
    "LayerNormalization": "disttrain.LayerNorm",
    "AdaptiveAvgPool2d GlobalAveragePooling2D": "disttrain.GlobalAveragePool",
    "ReLU Sigmoid Tanh GELU Activation": 'disttrain.Dense(100, "relu")',
    "Sequential Model Module Network": "disttrain.train(data, layers=[100, 10])",
    "SGD Adam AdamW Optimizer": 'disttrain.train(..., optimizer="adam")',
    "CrossEntropyLoss": "disttrain.Softmax", "MSELoss": "disttrain.Squared",
    "Trainer Estimator": "disttrain.train", "DataLoader Dataset TensorDataset": "disttrain.Data",
    "MLPClassifier": "disttrain.DistributedMLPClassifier",
    "MLPRegressor": "disttrain.DistributedMLPRegressor",
}  # fmt: skip

KEY_OF = {word: key for key, words in KEYS.items() for word in words.split()}
ANSWER_TO = {word: answer for words, answer in ANSWERS.items() for word in words.split()}


def here(name: str) -> str:
    """Return the end of a sentence about a name that other libraries have; "" for other names."""
    found = next((ours for theirs, ours in NAMES.items() if name in theirs.split()), "")
    return f"; here it is {found}" if found else ""


def same_key(word: str) -> str:
    """Return our key for what other programs call so; the word itself where none is known."""
    return KEY_OF.get(_key(word), word)


def answer(word: str) -> str:
    """Return how what a key of other programs does is done here; "" where a key does it."""
    return ANSWER_TO.get(_key(word), "")


def about_value(key: str, given: str) -> str:
    """Return how what a value of other programs does is done here; "" where a value does it."""
    return NO_VALUES.get((key, plain_word(given)), "")


def same_value(given: str, known: Sequence[str]) -> str:
    """Return which of the `known` values is meant by a word of other programs; "" for none."""
    word = plain_word(given)
    for value in known:
        if plain_word(value) == word or word in VALUES.get(value, "").split():
            return value
    return ""


def plain_word(text: str) -> str:
    """Return a name as it is compared: "MaxPool2d" and "max-pool" are both "maxpool"."""
    word = re.sub(r"[^a-z0-9]", "", text.lower())
    return re.sub(r"(?<=[a-z])[123]d$", "", word)


def _key(word: str) -> str:
    return word.lower().replace("-", "_")
