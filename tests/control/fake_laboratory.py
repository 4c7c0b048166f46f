"""A laboratory that only answers: a real control socket, and documents that a test writes.

Its time is this host's wall clock as a label; the documents have the keys of `docs/guide/status.md`.
"""

import copy
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from truechimer.daemon.answering.control_socket import ControlSocket
from truechimer.instants import FS_PER_S, Instant, Span, builtin_leap_table, to_utc

LEAPS = builtin_leap_table()


def time_keys(instant: Instant, bound_s: float = 31.24e-9) -> dict[str, Any]:
    """Return the time fields of `now` at an instant."""
    half = Span.from_seconds(bound_s)
    label = {
        name: to_utc(at, LEAPS, beyond_expiry="flag").isoformat(digits=12)
        for name, at in (("utc", instant), ("earliest", instant - half), ("latest", instant + half))
    }
    return label | {
        "tai_ns": instant.tai_ns_floor,
        "tai_fs": str(instant.tai_fs),
        "earliest_tai_fs": str((instant - half).tai_fs),
        "latest_tai_fs": str((instant + half).tai_fs),
        "bound_s": bound_s,
        "u_s": 4.1e-9,
        "coverage": 0.999,
    }


def host_label() -> Instant:
    """Return the wall clock of this host as an instant: a label, no more."""
    return Instant(time.time_ns() * 10**6 + 37 * FS_PER_S)


def a_clock(name: str, weight: float = 0.2, **changes: Any) -> dict[str, Any]:
    row = {"name": name, "kind": "maser", "weight": weight, "state": "in", "reason": ""}
    return row | {"x_clock_minus_scale_s": -1.234e-7, "rate": 3.2e-14} | changes


def a_source(name: str, verdict: str = "selected", mark: str = "+", **changes: Any) -> dict[str, Any]:
    row = {"name": name, "mark": mark, "kind": "ntp", "verdict": verdict, "operator": f"{name}.example"}
    row |= {"stratum": 1, "poll_s": 64.0, "age_s": 12.4, "offset_s": 2.5e-6, "u_s": 1e-6, "limit_s": 3e-4}
    return row | {"values": 17, "reach": 255} | changes


STATUS: dict[str, Any] = {
    "state": "steered",
    "state_sentence": "steered on UTC by a majority of sources",
    "against": "simulated-utc",
    "scale": "SIM(demo)",
    "synchronised": True,
    "missing": [],
    "lab": "demo",
    "pid": os.getpid(),
    "uptime_s": 185.0,
    "version": "0.1.0",
    "policy_sentence": "single signer, software key",
    "terms": {
        "u_utc_prediction_s": 2.0e-9,
        "u_scale_since_outside_s": 0.4e-9,
        "u_host_link_s": 3.0e-9,
        "limit_links_s": 2.0e-9,
        "limit_steering_s": 0.0,
        "limit_undetected_s": 6.1e-9,
        "limit_host_rate_s": 1.0e-9,
        "limit_stamps_s": 0.0,
        "limit_leap_s": 0.0,
    },
    "scale_bound_s": 21.3e-9,
    "bound_growth": 1e-8,
    "holdover_remaining_s": 187_000.0,
    "holdover_limit_s": 1e-3,
    "holdover_without": "sources and clocks",
    "selection": {"state": "majority", "selected": 2, "named": ["UTC.p3"]},
    "root_dispersion": {"bound_s": 31.24e-9, "simulated_anchor_doubt_s": 1.0},
    "utc_minus_scale": {"x_s": 1.2e-8, "y": 2e-15, "u_s": 1e-9, "limit_s": 2e-9},
    "policy": {
        "version": 1,
        "insecure_software_keys": True,
        "orders_applied": 1,
        "change_waits": False,
    },
    "steering": {
        "y_steer": -1.2e-15,
        "x_utck_minus_scale_s": 1.19e-8,
        "envelope_valid_until": "2099-02-20T00:00:00.000000000000Z",
        "per_change": 2.3e-14,
        "per_day_s": 2e-9,
    },
    "clocks": [
        a_clock("maser1", 0.31),
        a_clock("maser2", 0.33, x_clock_minus_scale_s=8.8e-8),
        a_clock("caesium1", 0.09, kind="caesium", rate=-1.1e-13),
        a_clock("caesium2", 0.0, kind="caesium", state="out-step", reason="phase step"),
        a_clock("host", 0.0, kind="host", state="observer", reason="observer, weight 0 by rule", rate=1.2e-6),
    ],
    "sources": [
        a_source("UTC.p1", mark="*", kind="simulated"),
        a_source("UTC.p2"),
        a_source("UTC.p3", "outvoted", "x", offset_s=3.1e-4),
        {"name": "UTC.p4", "mark": "?", "kind": "ntp", "verdict": "never", "operator": "p4.example", "values": 0},
    ],
    "listeners": [
        {
            "protocol": "ntp",
            "address": "127.0.0.1",
            "port": 11123,
            "pid": 1,
            "bound_limit_s": 1e-3,
            "counters": {"received": 42},
            "self_probe": {
                "asks": True,
                "questions": 40,
                "unanswered": 0,
                "error_s": -8.4e-7,
                "half_delay_s": 1.3e-5,
                "explained_s": 2.3e-5,
                "is_off": False,
            },
        }
    ],
    "alerts": [
        {
            "alert": "clock-step",
            "component": "scale",
            "subject": "caesium2",
            "severity": "warning",
            "says": "caesium2 stepped by +20.1 ns and is out of the scale",
            "do_next": "look at its counter and cable; it comes back by itself once it behaves",
            "epoch_tai_ns": 1,
        }
    ],
    "records": 1201,
    "epochs": 400,
    "rejected_readings": 0,
    "reading_faults": [],
    "leap": {
        "tai_minus_utc_s": 37,
        "expires": "2099-06-28T00:00:00Z",
        "source": "IERS",
        "disputed": False,
        "notices_refused": 0,
    },
}


