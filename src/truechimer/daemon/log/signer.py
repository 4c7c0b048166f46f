"""The signer's process: the log's key, its memory, and one pipe on which the log asks for signatures.

`python -m truechimer.daemon.log.signer FOLDER FD`: it reads requests from the descriptor (a socket that it inherits),
answers each, and ends with the socket. It opens nothing but its folder and sees no record: a size, a root, and the
proof that the tree only grew. `SignerProcess` is the other end.

Where a third argument names an origin and there is no key yet, it makes one.

A message is its length (4 bytes, big-endian) and its bytes. Asked: `key` (the public one), `last`, `use` and the keys
to sign with, a line each, or `sign`, a newline and the body of an add-checkpoint request whose note is the unsigned
text. Answered: `ok` or `no REASON`, a newline and the rest.
"""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from truechimer.daemon.log.tree_keeper import KEY, NotSigned, TreeKeeper, make_keeper
from truechimer.errors import Rejected
from truechimer.evidence.checkpoint import Checkpoint, CheckpointRejected, checkpoint
from truechimer.evidence.succession import Head
from truechimer.evidence.witnessing import AddCheckpoint, RequestRejected, add_checkpoint
from truechimer.quorum.keys import KeyRejected, verifier_key

LARGEST_MESSAGE = 1 << 20
ANSWER_WITHIN_S = 30.0
KEY_WITHIN_S = 2.0
"""How long a start waits for the key: the signer before it may just have been killed."""


class SignerRejected(Rejected):
    """The signer's process did not answer, or answered no."""


def send(line: socket.socket, data: bytes) -> None:
    """Send one message; raises `OSError`."""
    line.sendall(len(data).to_bytes(4, "big") + data)


def receive(line: socket.socket) -> bytes | None:
    """Return the next message; None where the other end has gone. Raises `OSError`, `SignerRejected`."""
    head = _exactly(line, 4)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    if size > LARGEST_MESSAGE:
        raise SignerRejected(f"a message of {size} bytes from the signer: {LARGEST_MESSAGE} are the most")
    return _exactly(line, size)


def _exactly(line: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = line.recv(size - len(data))
        if not part:
            return None
        data += part
    return data


def answer(keeper: TreeKeeper, message: bytes) -> bytes:
    """Return the answer to one message; a fault of the disk is an answer too."""
    what, _, body = message.partition(b"\n")
    try:
        if what == b"last":
            last = keeper.last()
            return b"ok\n" + Checkpoint(keeper.public.name, last.size, last.root).text
        if what == b"key":
            return b"ok\n" + keeper.public.text.encode()
        if what == b"use":
            keeper.use_keys(body.decode("utf-8", "replace").splitlines())
            return b"ok\n" + keeper.public.text.encode()
        if what != b"sign":
            return b"no request\nneither key nor last nor use nor sign"
        request = add_checkpoint(body)
        return b"ok\n" + keeper.sign(checkpoint(request.note), old_size=request.old_size, proof=request.proof)
    except NotSigned as error:
        return f"no {error.reason}\n{error}".encode()
    except (RequestRejected, CheckpointRejected) as error:
        return f"no request\n{error}".encode()
    except Rejected as error:
        return f"no disk\n{error}".encode()


class SignerProcess:
    """A `store.tiles.TreeSigner` that is another process. Close it, or let it be garbage: it ends with its socket."""

    def __init__(self, folder: Path, *, new_origin: str = "") -> None:
        """Start it; raises `SignerRejected` where it does not come up (what it said stands on standard error).

        `new_origin`: makes a key of this name where there is none; `made` then says so.
        """
        self.made = bool(new_origin) and not (folder / KEY).exists()
        words = [new_origin] if self.made else []
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "truechimer.daemon.log.signer", str(folder), str(theirs.fileno()), *words],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.environ.get("PATH", "")},
            )
        ours.settimeout(ANSWER_WITHIN_S)
        self._line = ours
        try:
            self._last = self._ask_last()
            self.public = verifier_key(self._ask(b"key\n").decode("utf-8", "replace"))
            """The key that verifies what it signs."""
        except KeyRejected as error:
            self.close()
            raise SignerRejected(f"the signer answers nonsense: {error}") from None
        except SignerRejected:
            self.close()
            raise

    def use_keys(self, named: Iterable[str]) -> None:
        """Sign with those of the keys there that are named, from now on: see `TreeKeeper.use_keys`; raises
        `SignerRejected`.
        """
        answered = self._ask(b"use\n" + "\n".join(named).encode())
        try:
            self.public = verifier_key(answered.decode("utf-8", "replace"))
        except KeyRejected as error:
            raise SignerRejected(f"the signer answers nonsense: {error}") from None

    @property
    def pid(self) -> int:
        """Return the process's number."""
        return self._process.pid

    def _ask(self, message: bytes) -> bytes:
        try:
            send(self._line, message)
            data = receive(self._line)
        except OSError as error:
            raise SignerRejected(
                f"the signer does not answer ({error}): what it signed last stands in its folder"
            ) from None
        if data is None:
            raise SignerRejected("the signer ended: see what it wrote, and start it again")
        head, _, rest = data.partition(b"\n")
        if head == b"ok":
            return rest
        reason = head.decode("ascii", "replace").removeprefix("no ")
        says = rest.decode("utf-8", "replace")
        raise (SignerRejected(says) if reason in {"disk", "request"} else NotSigned(reason, says.partition(": ")[2]))

    def _ask_last(self) -> Head:
        try:
            head = checkpoint(self._ask(b"last\n"))
        except CheckpointRejected as error:
            raise SignerRejected(f"the signer answers nonsense: {error}") from None
        return Head(head.size, head.root)

    def last(self) -> Head:
        """Return the last head that it signed."""
        return self._last

    def sign(self, head: Checkpoint, *, old_size: int, proof: Sequence[bytes]) -> bytes:
        """See `store.tiles.TreeSigner.sign`; raises `NotSigned`, `SignerRejected`."""
        try:
            note = self._ask(b"sign\n" + AddCheckpoint(old_size, tuple(proof), head.text).data)
        except Rejected:
            self._last = self._ask_last()  # it may have signed before something went wrong
            raise
        self._last = Head(head.size, head.root)
        return note

    def close(self) -> None:
        """End it."""
        self._line.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main(folder: Path, descriptor: int, new_origin: str = "") -> int:
    """Serve one socket until its other end goes."""
    if new_origin and not (folder / KEY).exists():
        make_keeper(folder, origin=new_origin, seed=secrets.token_bytes(32))
    keeper = TreeKeeper(folder, wait_s=KEY_WITHIN_S)
    with socket.socket(fileno=descriptor) as line:
        while (message := receive(line)) is not None:
            send(line, answer(keeper, message))
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4]))
    except Rejected as error:
        print(f"truechimer signer: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except (KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        raise SystemExit(0) from None
