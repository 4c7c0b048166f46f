"""The interleaved mode: what a server remembers of its answers so that it can say later when they really left.

It reads no clock and sends nothing. A table of fixed size: the receive stamp of each answer that may be asked about,
and how long after it the answer left. The functions are written for `truechimer.kernel` as well: whole numbers
below 2^63, plain arrays, no call of ours.

Source: RFC 9769 (clauses beside the lines). What it asks of a server: an interleaved answer only where the request's
receive and transmit stamps differ and its origin is a receive stamp that was saved (section 2); each saved stamp
serves once; a request with origin zero need not be saved, so who asks in basic mode, or once, or under a forged
address, drives nobody out; the queue has a fixed length. The stamp is the key and not the client's address or port
(section 2: by address if at all, not by port): a client that comes from another port is still known, and the stamp,
right to 0.23 ns, is known to nobody who did not see the answer.
"""

from array import array
from collections.abc import MutableSequence

WAYS = 4
DEFAULT_SETS = 4096
"""16,384 answers, 0.4 MB."""

NOT_KNOWN = -1


Numbers = MutableSequence[int]


class SavedStamps:
    """The arrays of one table. `keys`: 63 bits of the receive stamp (0: empty); `held`: transmit minus receive, 2^-32 s
    (-1: not known yet); `saved_ns`: the raw counter at the moment that `held` says the answer left.
    """

    __slots__ = ("held", "keys", "saved_ns")

    def __init__(self, *, sets: int = DEFAULT_SETS) -> None:
        self.keys = array("q", bytes(8 * sets * WAYS))
        self.held = array("q", bytes(8 * sets * WAYS))
        self.saved_ns = array("q", bytes(8 * sets * WAYS))

    def take(self, receive: int) -> int | None:
        """Return the true transmit stamp of the answer with this receive stamp, once; None where it is not known."""
        held = take(key_of(receive), self.keys, self.held)
        return None if held == NOT_KNOWN else (receive + held) & (1 << 64) - 1

    def unique(self, receive: int) -> int:
        """Return a receive stamp under which no answer is remembered: this one, or one of the units after it (RFC 9769
        section 2: stamps that are saved are unique).
        """
        while holds(key_of(receive), self.keys) or receive == 0:
            receive = (receive + 1) & (1 << 64) - 1
        return receive

    def save(self, receive: int, held_units: int, now_ns: int) -> None:
        """Remember an answer: its receive stamp, and how long after it (2^-32 s) it left, as far as that is known."""
        save(key_of(receive), held_units & (1 << 63) - 1, now_ns, self.keys, self.held, self.saved_ns)

    def left(self, key: int, raw_ns: int) -> bool:
        """Note by a better stamp, such as the kernel's, that the answer with this key left at `raw_ns`; return whether
        it is still remembered and the stamp can be its own.
        """
        return left(key, raw_ns, self.keys, self.held, self.saved_ns)


def key_of(stamp: int) -> int:
    """Return the key of a 64-bit stamp: without the highest bit, which is the same for 68 years."""
    return stamp & (1 << 63) - 1


def take(key: int, keys: Numbers, held: Numbers) -> int:
    """Return transmit minus receive (2^-32 s) of the saved answer with this key, and forget it; -1 where there is
    none.
    """
    first = ((key ^ (key >> 20)) & ((len(keys) >> 2) - 1)) << 2
    for place in range(first, first + 4):
        if keys[place] == key and key != 0:
            keys[place] = 0
            return held[place]
    return -1


def holds(key: int, keys: Numbers) -> bool:
    """Return whether an answer is remembered under this key."""
    first = ((key ^ (key >> 20)) & ((len(keys) >> 2) - 1)) << 2
    for place in range(first, first + 4):  # noqa: SIM110 - compiled
        if keys[place] == key and key != 0:
            return True
    return False


def save(  # noqa: PLR0917 - a kernel takes its arrays one by one
    key: int, held_units: int, now_ns: int, keys: Numbers, held: Numbers, saved_ns: Numbers
) -> int:
    """Remember an answer in the place of the oldest of its set; returns the place."""
    first = ((key ^ (key >> 20)) & ((len(keys) >> 2) - 1)) << 2
    place = first
    for one in range(first, first + 4):
        if keys[one] == 0:
            place = one
            break
        if saved_ns[one] < saved_ns[place]:
            place = one
    keys[place] = key
    held[place] = held_units
    saved_ns[place] = now_ns
    return place


def correct(  # noqa: PLR0917 - a kernel takes its arrays one by one
    key: int, held_units: int, now_ns: int, keys: Numbers, held: Numbers, saved_ns: Numbers
) -> bool:
    """Say of a saved answer when it left, `now_ns` on the raw counter; return whether it was still there."""
    first = ((key ^ (key >> 20)) & ((len(keys) >> 2) - 1)) << 2
    for place in range(first, first + 4):
        if keys[place] == key and key != 0:
            held[place] = held_units
            saved_ns[place] = now_ns
            return True
    return False


def left(key: int, raw_ns: int, keys: Numbers, held: Numbers, saved_ns: Numbers) -> bool:
    """Move the departure of a saved answer on to `raw_ns`, where a stamp further down says that it left: nothing leaves
    before the clock was read for it, so a stamp before that by more than stamps can be wrong (5 us), or a second after
    it, is another answer's. Of several stamps of one answer the last counts. The line's rate does not matter here: a
    delay of 1 ms at 10^-4 is 100 ns. Return whether it was still there, and the stamp can be its own.
    """
    first = ((key ^ (key >> 20)) & ((len(keys) >> 2) - 1)) << 2
    for place in range(first, first + 4):
        if keys[place] == key and key != 0:
            late_ns = raw_ns - saved_ns[place]
            if late_ns < -5_000 or late_ns > 1_000_000_000 or held[place] < 0 or held[place] >= 1 << 62:
                return False
            if late_ns > 0:
                held[place] += (late_ns << 32) // 1_000_000_000
                saved_ns[place] = raw_ns
            return True
    return False
