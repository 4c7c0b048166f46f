"""The log's end of the witness protocol: asks the witnesses of a policy to cosign, each in a thread of its own.

It publishes nothing and waits for nobody but its own witness: what it heard goes to whoever owns the log. A witness
that saw another tree under this log's name and key is no failure but a finding: its signed checkpoint is the proof.
Source: C2SP tlog-witness, "add-checkpoint" and "Witness monitoring".
"""

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from truechimer.daemon.log.log_state import WitnessState
from truechimer.errors import Rejected
from truechimer.evidence.checkpoint import Checkpoint, CheckpointRejected, checkpoint
from truechimer.evidence.cosignature import verifier_of
from truechimer.evidence.log_policy import Witness
from truechimer.evidence.witnessing import (
    AddCheckpoint,
    Behind,
    Reply,
    WitnessRejected,
    answered,
    origin_path,
)
from truechimer.quorum.keys import NoteVerifier, VerifierKey
from truechimer.quorum.note import NoteRejected, NoteSignature, opened

ANSWER_WITHIN_S = 10.0
"""A witness that takes longer is away; the next try comes soon."""
LARGEST_ANSWER = 1 << 20
AGAIN_WITHIN_S = 15.0
"""A witness that does not answer, or whose answer does not count, is asked again so soon at the latest: a rollback is
seen within 60 s of its answering again.
"""


class WitnessAway(Rejected):
    """A witness cannot be reached, or does not speak HTTP."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A signed checkpoint that may be cosigned: its note and what it says."""

    note: bytes
    head: Checkpoint


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one question. `signatures`: verified cosignatures of `offer`; `seen`: the tree that a witness that
    contradicts saw, with `note`, its checkpoint as it came, signed by this log's own key.
    """

    url: str
    state: WitnessState
    offer: Offer
    signatures: tuple[NoteSignature, ...] = ()
    says: str = ""
    seen: Checkpoint | None = None
    note: bytes = b""


@dataclass(frozen=True, slots=True)
class Tree:
    """What a caller may ask of the log, from any thread: the newest offer (None before the first), the proof that the
    tree of one size begins with that of another, the root at a size, and the log's own public key.
    """

    newest: Callable[[], Offer | None]
    proof: Callable[[int, int], tuple[bytes, ...]]
    root_at: Callable[[int], bytes]
    key: VerifierKey


class WitnessCaller(threading.Thread):
    """Asks the witnesses behind one URL, again and again."""

    def __init__(
        self, witnesses: Sequence[Witness], tree: Tree, *, every_s: float, seen: int, hear: Callable[[Heard], None]
    ) -> None:
        """`witnesses`: the policy's lines with this URL; `every_s`: between two questions while all is well; `seen`:
        the size that they cosigned last, as far as is known; `hear` is called in this thread with what came.
        """
        self.url = witnesses[0].url
        super().__init__(name=f"witness {self.url}", daemon=True)
        self._verifiers = [verifier_of(one.key) for one in witnesses]
        self._tree, self._every_s, self._seen, self._hear = tree, every_s, seen, hear
        self._cosigned = -1
        self._turn = threading.Event()
        self._ending = threading.Event()

    def run(self) -> None:
        """Ask until `stop`."""
        wait_s = 0.0
        while not self._ending.is_set():
            self._turn.wait(wait_s)
            self._turn.clear()
            offer = self._tree.newest()
            if self._ending.is_set() or offer is None or offer.head.size == self._cosigned:
                wait_s = min(1.0, self._every_s)  # nothing new: look again soon, ask nobody
                continue
            heard = self.ask(offer)
            self._hear(heard)
            wait_s = self._every_s if heard.state is WitnessState.GOOD else min(self._every_s, AGAIN_WITHIN_S)

    def ask_now(self) -> None:
        """Ask at once."""
        self._turn.set()

    def stop(self) -> None:
        """Ask the thread to end; it ends after its present question."""
        self._ending.set()
        self._turn.set()

    def ask(self, offer: Offer) -> Heard:
        """Ask once, in the caller's thread; never raises `Rejected`."""
        try:
            return self._asked(offer, tries=3)
        except WitnessAway as error:
            return Heard(self.url, WitnessState.AWAY, offer, says=str(error))
        except WitnessRejected as error:
            return self._refused(offer, str(error))
        except Rejected as error:  # our own tiles cannot be read just now
            return Heard(self.url, WitnessState.REFUSES, offer, says=str(error))

    def _asked(self, offer: Offer, *, tries: int) -> Heard:
        old = min(self._seen, offer.head.size)
        request = AddCheckpoint(old, self._tree.proof(old, offer.head.size), offer.note)
        answer = answered(post(self.url, "add-checkpoint", request.data), request, self._verifiers)
        if isinstance(answer, Behind):
            if answer.size > offer.head.size or tries <= 1:
                return self._refused(offer, f"the witness saw a tree of {answer.size} entries")
            self._seen = answer.size
            return self._asked(offer, tries=tries - 1)
        self._seen = self._cosigned = offer.head.size
        return Heard(self.url, WitnessState.GOOD, offer, answer)

    def _refused(self, offer: Offer, says: str) -> Heard:
        """Find out whether a witness that does not cosign saw another tree, signed by this log's own key."""
        try:
            reply = get(self.url, origin_path(offer.head.origin))
            seen = checkpoint(opened(reply.body, [verifier_of(self._tree.key)]).text) if reply.status == 200 else None
        except (WitnessAway, NoteRejected, CheckpointRejected) as error:
            return Heard(self.url, WitnessState.REFUSES, offer, says=f"{says}; it shows no checkpoint ({error})")
        newest = self._tree.newest() or offer
        if seen is None or seen.origin != offer.head.origin:
            return Heard(self.url, WitnessState.REFUSES, offer, says=says)
        if seen.size > newest.head.size:
            lost = seen.size - newest.head.size
            says = f"it saw a tree of {seen.size} entries, signed by this log's key; {lost} of them are not here"
        elif self._tree.root_at(seen.size) != seen.root:
            says = f"it saw another tree of {seen.size} entries, signed by this log's key: the log was forked"
        else:
            return Heard(self.url, WitnessState.REFUSES, offer, says=says)
        return Heard(self.url, WitnessState.CONTRADICTS, offer, says=says, seen=seen, note=reply.body)


