"""A checkpoint: what a log says it holds (origin, size, root), as the text of a signed note.

It signs and verifies nothing (`quorum.note`, `evidence.cosignature`). Source: C2SP tlog-checkpoint v1.0.0.

Law of the file: a text is read only in the one form in which it is written.
"""

import re
from dataclasses import dataclass

from truechimer.errors import Misuse, Rejected
from truechimer.evidence.merkle import EMPTY_ROOT, HASH_BYTES, MOST_ENTRIES
from truechimer.quorum.keys import base64_of, strict_base64

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


class CheckpointRejected(Rejected):
    """Text that should be a checkpoint is none. `reason`: `form`, `size`, `root`."""

    def __init__(self, reason: str, says: str) -> None:
        """Keep the reason."""
        super().__init__(says)
        self.reason = reason


class CheckpointMisuse(Misuse):
    """Values that no checkpoint can have."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Origin, number of entries and root hash (32 bytes); `extensions` are opaque lines after them."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> bytes:
        """Return the note's text; raises `CheckpointMisuse` for values that would read back otherwise."""
        lines = (self.origin, str(self.size), base64_of(self.root), *self.extensions)
        text = "".join(f"{line}\n" for line in lines)
        try:
            if checkpoint(text.encode()) != self:
                raise CheckpointMisuse(f"{self!r} is no checkpoint: a line is not one line")
        except (CheckpointRejected, UnicodeEncodeError) as error:
            raise CheckpointMisuse(f"{self!r} is no checkpoint: {error}") from None
        return text.encode()


def decimal(text: str) -> int:
    """Read a size or an index: ASCII digits, no leading zero, at most 2^63 - 1; raises `ValueError`."""
    if not _DECIMAL.fullmatch(text) or int(text) > MOST_ENTRIES:
        raise ValueError(f"{text[:40]!r} is not a number from 0 to 2^63 - 1 in its one form")
    return int(text)


def hash_of(text: str) -> bytes:
    """Read a hash in base64; raises `ValueError`."""
    data = strict_base64(text)
    if len(data) != HASH_BYTES:
        raise ValueError(f"{len(data)} bytes where a hash has {HASH_BYTES}")
    return data


def checkpoint(text: bytes) -> Checkpoint:
    """Read a note's text as a checkpoint; raises `CheckpointRejected`."""
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError:
        raise CheckpointRejected("form", "the checkpoint is not UTF-8") from None
    if len(lines) < 4 or lines[-1] != "" or not all(lines[:-1]):
        raise CheckpointRejected(
            "form", "a checkpoint has at least three lines, none of them empty: origin, size, root"
        )
    origin, size_text, root_text, *extensions = lines[:-1]
    if any(letter < " " for letter in "".join(lines)):
        raise CheckpointRejected("form", "the checkpoint has a control character")
    try:
        size = decimal(size_text)
    except ValueError as error:
        raise CheckpointRejected("size", f"the checkpoint's size: {error}") from None
    try:
        root = hash_of(root_text)
    except ValueError as error:
        raise CheckpointRejected("root", f"the checkpoint's root is {error}") from None
    if size == 0 and root != EMPTY_ROOT:
        raise CheckpointRejected("root", "an empty log has the root SHA-256 of nothing, this one has another")
    return Checkpoint(origin, size, root, tuple(extensions))
