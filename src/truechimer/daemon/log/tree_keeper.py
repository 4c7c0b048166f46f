"""Who holds the log's key: it signs a tree head only where it continues the last one, which it stores first.

It runs in a process of its own (`signer`), reads one folder and opens no socket. In the folder: `log.key` (mode 0600),
`signed`, the note of the last head, and `next.key` where a key waits for the order that names it. A key without its
memory is refused: who does not know what he signed may sign a second history. Source: C2SP tlog-checkpoint,
"Signatures"; ADR 43.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from truechimer.errors import Rejected
from truechimer.evidence.checkpoint import Checkpoint, CheckpointRejected, checkpoint
from truechimer.evidence.cosignature import private_key, public_key, signer_of, verifier_of
from truechimer.evidence.merkle import EMPTY_ROOT
from truechimer.evidence.succession import Head, NotNext, next_head
from truechimer.quorum.keys import ED25519, KeyRejected, SigningKey, VerifierKey
from truechimer.quorum.note import NoteRejected, opened, signed
from truechimer.store.log_files import LogFiles

KEY = "log.key"
NEXT_KEY = "next.key"
"""A key that waits for the order that names it."""
SIGNED = "signed"


class KeeperRejected(Rejected):
    """The key cannot be used: it is missing, readable by others, or its memory is gone."""


class NotSigned(Rejected):
    """A tree head that the key does not sign. `reason`: `smaller`, `old-size`, `proof`, `origin`."""

    def __init__(self, reason: str, says: str) -> None:
        """Keep the reason."""
        super().__init__(f"the log's key does not sign this tree: {says}")
        self.reason = reason


def make_keeper(folder: Path, *, origin: str, seed: bytes) -> VerifierKey:
    """Make a key for a new log; return the key that verifies. The memory (an empty tree, signed) is written first, so
    that no key is ever without one. Raises `KeeperRejected` where there is a key, `StoreRejected`.
    """
    if (folder / KEY).exists():
        raise KeeperRejected(f"{folder}: there is a key already; it is not replaced")
    key = SigningKey(origin, ED25519, seed)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = LogFiles(folder)
    files.replace_durably(SIGNED, signed(Checkpoint(origin, 0, EMPTY_ROOT).text, [signer_of(key, time_s=1)]))
    _write_key(files, KEY, key)
    return public_key(key)


def make_next_key(folder: Path, *, seed: bytes) -> VerifierKey:
    """Make the key that shall follow the log's own; return the key that verifies. It signs nothing before an order
    names it. Raises `KeeperRejected` where there is no log's key yet, or one waits already; `StoreRejected`.
    """
    if (folder / NEXT_KEY).exists():
        raise KeeperRejected(f"{folder}: a next key waits already ({public_key(_key(folder, NEXT_KEY)).text})")
    key = SigningKey(_key(folder).name, ED25519, seed)
    _write_key(LogFiles(folder), NEXT_KEY, key)
    return public_key(key)


def _write_key(files: LogFiles, name: str, key: SigningKey) -> None:
    """Write a private key, readable by its owner alone."""
    before = os.umask(0o077)
    try:
        files.replace_durably(name, f"{key.private_text(public_key(key).public)}\n".encode())
    finally:
        os.umask(before)


class TreeKeeper:
    """A `store.tiles.TreeSigner` on the key in one folder. Invariant: a lock on the folder keeps all others out."""

    def __init__(
        self,
        folder: Path,
        *,
        cosign: Sequence[SigningKey] = (),
        now_s: Callable[[], int] = lambda: 1,
        wait_s: float = 0.0,
    ) -> None:
        """Read key and memory; raises `KeeperRejected`.

        `cosign`: keys of the log's own that sign each head too, with the time from `now_s` (ML-DSA-44). `wait_s`: how
        long to wait for another process to let the key go.
        """
        self._files = LogFiles(folder)
        self._key = _key(folder)
        self._held = _held(folder, wait_s)
        self._cosign, self._now_s = tuple(cosign), now_s
        self._also: tuple[SigningKey, ...] = ()
        self.public = public_key(self._key)
        """The key that verifies what this signs."""
        try:
            self._last = self._remembered()
        except Rejected:
            self.close()
            raise

    def _remembered(self) -> Head:
        data = self._files.read(SIGNED)
        try:
            head = checkpoint(opened(data or b"", [verifier_of(self.public)]).text)
        except (NoteRejected, CheckpointRejected) as error:
            raise KeeperRejected(
                f"{self._files.folder / SIGNED}: what this key signed last is not known ({error}): do not go on with "
                "this key; compare with a witness, and begin a new log with a new one"
            ) from None
        return Head(head.size, head.root)

    def close(self) -> None:
        """Let another process hold the key; signing afterwards is refused."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def use_keys(self, named: Iterable[str]) -> None:
        """Sign with those of the keys here that are named (their verifying lines), from now on.

        Where the next key is named too, both sign; where it alone is, it becomes the log's key, after the last head was
        signed by both: then what was signed is known to it before the old one is gone. Raises `KeeperRejected` where
        none of the names is of a key that is here.
        """
        wanted, folder = set(named), self._files.folder
        follower = _key(folder, NEXT_KEY) if (folder / NEXT_KEY).exists() else None
        follows = follower is not None and public_key(follower).text in wanted
        if self.public.text in wanted:
            self._also = (follower,) if follows and follower is not None else ()
            return
        if follower is None or not follows:
            raise KeeperRejected(
                f"{folder}: the order names no key of this log that is here; the log's key is {self.public.text}: make "
                "the next one with `truechimer evidence next-key DIR`, and have its line signed"
            )
        if self._held < 0:
            raise KeeperRejected("the key was given back: what another process signs is not known here")
        head = Checkpoint(self._key.name, self._last.size, self._last.root)
        self._files.replace_durably(
            SIGNED, signed(head.text, [signer_of(one, time_s=1) for one in (self._key, follower)])
        )
        _write_key(self._files, KEY, follower)
        (folder / NEXT_KEY).unlink()
        self._key, self._also, self.public = follower, (), public_key(follower)

    def last(self) -> Head:
        """Return the last head that was signed."""
        return self._last

    def sign(self, head: Checkpoint, *, old_size: int, proof: Sequence[bytes]) -> bytes:
        """See `store.tiles.TreeSigner.sign`; raises `NotSigned`, `StoreRejected`."""
        if self._held < 0:
            raise KeeperRejected("the key was given back: what another process signs is not known here")
        if head.origin != self._key.name or head.extensions:
            raise NotSigned("origin", f"it is of {head.origin!r}, and this key speaks for {self._key.name!r} only")
        after = next_head(self._last, head, old_size=old_size, proof=proof)
        if isinstance(after, NotNext):
            raise NotSigned(after.reason, after.says)
        note = signed(
            head.text, [signer_of(key, time_s=self._now_s()) for key in (self._key, *self._also, *self._cosign)]
        )
        self._files.replace_durably(SIGNED, note)
        self._last = after
        return note


def _held(folder: Path, wait_s: float) -> int:
    """Hold the folder for this process alone: two that remember would each sign what the other does not know of."""
    opened_folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(opened_folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() < until:
                time.sleep(0.02)  # one that was killed is still being ended
                continue
            os.close(opened_folder)
            raise KeeperRejected(
                f"{folder}: another process holds this key; only one may sign: let it end first"
            ) from None
        return opened_folder


def _key(folder: Path, name: str = KEY) -> SigningKey:
    path = folder / name
    try:
        if path.stat().st_mode & 0o077:
            raise KeeperRejected(f"{path}: others can read this key; run: chmod 600 {path}")
        return private_key(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyRejected) as error:
        raise KeeperRejected(f"{path}: no usable key ({error})") from None
