"""Receiver records: receivers of a run, what they said and what was made of it, as they stand in the log, and back.

It judges nothing (`receiving`). What a receiver did not say is absent. Numbers stand as `evidence.record` writes them.
"""

from dataclasses import fields
from typing import Any

from truechimer.compare.receiver_epoch import ReceiverEpoch
from truechimer.compare.receiver_quality import Limits, LinkQuality
from truechimer.errors import Misuse
from truechimer.evidence.record import integer, number_of, numbers_of, quantities, quantity
from truechimer.laboratory.receiving import Evidence, Receiver

_FLOATS = {"agc": "1", "noise": "1", "bias_s": "s", "drift": "1", "utc_minus_gps_s": "s"}
_INTEGERS = ("used", "leap_s", "leap_change_s", "leap_change_in_s")
_LIMIT_UNITS = {
    "clock_rate": "1",
    "systems_rate": "1",
    "position_m": "m",
    "cno_fall_db": "dB",
    "cno_most_dbhz": "dB-Hz",
    "cno_spread_db": "dB",
    "gain": "1",
}
"""Units of what is not in seconds."""
MOST_SATELLITES = 256
_WHOLE = frozenset({"earliest_tai_ns"})


def evidence_body(one: Evidence) -> dict[str, Any]:
    """Return what a receiver said, as it stands in the record `readings`."""
    epoch = one.epoch
    body: dict[str, Any] = {"receiver": one.receiver, "epoch_tai_ns": str(epoch.epoch_tai_ns)}
    if one.heard_ns:
        body["heard_ns"] = str(one.heard_ns)
    if epoch.fix_ok is not None:
        body["fix_ok"] = epoch.fix_ok
    if epoch.utc_tai_ns is not None:
        body["utc_tai_ns"] = str(epoch.utc_tai_ns)
    if epoch.position_m is not None:
        body["position_m"] = quantities(epoch.position_m, "m")
    if epoch.cno_dbhz is not None:
        body["cno_dbhz"] = quantities(epoch.cno_dbhz[:MOST_SATELLITES], "dB-Hz")
    for name, unit in _FLOATS.items():
        value = getattr(epoch, name)
        if value is not None:
            body[name] = quantity(value, unit)
    for name in _INTEGERS:
        value = getattr(epoch, name)
        if value is not None:
            body[name] = integer(value)
    if epoch.x_gps_minus_s:
        body["x_gps_minus_s"] = [[name, quantity(x, "s")] for name, x in epoch.x_gps_minus_s]
    for name in ("jamming", "spoofing"):
        if getattr(epoch, name):
            body[name] = getattr(epoch, name)
    return body


def evidence_from(body: Any, n_receivers: int) -> Evidence:
    """Read it back; raises `KeyError`, `TypeError`, `ValueError` or `RecordRejected` where it is not that."""
    receiver = body["receiver"]
    if type(receiver) is not int or not 0 <= receiver < n_receivers:
        raise ValueError(f"{receiver!r} is no receiver of this run")
    said: dict[str, Any] = {"epoch_tai_ns": int(body["epoch_tai_ns"])}
    if "fix_ok" in body:
        said["fix_ok"] = body["fix_ok"] is True
    if "utc_tai_ns" in body:
        said["utc_tai_ns"] = int(body["utc_tai_ns"])
    if "position_m" in body:
        x, y, z = numbers_of(body["position_m"], "m")
        said["position_m"] = (x, y, z)
    if "cno_dbhz" in body:
        said["cno_dbhz"] = tuple(numbers_of(body["cno_dbhz"], "dB-Hz"))
    said |= {name: number_of(body[name], unit) for name, unit in _FLOATS.items() if name in body}
    said |= {name: int(body[name]) for name in _INTEGERS if name in body}
    said["x_gps_minus_s"] = tuple((str(name), number_of(x, "s")) for name, x in body.get("x_gps_minus_s", ()))
    said |= {name: int(body[name]) for name in ("jamming", "spoofing") if name in body}
    return Evidence(receiver, int(body.get("heard_ns", 0)), ReceiverEpoch(**said))


def receiver_body(one: Receiver) -> dict[str, Any]:
    """Return a receiver as it stands in the record `run-start`: of its limits only those that are not the usual."""
    body: dict[str, Any] = {"name": one.name, "link": one.link, "span_s": quantity(one.span_s, "s")}
    if one.antenna_m is not None:
        body["antenna_m"] = quantities(one.antenna_m, "m")
    if one.on_laboratory_clock:
        body["on_laboratory_clock"] = True
    usual = Limits()
    for item in fields(Limits):
        value = getattr(one.limits, item.name)
        if value != getattr(usual, item.name):
            text = str(value) if item.name in _WHOLE else quantity(value, _LIMIT_UNITS.get(item.name, "s"))
            body.setdefault("limits", {})[item.name] = text
    return body


def receiver_from(body: Any) -> Receiver:
    """Read it back; raises `KeyError`, `TypeError`, `ValueError` or `RecordRejected`."""
    antenna = None
    if "antenna_m" in body:
        x, y, z = numbers_of(body["antenna_m"], "m")
        antenna = (x, y, z)
    limits: dict[str, Any] = {}
    for name, text in body.get("limits", {}).items():
        if name not in Limits.__slots__:
            raise ValueError(f"{name!r} is no limit")
        limits[name] = int(text) if name in _WHOLE else number_of(text, _LIMIT_UNITS.get(name, "s"))
    return Receiver(
        name=str(body["name"]),
        link=str(body["link"]),
        antenna_m=antenna,
        on_laboratory_clock=body.get("on_laboratory_clock") is True,
        span_s=number_of(body["span_s"], "s"),
        limits=Limits(**limits),
    )


_FIGURE_UNITS = (("_dbhz", "dB-Hz"), ("_db", "dB"), ("_m", "m"), ("_s", "s"))


def quality_body(receiver: Receiver, quality: LinkQuality, epoch_ns: int) -> tuple[str, dict[str, Any]]:
    """Return the record of a link whose level or reasons changed: what stands against it, and what was measured."""
    if not epoch_ns:
        raise Misuse("a quality is recorded at an epoch of the fold")
    return "link-quality", {
        "epoch_tai_ns": str(epoch_ns),
        "receiver": receiver.name,
        "link": receiver.link,
        "level": quality.level.value,
        "reasons": [[reason.value, level.value] for reason, level in quality.reasons],
        "figures": {name: quantity(value, _unit_of(name)) for name, value in sorted(quality.figures.items())},
    }


def _unit_of(name: str) -> str:
    return next((unit for end, unit in _FIGURE_UNITS if name.endswith(end)), "1")
