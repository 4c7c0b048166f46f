"""The same program with the kernels as machine code and as plain functions: what it prints must be equal to the bit."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def printed_either_way(program: str) -> set[bytes]:
    """Return what `program` prints with plain functions and with machine code; one element where both are equal."""
    return {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"TRUECHIMER_KERNELS": kernels, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
            capture_output=True,
            check=True,
            timeout=300,
        ).stdout
        for kernels in ("plain", "")
    }
