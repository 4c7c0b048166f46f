"""The witness protocol, both ends: what a log asks (`add-checkpoint`) and what a witness answers.

It opens no socket and stores nothing. A witness takes two steps: `considered` says what to store or what to answer;
only after that is on its disk (compared with what was there, in one step) may it call `cosigned`. Source: C2SP
tlog-witness.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from truechimer.errors import Rejected
from truechimer.evidence.checkpoint import CheckpointRejected, checkpoint, decimal, hash_of
from truechimer.evidence.succession import Head, NotNext, next_head
from truechimer.quorum.keys import NoteSigner, NoteVerifier, base64_of
from truechimer.quorum.note import LARGEST_NOTE, NoteRejected, NoteSignature, joined, opened, parsed, signatures_of

MOST_HASHES = 63
LARGEST_REQUEST = LARGEST_NOTE + 4096
TEXT = "text/plain; charset=utf-8"
SIZE_TYPE = "text/x.tlog.size"


class RequestRejected(Rejected):
    """Bytes that are no add-checkpoint request."""


class WitnessRejected(Rejected):
    """An answer of a witness that does not count. `reason`: `status`, `malformed`, `not-cosigned`, `bad-signature`."""

    def __init__(self, reason: str, says: str) -> None:
        """Keep the reason."""
        super().__init__(says)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request: the size of the tree that the witness saw last, the proof from there, the new checkpoint's note."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes

    @property
    def data(self) -> bytes:
        """Return the request's body."""
        return (
            f"old {self.old_size}\n".encode()
            + b"".join(f"{base64_of(one)}\n".encode() for one in self.proof)
            + b"\n"
            + self.note
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as HTTP has it."""

    status: int
    body: bytes
    content_type: str = TEXT


@dataclass(frozen=True, slots=True)
class Advance:
    """What a witness must store for `origin`, in place of `before`, before it answers."""

    origin: str
    before: Head
    head: Head
    text: bytes
    by_log: tuple[NoteSignature, ...]


def add_checkpoint(data: bytes) -> AddCheckpoint:
    """Read a request; raises `RequestRejected`."""
    if len(data) > LARGEST_REQUEST:
        raise RequestRejected(f"{len(data)} bytes: {LARGEST_REQUEST} are the most that are read")
    head, blank, note = data.partition(b"\n\n")
    try:
        old, *rows = head.decode("ascii").split("\n")
        request = AddCheckpoint(decimal(old.removeprefix("old ")), tuple(hash_of(row) for row in rows), note)
    except ValueError as error:
        raise RequestRejected(f"not an add-checkpoint request: {error}") from None
    if not blank or not old.startswith("old "):
        raise RequestRejected("not an add-checkpoint request: it begins with `old SIZE`, proof lines, an empty line")
    if len(rows) > MOST_HASHES:
        raise RequestRejected(f"not an add-checkpoint request: {len(rows)} proof lines, {MOST_HASHES} are the most")
    return request


def origin_path(origin: str) -> str:
    """Return where a witness shows its last checkpoint of a log, below its address."""
    return f"{sha256(origin.encode()).hexdigest()}/checkpoint"


def considered(data: bytes, *, logs: Mapping[str, Sequence[NoteVerifier]], seen: Mapping[str, Head]) -> Advance | Reply:
    """Judge a request. `logs`: the keys of each log that this witness watches; `seen`: the last head of each.

    400 not a request; 404 a log it does not watch; 403 not signed by the log; 409 it saw another last tree (the body
    says which size); 422 not a continuation of that tree, or an empty tree with a root.
    """
    try:
        request = add_checkpoint(data)
    except RequestRejected as error:
        return _refusal(400, str(error))
    origin = request.note.split(b"\n", 1)[0].decode("utf-8", "replace")
    try:
        parsed(request.note)
    except NoteRejected as error:
        # a note of a log that it watches whose signatures cannot be read is one that is not signed
        return _refusal(403 if origin in logs else 400, str(error))
    if origin not in logs:
        return _refusal(404, f"this witness does not watch {origin[:100]!r}")
    try:
        note = opened(request.note, logs[origin])
    except NoteRejected as error:
        return _refusal(403, str(error))
    try:
        head = checkpoint(note.text)
    except CheckpointRejected as error:
        # signed by the log and still no checkpoint: 422 where the specification asks for it (an empty tree's root)
        return _refusal(422 if error.reason == "root" else 400, str(error))
    before = seen.get(origin, Head())
    after = next_head(before, head, old_size=request.old_size, proof=request.proof)
    if isinstance(after, NotNext):
        return _refused(after, before)
    return Advance(origin, before, after, note.text, note.by)


def _refused(why: NotNext, before: Head) -> Reply:
    match why.reason:
        case "smaller":
            return _refusal(400, why.says)
        case "old-size":
            return Reply(409, f"{before.size}\n".encode(), SIZE_TYPE)
        case _:
            return _refusal(422, why.says)


def _refusal(status: int, says: str) -> Reply:
    return Reply(status, f"{says}\n".encode())


def cosigned(advance: Advance, signers: Sequence[NoteSigner]) -> tuple[Reply, bytes]:
    """Cosign what is stored; return the answer, and the note that the witness shows to monitors."""
    made = [NoteSignature(one.name, one.key_id, one.sign(advance.text)) for one in signers]
    return Reply(200, b"".join(one.line for one in made)), joined(advance.text, [*advance.by_log, *made])


@dataclass(frozen=True, slots=True)
class Behind:
    """A witness's 409: it saw the tree of `size` last; ask again from there."""

    size: int


def answered(reply: Reply, asked: AddCheckpoint, witness: Sequence[NoteVerifier]) -> tuple[NoteSignature, ...] | Behind:
    """Take a witness's answer in, at the log's end: its verified cosignatures, or where to begin again.

    Raises `WitnessRejected`. Lines of keys other than `witness` are ignored.
    """
    if reply.status == 409:
        try:
            return Behind(decimal(reply.body.decode("ascii").removesuffix("\n")))
        except ValueError as error:
            raise WitnessRejected("malformed", f"the witness answers 409 without a size: {error}") from None
    if reply.status != 200:
        says = reply.body[:200].decode("utf-8", "replace")
        raise WitnessRejected("status", f"the witness answers {reply.status}: {says!r}")
    try:
        text = parsed(asked.note).text
        lines = signatures_of(reply.body)
        return opened(joined(text, lines), witness).by
    except NoteRejected as error:
        reason = {"no-known-signature": "not-cosigned"}.get(error.reason, error.reason)
        raise WitnessRejected(reason, f"the witness's answer: {error}") from None
