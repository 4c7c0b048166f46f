"""Metrics: a laboratory's metrics on `/metrics`, as text or OpenMetrics, from the feed's last snapshot and the doors'
counter files.

It names no metric itself and asks the laboratory nothing: however often it is scraped, the feed asks once a second, and
one text is made for each snapshot and format.

The law of the file: no stale values. A laboratory that is silent has `truechimer_up 0` and no other value of its own;
the doors, which outlive it, still count.
"""

import asyncio
import math
from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import accumulate
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from truechimer.client import RUN_FOLDER
from truechimer.console.chrony_metrics import CHRONY
from truechimer.console.door_metrics import DOORS, place
from truechimer.console.laboratory_feed import LaboratoryFeed, Snapshot
from truechimer.console.laboratory_metrics import LABORATORY
from truechimer.console.metric_samples import MORE, SUM, Counters, Document, Family, Labels, rows
from truechimer.daemon.door.counters import CountersRejected, door_name, read_counters
from truechimer.daemon.lab.listener_settings import MetricNames

UP = Family("truechimer_up", "1 where the laboratory answered the last question of the console, else 0.", lambda *_: ())
CHRONY_UP = Family("chrony_up", "Compatibility: as truechimer_up.", lambda *_: ())

SETS: dict[str, tuple[Family, ...]] = {"laboratory": (UP, *LABORATORY, *DOORS), "chrony": (CHRONY_UP, *CHRONY)}
"""Every metric that can be served, by set."""


def families(document: Document | None, doors: Counters, *, wanted: MetricNames) -> Iterator[Metric]:
    """Yield the families of a laboratory; `document` None: it is silent, and only what others can still state is there.

    A family without a sample is left out. A sample whose labels were there before is left out too: one series, one
    value.
    """
    with_compatible = wanted is MetricNames.ALL
    for up in (UP, CHRONY_UP) if with_compatible else (UP,):
        yield GaugeMetricFamily(up.name, up.says, value=float(document is not None))
    for family in (*LABORATORY, *DOORS, *(CHRONY if with_compatible else ())):
        if family.edges:
            yield from _histogram(family, document, doors)
            continue
        make = CounterMetricFamily if family.is_counter else GaugeMetricFamily
        made = make(family.name, family.says, labels=family.labels)
        seen: set[Labels] = set()
        for labels, value in family.samples({} if document is None else document, doors):
            if labels not in seen and math.isfinite(value):
                seen.add(labels)
                made.add_metric(labels, value)
        if seen:
            yield made


def _histogram(family: Family, document: Document | None, doors: Counters) -> Iterator[Metric]:
    """Yield a histogram of those series that have all their parts."""
    made = HistogramMetricFamily(family.name, family.says, labels=family.labels)
    parts: dict[Labels, dict[str, float]] = {}
    for labels, value in family.samples({} if document is None else document, doors):
        parts.setdefault(labels[:-1], {})[labels[-1]] = value
    edges = (*family.edges, MORE)
    for series, found in parts.items():
        if found.keys() == {*edges, SUM}:
            grown = list(accumulate(found[edge] for edge in edges))
            made.add_metric(series, list(zip(edges, grown, strict=True)), found[SUM])
    if made.samples:
        yield made


class Laboratory:
    """A prometheus-client collector over one moment of a laboratory."""

    def __init__(self, document: Document | None, doors: Counters, wanted: MetricNames) -> None:
        self._document, self._doors, self._wanted = document, doors, wanted

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        return families(self._document, self._doors, wanted=self._wanted)


def registry(document: Document | None, doors: Counters, wanted: MetricNames) -> CollectorRegistry:
    """Return a registry that holds the laboratory and nothing else: no figures of this interpreter or process."""
    found = CollectorRegistry(auto_describe=False)
    found.register(Laboratory(document, doors, wanted))
    return found


class Format(StrEnum):
    """How metrics are written, by content type. What else a scraper would like is not worth a format of its own."""

    TEXT = CONTENT_TYPE_PLAIN_0_0_4
    OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def written(found: CollectorRegistry, wanted: Format) -> bytes:
    """Return a registry as text."""
    if wanted is Format.OPEN_METRICS:
        return bytes(openmetrics.generate_latest(found))  # type: ignore[no-untyped-call]
    return generate_latest(found)


class MetricsPage:
    """Serves the metrics of the laboratory in `folder`, as far as `wanted`."""

    def __init__(self, feed: LaboratoryFeed, folder: Path, wanted: MetricNames) -> None:
        self._feed = feed
        self._run = folder / RUN_FOLDER
        self._wanted = wanted
        self._made: dict[Format, bytes] = {}
        self._number = -1
        self._making = asyncio.Lock()

    def routes(self) -> list[Route]:
        """Return what is served; nothing where metrics are off."""
        off = self._wanted is MetricNames.OFF
        return [] if off else [Route("/metrics", self.metrics, methods=["GET"])]

    async def metrics(self, request: Request) -> Response:
        """Return all metrics: OpenMetrics where the Accept header names it, else the text format."""
        asked = "application/openmetrics-text" in request.headers.get("accept", "")
        wanted = Format.OPEN_METRICS if asked else Format.TEXT
        async with self._making:
            snapshot = self._feed.current
            if snapshot.number != self._number:
                self._number, self._made = snapshot.number, {}
            body = self._made.get(wanted)
            if body is None:
                body = await asyncio.to_thread(lambda: written(self._registry(snapshot), wanted))
                self._made[wanted] = body
        return Response(body, headers={"content-type": wanted.value})

    def _registry(self, snapshot: Snapshot) -> CollectorRegistry:
        document = dict(snapshot.document) if snapshot.answering and snapshot.document is not None else None
        history = self._feed.history
        if document is not None and history is not None and "deviations" in history:
            document["deviations"] = history["deviations"]
        return registry(document, self.doors(snapshot.document or {}), self._wanted)

    def doors(self, document: Mapping[str, Any]) -> dict[str, dict[str, int]]:
        """Return the counters of each door that a status document names, by its place; one that cannot be read is
        absent.
        """
        found = {}
        for row in rows(document, "listeners"):
            protocol, address, port = row.get("protocol"), row.get("address"), row.get("port")
            if protocol == "ntp" and isinstance(address, str) and isinstance(port, int):
                try:
                    found[place(row)] = read_counters(self._run / f"{door_name(protocol, address, port)}.counters")
                except CountersRejected:
                    continue
        return found
