"""Door metrics: what each listener of a laboratory counts, by its place, and whether its process runs.

A counter belongs to one process, and begins at 0 with it: counters of several doors are never added up, since a sum
would go down a little where one of them starts anew, which is no reset that Prometheus could recognise.
"""

from collections.abc import Iterator, Mapping

from truechimer.console.metric_samples import (
    MORE,
    SUM,
    Counters,
    Document,
    Family,
    Sample,
    Samples,
    label,
    number,
    rows,
)
from truechimer.daemon.door import counters as names
from truechimer.serve.ntp.accelerator import COUNTS as ACCELERATOR_COUNTS

RESULTS: dict[str, str] = {
    **{name: kind.value for kind, name in names.REPLY_COUNTERS.items()},
    **{name: f"ignored-{reason.value}" for reason, name in names.IGNORE_COUNTERS.items()},
    names.TRUNCATED: "ignored-truncated",
    names.OVER_BUDGET: "ignored-over-budget",
    names.SEND_FAILED: "send-failed",
    names.FAULTS: "fault",
}
"""What became of a datagram, by the door's own counter: each received one ends in exactly one of them."""

_UNSYNCHRONISED = {name: why.value for why, name in names.UNSYNCHRONISED_COUNTERS.items()}
_REFUSED_STAMPS = {name: why.value for why, name in names.REFUSAL_COUNTERS.items()}
_STAMPS = {names.STAMPS_KERNEL: "kernel", names.STAMPS_USER: "user", names.STAMPS_CARD: "card"}
_DEPARTURES = {names.DEPARTURES_ASKED: "asked", names.DEPARTURES_STAMPED: "stamped"}
_BARRED = {int(each): "none" if each is names.Barred.NO else each.name.lower() for each in names.Barred}
_PROTO = "ntp"
"""Only the NTP door counts so far."""


def place(row: Document) -> str:
    """Return a door's place as a label, as the laboratory's file gives it: address and port, or its path."""
    if row.get("port") is None:
        return label(row.get("path"))
    address = label(row.get("address"))
    return f"[{address}]:{label(row.get('port'))}" if ":" in address else f"{address}:{label(row.get('port'))}"


def _counted(words: Mapping[str, str], *, proto: bool) -> Samples:
    """Give the counters named in `words` of each door, by word."""

    def samples(_: Document, doors: Counters) -> Iterator[Sample]:
        for door, counts in doors.items():
            for name, word in words.items():
                if name in counts:
                    yield ((_PROTO, word, door) if proto else (word, door)), float(counts[name])

    return samples


def _counter(name: str) -> Samples:
    """Give one counter of each door."""
    return lambda _, doors: (((door,), float(counts[name])) for door, counts in doors.items() if name in counts)


def _probed(name: str) -> Samples:
    """Give a figure (ns) of each door's own client, where it has one, in seconds."""
    return lambda _, doors: (
        ((door,), counts[name] / 1e9)
        for door, counts in doors.items()
        if name in counts and counts[names.PROBES_TIMED] and not counts.get(names.PROBE_BARRED)
    )


def _probe_asks(_: Document, doors: Counters) -> Iterator[Sample]:
    """Give whether each door's own client asks, and what keeps it from it."""
    for door, counts in doors.items():
        if names.PROBE_BARRED in counts:
            barred = counts[names.PROBE_BARRED]
            yield (_BARRED.get(barred, "unknown"), door), float(barred == names.Barred.NO)


_EDGES = tuple(f"{edge_ns / 1e9:g}" for edge_ns in names.ANSWERED_EDGES_NS)


def _answered(_: Document, doors: Counters) -> Iterator[Sample]:
    """Give how many answers of each door took how long."""
    for door, counts in doors.items():
        for edge, name in zip((*_EDGES, MORE), names.ANSWERED_WITHIN, strict=True):
            if name in counts:
                yield (_PROTO, door, edge), float(counts[name])
        if names.ANSWERED_SUM in counts:
            yield (_PROTO, door, SUM), counts[names.ANSWERED_SUM] / 1e9


def _accelerator_answers(document: Document, _: Counters) -> Iterator[Sample]:
    """Give whether each accelerator answers now."""
    for row in rows(document, "listeners"):
        said = row.get("accelerator")
        if isinstance(said, Mapping) and isinstance(said.get("answering"), bool):
            yield (place(row),), float(said["answering"])


def _accelerator_requests(document: Document, _: Counters) -> Iterator[Sample]:
    """Give what became of the requests that each accelerator saw."""
    for row in rows(document, "listeners"):
        for count in ACCELERATOR_COUNTS:
            counted = number(row, "accelerator", "counters", count.value)
            if counted is not None:
                yield (count.value.replace("_", "-"), place(row)), counted


def _door_up(document: Document, _: Counters) -> Iterator[Sample]:
    for row in rows(document, "listeners"):
        if isinstance(row.get("alive"), bool):
            yield (label(row.get("protocol")), place(row)), float(row["alive"])


def _sock_samples(document: Document, _: Counters) -> Iterator[Sample]:
    """Give what became of the samples of each door to a chronyd."""
    for row in rows(document, "listeners"):
        sock = row.get("sock")
        if not isinstance(sock, Mapping):
            continue
        sent = number(sock, "sent")
        if sent is not None:
            yield ("sent", place(row)), sent
        for result in ("refused", "silent"):
            reasons = sock.get(result)
            for reason in reasons if isinstance(reasons, Mapping) else ():
                count = number(sock, result, reason)
                if count is not None:
                    yield (f"{result}-{label(reason)}", place(row)), count


