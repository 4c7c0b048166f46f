"""Try sheets of checks on any NTP server: `python -m tests.interop.conformance HOST PORT [SHEET..]`.

The sheets are `plain`, `interleaved` (what every server should keep), `version-5`, and those of doors in a standing of
their own, which must be set up for them (`tests/interop/conformance/doors.py` says how).
"""

import sys

from tests.interop.conformance import keyed, plain, standing, version_five  # noqa: F401 - the sheets enter themselves
from tests.interop.conformance.sheet import CHECKS, checks_of, run
from tests.interop.conformance.wire import Door


def main(words: list[str]) -> int:
    """Return 0 where nothing was found, 1 where something was, 2 for wrong use."""
    known = {one.sheet for one in CHECKS}
    if len(words) < 2 or not words[1].isdecimal() or not set(words[2:]) <= known:
        print(f"HOST PORT [SHEET..], of {', '.join(sorted(known))}", file=sys.stderr)
        return 2
    sheets = words[2:] or ["plain", "interleaved"]
    faults = run([(sheet, Door(words[0], int(words[1]))) for sheet in sheets])
    for one in (one for sheet in sheets for one in checks_of(sheet)):
        fault = faults.get(f"{one.sheet}, {one.name}")
        print(f"{'FAIL' if fault else ' ok '} {one.sheet}  {one.name}{': ' + fault if fault else ''}")
    return int(bool(faults))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
