"""Ranks compute one rank's bits: small products, which no trial's numbers may let through."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNELS = ("Haswell", "SkylakeX", "Prescott")


@pytest.mark.parametrize("kernels", KERNELS)
def test_no_division_changes_the_bits_of_a_small_product(kernels: str) -> None:
    """Widths of 1 to 17, batches of 1 to 100 rows, 2 to 8 ranks, on numbers not seen before."""
    check(kernels, 40, 3)


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kernels", KERNELS)
def test_no_division_changes_the_bits_of_many_small_products(kernels: str) -> None:
    check(kernels, 200, 4)


def check(kernels: str, count: int, seed: int) -> None:
    cpus = Path("/proc/cpuinfo")
    if kernels == "SkylakeX" and not (cpus.exists() and "avx512f" in cpus.read_text()):
        pytest.skip("this processor has no AVX-512")
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.training.divisions", str(count), str(seed)],
        env=os.environ | {"OPENBLAS_CORETYPE": kernels}, capture_output=True, text=True,
        timeout=380,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "OTHER BITS" not in done.stdout, done.stdout
    divided, _, gradients = (int(part.split()[0]) for part in done.stdout.split(","))
    assert divided > count // 3
    assert gradients > count // 3