def _door_limit(document: Document, _: Counters) -> Iterator[Sample]:
    for row in rows(document, "listeners"):
        limit_s = number(row, "bound_limit_s")
        if limit_s is not None:
            yield (label(row.get("protocol")), place(row)), limit_s


_DOOR = ("listener",)

DOORS: tuple[Family, ...] = (
    Family(
        "truechimer_door_up",
        "1 where the process of this listener runs, 0 where it has ended.",
        _door_up,
        ("proto", "listener"),
    ),
    Family(
        "truechimer_door_bound_limit_seconds",
        "The listener is unsynchronised while its bound is larger than this.",
        _door_limit,
        ("proto", "listener"),
    ),
    Family(
        "truechimer_serve_requests_total",
        "Datagrams that reached the listener, by what became of them, since its process started.",
        _counted(RESULTS, proto=True),
        ("proto", "result", "listener"),
    ),
    Family(
        "truechimer_serve_unsynchronised_total",
        "Answers that said unsynchronised, by reason, since the listener's process started.",
        _counted(_UNSYNCHRONISED, proto=False),
        ("reason", "listener"),
    ),
    Family(
        "truechimer_serve_seconds",
        "Time from the kernel's receive stamp to the send of an answer, the wait in the socket's queue with it; not in "
        "it: answers to requests without such a stamp. Since the listener's process started.",
        _answered,
        ("proto", "listener"),
        _EDGES,
    ),
    Family(
        "truechimer_serve_stamps_total",
        "Receive stamps by who took them, the network card, the kernel or the process itself, since the listener's "
        "process started.",
        _counted(_STAMPS, proto=False),
        ("by", "listener"),
    ),
    Family(
        "truechimer_serve_stamps_refused_total",
        "Kernel stamps that were not used, by reason, since the listener's process started.",
        _counted(_REFUSED_STAMPS, proto=False),
        ("reason", "listener"),
    ),
    Family(
        "truechimer_serve_departures_total",
        "Interleaved answers whose departure the kernel was asked for, and those of them that it stamped in time for "
        "the next answer, since the listener's process started; for the others the clock read before the send counts.",
        _counted(_DEPARTURES, proto=False),
        ("result", "listener"),
    ),
    Family(
        "truechimer_serve_error_seconds",
        "What the listener answers minus the page that it serves, as its own client finds over its port: of the last "
        "16 answers the one with the shortest delay; positive: ahead.",
        _probed(names.SERVE_ERROR_NS),
        _DOOR,
    ),
    Family(
        "truechimer_serve_error_half_delay_seconds",
        "By how much truechimer_serve_error_seconds may itself be wrong: half the delay of that exchange.",
        _probed(names.SERVE_ERROR_HALF_DELAY_NS),
        _DOOR,
    ),
    Family(
        "truechimer_serve_probes_total",
        "Questions of the listener's own client, since its process started.",
        _counter(names.PROBES),
        _DOOR,
    ),
    Family(
        "truechimer_serve_probes_unanswered_total",
        "Questions of the listener's own client that were not answered, since its process started.",
        _counter(names.PROBES_UNANSWERED),
        _DOOR,
    ),
    Family(
        "truechimer_serve_probes_refused_total",
        "Questions of the listener's own client that were refused for the rate of one source, which other programs of "
        "this machine share, since its process started.",
        _counter(names.PROBES_REFUSED),
        _DOOR,
    ),
    Family(
        "truechimer_serve_probe_asks",
        "1 while the listener's own client asks; 0 where the listener's rules would have it refused, with the reason "
        "(denied: its addresses, rate: its rate for one source): then nobody on this machine watches its answers.",
        _probe_asks,
        ("reason", "listener"),
    ),
    Family(
        "truechimer_serve_workers",
        "Processes that serve this listener in machine code now; 0: the listener's own process answers.",
        _counter(names.WORKERS),
        _DOOR,
    ),
    Family(
        "truechimer_serve_worker_deaths_total",
        "Workers of this listener that ended by themselves and were replaced, since its process started.",
        _counter(names.WORKER_DEATHS),
        _DOOR,
    ),
    Family(
        "truechimer_sock_samples_total",
        "Samples for a chronyd by what became of them (sent, refused by its socket, or not made, with the reason), "
        "since the listener's process started.",
        _sock_samples,
        ("result", "listener"),
    ),
    Family(
        "truechimer_accelerator_answering",
        "1 while the listener's accelerator answers plain requests below the sockets, 0 while it leaves them to these.",
        _accelerator_answers,
        _DOOR,
    ),
    Family(
        "truechimer_accelerator_requests_total",
        "Plain requests that reached the listener's accelerator by what became of them (answered, dropped with the "
        "reason, or passed to the sockets with the reason), since the listener's process started.",
        _accelerator_requests,
        ("result", "listener"),
    ),
    Family(
        "truechimer_serve_receive_failures_total",
        "Errors of the listener's socket while receiving, since its process started.",
        _counter(names.RECEIVE_FAILED),
        _DOOR,
    ),
    Family(
        "truechimer_serve_host_steps_total",
        "Movements of the host's wall clock that the listener saw, since its process started; served time did not "
        "follow.",
        _counter(names.HOST_STEPS),
        _DOOR,
    ),
)
"""Every metric of doors, in the order in which they are served."""
