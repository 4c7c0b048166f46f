"""Rebuild the tables of degrees of freedom of the total and Theo statistics from their quadratic forms.

    PYTHONPATH=src python builders/build_stability_degrees.py           write the module
    PYTHONPATH=src python builders/build_stability_degrees.py --check   write nothing; exit 1 where it is out of date

No authority is asked: `tests/stability/forms.py` has the definitions as matrices, and the eigenvalues of the matrix of
a squared value in power-law noise say its degrees and its skewness. Takes half a minute.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: threads only wait for each other

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.stability import forms  # noqa: E402

from truechimer.stability import degrees_long  # noqa: E402

MODULE = ROOT / "src" / "truechimer" / "stability" / "degrees_table.py"
SHARES = (1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0)
THIRDS = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 0.28, 0.31, 1 / 3)
EVERY = (2, 1, 0, -1, -2)
GRIDS = {
    "totdev": (EVERY, (2, 4, 8, 16, 32, 64, 128), SHARES),
    "mtotdev": (EVERY, (2, 3, 4, 6, 8, 16, 32, 64), THIRDS),
    "htotdev": (EVERY, (2, 3, 4, 6, 8, 16, 32, 64), THIRDS),
    "theo1": (EVERY, (10, 14, 20, 32, 64, 128), (1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0)),
}
HEAD = '''"""Degrees of freedom of the total and Theo statistics, computed from their quadratic forms: a table.

It interpolates nothing (`degrees_long.py` does). Made by builders/build_stability_degrees.py; do not edit.

By statistic and alpha: the averaging factors m, the shares s of the record that m takes, and for each m a row over s of
`measure` (what `degrees_long.measure` makes of edf) and of `skew` (the sum of cubes of the weights, times edf squared).
"""

from dataclasses import dataclass

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """One statistic in one noise."""

    m: tuple[int, ...]
    s: tuple[float, ...]
    measure: Rows
    skew: Rows


'''


def cells(name: str, alpha: int) -> tuple[list[list[float]], list[list[float]]]:
    _, factors, shares = GRIDS[name]
    measures, skews = [], []
    for m in factors:
        measure, skew = [], []
        for share in shares:
            phases = degrees_long.phases(name, m, share)
            edf, cubes = forms.edf_and_skew(forms.weights(name, alpha, m, phases))
            measure.append(degrees_long.measure(name, alpha, m, phases, edf))
            skew.append(cubes)
        measures.append(measure)
        skews.append(skew)
    return measures, skews


def tuples(rows: list[list[float]]) -> str:
    return "(" + ", ".join("(" + ", ".join(f"{value:.4g}" for value in row) + ")" for row in rows) + ")"


def module() -> str:
    lines = [HEAD + "TABLES: dict[tuple[str, int], Table] = {"]
    for name, (alphas, factors, shares) in GRIDS.items():
        for alpha in alphas:
            measures, skews = cells(name, alpha)
            said = ", ".join(f"{share:.6g}" for share in shares)
            lines.append(f'("{name}", {alpha}): Table({factors}, ({said}), {tuples(measures)}, {tuples(skews)}),')
    return "\n".join([*lines, "}\n"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    np.seterr(all="raise", under="ignore")
    if options.check:
        spaces: dict = {}
        exec(module(), spaces)
        from truechimer.stability.degrees_table import TABLES

        same = all(
            np.allclose(getattr(spaces["TABLES"][key], part), getattr(TABLES[key], part), rtol=2e-3)
            for key in TABLES
            for part in ("measure", "skew")
        )
        return 0 if same and spaces["TABLES"].keys() == TABLES.keys() else 1
    MODULE.write_text(module(), encoding="utf-8")
    import subprocess

    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(MODULE)], check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
