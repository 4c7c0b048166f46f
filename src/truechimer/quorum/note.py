"""Signed notes: a text and the lines of those who signed it, read strictly and believed only where a known key signed.

It knows no kind of key (`NoteVerifier` judges) and no checkpoint. Source: C2SP signed-note v1.0.0.

Law of the file: text leaves `opened` only after a known key's signature over it held, and no signature of a known key
failed. An unknown key's line is kept, never counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from truechimer.errors import Misuse, Rejected
from truechimer.quorum.keys import NoteSigner, NoteVerifier, base64_of, is_key_name, strict_base64

LARGEST_NOTE = 1 << 20
"""Bytes; 100 ML-DSA-44 signatures take a third of it."""
MOST_SIGNATURES = 100
"""The specification asks for 16 at least; Go's reader stops at 100 too."""
_DASH = "\u2014 "


class NoteRejected(Rejected):
    """Bytes that are no note, or a note that no known key vouches for.

    `reason`: `malformed`, `bad-signature` (of a known key, `who`), `no-known-signature`.
    """

    def __init__(self, reason: str, says: str, *, who: str = "") -> None:
        """Keep the reason and, where there is one, the key's name."""
        super().__init__(says)
        self.reason, self.who = reason, who


class NoteMisuse(Misuse):
    """A text that cannot be signed as a note."""


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: the signer's name, the key's id (4 bytes) and the signature after it."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> bytes:
        """Return the line as it stands in a note, newline included."""
        return f"{_DASH}{self.name} {base64_of(self.key_id + self.signature)}\n".encode()


@dataclass(frozen=True, slots=True)
class UncheckedNote:
    """A well-formed note, of which nothing was verified."""

    text: bytes
    signatures: tuple[NoteSignature, ...]


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A text that known keys signed: `by` those (one line a key), `unknown` the other lines."""

    text: bytes
    by: tuple[NoteSignature, ...]
    unknown: tuple[NoteSignature, ...]


def parsed(data: bytes) -> UncheckedNote:
    """Take a note apart; raises `NoteRejected` ("malformed"). It verifies nothing."""
    if len(data) > LARGEST_NOTE:
        raise NoteRejected("malformed", f"a note of {len(data)} bytes: {LARGEST_NOTE} are the most that are read")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise NoteRejected("malformed", f"the note is not UTF-8 at byte {error.start}") from None
    at = next((n for n, letter in enumerate(whole) if letter < " " and letter != "\n"), None)
    if at is not None:
        raise NoteRejected("malformed", f"the note has a control character, its letter {at}")
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise NoteRejected("malformed", "the note has no signatures: a text, an empty line and signature lines are one")
    rows = lines[:-1].split("\n")
    if len(rows) > MOST_SIGNATURES:
        raise NoteRejected("malformed", f"{len(rows)} signatures: {MOST_SIGNATURES} are the most that are read")
    return UncheckedNote((text + "\n").encode(), tuple(signature_of(row) for row in rows))


def signature_of(row: str) -> NoteSignature:
    """Read one signature line without its newline; raises `NoteRejected` ("malformed")."""
    name, space, encoded = row.removeprefix(_DASH).partition(" ")
    if not row.startswith(_DASH) or not space or not is_key_name(name):
        raise NoteRejected("malformed", f"{row[:60]!r} is not a signature line: a dash, a name and base64 are one")
    try:
        data = strict_base64(encoded)
    except ValueError as error:
        raise NoteRejected("malformed", f"the signature of {name[:60]!r} is {error}", who=name) from None
    if len(data) < 5:
        raise NoteRejected("malformed", f"the signature of {name[:60]!r} has {len(data)} bytes", who=name)
    return NoteSignature(name, data[:4], data[4:])


def signatures_of(data: bytes) -> tuple[NoteSignature, ...]:
    """Read signature lines that stand alone, as a witness answers; raises `NoteRejected` ("malformed")."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise NoteRejected("malformed", "signature lines that are not UTF-8") from None
    if not text.endswith("\n") or text.count("\n") > MOST_SIGNATURES or len(data) > LARGEST_NOTE:
        raise NoteRejected("malformed", "not signature lines, or too many")
    return tuple(signature_of(row) for row in text[:-1].split("\n"))


def opened(data: bytes, verifiers: Iterable[NoteVerifier]) -> OpenedNote:
    """Verify a note; raises `NoteRejected`.

    Every line of a known key is verified, a second one of the same key too; one that fails rejects the note. Two
    different keys with one name and one id are a misuse of the caller's list and are both tried.
    """
    note = parsed(data)
    known: dict[tuple[str, bytes], list[NoteVerifier]] = {}
    for verifier in verifiers:
        known.setdefault((verifier.name, verifier.key_id), []).append(verifier)
    by: dict[tuple[str, bytes], NoteSignature] = {}
    unknown: dict[bytes, NoteSignature] = {}
    for one in note.signatures:
        place = (one.name, one.key_id)
        if place not in known:
            unknown.setdefault(one.line, one)
            continue
        if not any(verifier.holds(note.text, one.signature) for verifier in known[place]):
            raise NoteRejected(
                "bad-signature", f"the signature of {one.name!r} does not hold over this text", who=one.name
            )
        by.setdefault(place, one)
    if not by:
        seen = ", ".join(sorted({repr(one.name[:60]) for one in note.signatures})[:4])
        raise NoteRejected("no-known-signature", f"no known key signed this note (signed by {seen})")
    return OpenedNote(note.text, tuple(by.values()), tuple(unknown.values()))


def signed(text: bytes, signers: Sequence[NoteSigner], *, also: Iterable[NoteSignature] = ()) -> bytes:
    """Make a note of a text; `also` are lines that it has already. Raises `NoteMisuse` for a text no note can have."""
    lines = [NoteSignature(signer.name, signer.key_id, signer.sign(text)) for signer in signers]
    return joined(text, [*also, *lines])


def joined(text: bytes, signatures: Iterable[NoteSignature]) -> bytes:
    """Put text and lines together, each line once; raises `NoteMisuse` for a text no note can have."""
    lines = dict.fromkeys(one.line for one in signatures)
    data = text + b"\n" + b"".join(lines)
    try:
        if not text.endswith(b"\n") or parsed(data).text != text:
            raise NoteMisuse("a note's text ends with a newline")
    except NoteRejected as error:
        raise NoteMisuse(f"this text cannot be signed as a note: {error}") from None
    return data
