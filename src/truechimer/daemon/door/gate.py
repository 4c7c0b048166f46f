"""Gate: where doors wait, ready, until it is known that what they would serve may be served.

It knows no page. A start needs the processor for two things that do not wait for each other: to read a door's program
into memory, and to hold the last page against the records. Behind a gate the one may begin before the other has ended.
"""

import os
from types import TracebackType
from typing import Self

GATE = "TRUECHIMER_DOOR_GATE"
"""Names the descriptor at which a door's process waits. In the environment, since the command line says what a door
serves, however it was begun.
"""
GATE_OPEN = b"o"
MOST_BEHIND_A_GATE = 1000


class Gate:
    """Doors that were begun behind a gate read themselves into memory, and open when it is opened; where it is shut for
    good, or whoever holds it dies, they end without a word.
    """

    def __init__(self) -> None:
        self.entrance, self._lever = os.pipe()

    def environment(self) -> dict[str, str]:
        """Return what tells a door's process where it is to wait; it inherits the descriptor `entrance`."""
        return {GATE: str(self.entrance)}

    def open(self) -> None:
        """Let the doors open: as many as there may be."""
        os.write(self._lever, GATE_OPEN * MOST_BEHIND_A_GATE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Shut it: who has passed has passed."""
        os.close(self.entrance)
        os.close(self._lever)


def may_open() -> bool:
    """Wait at the gate, where this door's process was begun behind one; False where it is shut for good."""
    found = os.environ.pop(GATE, "")
    if not found.isdecimal():
        return True
    try:
        passed = os.read(int(found), 1) == GATE_OPEN
        os.close(int(found))
    except OSError:
        return False
    return passed