def a_history(names: tuple[str, ...] = ("maser1", "maser2", "caesium1"), rows: int = 120) -> dict[str, Any]:
    """Return a history: a day of UTC minus UTC(k), deviations of the named clocks, weights."""
    ages = [720.0 * k for k in range(rows, -1, -1)]
    x = [1.2e-8 * (0.3 - (k % 17) / 34.0) for k in range(rows + 1)]
    taus = [600.0 * 2**k for k in range(8)]
    curves = [
        {"name": name, "tau_s": taus}
        | {key: [by * 3e-14 * (1 + i) / (tau / 600.0) ** 0.5 for tau in taus] for key, by in _INTERVAL}
        | {"n": [rows >> k for k in range(8)]}
        for i, name in enumerate(names)
    ]
    scale = {key: value for key, value in curves[0].items() if key not in {"name", "n"}}
    for key, by in _INTERVAL:
        scale[key] = [by * 1.2e-14 / (tau / 600.0) ** 0.5 for tau in taus]
    return {
        "as_of": "2026-03-01T00:00:00.000Z",
        "as_of_mjd_tai": 61100.000428,
        "interval_s": 10.0,
        "utc": {"age_s": ages, "low_s": x, "high_s": x, "u_s": [1e-9] * len(x), "half_s": [8e-9] * len(x)}
        | {"bound_s": [2.1e-8] * len(x)},
        "deviations": {"estimator": "oadev", "interval": "one sigma", "clocks": curves, "scale": scale},
        "weights": {
            "age_s": ages[::10],
            "clocks": list(names),
            "weight": [[round(1.0 / len(names), 4)] * len(ages[::10]) for _ in names],
        },
    }


_INTERVAL = (("value", 1.0), ("lower", 0.9), ("upper", 1.12))


class FakeLaboratory:
    """Answers on `folder`/run/control.sock. `status` and `history` may be changed while it runs; without `instant` its
    time is the wall clock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.status = copy.deepcopy(STATUS)
        self.history = a_history()
        self.orders: dict[str, Any] | None = None
        self.instant: Instant | None = None
        self.bound_s = 31.24e-9
        self.asked: list[str] = []
        self.socket = ControlSocket(folder / "run", self.answer)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request["ask"])
        if request["ask"] == "sources":
            return {key: self.status[key] for key in ("sources", "clocks")}
        if request["ask"] == "history":
            return self.history
        if request["ask"] == "orders" and self.orders is not None:
            return self.orders
        document = dict(self.status)
        if document["synchronised"]:
            document |= time_keys(self.instant or host_label(), self.bound_s)
        if request["ask"] == "status":
            document["records"] += len(self.asked)
            return document
        if request["ask"] != "now":
            return {"error": f"nothing is known about {request['ask']!r}"}
        kept = ("state", "against", "scale", "synchronised", "missing", "why", *time_keys(host_label()))
        return {key: document[key] for key in kept if key in document}

    def unsynchronise(self, state: str = "freerun") -> None:
        self.status |= {"state": state, "synchronised": False, "why": state, "missing": ["no reading names host"]}
        self.status["state_sentence"] = "the scale runs free"

    def __enter__(self) -> Self:
        self.socket.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
