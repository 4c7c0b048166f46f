"""Rebuild the vectors of civil time from the zone database of the machine.

    python builders/build_civil_vectors.py

The authority is the IANA time zone database as `zoneinfo` reads it; `truechimer.instants.civil` has no part in it. For
three kinds of yearly rule it writes every change of the offset from 2008 to 2037, found by asking the database hour by
hour.
"""

import datetime as dt
import json
import zoneinfo
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VECTORS = ROOT / "tests" / "vectors" / "instants" / "civil_changes.json"
ZONES = {
    "north, last Sunday, stated in UTC": "Europe/Paris",
    "north, second Sunday, stated on the wall": "America/New_York",
    "south, first Sunday, stated in standard time": "Australia/Sydney",
}


def changes_of(zone: zoneinfo.ZoneInfo) -> list[dict[str, object]]:
    """Return each change of a zone: the UTC hour at which it takes effect and the offset from then on."""
    found = []
    at = dt.datetime(2008, 1, 1, tzinfo=dt.UTC)
    before = at.astimezone(zone).utcoffset()
    while at.year < 2038:
        at += dt.timedelta(hours=1)
        after = at.astimezone(zone).utcoffset()
        if after != before:
            found.append({"utc": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "offset_min": after // dt.timedelta(minutes=1)})
            before = after
    return found


def main() -> int:
    """Write the vectors; say where."""
    version = (
        (Path(zoneinfo.TZPATH[0]) / "tzdata.zi").read_text(encoding="ascii").splitlines()[0].removeprefix("# version ")
    )
    answer = {
        "authority": "IANA time zone database",
        "version": version,
        "rules": {kind: {"zone": name, "changes": changes_of(zoneinfo.ZoneInfo(name))} for kind, name in ZONES.items()},
    }
    VECTORS.parent.mkdir(parents=True, exist_ok=True)
    VECTORS.write_text(json.dumps(answer, indent=1) + "\n", encoding="ascii")
    print(f"wrote {VECTORS.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
