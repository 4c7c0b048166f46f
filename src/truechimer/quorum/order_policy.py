"""The policy of orders: which persons may sign, with which SSH keys, how many it takes, and how much they may move.

It knows no present time and no order applied before (`applier`). Persons are counted, never keys: who proposes, and who
holds two keys, is one voice. A policy asks for keys that cannot be copied (`held = "fido2"` or "pkcs11") unless it says
`insecure_software_keys`, which its sentence then repeats in every status.

That a key is on a PKCS#11 token cannot be seen in a signature: the policy states what its signers have seen.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from truechimer.errors import Rejected
from truechimer.quorum.operations import DAY_NS, FINGERPRINT, NAME, OperationRejected, quantity
from truechimer.quorum.order import MOST_SIGNATURES, Order, OrderRejected, SignedOrder, order_from
from truechimer.quorum.ssh_keys import Authenticator, SshKey, SshRejected, key_of_line
from truechimer.quorum.sshsig import signature_from
from truechimer.quorum.strict_json import (
    JsonRejected,
    canonical,
    list_of,
    read_object,
    text_of,
    truth_of,
    whole_of,
    with_keys,
)
from truechimer.quorum.verified import Refused, Verified, _verified

FORMAT = "truechimer-policy-v1"
LARGEST_POLICY = 1 << 17
MOST_PERSONS = 64
MOST_KEYS = 16
SHORTEST_DELAY_S = 86_400
LONGEST_DELAY_S = 90 * 86_400
HELD = ("fido2", "pkcs11", "software")
_KEYS = frozenset(
    [
        "format",
        "laboratory",
        "version",
        "threshold",
        "insecure_software_keys",
        "change_delay_s",
        "persons",
        "revoked",
        "limits",
    ]
)
_LIMITS = ("steer_s", "day_s", "total_s", "delay_s")
_NONE: Mapping[str, int] = MappingProxyType({})


class OrderPolicyRejected(Rejected):
    """Bytes that are not a policy, or a policy that is not safe or cannot be fulfilled."""


@dataclass(frozen=True, slots=True)
class HeldKey:
    """One key of one person. `held`: "fido2", "pkcs11", "software". `verify`: its PIN or finger is asked each time."""

    key: SshKey
    held: str
    verify: bool


@dataclass(frozen=True, slots=True)
class Person:
    """One voice, by any of their keys."""

    name: str
    keys: tuple[HeldKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What orders may move, as decimal text in s.

    `steer_s`: by one order to steer. `delay_s`: by one change of a calibration delay. `day_s`: by all in any 24 h, each
    counted with its size. `total_s`: the sum over targets of what each has been moved away in all.
    """

    steer_s: str
    day_s: str
    total_s: str
    delay_s: str

    def exact(self, name: str) -> Fraction:
        """Return a limit exactly as it stands there, in s."""
        return Fraction(getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPolicy:
    """Who may order what; made by `order_policy_from`, which holds its rules.

    Invariant: 1 <= threshold <= persons; no key stands twice, none is revoked; `version` grows by one with each change.
    """

    laboratory: str
    version: int
    threshold: int
    insecure_software_keys: bool
    change_delay_s: int
    persons: tuple[Person, ...]
    revoked: tuple[str, ...]
    limits: Limits

    @property
    def digest(self) -> str:
        """Return the SHA-256 of its canonical bytes: what orders name."""
        return sha256(self.canonical()).hexdigest()

    @property
    def sentence(self) -> str:
        """Say in a few words how strong this is."""
        count = len(self.persons)
        who = "single signer" if self.threshold == 1 else f"{self.threshold} of {count} persons"
        soft = sum(any(one.held == "software" for one in person.keys) for person in self.persons)
        return f"{who}, hardware keys" if not soft else f"{who}, INSECURE: {soft} of {count} hold software keys"

    def canonical(self) -> bytes:
        """Return the policy's canonical bytes."""
        persons = [
            {
                "keys": [{"held": one.held, "key": one.key.line, "verify": one.verify} for one in person.keys],
                "name": person.name,
            }
            for person in self.persons
        ]
        return canonical(
            {
                "change_delay_s": self.change_delay_s,
                "format": FORMAT,
                "insecure_software_keys": self.insecure_software_keys,
                "laboratory": self.laboratory,
                "limits": {name: f"{getattr(self.limits, name)} s" for name in _LIMITS},
                "persons": persons,
                "revoked": list(self.revoked),
                "threshold": self.threshold,
                "version": self.version,
            }
        )

    def holder(self, key: SshKey) -> tuple[Person, HeldKey] | None:
        """Return whose key this is."""
        return next(((person, one) for person in self.persons for one in person.keys if one.key == key), None)

    def allowed_signers(self, namespaces: Iterable[str]) -> str:
        """Return the file with which `ssh-keygen -Y verify` checks the same signatures, one key of one person."""
        words = ",".join(namespaces)
        rows = [
            f'{person.name} namespaces="{words}" {one.key.line}\n' for person in self.persons for one in person.keys
        ]
        return "".join(rows)


def order_policy_from(data: bytes) -> OrderPolicy:
    """Read a policy in any layout of strict JSON; raises `OrderPolicyRejected` with the first fault."""
    try:
        body = with_keys(read_object(data, LARGEST_POLICY), _KEYS, "the policy")
        if text_of(body, "format", 40) != FORMAT:
            raise OrderPolicyRejected(f"format {body['format']!a}: {FORMAT} is read here")
        limits = with_keys(body["limits"], frozenset(_LIMITS), "limits")
        policy = OrderPolicy(
            laboratory=_named(body, "laboratory"),
            version=whole_of(body, "version", least=1),
            threshold=whole_of(body, "threshold", least=1),
            insecure_software_keys=truth_of(body, "insecure_software_keys"),
            change_delay_s=whole_of(body, "change_delay_s"),
            persons=tuple(_person(one) for one in list_of(body, "persons", MOST_PERSONS)),
            revoked=tuple(list_of(body, "revoked", 1024)),
            limits=Limits(**{name: _limit(limits, name) for name in _LIMITS}),
        )
    except (JsonRejected, OperationRejected, SshRejected) as error:
        raise OrderPolicyRejected(str(error)) from None
    _check(policy)
    return policy


def _named(body: dict[str, Any], key: str) -> str:
    """Return a name under a key; raises `OrderPolicyRejected`."""
    name = text_of(body, key, 64)
    if not NAME.fullmatch(name):
        raise OrderPolicyRejected(f"{key} {name!a} is not a name: letters, digits and . _ : ( ) / - are one")
    return name


def _person(body: Any) -> Person:
    """Read one person."""
    who = with_keys(body, frozenset({"name", "keys"}), "a person")
    name = _named(who, "name")
    keys = []
    for one in list_of(who, "keys", MOST_KEYS):
        row = with_keys(one, frozenset({"key", "held", "verify"}), f"a key of {name}")
        held = text_of(row, "held", 20)
        if held not in HELD:
            raise OrderPolicyRejected(f"a key of {name} is held {held!a}: {', '.join(HELD)} are known")
        keys.append(HeldKey(key_of_line(text_of(row, "key", 1024)), held, truth_of(row, "verify")))
    return Person(name, tuple(keys))


def _limit(body: dict[str, Any], name: str) -> str:
    """Read a limit, text in s, not negative."""
    number, _, unit = text_of(body, name, 40).partition(" ")
    if unit != "s" or quantity(number) < 0:
        raise OrderPolicyRejected(f"{name} {body[name]!a}: a number of s that is not negative is needed")
    return number


def _check(policy: OrderPolicy) -> None:
    """Raise `OrderPolicyRejected` for a policy that is not safe or that nobody could fulfil."""
    names = [person.name for person in policy.persons]
    keys = [one.key.fingerprint for person in policy.persons for one in person.keys]
    if policy.threshold > len(names):
        raise OrderPolicyRejected(f"threshold {policy.threshold} with {len(names)} persons: nobody could fulfil it")
    if len({name.lower() for name in names}) != len(names):
        raise OrderPolicyRejected("a person stands twice: one person is one voice, with several keys")
    points = {one.key.public for person in policy.persons for one in person.keys}
    if len(points) != len(keys):  # the point, not the key: one secret under two applications is still one voice
        raise OrderPolicyRejected("a key stands twice: each person needs keys of their own")
    if not SHORTEST_DELAY_S <= policy.change_delay_s <= LONGEST_DELAY_S:
        raise OrderPolicyRejected(
            f"change_delay_s {policy.change_delay_s}: at least {SHORTEST_DELAY_S} (a day in which any key can veto) "
            f"and at most {LONGEST_DELAY_S}"
        )
    if not all(isinstance(one, str) and FINGERPRINT.fullmatch(one) for one in policy.revoked):
        raise OrderPolicyRejected("revoked is not a list of fingerprints (SHA256:...)")
    if list(policy.revoked) != sorted(set(policy.revoked)):
        raise OrderPolicyRejected("revoked is not sorted, or names a key twice")
    if gone := sorted(set(keys) & set(policy.revoked)):
        raise OrderPolicyRejected(f"the key {gone[0]} is revoked and stands with a person: take it out of one of them")
    for person in policy.persons:
        if not person.keys:
            raise OrderPolicyRejected(f"{person.name} has no key: give them one or take them out")
        for one in person.keys:
            _check_key(policy, person, one)


def _check_key(policy: OrderPolicy, person: Person, one: HeldKey) -> None:
    """Raise for a key that is not what the policy says of it."""
    where = f"the key {one.key.fingerprint} of {person.name}"
    if (one.held == "fido2") != one.key.on_authenticator:
        raise OrderPolicyRejected(f"{where} is of kind {one.key.kind} and held {one.held!r}: sk- keys are held 'fido2'")
    if one.verify and one.held != "fido2":
        raise OrderPolicyRejected(f"{where}: only FIDO2 keys state that a PIN or finger was asked")
    if one.key.on_authenticator and not one.key.application.startswith("ssh:"):
        raise OrderPolicyRejected(f"{where} is for {one.key.application!a}: keys for SSH begin with ssh:")
    if one.held == "software" and not policy.insecure_software_keys:
        raise OrderPolicyRejected(
            f"{where} is in a file, which can be copied unseen: use a FIDO2 key (ssh-keygen -t ed25519-sk), or say "
            "insecure_software_keys = true and have it shown in every status"
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an order's signatures go: whose count, whose are missing, and what was found of those that do not.

    `findings`: (reason, sentence) of each signature that does not count. `counters`: (fingerprint, counter) stated by
    authenticators whose signatures hold.
    """

    by: tuple[str, ...]
    missing: tuple[str, ...]
    needed: int
    findings: tuple[tuple[str, str], ...]
    counters: tuple[tuple[str, int], ...]

    @property
    def enough(self) -> bool:
        """Return whether the quorum is reached."""
        return len(self.by) >= self.needed

    @property
    def refused(self) -> Refused:
        """Return the refusal: the gravest finding first, then who could still sign."""
        found = sorted(self.findings, key=lambda one: _GRAVITY.index(one[0]))
        reason = found[0][0] if found else "signatures"
        because = "; ".join(says for _, says in found[:3])
        could = f"; could still sign: {', '.join(self.missing)}" if self.missing else ""
        count = f"{len(self.by)} of {self.needed} persons needed have signed validly"
        return Refused(reason, f"{count}{': ' + because if because else ''}{could}")


_GRAVITY = (
    "revoked-key",
    "bad-signature",
    "not-touched",
    "not-verified",
    "counter-back",
    "namespace",
    "wrong-kind",
    "unknown-key",
    "doubled-signer",
    "key-kind",
    "version",
    "malformed",
)


def standing(
    signed: SignedOrder,
    policy: OrderPolicy,
    *,
    namespace: str,
    revoked: frozenset[str] = frozenset(),
    counters: Mapping[str, int] = _NONE,
) -> Standing:
    """Count the persons who signed these bytes for this namespace. A signature that does not hold never spoils others.

    `revoked`: fingerprints revoked beside those in the policy. More than `MOST_SIGNATURES` are not looked at.
    `counters`: the last that each authenticator stated; one that does not go up was copied, or signed before another
    order that was applied already (WebAuthn level 2, 7.2 step 21). Authenticators that always state 0 count nothing.
    """
    gone = revoked | set(policy.revoked)
    findings: list[tuple[str, str]] = []
    by: set[str] = set()
    counted: dict[str, int] = {}
    for armoured in signed.signatures[:MOST_SIGNATURES]:
        try:
            person, name, stated = _signer(armoured, signed.payload, policy, namespace=namespace, gone=gone)
        except SshRejected as error:
            findings.append((error.reason, str(error)))
            continue
        last = counters.get(name, 0)
        if stated is not None and last and stated.counter <= last:
            says = f"the key {name} of {person} counts {stated.counter} after {last}: sign again; if that helps nothing"
            findings.append(("counter-back", f"{says}, the key was copied: revoke it"))
            continue
        if person in by:
            findings.append(("doubled-signer", f"{person} has signed twice and counts once"))
            continue
        by.add(person)
        if stated is not None:
            counted[name] = stated.counter
    could = tuple(
        person.name
        for person in policy.persons
        if person.name not in by and any(one.key.fingerprint not in gone for one in person.keys)
    )
    return Standing(tuple(sorted(by)), could, policy.threshold, tuple(findings), tuple(sorted(counted.items())))


def _signer(
    armoured: bytes, payload: bytes, policy: OrderPolicy, *, namespace: str, gone: frozenset[str]
) -> tuple[str, str, Authenticator | None]:
    """Return who signed, with which key, and what its authenticator states; raises `SshRejected`."""
    signature = signature_from(armoured)
    name = signature.key.fingerprint
    if name in gone:
        raise SshRejected("revoked-key", f"the key {name} is revoked")
    whose = policy.holder(signature.key)
    if whose is None:
        raise SshRejected("unknown-key", f"the key {name} is nobody's in the policy")
    person, held = whose
    stated = signature.check(payload, namespace)
    if held.verify and not (stated is not None and stated.verified):
        raise SshRejected("not-verified", f"the key {name} of {person.name} did not ask for its PIN or finger")
    return person.name, name, stated


def verify_order(
    signed: SignedOrder,
    policy: OrderPolicy,
    *,
    revoked: frozenset[str] = frozenset(),
    counters: Mapping[str, int] = _NONE,
) -> Verified[Order] | Refused:
    """Check form, policy and signatures: the only way to a `Verified[Order]`.

    Refused: "malformed", "unknown-op", "too-long", "policy" (signed under another policy), and those of `Standing`.
    Time, place in the chain and limits are the applier's.
    """
    try:
        order = order_from(signed.payload)
    except OrderRejected as error:
        return Refused(error.reason, str(error))
    if order.policy != policy.digest:
        return Refused(
            "policy",
            f"signed under the policy {order.policy[:12]}, in force is version {policy.version} ({policy.digest[:12]})"
            ": propose it again",
        )
    found = standing(signed, policy, namespace=order.operation.namespace, revoked=revoked, counters=counters)
    return _verified(order, found.by) if found.enough else found.refused


def delay_ns(policy: OrderPolicy) -> int:
    """Return how long a change of this policy waits, ns; never less than a day."""
    return max(policy.change_delay_s * 10**9, DAY_NS)
