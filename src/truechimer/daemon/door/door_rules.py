"""The rules of an NTP door as LAB.toml has them, and what they come to for one packet: answer, a kiss, or a refusal.

It answers nobody (`serve.ntp.server` does) and opens no socket. The rules come to the door as one line of JSON on its
command line, so that a laboratory takes over a door only where they are the same; keys of clients stay in their file,
which is looked at again while the door serves.

Source: RFC 8633 (a server's good conduct), RFC 5905 7.4 (kisses), ADR 75. It must stay small: doors import it.
"""

import ipaddress
import json
import os
import socket
import stat
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from math import ceil, log2
from pathlib import Path
from typing import Any

from truechimer.errors import Rejected
from truechimer.quorum.listener_policy import ListenerPolicy
from truechimer.serve.ntp.access_list import AccessList, access_list, is_allowed
from truechimer.serve.ntp.interleaved import SavedStamps
from truechimer.serve.ntp.mac import LARGEST_FILE, NO_KEYS, KeyFileRejected, KeyRing, read_keys
from truechimer.serve.ntp.rate_table import ANSWER, KISS, SECRET_OCTETS, RateTable
from truechimer.serve.ntp.reply import IgnoreReason, Kiss, Offers
from truechimer.serve.ntp.smear import Smear

DEFAULT_RATE_PER_S = 16.0
DEFAULT_BURST = 64
MOST_REMEMBERED = 4096
"""Addresses in text of which a door remembers the octets."""
LEAST_POLL_LOG2 = -6
OTHERS_MAY_READ = 0o077


class Denied(StrEnum):
    """What a client hears that the access list denies."""

    SILENCE = "silence"
    KISS = "kiss"


class DoorRulesRejected(Rejected):
    """Rules that a door cannot keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRules:
    """`allow`, `deny`: networks; `denied`: what who is denied hears. `rate_per_s`: answers a second to one source in
    the long run (0: no limit), `rate_burst` at once; `rate_loopback`: this machine's own are counted too. `keys`: file
    of symmetric keys. `interleaved`, `ntpv5`: whether these are offered. `smear`: how it goes over a leap second.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    denied: str = Denied.SILENCE.value
    rate_per_s: float = DEFAULT_RATE_PER_S
    rate_burst: int = DEFAULT_BURST
    rate_loopback: bool = False
    keys: str | None = None
    interleaved: bool = True
    ntpv5: bool = False
    smear: str = Smear.NONE.value

    @property
    def smears(self) -> bool:
        """True for a door that deals a leap second out over a day: what it gives then is not UTC."""
        return self.smear != Smear.NONE.value

    def text(self) -> str:
        """Return the rules as one line, with what is not as it is by default."""
        default = DoorRules()
        said = {name: value for name, value in asdict(self).items() if value != getattr(default, name)}
        return json.dumps(said, sort_keys=True, separators=(",", ":"))


def rules_from(text: str) -> DoorRules:
    """Read rules from their line. Raises `DoorRulesRejected`."""
    try:
        said = json.loads(text)
        if not isinstance(said, dict) or not said.keys() <= {one.name for one in fields(DoorRules)}:
            raise DoorRulesRejected(f"--rules {text[:80]!a} names what is no rule of a door")
        lists: dict[str, Any] = {name: tuple(said[name]) for name in ("allow", "deny") if name in said}
        rules = DoorRules(**(said | lists))
        Denied(rules.denied)
        Smear(rules.smear)
        if rules.smears and rules.ntpv5:
            raise DoorRulesRejected("--rules: a door that smears does not speak version 5, whose answers name UTC")
        access_of(rules, None)
        if not 0.0 <= rules.rate_per_s <= 1e6 or not 1 <= rules.rate_burst <= 10**6:
            raise DoorRulesRejected("--rules: a rate is 0 to 1e6 a second, a burst 1 to 1e6")
    except (ValueError, TypeError) as error:
        raise DoorRulesRejected(f"--rules {text[:80]!a} cannot be read: {error}") from None
    return rules


def access_of(rules: DoorRules, policy: ListenerPolicy | None) -> AccessList:
    """Return who is answered: by the rules, and, where an order has brought a policy, by its networks in the place of
    the rules' own `allow`; what the rules deny stays denied. Raises `ValueError` for what is no network.
    """
    allow = tuple(map(ipaddress.ip_network, rules.allow)) if policy is None else policy.allow
    return access_list(allow, map(ipaddress.ip_network, rules.deny))


