"""Manifest: what the doors of a laboratory promise whom, as a record of the log: addresses, whom each answers, how
often, with what bound, with which keys, and whether it smears.

It opens no door and changes none. The record is noted at a start and whenever a door's rules are others (an order
brought a policy, a file of keys was edited), so the signed log says for every moment what was in force; a stranger
reads it with `truechimer evidence listeners`. Of keys it has the numbers, never what they are.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from truechimer.daemon.door.door_policy import DoorPolicy, path_of
from truechimer.daemon.door.door_rules import DoorRulesRejected, access_of, keys_in
from truechimer.daemon.lab.listener_settings import Listener, Protocol
from truechimer.quorum.listener_policy import ListenerPolicy

KIND = "listeners"
LOOK_EVERY_S = 1.0
_Stamp = tuple[int, int, int] | None


def promised(
    listener: Listener, policy: ListenerPolicy | None, key_ids: Iterable[int], *, accelerated: bool
) -> dict[str, Any]:
    """Return a listener's part of the manifest. `policy`: an order's, where one is in force; `key_ids`: of the
    symmetric keys that are held; `accelerated`: whether plain requests may be answered below the sockets.
    """
    row: dict[str, Any] = {"protocol": listener.protocol.value}
    if listener.protocol is Protocol.CHRONY_SOCK:
        return row | {"where": listener.where}
    row |= {"address": listener.address, "port": listener.port_number}
    if listener.protocol is not Protocol.NTP:
        return row
    rules = listener.rules
    access_of(rules, policy)  # what it says below is what the door would make of it
    limit_s = listener.bound_limit_s if policy is None else policy.bound_limit_s
    return row | {
        "allow": sorted(rules.allow if policy is None else map(str, policy.allow)),
        "allow_by": "order" if policy is not None else "file",
        "deny": sorted(rules.deny),
        "denied": rules.denied,
        "rate": f"{float(rules.rate_per_s)!r} 1/s",
        "rate_burst": rules.rate_burst,
        "rate_loopback": rules.rate_loopback,
        "bound_limit": f"{float(limit_s)!r} s",
        "smear": rules.smear,
        "interleaved": rules.interleaved,
        "ntpv5": rules.ntpv5,
        "key_ids": sorted(key_ids),
        "stamps": listener.stamps.value,
        "hardware": listener.hardware is not None,
        "accelerator": accelerated,
    }


class Manifest:
    """The manifest of a laboratory in `folder`; `look` says it where it has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next_s = 0.0
        self._said: list[dict[str, Any]] | None = None
        self._policies: dict[str, DoorPolicy] = {}
        self._keys: dict[Path, tuple[_Stamp, tuple[int, ...]]] = {}

    def look(self, doors: Iterable[tuple[str, Listener]], now_s: float) -> list[dict[str, Any]] | None:
        """Return the manifest of these doors (name and listener) where it is another than it was; None where it is not,
        or it was looked at less than a second before `now_s` (monotonic).
        """
        if now_s < self._next_s:
            return None
        self._next_s = now_s + LOOK_EVERY_S
        rows = [self._row(name, listener) for name, listener in doors]
        if rows == (self._said or []):
            return None
        self._said = rows
        return rows

    def _row(self, name: str, listener: Listener) -> dict[str, Any]:
        watched = self._policies.setdefault(name, DoorPolicy(path_of(self._folder, name), name))
        watched.look()
        keys = listener.rules.keys
        held = () if keys is None else self._key_ids(self._folder / keys)
        return promised(listener, watched.policy, held, accelerated=listener.accelerator)

    def _key_ids(self, path: Path) -> tuple[int, ...]:
        """Return the numbers of the keys in a file; those read before where it cannot be read, as doors have it."""
        stamp, held = self._keys.get(path, (None, ()))
        try:
            found = path.stat()
            now: _Stamp = (found.st_mtime_ns, found.st_ino, found.st_mode)
            if now != stamp:
                held = tuple(sorted(keys_in(path)))
        except (OSError, DoorRulesRejected):
            return held
        self._keys[path] = (now, held)
        return held
