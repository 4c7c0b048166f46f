"""Rebuild the test vectors of the stability statistics: records of whole numbers and their values to 25 digits.

    PYTHONPATH=src python builders/build_stability_vectors.py           write tests/vectors/stability/values.json
    PYTHONPATH=src python builders/build_stability_vectors.py --check   write nothing; exit 1 where it is out of date

The values come from `tests/stability/rational.py`, exact arithmetic that shares nothing with the package.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.stability import rational  # noqa: E402

OUT = ROOT / "tests" / "vectors" / "stability" / "values.json"
N = 61
FACTORS = {
    "adev": (1, 2, 7, 20),
    "oadev": (1, 2, 7, 20),
    "mdev": (1, 2, 7, 20),
    "tdev": (1, 2, 7, 20),
    "hdev": (1, 2, 7, 20),
    "ohdev": (1, 2, 7, 20),
    "totdev": (1, 2, 7, 60),
    "mtotdev": (1, 2, 7, 20),
    "ttotdev": (1, 2, 7, 20),
    "htotdev": (1, 2, 7, 20),
    "theo1": (10, 20, 60),
    "pdev": (1, 2, 7, 20),
    "mtie": (1, 2, 7, 60),
    "tierms": (1, 2, 7, 60),
}


def numbers(count: int, seed: int) -> list[int]:
    """The published generator of NIST SP 1065 section 12.4."""
    n, found = seed, []
    for _ in range(count):
        found.append(n)
        n = 16807 * n % 2147483647
    return found


def records() -> dict[str, list[float]]:
    """Phases in seconds, every one a double as it stands."""
    steps = [n / 2147483648 - 0.5 for n in numbers(N, 1234567890)]
    white_fm = np.cumsum(steps).tolist()
    random_walk = np.cumsum(white_fm).tolist()
    gaps = list(white_fm)
    for k in (5, 6, 7, 30, 44):
        gaps[k] = float("nan")
    return {
        "white PM, 1 ns": [1e-9 * step for step in steps],
        "white FM": white_fm,
        "random-walk FM": random_walk,
        "1000 s, 1e-8, 1e-13 s": [1e3 + 1e-8 * k + 1e-13 * step for k, step in enumerate(steps)],
        "white FM with gaps": gaps,
    }


def document() -> dict:
    told: dict = {"tau0_s": 0.5, "records": {}}
    for name, x in records().items():
        values = {}
        for statistic, factors in FACTORS.items():
            if "gaps" in name and statistic in {"mtotdev", "ttotdev", "htotdev", "theo1", "mdev", "tdev", "pdev"}:
                factors = (10,) if statistic == "theo1" else (1, 2)
            values[statistic] = {str(m): rational.root(getattr(rational, statistic)(x, m, 0.5)) for m in factors}
        told["records"][name] = {"x_s": [None if math.isnan(v) else v for v in x], "values": values}
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = json.dumps(document(), indent=1) + "\n"
    if options.check:
        return 0 if OUT.read_text(encoding="utf-8") == text else 1
    OUT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
