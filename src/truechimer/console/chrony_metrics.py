"""Chrony metrics: the names of chrony_exporter, where a value of ours means the same, so that its dashboards show data.

It invents no value: what chronyd has and a laboratory has not (residual frequency, RMS offset, update interval, NTS
and command packets) is left out. Source: the collectors of chrony_exporter (names, labels, words) and chronyd's own
reports for the signs: offsets are positive where we are ahead, a frequency where the oscillator is fast,
`current_correction` (system time) where the system clock is slow.
"""

from collections.abc import Callable, Iterator, Mapping

from truechimer.console.metric_samples import (
    Counters,
    Document,
    Family,
    Sample,
    Samples,
    label,
    number,
    offset_s,
    one,
    reach_ratio,
    rows,
    source_bound_s,
)
from truechimer.daemon.door import counters as names

PPM = 1e6

SOURCE_STATES = {"*": "sync", "+": "candidate", "-": "outlier", "x": "falseticker", "~": "jittery", "?": "unreach"}
"""The exporter's words for chrony's marks in column 1."""


def _chrony_offset(document: Document, _: Counters) -> Iterator[Sample]:
    value = offset_s(document)
    if value is not None:
        yield (), value


def _chrony_dispersion(document: Document, _: Counters) -> Iterator[Sample]:
    bound_s = number(document, "bound_s")
    if bound_s is not None:
        yield (), bound_s + (number(document, "root_dispersion", "simulated_anchor_doubt_s") or 0.0)


def _chrony_frequency(document: Document, _: Counters) -> Iterator[Sample]:
    """Give the host's oscillator against UTC as predicted: its rate against the scale, less that of UTC."""
    y_utc = number(document, "utc_minus_scale", "y")
    for row in rows(document, "clocks"):
        y_host = number(row, "rate")
        if row.get("name") == "host" and y_host is not None and y_utc is not None:
            yield (), PPM * (y_host - y_utc)


def _chrony_info(document: Document, _: Counters) -> Iterator[Sample]:
    refid = document["ntp"].get("refid") if isinstance(document.get("ntp"), Mapping) else None
    if refid is not None:
        yield (label(document.get("lab")), label(document.get("scale")), label(refid)), 1.0


def _chrony_sources(value: Callable[[Document], float | None]) -> Samples:
    def samples(document: Document, _: Counters) -> Iterator[Sample]:
        for row in rows(document, "sources"):
            found = value(row)
            if found is not None and row.get("name") is not None:
                yield (label(row["name"]), label(row["name"])), found

    return samples


def _chrony_source_state(document: Document, _: Counters) -> Iterator[Sample]:
    for row in rows(document, "sources"):
        state = SOURCE_STATES.get(str(row.get("mark")))
        if state is not None and row.get("name") is not None:
            mode = "client" if str(row.get("kind")) in {"ntp", "nts", "chrony"} else "reference clock"
            yield (label(row["name"]), label(row["name"]), state, mode), 1.0


def _chrony_success(row: Document) -> float | None:
    reach = row.get("reach")
    return None if isinstance(reach, bool) or not isinstance(reach, int) else float(reach & 1)


def _chrony_ahead(row: Document) -> float | None:
    value = number(row, "offset_s")
    return None if value is None else 0.0 - value


def _chrony_requests(_: Document, doors: Counters) -> Iterator[Sample]:
    """Valid requests: the answered ones, and those whose answer could not be sent."""
    for door, counts in doors.items():
        valid = [counts[name] for name in (*names.REPLY_COUNTERS.values(), names.SEND_FAILED) if name in counts]
        if valid:
            yield (door,), float(sum(valid))


_DOOR = ("listener",)
_CHRONY_SOURCE = ("source_address", "source_name")

CHRONY: tuple[Family, ...] = (
    Family(
        "chrony_tracking_info",
        "Compatibility: always 1; the laboratory, its scale and the reference identifier of its NTP door.",
        _chrony_info,
        ("tracking_address", "tracking_name", "tracking_refid"),
    ),
    Family(
        "chrony_tracking_stratum",
        "Compatibility: stratum of the NTP door, 0 while unsynchronised.",
        one("ntp", "stratum"),
    ),
    Family(
        "chrony_tracking_last_offset_seconds",
        "Compatibility: UTC(k) minus UTC as predicted from the sources, positive where we are ahead.",
        _chrony_offset,
    ),
    Family(
        "chrony_tracking_root_delay_seconds",
        "Compatibility: root delay that the NTP door states.",
        one("ntp", "root_delay_s"),
    ),
    Family(
        "chrony_tracking_root_dispersion_seconds",
        "Compatibility: root dispersion that the NTP door states: our bound, and 1 s more in a simulated laboratory.",
        _chrony_dispersion,
    ),
    Family(
        "chrony_tracking_frequency_ppms",
        "Compatibility: rate of this host's raw oscillator minus that of UTC, parts per million, positive where it is "
        "fast.",
        _chrony_frequency,
    ),
    Family(
        "chrony_tracking_skew_ppms",
        "Compatibility: limit of the error of that rate, parts per million.",
        one("bound_growth", factor=PPM),
    ),
    Family(
        "chrony_tracking_system_time_seconds",
        "Compatibility: UTC as stated minus this host's wall clock, positive where the wall clock is slow.",
        one("host_clock", "x_host_clock_minus_utc_s", factor=-1.0),
    ),
    Family(
        "chrony_sources_last_sample_age_seconds",
        "Compatibility: age of the source's last value.",
        _chrony_sources(lambda row: number(row, "age_s")),
        _CHRONY_SOURCE,
    ),
    Family(
        "chrony_sources_last_sample_offset_seconds",
        "Compatibility: UTC(k) minus the source, positive where we are ahead.",
        _chrony_sources(_chrony_ahead),
        _CHRONY_SOURCE,
    ),
    Family(
        "chrony_sources_last_sample_error_margin_seconds",
        "Compatibility: how far that may be wrong: six sigma plus the limit of what the source cannot exclude.",
        _chrony_sources(source_bound_s),
        _CHRONY_SOURCE,
    ),
    Family(
        "chrony_sources_reachability_ratio",
        "Compatibility: share of the last eight questions that were answered.",
        _chrony_sources(reach_ratio),
        _CHRONY_SOURCE,
    ),
    Family(
        "chrony_sources_reachability_success",
        "Compatibility: 1 where the last question was answered.",
        _chrony_sources(_chrony_success),
        _CHRONY_SOURCE,
    ),
    Family(
        "chrony_sources_polling_interval_seconds",
        "Compatibility: time between two questions.",
        _chrony_sources(lambda row: number(row, "poll_s")),
        _CHRONY_SOURCE,
    ),
    Family(
        "chrony_sources_stratum",
        "Compatibility: stratum that the source states.",
        _chrony_sources(lambda row: number(row, "stratum")),
        _CHRONY_SOURCE,
    ),
    Family(
        "chrony_sources_state_info",
        "Compatibility: always 1; the exporter's words for what became of the source.",
        _chrony_source_state,
        (*_CHRONY_SOURCE, "source_state", "source_mode"),
    ),
    Family(
        "chrony_serverstats_ntp_packets_received_total",
        "Compatibility: valid NTP requests, by listener.",
        _chrony_requests,
        _DOOR,
    ),
)
"""Every metric of the compatibility set but `chrony_up`, in the order in which they are served."""