def cosigners_of(signatures: Sequence[NoteSignature], witnesses: Sequence[Witness]) -> list[tuple[str, NoteSignature]]:
    """Return which witnesses of a policy made these verified lines."""
    names = {(one.key.name, one.key.key_id): one.name for one in witnesses}
    return [(names[key], one) for one in signatures if (key := (one.name, one.key_id)) in names]


def post(url: str, path: str, body: bytes) -> Reply:
    """POST to a witness; raises `WitnessAway`."""
    return _exchange("POST", url, path, body)


def get(url: str, path: str) -> Reply:
    """GET from a witness; raises `WitnessAway`."""
    return _exchange("GET", url, path, None)


def _exchange(method: str, url: str, path: str, body: bytes | None) -> Reply:
    until = time.monotonic() + ANSWER_WITHIN_S
    connection = None
    try:
        connection = connect(url)
        connection.request(method, f"{urlsplit(url).path.rstrip('/')}/{path}", body, {"Connection": "close"})
        response = connection.getresponse()
        data = b""
        while part := response.read1(1 << 16):
            data += part
            if len(data) > LARGEST_ANSWER:
                raise WitnessAway(f"{url}: answers with more than {LARGEST_ANSWER} bytes")
            if time.monotonic() > until:
                raise WitnessAway(f"{url}: its answer takes longer than {ANSWER_WITHIN_S:.0f} s")
        return Reply(response.status, data)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WitnessAway(f"{url}: no answer ({error or type(error).__name__})") from None
    finally:
        if connection is not None:
            connection.close()


def connect(url: str) -> http.client.HTTPConnection:
    """Return a connection that was not opened yet; raises `WitnessAway` for an address that is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, None
    if parts is None or not host or parts.scheme not in {"http", "https"}:
        raise WitnessAway(
            f"{url!r}: no address of a witness: like https://witness.example.net or http://192.0.2.1:11127"
        )
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            host, port, timeout=ANSWER_WITHIN_S / 2, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(host, port, timeout=ANSWER_WITHIN_S / 2)


def known(verifiers: Sequence[NoteVerifier], note: bytes) -> tuple[NoteSignature, ...]:
    """Return the lines of a note that these keys made; none where it is no note or one of them does not hold."""
    try:
        return opened(note, verifiers).by
    except NoteRejected:
        return ()
