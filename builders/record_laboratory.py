"""Record a small laboratory as a vector: what a version of this program leaves behind, for later versions to open.

    python builders/record_laboratory.py NAME            with this checkout
    python builders/record_laboratory.py NAME --of DIR   with another checkout (an older version)

A quarter of a minute of `up` on growing readings of two masers, a link and this host; what is left (LAB.toml, the
readings, records, snapshot) goes into tests/vectors/laboratories/NAME.tar.gz, without the policy and its key. Run it
after each change of `laboratory.run_start.FOLD`, with `fold-N` for a name; tests/vectors/laboratories/README.md says
what is there.
"""

import argparse
import gzip
import io
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VECTORS = ROOT / "tests" / "vectors" / "laboratories"
KEPT = ("LAB.toml", "readings.csv", "evidence/records.sqlite3", "run/state.sqlite3")
TAI_MINUS_UTC_S = 37
PAST_S, RUNS_S = 60, 15
LAB = """[lab]
name = "recorded"

[scale]
interval_s = 1.0

[[clock]]
name = "H1"
kind = "maser"

[[clock]]
name = "H2"
kind = "maser"

[[source]]
name = "counters"
kind = "readings"
path = "readings.csv"

[policy]
insecure_software_keys = true
"""


def rows(epoch_s: int, began_s: int, noise: random.Random) -> str:
    """Return the readings of one epoch."""
    since_s = epoch_s - began_s
    h2_s = 1e-7 + 3e-14 * since_s + noise.gauss(0.0, 3e-11)
    utc_s, host_s = 2e-7 + noise.gauss(0.0, 2e-9), 1e-6 + noise.gauss(0.0, 1e-7)
    at = f"{epoch_s}000000000"
    return f"{at},H2,H1,{h2_s:.6e},3e-11\n{at},UTC.gnss,H1,{utc_s:.6e},2e-9\n{at},host,H1,{host_s:.6e},1e-7\n"


def record(folder: Path, checkout: Path) -> None:
    """Run a laboratory of that checkout in `folder`."""
    (folder / "LAB.toml").write_text(LAB, encoding="utf-8")
    noise, began_s = random.Random(5), int(time.time()) + TAI_MINUS_UTC_S
    written_s = began_s - PAST_S
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "XDG_RUNTIME_DIR": str(folder)}
    with (folder / "readings.csv").open("w", encoding="utf-8") as growing:
        growing.write("epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n")
        command = [sys.executable, "-m", "truechimer", "up", str(folder / "LAB.toml"), "--for", str(RUNS_S)]
        process = None
        while process is None or process.poll() is None:
            while written_s <= time.time() + TAI_MINUS_UTC_S:
                growing.write(rows(written_s, began_s, noise))
                written_s += 1
            growing.flush()
            process = process or subprocess.Popen(command, env=environment, cwd=folder)
            time.sleep(0.1)
    if process.returncode != 0:
        sys.exit(f"up ended with {process.returncode}")


def pack(folder: Path, target: Path) -> None:
    """Put what is kept into one file, the same bytes for the same content."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in KEPT:
            if (folder / name).is_file():
                data = (folder / name).read_bytes()
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(whole.getvalue(), mtime=0))


def main() -> None:
    """Record one."""
    parser = argparse.ArgumentParser(description="record a small laboratory as a vector")
    parser.add_argument("name")
    parser.add_argument("--of", type=Path, default=ROOT, help="the checkout that runs it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        record(Path(name), options.of.resolve())
        pack(Path(name), VECTORS / f"{options.name}.tar.gz")


if __name__ == "__main__":
    main()
