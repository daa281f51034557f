import pytest

from tests.cli.shell import a_shell, blobs


@pytest.fixture
def shell(tmp_path):
    blobs(tmp_path / "blobs.h5")
    with a_shell(tmp_path) as shell:
        shell.run_file()
        yield shell
