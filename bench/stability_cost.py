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
MILLION = 1_000_000
LINEAR = ("adev", "oadev", "mdev", "tdev", "hdev", "ohdev", "totdev", "pdev", "mtie", "tierms")
SQUARE = {"theo1": ", [10, 1000]", "mtotdev": ", [1, 30]", "ttotdev": ", [1, 30]", "htotdev": ", [1, 30]"}
MACHINE_CODE = ("oadev", "mdev", "totdev", "pdev", "mtie", "theo1", "mtotdev", "htotdev", "theobr")


def asked(code: str, **environment: str) -> float:
    """Run code in a fresh process and return the number that it prints."""
    settings = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OPENBLAS_NUM_THREADS": "1"} | environment
    ran = subprocess.run([sys.executable, "-c", code], env=settings, check=True, capture_output=True, text=True)
    return float(ran.stdout.strip())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--limits", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    def median(code: str) -> float:
        return _short(statistics.median(asked(code) for _ in range(options.runs)))

    told: dict = {
        "note": "fresh processes; seconds of the processor, medians; memory in units of the input",
        "import_s": {"after_numpy": median(IMPORT), "with_numpy": median(WHOLE_IMPORT), "limit": IMPORT_LIMIT_S},
        "stream_us": {
            f"{factors} factors": _short(1e6 * median(STREAM.format(factors=factors))) for factors in (1, 13)
        },
        "first_call": {},
        "memory": {},
    }
    for name in MACHINE_CODE:
        load = FIRST.format(name=name, prelude="import truechimer.kernel")
        with tempfile.TemporaryDirectory() as folder:
            compiling = asked(load, XDG_CACHE_HOME=folder)
        told["first_call"][name] = {
            "default": median(FIRST.format(name=name, prelude="")),
            "machine_code": median(load),
            "compiling": _short(compiling),
        }
        print(name, told["first_call"][name], flush=True)
    for name in LINEAR:
        told["memory"][name] = {
            "n": MILLION,
            "values": _short(asked(MEMORY.format(name=name, n=MILLION, more=", ci=None"))),
            "default": _short(asked(MEMORY.format(name=name, n=MILLION, more=""))),
            "limit": MEMORY_LIMIT,
        }
        print(name, told["memory"][name], flush=True)
    for name, factors in SQUARE.items():
        told["memory"][name] = {
            "n": 300_000,
            "values": _short(asked(MEMORY.format(name=name, n=300_000, more=f"{factors}, ci=None"))),
            "default": _short(asked(MEMORY.format(name=name, n=300_000, more=factors))),
            "limit": MEMORY_LIMIT,
        }
        print(name, told["memory"][name], flush=True)
    told["memory"]["theobr"] = {
        "n": 30_000,
        "values": _short(asked(MEMORY.format(name="theobr", n=30_000, more=", ci=None"))),
        "default": _short(asked(MEMORY.format(name="theobr", n=30_000, more=""))),
        "limit": MEMORY_LIMIT,
    }
    print(json.dumps({key: told[key] for key in ("import_s", "stream_us")}))
    if options.out is not None:
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    most = max(max(row["values"], row["default"]) for row in told["memory"].values())
    missed = told["import_s"]["with_numpy"] > IMPORT_LIMIT_S or most > MEMORY_LIMIT
    return 1 if options.limits and missed else 0


def _short(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    raise SystemExit(main())
