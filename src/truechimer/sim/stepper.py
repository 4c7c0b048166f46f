"""A phase stepper without hardware: what a stepper of a time laboratory is told, kept in one file; for trials of an
applier on a host of its own, and for its tests.

It judges no order and knows no policy: who drives it has a `Verified` order (`daemon.orders.actuating`). A real
stepper's driver has the same three methods. Invariant: an order that is done is known by its digest and never done
twice, and the file is replaced whole, so that a crash leaves it before an order or after it.
"""

import json
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from truechimer.errors import Rejected
from truechimer.quorum.order import Order
from truechimer.quorum.verified import Verified

CAN_DO = frozenset({"steer-phase", "steer-rate"})


class StepperRejected(Rejected):
    """The stepper's file cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate that a stepper adds from an instant until another (ns TAI)."""

    y: Fraction
    from_ns: int
    until_ns: int


class SimulatedStepper:
    """A stepper whose phase at an instant is all steps done, and all rates as far as they have run."""

    def __init__(self, path: Path) -> None:
        """Read the file, or begin at zero; raises `StepperRejected`."""
        self._path = path
        self._phase_s, self._rates, self._done = Fraction(0), list[Rate](), set[str]()
        try:
            body = json.loads(path.read_bytes())
            self._phase_s = Fraction(body["phase_s"])
            self._rates = [Rate(Fraction(y), int(begin), int(end)) for y, begin, end in body["rates"]]
            self._done = {str(one) for one in body["done"]}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise StepperRejected(f"{path}: not a simulated stepper's file ({error}); name another") from None

    def can_do(self, op: str) -> bool:
        """Return True for what this stepper can be told."""
        return op in CAN_DO

    def has_done(self, digest: str) -> bool:
        """Return True where the order of this digest was done."""
        return digest in self._done

    def do(self, order: Verified[Order], *, at_ns: int) -> None:
        """Do a verified order from an instant on (ns TAI); raises `StepperRejected`, and then nothing is done."""
        asked = order.value
        if asked.digest in self._done:
            return
        phase_s, rates = self._phase_s, list(self._rates)
        if asked.op == "steer-phase":
            phase_s += Fraction(asked.value)
        elif asked.op == "steer-rate":
            rates.append(Rate(Fraction(asked.value), max(at_ns, asked.valid_from_ns), asked.expires_ns))
        else:
            raise StepperRejected(f"{asked.op}: a phase stepper does {' and '.join(sorted(CAN_DO))}")
        done = self._done | {asked.digest}
        body = {
            "phase_s": str(phase_s),
            "rates": [[str(one.y), str(one.from_ns), str(one.until_ns)] for one in rates],
            "done": sorted(done),
        }
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(body, indent=1).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as error:
            raise StepperRejected(f"{self._path}: {error.strerror}; the order is not done") from None
        self._phase_s, self._rates, self._done = phase_s, rates, done

    def phase_s(self, at_ns: int) -> float:
        """Return the phase at an instant (ns TAI)."""
        moved = self._phase_s
        for one in self._rates:
            moved += one.y * max(0, min(at_ns, one.until_ns) - one.from_ns) / 10**9
        return float(moved)
