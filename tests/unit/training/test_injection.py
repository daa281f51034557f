"""`--inject`: what the words mean, and that it happens on the rank and at the step they name."""

import pytest

from disttrain.comm import connect
from disttrain.errors import CheckpointError, Divergence, UsageError
from disttrain.training import build_run, fit
from disttrain.training.injection import Fault, Injection, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("kill:rank=2,step=50", Fault("kill", 2, 50)),
        ("stop:rank=1,phase=waiting after saving", Fault("stop", 1, None, "waiting after saving")),
        ("slow:step=3,seconds=0.5", Fault("slow", 0, 3, "", 0.5)),
        ("kill:rank=1,layer=2,step=5", Fault("kill", 1, 5, layer=2)),
        ("disk-full:rank=0", Fault("disk-full", 0, None, "saving")),
    ],
)
def test_words(text, fault):
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    "text",
    ["kil:rank=1", "kill", "kill:rank=x,step=1", "kill:step=-1", "nan:phase=a", "kill:a=3",
     "kill:layer=1"],
)  # fmt: skip
def test_other_words_are_refused_with_the_form(text):
    with pytest.raises(UsageError, match=f"--inject {text}: "):
        parse_fault(text)


def run_with(settings, *faults):
    comm = connect()
    injection = Injection([parse_fault(text) for text in faults], comm)
    try:
        run = build_run(settings("reproducibility.mode=fast"), comm, injection=injection)
        fit(run)
        return run
    finally:
        comm.watch.entered = None


def test_an_exception_at_its_step(settings):
    with pytest.raises(Exception, match=r"rank 0 failed in .* \(step 3\): RuntimeError: injected"):
        run_with(settings, "raise:rank=0,step=3")


def test_nan_and_another_rank(settings):
    with pytest.raises(Divergence, match="at step 2"):
        run_with(settings, "nan:rank=0,step=2", "raise:rank=1,step=0")


def test_a_flipped_bit_changes_the_result(settings):
    whole, flipped = run_with(settings), run_with(settings, "bitflip:rank=0,step=3")
    assert whole.digest() != flipped.digest()


def test_a_rank_that_is_not_there_is_told(caplog):
    with caplog.at_level("WARNING"):
        Injection([parse_fault("kill:rank=1,step=0")], connect())
    assert "no fault happens on rank 1" in caplog.text


def test_a_phase(settings):
    with pytest.raises(CheckpointError, match="No space left"):
        run_with(settings, "disk-full:phase=reading,step=4")
