"""Whom a stranger believes: logs by key, witnesses by key, and which witnesses are enough, as one text file.

It fetches nothing and does not know where a policy came from; a policy that came with the evidence proves nothing.
Source: C2SP tlog-policy. (`quorum.order_policy` is another thing: which persons may give orders.)

Law of the file: a line that is not understood refuses the whole policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from truechimer.errors import Rejected
from truechimer.evidence.checkpoint import Checkpoint, CheckpointRejected, checkpoint
from truechimer.evidence.cosignature import time_of, verifier_of
from truechimer.quorum.keys import (
    COSIGNATURE_ED25519,
    COSIGNATURE_ML_DSA_44,
    ED25519,
    KeyRejected,
    VerifierKey,
    verifier_key,
)
from truechimer.quorum.note import NoteRejected, opened

LARGEST_POLICY = 1 << 20
MOST_LINES = 1024
_ANY_LOG = {ED25519, COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44}
_WITNESS = {COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44}


class LogPolicyRejected(Rejected):
    """A policy file that cannot be followed. `line` counts from 1; 0 where it is the whole."""

    def __init__(self, line: int, why: str) -> None:
        """Keep the line."""
        super().__init__(f"policy, line {line}: {why}" if line else f"policy: {why}")
        self.line, self.why = line, why


class CheckpointDistrusted(Rejected):
    """A checkpoint that this policy does not accept.

    `reason`: `malformed`, `bad-signature`, `unknown-log`, `origin`, `quorum`; `who`: the key it is about.
    """

    def __init__(self, reason: str, says: str, *, who: str = "") -> None:
        """Keep the reason."""
        super().__init__(says)
        self.reason, self.who = reason, who


@dataclass(frozen=True, slots=True)
class Log:
    """A log that is believed: its key, whose name is its origin, and where it is asked (may be empty)."""

    key: VerifierKey
    url: str


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness: its name in this file, its key, and where it is asked (may be empty)."""

    name: str
    key: VerifierKey
    url: str


@dataclass(frozen=True, slots=True)
class Group:
    """`threshold` of the members (witnesses or groups before it) make the group."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """Logs, witnesses, groups in their order; `quorum` the name that must be fulfilled, "none" where nobody must."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    def fulfilled(self, cosigned: frozenset[str]) -> bool:
        """Return whether these witnesses are enough."""
        done = set(cosigned)
        for group in self.groups:
            if sum(member in done for member in group.members) >= group.threshold:
                done.add(group.name)
        return self.quorum == "none" or self.quorum in done


@dataclass(frozen=True, slots=True)
class TrustedCheckpoint:
    """A checkpoint that a policy accepts: the log's key, and when which witness says that it saw it (s since 1970).

    Invariant: only `judged` makes it.
    """

    checkpoint: Checkpoint
    log: VerifierKey
    witnessed: Mapping[str, int]
    note: bytes


def seen_by(trusted: TrustedCheckpoint, policy: LogPolicy) -> int | None:
    """Return when enough witnesses had seen a checkpoint, by their own clocks (s since 1970); None where none did.

    Where the policy asks for none, the last one's word counts.
    """
    times = sorted(trusted.witnessed.items(), key=lambda one: one[1])
    if policy.quorum != "none":
        for n in range(1, len(times) + 1):
            if policy.fulfilled(frozenset(name for name, _ in times[:n])):
                return times[n - 1][1]
    return times[-1][1] if times else None


def log_policy(data: bytes) -> LogPolicy:
    """Read a policy file; raises `LogPolicyRejected`."""
    if len(data) > LARGEST_POLICY or data.count(b"\n") > MOST_LINES:
        raise LogPolicyRejected(0, f"longer than {MOST_LINES} lines or {LARGEST_POLICY} bytes")
    if data and not data.endswith(b"\n"):
        raise LogPolicyRejected(data.count(b"\n") + 1, "does not end with a newline: the file may be cut short")
    reader = _Reader()
    for number, row in enumerate(data.split(b"\n"), start=1):
        bad = next((byte for byte in row if (byte < 0x20 and byte != 0x09) or byte == 0x7F), None)
        if bad is not None:
            raise LogPolicyRejected(number, f"the byte {bad:#04x} may not stand in a policy")
        # names are octets: Latin-1 keeps each octet as one letter, whatever it means
        words = row.decode("latin-1").replace("\t", " ").split(" ")
        reader.line(number, [word for word in words if word])
    return reader.policy()


