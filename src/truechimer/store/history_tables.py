"""The tables of the history, and the rows that one record gives: text of a journal as numbers in columns.

It reads and writes no files. A missing value is NaN or None; a reading that was not there gives no row. Epochs are
whole nanoseconds since 1970-01-01T00:00:00 TAI; a day is a day of TAI. `seq` names the record that a row comes from, so
that every figure can be led back to it. Records: `laboratory.records`, guide "Records".
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.register import Register
from truechimer.errors import Rejected
from truechimer.scale.state import Membership
from truechimer.steer.bound import BoundTerms

DAY_NS = 86_400 * 10**9
_FS_PER_NS = 10**6
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
INTEGER, NUMBER, TEXT, TRUTH = "BIGINT", "DOUBLE", "VARCHAR", "BOOLEAN"
_PLACE = {"seq": INTEGER, "epoch_tai_ns": INTEGER}

TABLES: dict[str, dict[str, str]] = {
    "readings": _PLACE
    | {"clock_a": TEXT, "clock_b": TEXT, "x_a_minus_b_s": NUMBER, "u_s": NUMBER, "limit_s": NUMBER, "age_s": NUMBER}
    | {"raw_ns": INTEGER},
    "link_quality": _PLACE | {"receiver": TEXT, "link": TEXT, "level": TEXT, "reasons": TEXT},
    "published": _PLACE
    | {"name": TEXT, "sha256": TEXT, "outcome": TEXT, "path": TEXT, "of_epoch_tai_ns": INTEGER, "unit": TEXT}
    | {"published": NUMBER, "utc_minus_scale": NUMBER, "u": NUMBER, "became": TEXT},
    "scale_steps": _PLACE
    | {"clock": TEXT, "x_clock_minus_scale_s": NUMBER, "weight": NUMBER, "membership": TEXT}
    | {"detection_floor_s": NUMBER, "divided": TRUTH},
    "selections": _PLACE
    | {"state": TEXT, "selected": TEXT, "outvoted": TEXT, "x_utc_minus_scale_s": NUMBER, "u_s": NUMBER}
    | {"limit_s": NUMBER, "predicted_x_s": NUMBER, "predicted_y": NUMBER, "predicted_u_s": NUMBER},
    "steering": _PLACE
    | {"what": TEXT, "x_utck_minus_scale_s": NUMBER, "y_steer": NUMBER, "valid_until_tai_ns": INTEGER}
    | {"because": TEXT, "refused": TEXT, "says": TEXT},
    "served_time": _PLACE
    | {"anchor_sub_ns_fs": INTEGER, "anchor_raw_ns": INTEGER, "rate": NUMBER, "state": TEXT}
    | {"bound_s": NUMBER, "bound_growth": NUMBER, "u_s": NUMBER}
    | {f"term_{name}": NUMBER for name in BoundTerms.__dataclass_fields__},
    "states": _PLACE | {"before": TEXT, "after": TEXT},
    "alerts": _PLACE
    | {"alert": TEXT, "component": TEXT, "subject": TEXT, "severity": TEXT, "says": TEXT, "because": TEXT}
    | {"do_next": TEXT},
    "runs": _PLACE
    | {"name": TEXT, "scale_name": TEXT, "version": TEXT, "simulated": TRUTH, "resumes": TRUTH, "boot_id": TEXT}
    | {"anchor_raw_ns": INTEGER, "clocks": TEXT},
}
"""Table: its columns and their types in Parquet, in order."""

_METHODS = {
    "run-start": "_run_start",
    "register": "_register",
    "readings": "_readings",
    "link-quality": "_link_quality",
    "published": "_published",
    "scale-step": "_scale_step",
    "selection": "_selection",
    "coordination-start": "_steering",
    "steer": "_steering",
    "served-time": "_served_time",
    "state": "_state",
    "alert": "_alert",
}
DECODED_KINDS = frozenset(_METHODS)
"""Kinds of records that have a table, or say what the indices of others mean."""
Row = tuple[Any, ...]
_MEMBERSHIPS = {member.value: member.name.lower().replace("_", "-") for member in Membership}
_UNITS = {"rate": "1", "bound_growth": "1", "predicted_y": "1", "y_steer": "1"}


class HistoryRecordRejected(Rejected):
    """A record is not what this version writes."""


@dataclass(slots=True)
class Decoder:
    """Records into rows, in the order of the journal.

    Invariant: `register` is what the records so far say; `register_seqs` are those that say it.
    """

    register: Register = field(default_factory=lambda: Register((), (), ()))
    register_seqs: list[int] = field(default_factory=list)

    def rows(self, body: dict[str, Any]) -> Iterator[tuple[str, Row]]:
        """Yield (table, row) of one record; raises `HistoryRecordRejected`. A kind without a table gives none."""
        if body["kind"] not in DECODED_KINDS:
            return
        try:
            yield from getattr(self, _METHODS[body["kind"]])(body)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise HistoryRecordRejected(
                f"record {body.get('seq')} ({body['kind']}) is not as this version writes it ({error!r}); use the "
                "version that wrote it"
            ) from None

    def _run_start(self, body: dict[str, Any]) -> Iterator[tuple[str, Row]]:
        clocks = tuple(Clock(name=one["name"], kind=ClockKind(one["kind"])) for one in body["clocks"])
        self.register = Register(clocks, (), ()).with_links(_pairs(body))
        self.register_seqs = [body["seq"]]
        yield (
            "runs",
            (
                *(body["seq"], int(body["anchor_tai_ns"]), body["name"], body["scale_name"], body["version"]),
                *(body["simulated"], body["resumes"], body["boot_id"], int(body["anchor_raw_ns"])),
                " ".join(clock.name for clock in clocks),
            ),
        )

    def _register(self, body: dict[str, Any]) -> Iterator[tuple[str, Row]]:
        self.register = self.register.with_links(_pairs(body))
        self.register_seqs.append(body["seq"])
        return iter(())

    def _readings(self, body: dict[str, Any]) -> Iterator[tuple[str, Row]]:
        x_s, u_s = body["x_a_minus_b_s"], body["u_s"]
        zeros = ["0.0 s"] * len(x_s)
        limit_s, age_s = body.get("limit_s", zeros), body.get("age_s", zeros)
        seq, epoch, raw = body["seq"], int(body["epoch_tai_ns"]), int(body["raw_ns"]) if "raw_ns" in body else None
        links = self.register.links
        if not len(links) == len(x_s) == len(u_s) == len(limit_s) == len(age_s):
            raise ValueError(f"{len(x_s)} readings for {len(links)} links")
        name = self.register.name_of
        for k, link in enumerate(links):
            if x_s[k] is not None:
                values = (_number(one[k], "s") for one in (x_s, u_s, limit_s, age_s))
                yield "readings", (seq, epoch, name(link.a), name(link.b), *values, raw)

    def _link_quality(self, body: dict[str, Any]) -> Iterator[tuple[str, Row]]:
        reasons = " ".join(f"{reason}={level}" for reason, level in body["reasons"])
        place = (body["seq"], int(body["epoch_tai_ns"]))
        yield "link_quality", (*place, body["receiver"], body["link"], body["level"], reasons)

    def _published(self, body: dict[str, Any]) -> Iterator[tuple[str, Row]]:
        file = (body["seq"], int(body["epoch_tai_ns"]), body["name"], body["sha256"], body["outcome"])
        for value in body["values"]:
            if "path" not in value:
                continue  # a row that no path could take: its fate stands in the record
            unit = value["published"].partition(" ")[2]
            if unit not in {"s", "1"}:
                raise ValueError(f"{value['published']!r} is neither a phase nor a rate")
            numbers = (_number(value[key], unit) for key in ("published", "utc_minus_scale", "u"))
            yield "published", (*file, value["path"], int(value["epoch_tai_ns"]), unit, *numbers, value["became"])

    def _scale_step(self, body: dict[str, Any]) -> Iterator[tuple[str, Row]]:
        seq, epoch = body["seq"], int(body["epoch_tai_ns"])
        floor_s, divided = _number(body["detection_floor_s"], "s"), body["divided"]
        clocks, weights, members = self.register.clocks, body["weight"], body["membership"]
        if not len(clocks) == len(weights) == len(members) == len(body["x_clock_minus_scale_s"]):
            raise ValueError(f"{len(weights)} weights for {len(clocks)} clocks")
        for k, x in enumerate(body["x_clock_minus_scale_s"]):
            values = (_number(x, "s"), _number(weights[k], "1"), _MEMBERSHIPS[members[k]])
            yield "scale_steps", (seq, epoch, clocks[k].name, *values, floor_s, divided)

    def _selection(self, body: dict[str, Any]) -> Iterator[tuple[str, Row]]:
        outside, references = self.register.outside, self.register.references
        named = (" ".join(references[outside[k].reference].name for k in body[w]) for w in ("selected", "outvoted"))
        keys = ("x_utc_minus_scale_s", "u_s", "limit_s", "predicted_x_s", "predicted_y", "predicted_u_s")
        yield (
            "selections",
            (body["seq"], int(body["epoch_tai_ns"]), body["state"], *named, *(_of(body, key) for key in keys)),
        )

    def _steering(self, body: dict[str, Any]) -> Iterator[tuple[str, Row]]:
        until = int(body["valid_until_tai_ns"]) if "valid_until_tai_ns" in body else None
        yield (
            "steering",
            (
                *(body["seq"], int(body["epoch_tai_ns"]), body["kind"], _of(body, "x_utck_minus_scale_s")),
                *(_of(body, "y_steer"), until, body.get("because"), body.get("refused"), body.get("says")),
            ),
        )

    def _served_time(self, body: dict[str, Any]) -> Iterator[tuple[str, Row]]:
        epoch, sub_ns_fs = divmod(int(body["anchor_tai_fs"]), _FS_PER_NS)
        terms = dict(body["terms"])
        values = [_number(terms.pop(name, None), "s") for name in BoundTerms.__dataclass_fields__]
        if terms:
            raise ValueError(f"terms {sorted(terms)} of the bound")
        yield (
            "served_time",
            (
                *(body["seq"], epoch, sub_ns_fs, int(body["anchor_raw_ns"]), _of(body, "rate"), body["state"]),
                *(_of(body, "bound_s"), _of(body, "bound_growth"), _of(body, "u_s"), *values),
            ),
        )

    def _state(self, body: dict[str, Any]) -> Iterator[tuple[str, Row]]:
        yield "states", (body["seq"], int(body["epoch_tai_ns"]), body["before"], body["after"])

    def _alert(self, body: dict[str, Any]) -> Iterator[tuple[str, Row]]:
        words = (body[key] for key in ("alert", "component", "subject", "severity", "says"))
        because = " ".join(str(one) for one in body["because"])
        yield "alerts", (body["seq"], int(body["epoch_tai_ns"]), *words, because, body["do_next"])


def day_of(epoch_tai_ns: int) -> str:
    """Return the day of TAI that an epoch lies in, as `2026-01-31`; raises `ValueError` before year 1 or after 9999."""
    return date.fromordinal(_EPOCH_ORDINAL + epoch_tai_ns // DAY_NS).isoformat()


def _pairs(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(str(a), str(b)) for a, b in body["pairs"]]


def _of(body: dict[str, Any], key: str) -> float:
    """Return a quantity of a record, NaN where it has none."""
    return _number(body.get(key), _UNITS.get(key, "s"))


def _number(text: str | None, unit: str) -> float:
    """Return a quantity's number, NaN for None; raises `ValueError` for another unit."""
    if text is None:
        return float("nan")
    number, _, found = text.partition(" ")
    if found != unit:
        raise ValueError(f"{text!r} is not in {unit}")
    return float(number)
