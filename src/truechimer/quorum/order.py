"""An order: one change that k of n persons must sign, in bytes that can be read in one way only.

It checks no signature (`order_policy`), knows no present time and no limit (`applier`). Its place in the chain of
orders (sequence, hash of the order applied before) and the hash of the policy stand in it, so that an order signed for
one state of the laboratory is worth nothing in another.
"""

import re
from dataclasses import dataclass
from hashlib import sha256

from truechimer.errors import Rejected
from truechimer.quorum.operations import DAY_NS, HASH, OPERATIONS, Operation, OperationRejected
from truechimer.quorum.strict_json import JsonRejected, canonical, read_object, text_of, whole_of, with_keys

FORMAT = "truechimer-order-v1"
FIRST = "0" * 64
"""`previous` of the first order."""
LARGEST_ORDER = 4096
"""Bytes."""
MOST_SIGNATURES = 64
_NANOSECONDS = re.compile(r"[1-9][0-9]{0,18}")
_NONCE = re.compile(r"[0-9a-f]{32}")
_KEYS = frozenset(
    [
        "format",
        "op",
        "target",
        "value",
        "unit",
        "because",
        "valid_from_tai_ns",
        "expires_tai_ns",
        "nonce",
        "sequence",
        "previous",
        "policy",
    ]
)


class OrderRejected(Rejected):
    """Bytes that are not an order; `reason`: "malformed", "unknown-op", "too-long"."""

    def __init__(self, reason: str, says: str) -> None:
        """Keep the reason."""
        super().__init__(says)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One change that somebody asks for.

    `op`, `target`, `value`, `unit`: see `operations`. `because`: why, for people. `valid_from_ns`, `expires_ns`: ns
    TAI. `nonce`: 32 hexadecimal digits, drawn by who proposes. `sequence`: one more than the order applied before,
    whose digest is `previous` (`FIRST` for the first). `policy`: digest of the policy it is signed under.
    """

    op: str
    target: str
    value: str
    unit: str
    because: str
    valid_from_ns: int
    expires_ns: int
    nonce: str
    sequence: int
    previous: str
    policy: str

    @property
    def operation(self) -> Operation:
        """Return what it asks for."""
        return OPERATIONS[self.op]

    @property
    def digest(self) -> str:
        """Return the SHA-256 of its bytes: what the next order names as `previous`."""
        return sha256(self.canonical()).hexdigest()

    @property
    def sentence(self) -> str:
        """Say what it changes and by how much, in one sentence."""
        value = self.value if self.unit in ("", "1", "sha256") else f"{self.value} {self.unit}"
        return self.operation.says.format(target=self.target, value=value)

    def canonical(self) -> bytes:
        """Return the bytes that are signed."""
        return canonical(
            {
                "because": self.because,
                "expires_tai_ns": str(self.expires_ns),
                "format": FORMAT,
                "nonce": self.nonce,
                "op": self.op,
                "policy": self.policy,
                "previous": self.previous,
                "sequence": self.sequence,
                "target": self.target,
                "unit": self.unit,
                "valid_from_tai_ns": str(self.valid_from_ns),
                "value": self.value,
            }
        )


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """An order's bytes as they came, and armoured SSH signatures over them; nothing of it is believed."""

    payload: bytes
    signatures: tuple[bytes, ...]


def order_from(data: bytes) -> Order:
    """Read an order from its canonical bytes; raises `OrderRejected`."""
    try:
        body = with_keys(read_object(data, LARGEST_ORDER), _KEYS, "the order")
        text = {key: text_of(body, key, 300) for key in _KEYS - {"sequence"}}
        sequence = whole_of(body, "sequence", least=1)
    except JsonRejected as error:
        raise OrderRejected("malformed", str(error)) from None
    if text["format"] != FORMAT:
        raise OrderRejected("malformed", f"format {text['format'][:40]!a}: {FORMAT} is read here")
    for key, pattern, what in (
        ("valid_from_tai_ns", _NANOSECONDS, "nanoseconds TAI in digits"),
        ("expires_tai_ns", _NANOSECONDS, "nanoseconds TAI in digits"),
        ("nonce", _NONCE, "32 small hexadecimal digits"),
        ("previous", HASH, "64 small hexadecimal digits"),
        ("policy", HASH, "64 small hexadecimal digits"),
    ):
        if not pattern.fullmatch(text[key]):
            raise OrderRejected("malformed", f"{key} is not {what}")
    operation = OPERATIONS.get(text["op"])
    if operation is None:
        raise OrderRejected("unknown-op", f"op {text['op'][:40]!a}: known are {', '.join(OPERATIONS)}")
    try:
        operation.check(text["target"], text["value"], text["unit"])
    except OperationRejected as error:
        raise OrderRejected("malformed", str(error)) from None
    order = Order(
        op=text["op"],
        target=text["target"],
        value=text["value"],
        unit=text["unit"],
        because=text["because"],
        valid_from_ns=int(text["valid_from_tai_ns"]),
        expires_ns=int(text["expires_tai_ns"]),
        nonce=text["nonce"],
        sequence=sequence,
        previous=text["previous"],
        policy=text["policy"],
    )
    if order.canonical() != data:
        raise OrderRejected("malformed", "the order's bytes are not canonical: what was signed is not what is read")
    if not order.because.strip():
        raise OrderRejected("malformed", "because is empty: who signs must know why")
    life_ns = order.expires_ns - order.valid_from_ns
    if life_ns <= 0:
        raise OrderRejected("malformed", "the order expires before it begins")
    if life_ns > operation.longest_ns:
        raise OrderRejected(
            "too-long", f"the order would hold {life_ns / DAY_NS:.6g} days, {operation.longest_ns // DAY_NS} at most"
        )
    return order
