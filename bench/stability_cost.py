"""What stability statistics cost alone: import, first calls, memory, a reading of a stream. No peer is needed.

It gates nothing but with `--limits`: then the status is 1 where the import takes more than 0.3 s or a statistic more
than ten times its input. Each figure is from fresh processes; times are of the processor, medians of `--runs`.

    python bench/stability_cost.py [--runs 5] [--limits] [--out FILE.json]

`first_call`: seconds of one call on 1000 points in a fresh process after the import: `default` as a user writes it;
`machine_code` with Numba loaded for it, from its cache; `compiling` the same where the cache is empty, once a machine
and version. `memory`: the growth of the resident set's peak over one call, in units of the input, which is not counted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMPORT_LIMIT_S = 0.3
MEMORY_LIMIT = 10.0

IMPORT = """
import time
import numpy
began = time.process_time()
import truechimer.stability
print(time.process_time() - began)
"""
WHOLE_IMPORT = IMPORT.replace("import numpy\n", "")
FIRST = """
import time
import numpy as np
from truechimer import stability
x = np.cumsum(np.random.default_rng(1).standard_normal(1000))
began = time.process_time()
{prelude}
stability.{name}(x, 1.0)
print(time.process_time() - began)
"""
MEMORY = """
import pathlib
import numpy as np
import truechimer.kernel
from truechimer import stability
def peak():
    text = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(text.split("VmHWM:")[1].split()[0])
short = np.cumsum(np.random.default_rng(1).standard_normal(2000))
stability.{name}(short, 1.0{more})
x = np.cumsum(np.random.default_rng(1).standard_normal({n}))
pathlib.Path("/proc/self/clear_refs").write_text("5")
before = peak()
stability.{name}(x, 1.0{more})
print((peak() - before) / x.nbytes)
"""
STREAM = """
import time
import numpy as np
from truechimer.stability import StreamingStability
x = np.cumsum(np.random.default_rng(1).standard_normal(20_000)).tolist()
stream = StreamingStability(1.0, [1 << k for k in range({factors})])
began = time.process_time()
stream.extend(x)
print((time.process_time() - began) / len(x) / {factors})
"""
LINEAR = ("adev", "oadev", "mdev", "tdev", "hdev", "ohdev", "totdev", "pdev", "mtie", "tierms")
MEMORY_OF = {
    **dict.fromkeys(LINEAR, (1000000, "")),
    "theo1": (300_000, ", [10, 1000]"),
    **dict.fromkeys(("mtotdev", "ttotdev", "htotdev"), (300000, ", [1, 30]")),
    "theobr": (30_000, ""),
}
"""Points, and averaging factors where all octaves would take minutes."""
MACHINE_CODE = ("oadev", "mdev", "totdev", "pdev", "mtie", "theo1", "mtotdev", "htotdev", "theobr")


def asked(code: str, **environment: str) -> float:
    """Run code in a fresh process and return the number that it prints."""
    settings = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OPENBLAS_NUM_THREADS": "1"} | environment
    ran = subprocess.run([sys.executable, "-c", code], env=settings, check=True, capture_output=True, text=True)
    return float(ran.stdout.strip())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="statistics whose name holds this; the rest of --out is kept")
    parser.add_argument("--limits", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    def median(code: str) -> float:
        return _short(statistics.median(asked(code) for _ in range(options.runs)))

    told: dict = {"note": "fresh processes; seconds of the processor, medians; memory in units of the input"}
    if options.only and options.out is not None and options.out.exists():
        told = json.loads(options.out.read_text(encoding="utf-8"))
    else:
        told["import_s"] = {"after_numpy": median(IMPORT), "with_numpy": median(WHOLE_IMPORT), "limit": IMPORT_LIMIT_S}
        told["stream_us"] = {
            f"{factors} factors": _short(1e6 * median(STREAM.format(factors=factors))) for factors in (1, 13)
        }
        print(told, flush=True)
    told.setdefault("first_call", {})
    told.setdefault("memory", {})
    for name in MACHINE_CODE:
        if options.only not in name:
            continue
        load = FIRST.format(name=name, prelude="import truechimer.kernel")
        with tempfile.TemporaryDirectory() as folder:
            compiling = asked(load, XDG_CACHE_HOME=folder)
        told["first_call"][name] = {
            "default": median(FIRST.format(name=name, prelude="")),
            "machine_code": median(load),
            "compiling": _short(compiling),
        }
        print(name, told["first_call"][name], flush=True)
    for name, (n, factors) in MEMORY_OF.items():
        if options.only not in name:
            continue
        told["memory"][name] = {
            "n": n,
            "values": _short(asked(MEMORY.format(name=name, n=n, more=f"{factors}, ci=None"))),
            "default": _short(asked(MEMORY.format(name=name, n=n, more=factors))),
            "limit": MEMORY_LIMIT,
        }
        print(name, told["memory"][name], flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    most = max(max(row["values"], row["default"]) for row in told["memory"].values())
    missed = told["import_s"]["with_numpy"] > IMPORT_LIMIT_S or most > MEMORY_LIMIT
    return 1 if options.limits and missed else 0


def _short(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    raise SystemExit(main())
