"""What the running laboratory says of its log: the block `evidence` of `status`, and since when nobody witnessed it.

It judges nothing and must stay light. A log that nobody outside has cosigned lately proves nothing against whoever
holds this machine, so that is said wherever the time is stated.
"""

import json
from typing import Any

from truechimer.daemon.lab_start import Started
from truechimer.daemon.log.log_state import LogState, TroubleKind, WitnessRow
from truechimer.errors import Rejected
from truechimer.instants import FS_PER_NS, FS_PER_S, Instant, LeapTable, to_utc

WITNESSED_WITHIN_S = 60.0
"""What was signed and not cosigned for longer is called unwitnessed: witnesses are asked every ten seconds."""
UNPUBLISHED_AFTER_S = 10.0
"""A signer of a laboratory that was killed takes two seconds to let the key go; this is no trouble yet."""


def log_began_ns(started: Started) -> int:
    """Return the epoch (TAI ns) at which the records of this laboratory begin."""
    try:
        first = json.loads(next(iter(started.store.read(first=0))))
        return int(first["anchor_tai_ns"])
    except (Rejected, StopIteration, LookupError, ValueError, TypeError):
        return started.label.tai_ns


def utc_of(tai_ns: int, leaps: LeapTable) -> str:
    """Return an epoch as UTC text to the second."""
    return to_utc(Instant.from_tai_ns(max(tai_ns, 0)), leaps, beyond_expiry="flag").isoformat(digits=0)


def tai_of_unix(unix_s: int, leaps: LeapTable) -> int:
    """Return what a witness calls a POSIX second, on the TAI axis (ns)."""
    about = Instant(unix_s * FS_PER_S + leaps.entries[-1].tai_minus_utc_s * FS_PER_S)
    return (unix_s + leaps.tai_minus_utc_at(about)) * FS_PER_S // FS_PER_NS


def unwitnessed_since_ns(state: LogState | None, started: Started, *, raw_ns: int, log_began_ns: int) -> int | None:
    """Return since when (TAI ns) nobody outside vouches for what is recorded; None while enough witnesses do."""
    if state is None or state.quorum == "none" or state.witnessed < 0:
        return log_began_ns
    waits_s = (raw_ns - state.waits_since_raw_ns) / 1e9 if state.waits_since_raw_ns else 0.0
    if waits_s <= WITNESSED_WITHIN_S and not state.trouble:
        return None
    return min(tai_of_unix(state.witnessed_s, started.config.leaps), started.label.at(raw_ns))


def document(
    state: LogState | None, started: Started, *, is_on: bool, raw_ns: int, log_began_ns: int
) -> dict[str, Any]:
    """Return the block `evidence` of `status`. What there is no value for is absent."""
    leaps = started.config.leaps
    since_ns = unwitnessed_since_ns(state if is_on else None, started, raw_ns=raw_ns, log_began_ns=log_began_ns)
    body: dict[str, Any] = {"state": state_word(state, is_on=is_on, raw_ns=raw_ns)}
    if since_ns is not None:
        body["unwitnessed_since"] = utc_of(since_ns, leaps)
    body["says"] = sentence(state, is_on=is_on, since=body.get("unwitnessed_since"))
    if state is None or not is_on:
        return body
    body |= {"pid": state.pid, "quorum": state.quorum, "records": started.state.chain.seq}
    if state.origin:
        body |= {"origin": state.origin, "log_key": state.log_key}
    if state.root:
        signed = started.label.at(state.signed_raw_ns)
        body |= {"size": state.size, "root": state.root, "published": max(state.published, 0)}
        body |= {"signed": utc_of(signed, leaps), "waiting": max(0, started.state.chain.seq - state.size)}
    if state.witnessed >= 0:
        body["witnessed"] = {"size": state.witnessed, "at": utc_of(tai_of_unix(state.witnessed_s, leaps), leaps)}
    body["witnesses"] = [_witness(row, leaps) for row in state.witnesses]
    if state.trouble:
        since = utc_of(started.label.at(state.trouble_since_raw_ns), leaps)
        body["trouble"] = {"kind": state.trouble, "says": state.trouble_says, "since": since}
    body["contradictions"] = [
        {
            "witness": one.witness,
            "what": one.what,
            "size": one.size,
            "root": one.root,
            "says": one.says,
            "seen": utc_of(started.label.at(one.raw_ns), leaps),
        }
        for one in state.contradictions
    ]
    return body


def state_word(state: LogState | None, *, is_on: bool, raw_ns: int) -> str:
    """Return `off`, `starting`, `published`, `unpublished` or `contradicted`."""
    if not is_on:
        return "off"
    if state is None:
        return "starting"
    if state.contradictions or state.trouble == TroubleKind.CONTRADICTION:
        return "contradicted"
    if state.trouble and raw_ns - state.trouble_since_raw_ns > UNPUBLISHED_AFTER_S * 1e9:
        return "unpublished"
    return "published" if state.root else "starting"


def sentence(state: LogState | None, *, is_on: bool, since: str | None) -> str:
    """Return in one sentence what the log is worth now."""
    if not is_on:
        return f"records are not published as a signed log ([evidence] publish = false); unwitnessed since {since}"
    if state is not None and state.contradictions:
        one = state.contradictions[-1]
        return f"CONTRADICTED by {one.witness}: {one.says}"
    if state is not None and state.trouble == TroubleKind.CONTRADICTION:
        return f"CONTRADICTED: {state.trouble_says}"
    if state is not None and state.trouble:
        return f"records are not published ({state.trouble_says})"
    if since is None:
        return "signed as it is written, and cosigned by enough witnesses"
    if state is None or state.quorum == "none":
        return f"unwitnessed since {since}: no witness is named ([evidence] witnesses), so only this machine vouches"
    return f"unwitnessed since {since}: {missing(state)}"


def missing(state: LogState) -> str:
    """Return in words why not enough witnesses have cosigned."""
    bad = [row for row in state.witnesses if row.state not in {"good", "new"}]
    named = "; ".join(f"{row.name}: {row.says}" for row in bad[:3])
    return f"the policy asks for {state.quorum!r} ({named or 'no answer yet'})"


def _witness(row: WitnessRow, leaps: LeapTable) -> dict[str, Any]:
    body: dict[str, Any] = {"name": row.name, "url": row.url, "state": row.state.value}
    if row.at_s:
        body |= {"size": row.size, "at": utc_of(tai_of_unix(row.at_s, leaps), leaps)}
    return body | ({"says": row.says} if row.says else {})
