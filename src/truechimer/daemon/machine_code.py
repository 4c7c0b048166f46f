"""Machine code: when a laboratory that began with plain kernels goes over to machine code.

It compiles nothing itself (`kernel` does) and changes no figure: both forms make the same bits. A start must serve at
once, and Numba, its cache or, after an upgrade, its compiler would take half a second to a minute of it. So `up` begins
with plain kernels: an epoch takes milliseconds then. Work in bulk waits for machine code, because it pays there; a live
laboratory goes over some seconds after its start, in a thread of its own (ADR 23).
"""

import threading
import time

from truechimer import kernel
from truechimer.daemon import notify

LIVE_AFTER_S = 10.0
PAYS_AFTER_EPOCHS = 200
"""Work in bulk takes so many epochs, in a second or so, before it waits for machine code."""

ENDS_WITHIN_S = 30.0
"""Of one kernel that is being compiled: nothing may run in a process that ends."""


class MachineCode:
    """Goes over once, at the right time."""

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._due_s = 0.0

    def in_bulk(self, epochs: int) -> None:
        """Go over now where so many epochs have been taken in bulk that it pays."""
        if epochs == PAYS_AFTER_EPOCHS:
            self._go_over()

    def turn(self) -> None:
        """Go over in a thread where it is time; called now and then by a live laboratory."""
        now_s = time.monotonic()
        self._due_s = self._due_s or now_s + LIVE_AFTER_S
        if self._thread is None and now_s >= self._due_s:
            self._thread = threading.Thread(target=self._go_over, name="machine-code", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Begin no other kernel."""
        self._ending.set()

    def end(self) -> None:
        """Stop, and wait for the kernel that is being compiled."""
        self.stop()
        if self._thread is not None:
            self._thread.join(ENDS_WITHIN_S)

    def _go_over(self) -> None:
        try:
            kernel.use_machine_code(may_go_on=lambda: not self._ending.is_set())
        except Exception:  # noqa: BLE001 - whatever a compiler finds wrong: the plain form has the same bits
            notify.say_fault()
