"""What mpirun is told of several hosts."""

import sys
from itertools import pairwise

import pytest

from disttrain.launch.agent import Agent
from disttrain.launch.cluster import Cluster
from disttrain.launch.hosts import Host


def handed_on(environment):
    """Return the variables that ranks on other hosts get from this one."""
    options = Cluster((Host("localhost", 2),), Agent("ssh", sys.executable)).options(
        "m", environment
    )
    return {value for option, value in pairwise(options) if option == "-x"}


@pytest.mark.parametrize(
    "name",
    [
        "DISTTRAIN_CONNECT_SECONDS", "PYTHONPATH", "OMP_NUM_THREADS", "HDF5_USE_FILE_LOCKING",
        "NO_COLOR", "LC_ALL", "UCX_TLS", "FI_PROVIDER", "PATH",
    ],
)  # fmt: skip
def test_variables_that_all_ranks_need(name):
    assert handed_on({name: "x"}) == {name}


@pytest.mark.parametrize(
    "name", ["CUDA_VISIBLE_DEVICES", "PYTHONHOME", "HOME", "TMPDIR", "DISPLAY"]
)
def test_variables_of_this_host_alone(name):
    assert handed_on({name: "x"}) == set()