class _Reader:
    """Reads a policy line by line."""

    def __init__(self) -> None:
        self._logs: list[Log] = []
        self._witnesses: list[Witness] = []
        self._groups: list[Group] = []
        self._quorum: str | None = None
        self._keys: set[tuple[str, bytes]] = set()
        self._free: set[str] = set()
        self._names: set[str] = set()
        self._number = 0

    def _refuse(self, why: str) -> LogPolicyRejected:
        return LogPolicyRejected(self._number, why)

    def line(self, number: int, words: list[str]) -> None:
        """Take one line in."""
        self._number = number
        if not words or words[0].startswith("#"):
            return
        match words:
            case ["log", key, *url] if len(url) <= 1:
                self._logs.append(Log(self._key(key, "log", _ANY_LOG), *url or [""]))
            case ["witness", name, key, *url] if len(url) <= 1:
                self._define(name)
                self._witnesses.append(Witness(name, self._key(key, "witness", _WITNESS), *url or [""]))
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, tuple(members))
            case ["quorum", name]:
                if self._quorum is not None:
                    raise self._refuse("a second quorum: one is said once")
                if name != "none" and name not in self._names:
                    raise self._refuse(f"quorum {name!r}: no witness or group of that name stands above")
                self._quorum = name
            case ["log" | "witness" | "group" | "quorum", *_]:
                raise self._refuse(f"{words[0]} with {len(words) - 1} words after it: see the form in the guide")
            case _:
                raise self._refuse(f"{words[0][:40]!r} is not log, witness, group or quorum")

    def _define(self, name: str) -> None:
        if name == "none" or name in self._names:
            raise self._refuse(f"the name {name!r} is taken")
        self._names.add(name)
        self._free.add(name)

    def _key(self, text: str, role: str, kinds: set[int]) -> VerifierKey:
        try:
            key = verifier_key(text.encode("latin-1").decode())
            verifier_of(key)
        except (KeyRejected, UnicodeDecodeError) as error:
            raise self._refuse(str(error)) from None
        if key.kind not in kinds:
            raise self._refuse(f"a {role} has no key of kind {key.kind:#04x}")
        if (role, key.public) in self._keys:
            raise self._refuse(f"this key stands twice among the {'logs' if role == 'log' else 'witnesses'}")
        self._keys.add((role, key.public))
        return key

    def _group(self, name: str, threshold: str, members: tuple[str, ...]) -> None:
        for member in members:
            if member not in self._names:
                raise self._refuse(f"member {member!r}: no witness or group of that name stands above")
            if member not in self._free:
                raise self._refuse(f"member {member!r} is in a group already: each counts in one way only")
            self._free.discard(member)
        match threshold:
            case "any":
                least = 1
            case "all":
                least = len(members)
            case _:
                ascii_digits = threshold.isascii() and threshold.isdigit() and len(threshold) <= 9
                least = int(threshold) if ascii_digits and threshold[0] != "0" else 0
        if not 1 <= least <= len(members):
            raise self._refuse(f"threshold {threshold!r} of {len(members)} members: any, all or 1 to {len(members)}")
        self._define(name)
        self._groups.append(Group(name, least, members))

    def policy(self) -> LogPolicy:
        """Return what was read."""
        if self._quorum is None:
            raise LogPolicyRejected(0, "has no quorum line: `quorum none` where no witness is asked for")
        return LogPolicy(tuple(self._logs), tuple(self._witnesses), tuple(self._groups), self._quorum)


def judged(note: bytes, policy: LogPolicy) -> TrustedCheckpoint:
    """Verify a checkpoint as a policy asks; raises `CheckpointDistrusted`.

    A bad signature of any key that the policy names refuses the checkpoint, whether or not it is needed.
    """
    # one key may be in a policy as a log's and as a witness's (kinds 0x04, 0x06): it is one verifier, two roles
    keys = {key.text: key for key in (*(log.key for log in policy.logs), *(one.key for one in policy.witnesses))}
    try:
        seen = opened(note, [verifier_of(key) for key in keys.values()])
        head = checkpoint(seen.text)
    except NoteRejected as error:
        reason = "unknown-log" if error.reason == "no-known-signature" else error.reason
        raise CheckpointDistrusted(reason, f"checkpoint: {error}", who=error.who) from None
    except CheckpointRejected as error:
        raise CheckpointDistrusted("malformed", str(error)) from None
    by = {(one.name, one.key_id): one for one in seen.by}
    logs = [log.key for log in policy.logs if (log.key.name, log.key.key_id) in by]
    if not logs:
        raise CheckpointDistrusted("unknown-log", "checkpoint: witnesses signed it, but no log of the policy did")
    log = next((key for key in logs if key.name == head.origin), None)
    if log is None:
        raise CheckpointDistrusted(
            "origin", f"checkpoint of {head.origin!r}, signed by the log {logs[0].name!r}: a log speaks for itself only"
        )
    witnessed = {
        one.name: time_of(by[one.key.name, one.key.key_id])
        for one in policy.witnesses
        if (one.key.name, one.key.key_id) in by
    }
    if not policy.fulfilled(frozenset(witnessed)):
        raise CheckpointDistrusted(
            "quorum",
            f"checkpoint of size {head.size}: witnessed by {', '.join(sorted(witnessed)) or 'nobody'}, "
            f"which does not fulfil {policy.quorum!r}",
        )
    return TrustedCheckpoint(head, log, witnessed, note)
