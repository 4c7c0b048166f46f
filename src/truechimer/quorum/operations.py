"""Operations: everything an order can ask for, what its value means, how long it may wait, and what it moves.

It applies nothing. What is not in this table is refused by name. Quantities are decimal text of a float64 in its
shortest form; arithmetic on them is exact (`fractions`), so that a limit means what stands there.

Files (leap tables, policies, envelopes) are named by SHA-256: who applies compares the file with it.
"""

import re
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from math import isfinite
from types import MappingProxyType

from truechimer.errors import Rejected

HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS
ORDER_NAMESPACE = "order@truechimer"
STEER_NAMESPACE = "steer@truechimer"
POLICY_NAMESPACE = "policy@truechimer"
VETO_NAMESPACE = "veto@truechimer"
HASH = re.compile(r"[0-9a-f]{64}")
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
NAME = re.compile(r"[A-Za-z0-9._-][A-Za-z0-9_.:()/-]{0,63}")


class Value(Enum):
    """What kind of value an operation takes."""

    QUANTITY = "a number"
    FRACTION = "a number from 0 to 1"
    FILE = "the SHA-256 of a file"
    SWITCH = "in or out"
    NOTHING = "nothing"


class Moves(Enum):
    """What an operation moves by itself."""

    NOTHING = "nothing"
    PHASE = "the time, at once, by its value in s"
    RATE = "the time, by its value times the time it holds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing an order can ask for.

    `says`: what it does, with `{target}` and `{value}` (a change, signed, for what moves). `units`: those it takes.
    `longest_ns`: most between an order's begin and its expiry. `namespace`: what its signatures are for.
    """

    name: str
    says: str
    value: Value
    units: tuple[str, ...]
    moves: Moves = Moves.NOTHING
    namespace: str = ORDER_NAMESPACE
    longest_ns: int = DAY_NS

    def check(self, target: str, value: str, unit: str) -> None:
        """Raise `OperationRejected` for a target, value or unit this operation cannot have."""
        pattern = FINGERPRINT if self.name == "key-revoke" else NAME
        if not pattern.fullmatch(target):
            raise OperationRejected(f"{self.name}: {target[:80]!a} is no name of what it is to change")
        if unit not in self.units:
            known = " or ".join(repr(one) for one in self.units)
            raise OperationRejected(f"{self.name}: unit {unit[:20]!a}, {known} is needed")
        if self.value is Value.QUANTITY or self.value is Value.FRACTION:
            number = quantity(value)
            if self.value is Value.FRACTION and not 0 <= number <= 1:
                raise OperationRejected(f"{self.name}: {value} does not lie between 0 and 1")
        elif self.value is Value.FILE and not HASH.fullmatch(value):
            raise OperationRejected(f"{self.name}: the value is not a SHA-256 in 64 small hexadecimal digits")
        elif self.value is Value.SWITCH and value not in ("in", "out"):
            raise OperationRejected(f"{self.name}: the value is neither 'in' nor 'out'")
        elif self.value is Value.NOTHING and value:
            raise OperationRejected(f"{self.name}: it takes no value")


class OperationRejected(Rejected):
    """A target, value or unit that an operation cannot have."""


def quantity(text: str) -> Fraction:
    """Read a number in its one form, exactly as it stands there; raises `OperationRejected`."""
    try:
        number = float(text)
    except ValueError:
        raise OperationRejected(f"{text[:40]!a} is not a number") from None
    if not isfinite(number) or repr(number) != text or text == "-0.0":
        raise OperationRejected(f"{text[:40]!a} is not a finite number in its shortest form ({number!r})")
    return Fraction(text)


_TABLE = (
    Operation(
        name="steer-phase",
        says="moves {target} by {value} at once",
        value=Value.QUANTITY,
        units=("s",),
        moves=Moves.PHASE,
        namespace=STEER_NAMESPACE,
    ),
    Operation(
        name="steer-rate",
        says="adds the rate {value} (s per s) to {target} while the order holds",
        value=Value.QUANTITY,
        units=("1",),
        moves=Moves.RATE,
        namespace=STEER_NAMESPACE,
    ),
    Operation(
        name="steering-envelope",
        says="lets automatic steering of {target} work inside the limits of the file {value}",
        value=Value.FILE,
        units=("sha256",),
        namespace=STEER_NAMESPACE,
        longest_ns=90 * DAY_NS,
    ),
    Operation(
        name="calibration-delay",
        says="changes the calibrated delay of {target} by {value}",
        value=Value.QUANTITY,
        units=("s",),
        moves=Moves.PHASE,
    ),
    Operation(
        name="clock-weight",
        says="allows the clock {target} at most {value} of the scale's weight while the order holds",
        value=Value.FRACTION,
        units=("1",),
        longest_ns=90 * DAY_NS,
    ),
    Operation(
        name="clock-membership", says="takes the clock {target} {value} of the scale", value=Value.SWITCH, units=("",)
    ),
    Operation(
        name="leap-table", says="makes {value} the leap second table of {target}", value=Value.FILE, units=("sha256",)
    ),
    Operation(name="log-keys", says="makes {value} the keys of the log {target}", value=Value.FILE, units=("sha256",)),
    Operation(
        name="monitor-threshold",
        says="sets the threshold of the monitor {target} to {value} while the order holds",
        value=Value.QUANTITY,
        units=("s", "1", "count"),
        longest_ns=90 * DAY_NS,
    ),
    Operation(
        name="listener-policy",
        says="makes {value} the policy of the listener {target}",
        value=Value.FILE,
        units=("sha256",),
    ),
    Operation(
        name="configuration",
        says="makes {value} the part {target} of the laboratory's file, from the next start on",
        value=Value.FILE,
        units=("sha256",),
    ),
    Operation(
        name="policy-change",
        says="makes the file {value} the policy of {target}, after the delay and unless one key vetoes it",
        value=Value.FILE,
        units=("sha256",),
        namespace=POLICY_NAMESPACE,
    ),
    Operation(
        name="key-revoke",
        says="takes its voice from the key {target}, at once",
        value=Value.NOTHING,
        units=("",),
        namespace=POLICY_NAMESPACE,
    ),
)
OPERATIONS = MappingProxyType({operation.name: operation for operation in _TABLE})
"""Every operation by name."""
