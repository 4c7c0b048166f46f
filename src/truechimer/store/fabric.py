"""The fabric: eight verbs behind which every disk and every bus of a laboratory stands, and what each of them owes.

It stores nothing itself and knows no meaning of what is stored. `sqlite_fabric` is the embedded implementation; one
state machine (`tests/store/test_fabric_model.py`) judges every implementation. Verbs and duties: research on scale-out,
ADR 15.

Law of the file: what a verb returned from is durable, and the same call again does no harm. A verb that raised
`StoreRejected` may or may not have taken place: call it again with the same id, or look.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from truechimer.errors import Misuse, Rejected

BEFORE_FIRST = -1
"""`after` of a reader who has nothing yet: the first entry of a stream has sequence number 0."""
ABSENT = 0
"""`expect` of a `put` that makes a new key: revisions start at 1."""
LARGEST_BYTES = 64 << 20
"""The largest value or entry."""
_STREAM = re.compile(r"[a-z][a-z0-9_]{0,62}")
_NAME = re.compile(r"[!-~]{1,255}")


class StoreMisuse(Misuse):
    """A call that no store could serve: a name, size or lease outside its range."""


class StoreRejected(Rejected):
    """The store did not do it; `where` names the file or server. Its children say why."""

    def __init__(self, where: str, why: str) -> None:
        """Keep the place and the reason (which says what to do)."""
        super().__init__(f"{where}: {why}")
        self.where, self.why = where, why


class StoreFull(StoreRejected):
    """No space left, or a quota used up. Goes away by itself once there is space."""


class StoreReadOnly(StoreRejected):
    """The volume or the file may not be written."""


class StoreIoFailed(StoreRejected):
    """The disk reported an error, or could not be reached."""


class StoreBusy(StoreRejected):
    """Another process holds the store for writing."""


class StoreCorrupt(StoreRejected):
    """What is stored is not what was written. `what` names the damaged part: a stream and sequence number, a key, a
    page.
    """

    def __init__(self, where: str, what: str, why: str) -> None:
        """Keep what is damaged beside the text."""
        super().__init__(where, f"{what} {why}: keep this file as it is, and go on with a sound copy or a new one")
        self.what = what


class StoreConflict(StoreRejected):
    """Somebody was there before: another revision, another end of the stream, other data under the same id."""


class StoreClosed(StoreRejected):
    """The store was closed."""


@dataclass(frozen=True, slots=True)
class Item:
    """What is to be appended. `item_id`: 1 to 255 printable ASCII characters, unique in its stream for ever."""

    item_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in a stream at `seq` (0, 1, 2 ... without a gap)."""

    seq: int
    item_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Value:
    """The last value of a key. `rev` rises with every put of the whole store: it is a fencing token."""

    key: str
    data: bytes
    rev: int


@dataclass(frozen=True, slots=True)
class Job:
    """An entry of a queue, lent out. `token` rises with every loan: it is a fencing token. `attempt` counts from 1."""

    queue: str
    seq: int
    data: bytes
    token: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Health:
    """How a store is. `ends`: stream and the sequence number that its next entry gets. `lag`: entries that this member
    does not have yet. `failing`: why the last write was refused, None where it was not.
    """

    role: str
    writable: bool
    quorum: bool
    lag: int
    ends: Mapping[str, int]
    rev: int
    stored_bytes: int
    failing: str | None


class Hearing(Protocol):
    """What one listener hears of a subject, in order; the oldest is dropped where it does not keep up."""

    @property
    def missed(self) -> int:
        """How many were dropped."""

    def next(self, *, wait_s: float) -> bytes | None:
        """Return the next, waiting up to `wait_s`; None where nothing came."""

    def close(self) -> None:
        """Stop listening."""


