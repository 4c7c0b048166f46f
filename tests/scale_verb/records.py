"""Readings whose truth is known, made here in a few lines, and the verb run on them in this process."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from truechimer.cli import __main__ as program

HOUR_NS = 3_600 * 10**9
START_NS = 1_700_000_000 * 10**9
HEADER = "epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s"
READING_S = 1e-11


def clocks_true_s(days: float, white: Iterable[float], *, seed: int = 1) -> np.ndarray:
    """Clocks minus true time, hourly, white FM of these levels (ADEV at 1 s), `(n_epochs, n_clocks)`."""
    levels = np.array(list(white))
    steps = np.random.default_rng(seed).normal(size=(round(24 * days), len(levels))) * levels * 60.0
    return np.cumsum(steps, axis=0)


def rows(x: np.ndarray, names: list[str], *, seed: int = 2) -> list[str]:
    """Every clock minus the first, as lines of a readings CSV."""
    noise = np.random.default_rng(seed).normal(size=x.shape) * READING_S
    return [
        f"{START_NS + k * HOUR_NS},{names[i]},{names[0]},{float(x[k, i] - x[k, 0] + noise[k, i])!r},{READING_S!r}"
        for k in range(len(x))
        for i in range(1, x.shape[1])
    ]


def written(path: Path, lines: Iterable[str], head: str = HEADER) -> Path:
    """The file of these lines."""
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def truth_lines(x: np.ndarray, names: list[str]) -> list[str]:
    """The truth as `sim make` writes it."""
    return [f"{START_NS + k * HOUR_NS},{names[i]},{float(v)!r}" for k, row in enumerate(x) for i, v in enumerate(row)]


@dataclass(frozen=True)
class Ran:
    """What the program said."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What `--json` printed; numbers that JSON does not have are refused."""
        told: dict[str, Any] = json.loads(self.out, parse_constant=_no_such_number)
        return told


def _no_such_number(word: str) -> float:
    raise AssertionError(f"{word} is no JSON number")


def run(capsys: Any, *words: Any) -> Ran:
    """`truechimer scale replay` with these words; wrong use is a status too."""
    try:
        status = program.main(["scale", "replay", *(str(word) for word in words)])
    except SystemExit as ended:
        status = int(ended.code or 0)
    printed = capsys.readouterr()
    return Ran(status, printed.out, printed.err)
