"""Metrics of published values: UTC - UTC(k) as it was published, days late, what it lets expect now, and what was not
believed.

It reads the block `published` of a status document and decides nothing. Where a laboratory takes none in, there is no
sample.
"""

from collections.abc import Callable, Iterator, Mapping

from truechimer.console.metric_samples import Counters, Document, Family, Sample, Samples, label, number, one, rows


def _block(document: Document) -> Document:
    found = document.get("published")
    return found if isinstance(found, Mapping) else {}


def _of_paths(value: Callable[[Document], float | None]) -> Samples:
    def samples(document: Document, _: Counters) -> Iterator[Sample]:
        for row in rows(_block(document), "paths"):
            found = value(row)
            if found is not None and row.get("path") is not None:
                yield (label(row["path"]),), found

    return samples


def _held(document: Document, _: Counters) -> Iterator[Sample]:
    block = _block(document)
    if block:
        yield (), sum(number(row, "values") or 0.0 for row in rows(block, "held"))


def _refused(document: Document, _: Counters) -> Iterator[Sample]:
    block = _block(document)
    if block:
        yield (), float(len(rows(block, "refused")))


PUBLISHED = (
    Family(
        "truechimer_published_offset_seconds",
        "UTC minus UTC(k) as it was published last, for its own day, which is days ago; positive where UTC(k) is late.",
        _of_paths(lambda row: number(row, "x_utc_minus_utck_s")),
        ("path",),
    ),
    Family(
        "truechimer_published_age_seconds",
        "Age of the newest published value of UTC minus UTC(k).",
        _of_paths(lambda row: number(row, "age_s")),
        ("path",),
    ),
    Family(
        "truechimer_published_held_values",
        "Published values that are held back because they do not fit everything else.",
        _held,
    ),
    Family(
        "truechimer_published_refused_files",
        "Files of published values that were refused as contradicting what is known, and that nothing has borne out.",
        _refused,
    ),
    Family(
        "truechimer_utc_forecast_offset_seconds",
        "UTC minus UTC(k) now, as published values let expect it; positive where UTC(k) is late.",
        one("published", "forecast", "x_utc_minus_utck_s"),
    ),
    Family(
        "truechimer_utc_forecast_uncertainty_seconds",
        "One sigma of that forecast.",
        one("published", "forecast", "u_s"),
    ),
)