class Fabric(Protocol):
    """The eight verbs. All may be called from many threads at once; all raise `StoreRejected` where they could not."""

    def append(self, stream: str, data: bytes, *, item_id: str) -> int:
        """Put `data` at the end of a stream; return its sequence number.

        Durable when it returns (a power cut does not take it). The same id again stores nothing and returns the old
        number, in any process, for ever; the same id with other data is `StoreConflict`. Entries are never changed
        or removed.
        """

    def append_all(self, stream: str, items: Sequence[Item], *, expect: int | None = None) -> tuple[int, ...]:
        """Append all of `items` or none, next to each other where they are new; return their sequence numbers.

        `expect`: the sequence number that the first item must get (or have had); another end of the stream is
        `StoreConflict`. This is what one writer says who counts for himself: two writers cannot both be right.
        """

    def read(self, stream: str, *, after: int = BEFORE_FIRST, wait_s: float = 0.0) -> Iterator[Entry]:
        """Yield the entries after sequence number `after`, in order, each checked against its digest.

        Ends where nothing more came within `wait_s`: 0 reads what is there, `inf` follows until the store is closed.
        A stream that nobody wrote is empty. Raises `StoreCorrupt` at a damaged or missing entry, having yielded all
        before it.
        """

    def get(self, key: str) -> Value | None:
        """Return the last value of a key, checked against its digest; None where there is none."""

    def put(self, key: str, data: bytes, *, expect: int | None) -> int:
        """Store a value and return its revision, which is above every revision that this store ever gave.

        `expect`: the revision that must be there now (`ABSENT`: none), else `StoreConflict`; None: whatever is there.
        A `put` that raised something else may have taken place; `get` tells.
        """

    def watch(self, prefix: str, *, after_rev: int = 0, wait_s: float = 0.0) -> Iterator[Value]:
        """Yield the last values of the keys with that prefix, in the order of their revisions above `after_rev`, then
        the changes as they come; ends as `read` does.

        A key that changes faster than it is watched is seen with its last value only.
        """

    def tell(self, subject: str, data: bytes) -> None:
        """Say something to who listens now; nothing is stored, who does not listen misses it."""

    def hear(self, subject: str) -> Hearing:
        """Listen to a subject from now on."""

    def take(self, queue: str, n: int, *, lease_s: float) -> tuple[Job, ...]:
        """Lend out up to `n` entries of the stream `queue` that are neither done nor lent, the oldest first.

        At least once: an entry comes again where it is not done within `lease_s` of the monotonic clock, or in another
        boot. Stepping the wall clock does nothing.
        """

    def done(self, job: Job) -> bool:
        """Say that a job is done; False where it had been lent to somebody else since (the other one's word counts)."""

    def health(self) -> Health:
        """Return how the store is; never waits for a write."""

    def close(self) -> None:
        """End it; who waits in `read` or `watch` is let go. Closing twice is harmless."""


def is_stream_name(name: str) -> bool:
    """Return whether a stream may be called so."""
    return bool(_STREAM.fullmatch(name)) and not name.startswith(("sqlite_", "fabric_"))


def stream_name(name: str) -> str:
    """Return a stream's name; raises `StoreMisuse` where it is not lower-case ASCII letters, digits and underscores."""
    if not is_stream_name(name):
        raise StoreMisuse(f"stream {name!r}: use a-z, 0-9 and _, a letter first, up to 63 characters")
    return name


def printable_name(name: str) -> str:
    """Return a key, prefix, subject or id; raises `StoreMisuse` where it is not 1 to 255 printable ASCII characters."""
    if not _NAME.fullmatch(name):
        raise StoreMisuse(f"name {name!r}: use 1 to 255 printable ASCII characters without a space")
    return name


def sized(data: bytes) -> bytes:
    """Return data that fits; raises `StoreMisuse` beyond `LARGEST_BYTES`."""
    if len(data) > LARGEST_BYTES:
        raise StoreMisuse(f"{len(data)} bytes in one value: {LARGEST_BYTES} is the largest")
    return data
