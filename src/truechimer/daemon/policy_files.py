"""Policy files: who may sign, the signed steering envelope, and, for a first laboratory, one software key.

It decides nothing: `quorum` checks what is read here. Layout of the policy folder: `policy.json`, `envelope.json`, and
`<person>.key` (an Ed25519 seed in hex, mode 0600) where a laboratory runs on a software key.
"""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from truechimer.clocks.clock import Clock
from truechimer.errors import Rejected
from truechimer.laboratory.run_start import default_limits
from truechimer.quorum import policy as quorum_policy
from truechimer.quorum.envelope import ENVELOPE_CONTEXT, SteeringLimits, limits_from
from truechimer.quorum.policy import PersonKey, Policy, Signature, Signed

ENVELOPE_DAYS = 90
DAY_NS = 86_400 * 10**9
FIRST_PERSON = "operator"


class PolicyFilesRejected(Rejected):
    """The policy folder does not hold what a laboratory needs."""


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """What the policy folder says."""

    policy: Policy
    envelope: Signed


def has_policy(folder: Path) -> bool:
    """Return True where the folder says who may sign."""
    return (folder / "policy.json").exists()


def load(folder: Path) -> PolicyFiles:
    """Read policy and envelope; raises `PolicyFilesRejected` (what is missing and what to do) or `PolicyRejected`."""
    return PolicyFiles(
        quorum_policy.policy_from(
            _read(folder / "policy.json", "run `truechimer init` or `truechimer up` to make a first one")
        ),
        _signed_from(
            _read(folder / "envelope.json", "have a steering envelope signed (`truechimer init DIR --renew-envelope`)"),
            folder,
        ),
    )


def _limits(clocks: tuple[Clock, ...], *, now_ns: int, past_days: float, sequence: int) -> SteeringLimits:
    """Return the limits for these clocks, valid `ENVELOPE_DAYS` from now on (and `past_days` back, for a history)."""
    return default_limits(
        clocks,
        valid_from_ns=now_ns - round(past_days * DAY_NS),
        valid_until_ns=now_ns + ENVELOPE_DAYS * DAY_NS,
        sequence=sequence,
    )


def limits_of(files: PolicyFiles) -> SteeringLimits:
    """Return what the envelope says, unchecked: `quorum.policy.verify` decides whether it counts."""
    return limits_from(files.envelope.payload)


def make_first_policy(folder: Path, clocks: tuple[Clock, ...], *, now_ns: int, past_days: float = 1.0) -> PolicyFiles:
    """Make a 1-of-1 policy on a new software key and sign the first envelope with it; `now_ns`: ns TAI; `past_days`:
    how far back it holds too (a simulated history, readings that are a little old).

    Raises `PolicyFilesRejected` where the folder holds a policy already: who may sign is never replaced silently.
    """
    if has_policy(folder):
        raise PolicyFilesRejected(f"{folder}: there is a policy already; it is not replaced")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    seed = secrets.token_bytes(32)
    _write(folder / f"{FIRST_PERSON}.key", seed.hex().encode() + b"\n", mode=0o600)
    policy = Policy(1, (PersonKey(FIRST_PERSON, quorum_policy.public_of(seed), hardware=False),))
    _write(folder / "policy.json", policy.canonical() + b"\n", mode=0o644)
    envelope = _sign(seed, _limits(clocks, now_ns=now_ns, past_days=past_days, sequence=1))
    _write_envelope(folder, envelope)
    return PolicyFiles(policy, envelope)


def renew_envelope(folder: Path, clocks: tuple[Clock, ...], *, now_ns: int) -> PolicyFiles:
    """Sign a new envelope with the software keys in the folder; raises `PolicyFilesRejected` where they do not make the
    quorum.
    """
    files = load(folder)
    sequence = limits_from(files.envelope.payload).sequence + 1
    limits = _limits(clocks, now_ns=now_ns, past_days=0.0, sequence=sequence)
    signatures = [_sign(_seed(path), limits).signatures[0] for path in sorted(folder.glob("*.key"))]
    signed = Signed(ENVELOPE_CONTEXT, limits.canonical(), tuple(signatures))
    checked = quorum_policy.verify(signed, files.policy, context=ENVELOPE_CONTEXT, decode=limits_from)
    if not hasattr(checked, "value"):
        raise PolicyFilesRejected(f"{folder}: the keys here do not make the quorum: {getattr(checked, 'says', '')}")
    _write_envelope(folder, signed)
    return PolicyFiles(files.policy, signed)


def _sign(seed: bytes, limits: SteeringLimits) -> Signed:
    """Sign limits with one key."""
    return Signed(
        ENVELOPE_CONTEXT, limits.canonical(), (quorum_policy.sign(seed, ENVELOPE_CONTEXT, limits.canonical()),)
    )


def _seed(path: Path) -> bytes:
    """Read a key file; raises `PolicyFilesRejected` where it is not a seed or others can read it."""
    if path.stat().st_mode & 0o077:
        raise PolicyFilesRejected(f"{path}: others can read this key; run: chmod 600 {path.name}")
    try:
        seed = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        seed = b""
    if len(seed) != 32:
        raise PolicyFilesRejected(f"{path}: not a key (64 hex digits)")
    return seed


def _read(path: Path, do_next: str) -> bytes:
    """Read a small file or say what to do."""
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise PolicyFilesRejected(f"{path}: {error.strerror}; {do_next}") from None


def _signed_from(data: bytes, folder: Path) -> Signed:
    """Read a signed envelope."""
    try:
        body = json.loads(data)
        signatures = tuple(Signature(str(item["key"]), bytes.fromhex(item["signature"])) for item in body["signatures"])
        return Signed(str(body["context"]), body["payload"].encode(), signatures)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise PolicyFilesRejected(f"{folder / 'envelope.json'}: not a signed envelope; have a new one signed") from None


def _write_envelope(folder: Path, signed: Signed) -> None:
    """Write a signed envelope."""
    body = {
        "context": signed.context,
        "payload": signed.payload.decode(),
        "signatures": [{"key": item.key_id, "signature": item.signature.hex()} for item in signed.signatures],
    }
    _write(folder / "envelope.json", json.dumps(body, indent=1).encode() + b"\n", mode=0o644)


def _write(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file whole or not at all: beside it, flushed to the disk, then moved into place."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.replace(path)
