"""Waiting in tests: for a condition, never for a time that should be enough.

It tests nothing. The patience is for a machine that is busy with much else; where the condition comes, it costs
nothing. To see that something does not come is another thing: that takes the time for which one looks.
"""

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 300.0
LONGEST_PAUSE_S = 0.05


def until(
    condition: Callable[[], Any],
    *,
    patience_s: float = PATIENCE_S,
    what: Callable[[], str] = str,
    longest_pause_s: float = LONGEST_PAUSE_S,
) -> Any:
    """Wait for a condition and return what it gave; `what` says what was waited for, where it is in vain.

    It is looked at often in the beginning and less often later; without a pause where looking waits by itself.
    """
    begun = time.monotonic()
    while True:
        found = condition()
        if found:
            return found
        waited_s = time.monotonic() - begun
        assert waited_s < patience_s, f"{what() or 'it'} did not happen within {patience_s:g} s"
        time.sleep(min(0.001 + waited_s / 10.0, longest_pause_s))
