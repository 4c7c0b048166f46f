"""Makes the machine code of the kernels that tests use most, once, before the tests: two workers that begin at the same
time with an empty cache would both make it, each for minutes.

    python -m tests.machine_code at1 bands kalman algos       for what these algorithms run, live and in bulk

It tests nothing. What it leaves is the cache that every program keeps (`truechimer.kernel`).
"""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from tests.laboratory.algorithm_digests import digest

from truechimer.cli import scale_verb, sim_verb
from truechimer.scale.live_state import LIVE_ALGORITHMS

CLOCKS = {"m1": "maser", "m2": "maser", "c1": "caesium", "c2": "caesium"}
SCENARIO = "[run]\ndays = 3\ninterval_s = 3600\n" + "".join(
    f'[[clock]]\nname = "{name}"\nkind = "{kind}"\n' for name, kind in CLOCKS.items()
)
LINKS = "".join(f'[[link]]\na = "{name}"\nb = "m1"\nwhite_s = 1e-11\n' for name in CLOCKS if name != "m1")


def make(algorithms: list[str]) -> None:
    """Run each of these algorithms over a few days."""
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        scenario, out = Path(folder) / "scenario.toml", Path(folder) / "out"
        scenario.write_text(SCENARIO + LINKS, encoding="utf-8")
        with contextlib.redirect_stdout(nowhere):
            assert sim_verb.main(["make", str(scenario), "--seed", "1", "--out", str(out)]) == 0
            for algorithm in algorithms:
                words = ["--clocks", str(out / "clocks.toml"), "--algorithm", algorithm, "--json"]
                assert scale_verb.main(["replay", str(out / "readings.csv"), *words]) == 0
                if algorithm in LIVE_ALGORITHMS:
                    digest(algorithm)


if __name__ == "__main__":
    try:
        make(sys.argv[1:])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
