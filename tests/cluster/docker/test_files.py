"""What lies in docker/ can be used as its README says, as far as that is seen without an engine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GPU = {
    "DOCKERFILE": "docker/Dockerfile.gpu",
    "COMPOSE_FILE": "docker/compose.yml:docker/compose.gpu.yml",
}


def output(*command: str, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    ("file", "base"), [("Dockerfile", "python:3"), ("Dockerfile.gpu", "nvidia/cuda:12")]
)
def test_the_base_image_is_found_in_either_dockerfile(file: str, base: str) -> None:
    function = 'eval "$(sed -n "/^base_of/,/^}/p" docker/cluster.sh)"; base_of "$1"'
    found = output("bash", "-c", function, "bash", f"docker/{file}")
    assert found.startswith(base)
    assert found.count("\n") == 1


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="needs docker-compose")
def test_compose_takes_the_dockerfile_that_is_named() -> None:
    usual = output("docker-compose", "-f", "docker/compose.yml", "config")
    assert "dockerfile: docker/Dockerfile\n" in usual
    assert "nvidia" not in usual
    with_gpus = output("docker-compose", "config", **GPU)
    assert "dockerfile: docker/Dockerfile.gpu\n" in with_gpus
    # The head and seven workers, not the service that makes keys.
    assert with_gpus.count("driver: nvidia") == 8
    readme = (ROOT / "docker" / "README.md").read_text()
    assert all(f"{name}={value}" in readme for name, value in GPU.items())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.skipif(not all(map(shutil.which, ("setpriv", "dockerd"))), reason="needs an engine")
def test_root_who_may_not_change_the_network_starts_no_engine_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        ["setpriv", "--bounding-set=-net_admin,-net_raw", "docker/engine.sh", "true"], cwd=ROOT,
        # An engine that runs here already is not to be seen; nor is anything to be installed.
        env=os.environ | {"TMPDIR": str(tmp_path), "CI": "", "DOCKER_HOST": f"unix://{tmp_path}/no"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 69
    assert done.stderr.startswith("no Docker engine: ")
    assert list(tmp_path.iterdir()) == []
