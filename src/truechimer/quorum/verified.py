"""Verified: the wrapper that only a successful check can make; it checks nothing itself.

Whoever applies an order takes `Verified[...]`, so that an unchecked value cannot reach an actuator by mistake. The seal
is a habit of the code, not a barrier against code that runs in the same process: the applier repeats the check.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from truechimer.errors import Misuse

T = TypeVar("T")
_SEAL = object()


class VerifiedMisuse(Misuse):
    """Somebody tried to make a `Verified` by hand."""


@dataclass(frozen=True, slots=True, init=False)
class Verified(Generic[T]):
    """A value that passed a check; `by` says which persons or which envelope."""

    value: T
    by: tuple[str, ...]

    def __init__(self, value: T, by: tuple[str, ...], *, seal: object = None) -> None:
        """Refuse to be made outside `quorum`."""
        if seal is not _SEAL:
            raise VerifiedMisuse("only the checks of quorum (verify..., admit) make a Verified value")
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "by", by)


@dataclass(frozen=True, slots=True)
class Refused:
    """A check that did not pass: `reason` is a stable name, `says` one sentence for the operator."""

    reason: str
    says: str


def _verified(value: T, by: tuple[str, ...]) -> Verified[T]:
    """Make a `Verified`; for this room's own checks only."""
    return Verified(value, by, seal=_SEAL)
