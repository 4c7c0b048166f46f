"""Source metrics: who says what UTC is, what became of it in the vote, and what is known of leap seconds.

They measure nothing and keep no number of their own (`laboratory_metrics` says where the values stand).
"""

from collections.abc import Callable, Iterator

from truechimer.compare.receiver_quality import LinkLevel, Reason
from truechimer.compare.selection import Verdict
from truechimer.console.metric_samples import (
    Counters,
    Document,
    Family,
    Sample,
    each,
    flag,
    label,
    number,
    one,
    one_hot,
    reach_ratio,
    rows,
    source_bound_s,
    when,
)
from truechimer.daemon.sources.feeds import LEAP_WORDS


def _verdict(document: Document, _: Counters) -> Iterator[Sample]:
    for row in rows(document, "sources"):
        if row.get("name") is not None:
            for word, value in one_hot(Verdict, row.get("verdict")):
                yield (label(row["name"]), word), value


def _leap_votes(document: Document, _: Counters) -> Iterator[Sample]:
    """Count what the sources' last answers announce; nothing where no source can announce anything."""
    said = [row.get("leap") for row in rows(document, "sources")]
    if any(word in LEAP_WORDS for word in said):
        yield from (((word,), float(said.count(word))) for word in LEAP_WORDS)


def _source_info(document: Document, _: Counters) -> Iterator[Sample]:
    for row in rows(document, "sources"):
        if row.get("name") is not None:
            yield tuple(label(row.get(key)) for key in ("name", "operator", "kind")), 1.0


def _receiver_level(document: Document, _: Counters) -> Iterator[Sample]:
    for row in rows(document, "receivers"):
        if row.get("name") is not None and row.get("level") is not None:
            for word, value in one_hot(LinkLevel, row["level"]):
                yield (label(row["name"]), label(row.get("link")), word), value


def _receiver_reasons(document: Document, _: Counters) -> Iterator[Sample]:
    for row in rows(document, "receivers"):
        if row.get("name") is not None:
            stands = {said.get("reason") for said in rows(row, "reasons")}
            yield from (((label(row["name"]), reason.value), float(reason.value in stands)) for reason in Reason)


def _of_each(name: str, what: str, value: Callable[[Document], float | None]) -> Family:
    """Return the family of one number of each source."""
    return Family(name, what, each("sources", "name", value), ("source",))


SOURCES: tuple[Family, ...] = (
    Family(
        "truechimer_source_info",
        "Always 1; its labels name a source of UTC, whose hand could move it, and its kind.",
        _source_info,
        ("source", "operator", "kind"),
    ),
    _of_each(
        "truechimer_source_offset_seconds",
        "Source minus UTC(k) at its last value, positive where the source is ahead of us (chrony's sign is the other).",
        lambda row: number(row, "offset_s"),
    ),
    _of_each(
        "truechimer_source_error_bound_seconds",
        "How far the source's claim may be wrong: six sigma plus the limit of what it cannot exclude.",
        source_bound_s,
    ),
    _of_each(
        "truechimer_source_uncertainty_seconds",
        "One sigma of the source's claim.",
        lambda row: number(row, "u_s"),
    ),
    _of_each(
        "truechimer_source_delay_seconds",
        "Round trip of the last exchange with the source.",
        lambda row: number(row, "delay_s"),
    ),
    _of_each(
        "truechimer_source_age_seconds",
        "Age of the source's last value, on the raw counter.",
        lambda row: number(row, "age_s"),
    ),
    _of_each(
        "truechimer_source_reach_ratio",
        "Share of the last eight questions to the source that were answered.",
        reach_ratio,
    ),
    _of_each(
        "truechimer_source_stratum",
        "Stratum that the source states.",
        lambda row: number(row, "stratum"),
    ),
    _of_each(
        "truechimer_source_poll_seconds",
        "Time between two questions to the source.",
        lambda row: number(row, "poll_s"),
    ),
    _of_each(
        "truechimer_source_answers_total",
        "Answers of the source that could be used, since the laboratory started.",
        lambda row: number(row, "answers"),
    ),
    _of_each(
        "truechimer_source_failures_total",
        "Questions to the source without an answer that could be used, since the laboratory started.",
        lambda row: number(row, "failures"),
    ),
    Family(
        "truechimer_source_verdict",
        "What became of the source in the vote, one-hot: 1 for the present verdict, 0 for the others.",
        _verdict,
        ("source", "verdict"),
    ),
    Family(
        "truechimer_leap_table_expiry_timestamp_seconds",
        "Unix time at which the leap table expires; then UTC can no longer be told from TAI.",
        when("leap", "expires"),
    ),
    Family(
        "truechimer_leap_votes",
        "How many sources announce this in their last answer: no leap second, one to be inserted or deleted at the end "
        "of the month, or that they are not synchronised. The doors announce what the leap table says.",
        _leap_votes,
        ("value",),
    ),
    Family(
        "truechimer_leap_disputed",
        "1 where a leap second is disputed by tables, bulletins, servers and satellites; 0 where none is.",
        flag("leap", "disputed"),
    ),
    Family(
        "truechimer_leap_notices_refused",
        "Notices of leap seconds that contradict what the vote holds, or are malformed (each once), at present.",
        one("leap", "notices_refused"),
    ),
    Family(
        "truechimer_leap_tai_minus_utc_seconds",
        "TAI minus UTC in force.",
        one("leap", "tai_minus_utc_s"),
    ),
    Family(
        "truechimer_receiver_level",
        "How far a satellite receiver's own word lets its link be believed, one-hot: 1 for the present word.",
        _receiver_level,
        ("receiver", "link", "level"),
    ),
    Family(
        "truechimer_receiver_reason",
        "1 where this stands against the receiver, 0 where it does not.",
        _receiver_reasons,
        ("receiver", "reason"),
    ),
    Family(
        "truechimer_receiver_age_seconds",
        "Age of what the receiver said last.",
        each("receivers", "name", lambda row: number(row, "age_s")),
        ("receiver",),
    ),
)
