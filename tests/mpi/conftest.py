import os

import pytest

from disttrain.environment import launched
from tests.cli.shell import a_shell, blobs
from tests.mpi.soak import TRAINING, found
from tests.mpi.suite import COLLECT

# Those are collective: every rank of a job runs them, see run.py.
collect_ignore = [] if launched() or COLLECT in os.environ else ["ranks"]


@pytest.fixture
def shell(tmp_path):
    blobs(tmp_path / "blobs.h5", rows=200, validation=2100)
    with a_shell(tmp_path) as shell:
        shell.run_file()
        yield shell


@pytest.fixture
def wanted(shell):
    """What one undisturbed rank gets from the training of the soak."""
    shell.run_file(TRAINING)
    assert shell.run("train", "run.toml", "--output", "whole", "-q").returncode == 0
    return found(shell, "whole")
