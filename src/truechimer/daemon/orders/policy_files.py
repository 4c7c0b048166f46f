"""Policy files: who may sign, the signed steering envelope, and, for a first laboratory, one software key.

It decides nothing: `quorum` checks what is read here. Layout of the policy folder: `policy.json`, `envelope.json`
(an order for a steering envelope, its signatures and the envelope), and `<person>.key` (a private key as OpenSSH writes
it, mode 0600) where a laboratory runs on a software key. All of them are copies: what is in force stands in the
records.
"""

import json
import os
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from truechimer.clocks.clock import Clock
from truechimer.errors import Rejected
from truechimer.laboratory.run_start import default_limits
from truechimer.quorum.applier import SignedEnvelope
from truechimer.quorum.envelope import SteeringLimits, limits_from
from truechimer.quorum.order import SignedOrder
from truechimer.quorum.order_policy import OrderPolicy, order_policy_from, verify_order
from truechimer.quorum.proposal import Place, envelope_order, policy_of_one, signed_envelope
from truechimer.quorum.sshsig import SigningKey, key_of_seed, signing_key_from
from truechimer.quorum.verified import Refused

ENVELOPE_DAYS = 90
DAY_NS = 86_400 * 10**9
FIRST_PERSON = "operator"
LONGEST_NAME = 64


class PolicyFilesRejected(Rejected):
    """The policy folder does not hold what a laboratory needs."""


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """What the policy folder says."""

    policy: OrderPolicy
    envelope: SignedEnvelope


def has_policy(folder: Path) -> bool:
    """Return True where the folder says who may sign."""
    return (folder / "policy.json").exists()


def load(folder: Path) -> PolicyFiles:
    """Read policy and envelope; raises `PolicyFilesRejected` (what is missing) or `OrderPolicyRejected`."""
    return PolicyFiles(load_policy(folder), _envelope_from(folder))


def load_policy(folder: Path) -> OrderPolicy:
    """Read the policy; raises `PolicyFilesRejected` or `OrderPolicyRejected`."""
    data = _read(folder / "policy.json", "run `truechimer policy make` or `truechimer up` to make a first one")
    if b'"public"' in data and b'"format"' not in data:
        raise PolicyFilesRejected(
            f"{folder / 'policy.json'} is of before orders were signed with SSH keys: move the folder {folder.name}/ "
            "away and start again (`truechimer up` makes one person's policy, `truechimer policy make` k of n), and "
            "have the envelope signed anew"
        )
    return order_policy_from(data)


def _limits(clocks: tuple[Clock, ...], *, now_ns: int, past_days: float, sequence: int) -> SteeringLimits:
    """Return the limits for these clocks, valid `ENVELOPE_DAYS` from now on (and `past_days` back, for a history)."""
    return default_limits(
        clocks,
        valid_from_ns=now_ns - round(past_days * DAY_NS),
        valid_until_ns=now_ns + ENVELOPE_DAYS * DAY_NS,
        sequence=sequence,
    )


def limits_of(files: PolicyFiles) -> SteeringLimits:
    """Return what the envelope says, unchecked: `quorum` decides whether it counts."""
    return limits_from(files.envelope.file)


def refused_envelope(files: PolicyFiles) -> Refused | None:
    """Return why the envelope's signatures do not make the policy's quorum; None where they do.

    Its place among the orders and its limits are judged by the fold.
    """
    order = verify_order(files.envelope.signed, files.policy)
    if isinstance(order, Refused):
        return order
    if order.value.value != sha256(files.envelope.file).hexdigest():
        return Refused("file", "the envelope is not the one whose SHA-256 was signed")
    return None


