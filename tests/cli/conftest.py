import shutil

import pytest

from tests.cli.shell import a_shell, blobs


@pytest.fixture
def shell(tmp_path):
    blobs(tmp_path / "blobs.h5")
    with a_shell(tmp_path) as shell:
        shell.run_file()
        yield shell


@pytest.fixture(scope="session")
def done(tmp_path_factory):
    """A folder with a data file, a run file and a finished run in `out`; tests copy it."""
    folder = tmp_path_factory.mktemp("done")
    blobs(folder / "blobs.h5")
    with a_shell(folder) as shell:
        shell.run_file()
        result = shell.run("train", "run.toml", "--output", "out")
        assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def trained(shell, done):
    """A shell in whose folder `out` is a finished run."""
    shutil.copytree(done / "out", shell.folder / "out")
    return shell
