"""How fast CGGTTS files are read with both checksums verified, against ntpstats and a plain read-and-sum; and what
damage each notices.

Bars (issue 7): at least 1.1 times ntpstats' rate, which verifies one sum and none of the header's; none of the damages
of `tests/formats/cggtts_mutations.py` unnoticed. Ours, the peer and the plain loop take turns over the same files in
memory, processor time, medians of `--runs`. The plain loop splits the lines, sums the bytes of each and compares the
sum with CK: what anybody must do at the least, in Python.

    python bench/cggtts.py [FILE..] [--runs 9] [--limits] [--out FILE.json]

Without files: those of ../shared/data/cggtts. The peer counts as having noticed a damage where it raises, counts one
bad sum more, or returns fewer tracks than it does of the whole file (though it says nothing of those). A file that a
reader refuses whole is named and is in neither's time.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import ntpstats  # noqa: E402
from ntpstats import research as peer  # noqa: E402
from tests.formats.cggtts_mutations import MUTATIONS, tracks_of  # noqa: E402

from truechimer.formats import cggtts  # noqa: E402

BAR = 1.1
PLACES = 8
"""So many tracks of each file are damaged, one at a time."""


def ours(data: bytes) -> int:
    """Return how many tracks we read, both sums verified."""
    value, _ = cggtts.read(data)
    return len(value.tracks) if value is not None else -1


def theirs(data: bytes) -> int:
    """Return how many tracks ntpstats reads, as texts by column, one sum verified."""
    return len(peer.cggtts_tracks(data.decode("latin-1").splitlines())["tracks"]["MJD"])


def plain(data: bytes) -> int:
    """Return how many lines hold their own sum."""
    good = 0
    for line in data.splitlines():
        good += b"%02X" % (sum(line[:-2]) % 256) == line[-2:].upper()
    return good


def timed(read: Callable[[bytes], int], files: list[bytes]) -> float:
    """Return the processor time of one pass over files, s."""
    began = time.process_time()
    for data in files:
        read(data)
    return time.process_time() - began


def readable(read: Callable[[bytes], int], data: bytes) -> bool:
    """Whether a reader gives tracks of a file at all."""
    try:
        return read(data) > 0
    except Exception:  # noqa: BLE001  a peer may raise anything
        return False


def speed(files: dict[str, bytes], runs: int) -> dict[str, Any]:
    """Let the three take turns."""
    refused = {
        "truechimer": [name for name, data in files.items() if not readable(ours, data)],
        "ntpstats": [name for name, data in files.items() if not readable(theirs, data)],
    }
    both = [data for name, data in files.items() if name not in refused["truechimer"] + refused["ntpstats"]]
    tracks = sum(ours(data) for data in both)
    timed(theirs, both)
    took: dict[str, list[float]] = {"truechimer": [], "ntpstats": [], "plain": []}
    for _ in range(runs):
        for name, read in (("truechimer", ours), ("ntpstats", theirs), ("plain", plain)):
            took[name].append(timed(read, both))
    median = {name: statistics.median(each) for name, each in took.items()}
    return {
        "files": len(files),
        "files_in_time": len(both),
        "tracks": tracks,
        "refused_whole": refused,
        "tracks_per_s": {name: round(tracks / each) for name, each in median.items()},
        "rate_over_ntpstats": round(median["ntpstats"] / median["truechimer"], 2),
        "rate_over_plain": round(median["plain"] / median["truechimer"], 2),
        "runs_s": {name: [round(each, 4) for each in several] for name, several in took.items()},
    }


def state(read: Callable[[bytes], Any], data: bytes) -> Any:
    """Return what a reader lets a caller see of damage, or that it raised."""
    try:
        return read(data)
    except Exception as error:  # noqa: BLE001  a peer may raise anything
        return type(error).__name__


def seen_by_us(data: bytes) -> Any:
    """Return our findings."""
    _, findings = cggtts.read(data)
    return sorted((finding.rule, finding.line) for finding in findings)


def seen_by_peer(data: bytes) -> Any:
    """Return the peer's count of bad sums, and of tracks where some are missing."""
    tracks = peer.cggtts_tracks(data.decode("latin-1").splitlines())
    return tracks["bad_checksums"], len(tracks["tracks"]["MJD"])


def damage(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Count who notices what."""
    rows = []
    for mutation in MUTATIONS:
        tried = {"truechimer": 0, "ntpstats": 0}
        noticed = {"truechimer": 0, "ntpstats": 0}
        for data in files.values():
            value, _ = cggtts.read(data)
            if value is None or value.header.version == "RAW" or not value.tracks.checked.all():
                continue
            if mutation.needs_header_sum and value.header.checksum_rule is None:
                continue
            lines, numbers = tracks_of(data)
            for at in numbers[1 : -1 : max(1, (len(numbers) - 2) // PLACES)]:
                changed = b"\n".join(mutation.make(lines, at))
                for name, look in (("truechimer", seen_by_us), ("ntpstats", seen_by_peer)):
                    was, now = state(look, data), state(look, changed)
                    tried[name] += 1
                    if name == "ntpstats" and not isinstance(was, str) and not isinstance(now, str):
                        noticed[name] += now[0] > was[0] or now[1] < was[1]
                    else:
                        noticed[name] += now != was
        rows.append({"damage": mutation.says, "tried": tried["truechimer"]} | noticed)
    return rows


def main() -> int:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--limits", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    shared = ROOT.parent / "shared" / "data" / "cggtts"
    paths = options.files or [path for path in sorted(shared.iterdir()) if path.suffix not in (".md", ".json")]
    files = {path.name: path.read_bytes() for path in paths}
    body = {"peer": f"ntpstats {ntpstats.__version__}"} | speed(files, options.runs) | {"damage": damage(files)}
    missed = [row for row in body["damage"] if row["truechimer"] != row["tried"]]
    print(json.dumps(body, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(body, indent=1) + "\n")
    return int(options.limits and (bool(missed) or body["rate_over_ntpstats"] < BAR))


if __name__ == "__main__":
    sys.exit(main())