def make_first_policy(
    folder: Path,
    clocks: tuple[Clock, ...],
    *,
    laboratory: str,
    target: str,
    now_ns: int,
    past_days: float = 1.0,
) -> PolicyFiles:
    """Make a 1-of-1 policy on a new software key and sign the first envelope with it; `now_ns`: ns TAI; `past_days`:
    how far back it holds too (a simulated history, readings that are a little old); `target`: the scale that is
    steered.

    Raises `PolicyFilesRejected` where the folder holds a policy already: who may sign is never replaced silently.
    """
    if has_policy(folder):
        raise PolicyFilesRejected(f"{folder}: there is a policy already; it is not replaced")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key, text = key_of_seed(secrets.token_bytes(32))
    limits = _limits(clocks, now_ns=now_ns, past_days=past_days, sequence=1)
    policy = policy_of_one(
        laboratory[:LONGEST_NAME],
        FIRST_PERSON,
        key.public,
        per_day_s=limits.per_day_s,
        total_s=max(limits.total_s, limits.per_day_s * 365.0),
    )
    _write(folder / f"{FIRST_PERSON}.key", text, mode=0o600)
    _write(folder / f"{FIRST_PERSON}.pub", f"{key.public.line} {FIRST_PERSON}\n".encode(), mode=0o644)
    _write(folder / "policy.json", policy.canonical() + b"\n", mode=0o644)
    envelope = _sign(limits, Place(policy.digest), (key,), target=target, because="the first steering envelope")
    write_envelope(folder, envelope)
    return PolicyFiles(policy, envelope)


def renew_envelope(
    folder: Path, clocks: tuple[Clock, ...], *, policy: OrderPolicy, place: Place, target: str, now_ns: int
) -> PolicyFiles:
    """Sign a new envelope with the software keys in the folder; raises `PolicyFilesRejected` where they do not make the
    quorum. `policy`, `place`: in force by the records.
    """
    keys = tuple(software_key(path) for path in sorted(folder.glob("*.key")))
    limits = _limits(clocks, now_ns=now_ns, past_days=0.0, sequence=place.sequence)
    envelope = _sign(limits, place, keys, target=target, because="the steering envelope of the next 90 days")
    made = PolicyFiles(policy, envelope)
    if (refused := refused_envelope(made)) is not None:
        raise PolicyFilesRejected(
            f"{folder}: the keys here do not make the quorum: {refused.says}; propose the envelope as an order and "
            "have it signed (`truechimer order propose steering-envelope`)"
        )
    write_envelope(folder, envelope)
    return made


def software_key(path: Path) -> SigningKey:
    """Read a private key in a file; raises `PolicyFilesRejected` where others can read it, `SigningKeyRejected`."""
    try:
        mode, data = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise PolicyFilesRejected(f"{path}: {error.strerror}") from None
    if mode & 0o077:
        raise PolicyFilesRejected(f"{path}: others can read this key; run: chmod 600 {path.name}")
    return signing_key_from(data)


def write_policy(folder: Path, policy: OrderPolicy) -> None:
    """Write the policy that is in force, for people and for the next start."""
    _write(folder / "policy.json", policy.canonical() + b"\n", mode=0o644)


def _sign(
    limits: SteeringLimits, place: Place, keys: tuple[SigningKey, ...], *, target: str, because: str
) -> SignedEnvelope:
    """Sign limits with these keys."""
    order = envelope_order(limits, place, target=target, because=because, nonce=secrets.token_hex(16))
    return signed_envelope(limits, order, *keys)


def _read(path: Path, do_next: str) -> bytes:
    """Read a small file or say what to do."""
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise PolicyFilesRejected(f"{path}: {error.strerror}; {do_next}") from None


def _envelope_from(folder: Path) -> SignedEnvelope:
    """Read a signed envelope."""
    data = _read(folder / "envelope.json", "have a steering envelope signed (`truechimer init DIR --renew-envelope`)")
    try:
        body = json.loads(data)
        signatures = tuple(one.encode("ascii") for one in body["signatures"])
        return SignedEnvelope(SignedOrder(body["order"].encode(), signatures), body["envelope"].encode())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise PolicyFilesRejected(f"{folder / 'envelope.json'}: not a signed envelope; have a new one signed") from None


def write_envelope(folder: Path, envelope: SignedEnvelope) -> None:
    """Write a signed envelope."""
    body = {
        "order": envelope.signed.payload.decode(),
        "signatures": [one.decode("ascii") for one in envelope.signed.signatures],
        "envelope": envelope.file.decode(),
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