def keys_in(path: Path) -> KeyRing:
    """Read a file of symmetric keys that nobody else can read. Raises `DoorRulesRejected`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise DoorRulesRejected(f"{path} is no ordinary file; name a file of keys")
            if mode & OTHERS_MAY_READ:
                raise DoorRulesRejected(
                    f"{path} has mode {stat.S_IMODE(mode):04o}: others can make answers in this laboratory's name; "
                    f"run: chmod 600 {path}"
                )
            return read_keys(file.read(LARGEST_FILE + 1))
    except OSError as error:
        raise DoorRulesRejected(f"{path} cannot be read: {error.strerror}") from None
    except (KeyFileRejected, ValueError) as error:
        raise DoorRulesRejected(f"{path}: {error}") from None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a packet by the rules: both None where it is answered; else the kiss to send, or why nothing is
    sent.
    """

    kiss: Kiss | None = None
    ignored: IgnoreReason | None = None


_ANSWER = Verdict()
_VERDICTS: dict[object, Verdict] = {
    KISS: Verdict(Kiss.RATE),
    Denied.SILENCE: Verdict(None, IgnoreReason.NOT_ALLOWED),
    Denied.KISS: Verdict(Kiss.DENY),
}
_SILENCE = Verdict(None, IgnoreReason.RATE_LIMITED)


class Gatekeeper:
    """The rules at work: who may ask, how often, and what besides plain answers is offered.

    `secret`: octets of the system's generator for the keyed hash of the rate table and for the name of this server in
    version 5. `rates` is None where nothing is limited.
    """

    def __init__(self, rules: DoorRules, *, secret: bytes) -> None:
        self.rules = rules
        self.access = access_of(rules, None)
        self.rates: RateTable | None = None
        poll_log2 = LEAST_POLL_LOG2
        if rules.rate_per_s > 0.0:
            self.rates = RateTable(secret, rate_per_s=rules.rate_per_s, burst=rules.rate_burst)
            poll_log2 = max(poll_log2, ceil(-log2(rules.rate_per_s)))
        self.offers = Offers(
            saved=SavedStamps() if rules.interleaved else None,
            ntpv5=rules.ntpv5,
            reference_id=secret[SECRET_OCTETS : SECRET_OCTETS + 15].ljust(15, b"\0"),
            poll_log2=poll_log2,
        )
        self._denied = _VERDICTS[Denied(rules.denied)]
        self._key_stamp: tuple[int, int, int] | None = None
        self._known: dict[str, bytes] = {}

    def use_policy(self, policy: ListenerPolicy | None) -> None:
        """Let a policy by order say who is allowed, from now on."""
        self.access = access_of(self.rules, policy)

    def look_at_keys(self) -> str | None:
        """Read the file of keys where it is another than it was; return what is wrong with it, None for nothing. What
        cannot be read changes nothing, and is tried again once the file is another.
        """
        if self.rules.keys is None:
            return None
        path = Path(self.rules.keys)
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_ino, found.st_mode)
        except OSError:
            stamp = (0, 0, 0)
        if stamp == self._key_stamp:
            return None
        self._key_stamp = stamp
        try:
            self.offers = replace(self.offers, keys=keys_in(path))
        except DoorRulesRejected as error:
            return str(error)
        return None

    @property
    def has_keys(self) -> bool:
        """Whether somebody can get authenticated answers."""
        return self.offers.keys is not NO_KEYS

    def ask(self, host: str, raw_ns: int) -> Verdict:
        """Return what becomes of a packet from an address, and count it."""
        address = self._known.get(host)
        if address is None:
            address = _octets_of(host)
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[host] = address
        if not address or not is_allowed(address, 0, len(address), self.access.starts, self.access.verdicts):
            return self._denied
        if self.rates is None or (is_loopback(address) and not self.rules.rate_loopback):
            return _ANSWER
        verdict = self.rates.admit(address, raw_ns)
        return _ANSWER if verdict == ANSWER else _VERDICTS[KISS] if verdict == KISS else _SILENCE


def open_gate() -> Gatekeeper:
    """Return a gatekeeper that lets everybody in and offers plain answers alone."""
    return Gatekeeper(DoorRules(rate_per_s=0.0, interleaved=False), secret=bytes(SECRET_OCTETS))


def is_loopback(address: bytes) -> bool:
    """Return whether an address of 4 or 16 octets never left this machine."""
    if len(address) == 16 and address[:12] != _MAPPED:
        return address == _LOOPBACK_V6
    return address[-4] == 127


_MAPPED = bytes(10) + b"\xff\xff"
_LOOPBACK_V6 = bytes(15) + b"\1"


def _octets_of(host: str) -> bytes:
    """Return an address in octets, none for what is no address."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host.partition("%")[0])
    except (OSError, ValueError):
        return b""
