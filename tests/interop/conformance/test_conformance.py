"""Our doors on every sheet of checks, and a server that keeps nothing, on which the sheets must find it.

A program of its own too: `python -m tests.interop.conformance HOST PORT SHEET..`.
"""

import socket
import threading
from pathlib import Path

from tests.interop.conformance import keyed, plain, standing, version_five  # noqa: F401 - the sheets enter themselves
from tests.interop.conformance.doors import KINDS, doors_for
from tests.interop.conformance.sheet import CHECKS, run
from tests.interop.conformance.wire import Door

LEAST_CHECKS = 250


def test_every_clause_of_every_sheet_holds_at_our_doors(tmp_path: Path) -> None:
    with doors_for(list(KINDS), tmp_path) as doors:
        faults = run([(name.partition(" ")[0], door) for name, door in doors.items()])
    assert not faults, "\n".join(f"{check}: {fault}" for check, fault in faults.items())
    assert {one.sheet for one in CHECKS} == {name.partition(" ")[0] for name in KINDS}
    assert len(CHECKS) >= LEAST_CHECKS


def test_the_sheets_find_fault_with_a_server_that_sends_everything_back() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def send_back() -> None:
            while (found := server.recvfrom(65_536))[0] != b"end":
                server.sendto(*found)

        thread = threading.Thread(target=send_back, daemon=True)
        thread.start()
        faults = run([("plain", Door("127.0.0.1", server.getsockname()[1]))])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"end", server.getsockname())
        thread.join(5)
    good = {check.name for check in CHECKS if check.sheet == "plain"} - {name.partition(", ")[2] for name in faults}
    assert len(good) <= 20, good
