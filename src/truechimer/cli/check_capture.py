"""`truechimer evidence check-capture PCAP`: recorded NTP replies held against the log: may the doors have said this?

The reading is `formats.capture_file` and `formats.datagrams`, the judging `laboratory.capture`; here are arguments,
the mapped file and what is said.

Exit status: 0 every reply agrees with the log; 1 some do not, or there is none; 2 wrong use or unreadable input.
"""

import argparse
import json
import mmap
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli.evidence_source import as_distrusted, printable, read_policy, records_of, signature_of
from truechimer.cli.progress import Progress
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.formats.capture_file import Capture
    from truechimer.formats.finding import Finding
    from truechimer.laboratory.capture import CaptureCheck, Held

NTP_PORTS = frozenset({123, 11123})
"""Where servers answer from: the well-known port, and this program's default; `--server` names others."""
MOST_SHOWN = 20
MOST_TOLD = 10_000
LARGEST_CAPTURE = 1 << 36


class CaptureInputRejected(Rejected):
    """The capture or the server named cannot be used."""


def add(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add this verb to the parser of `evidence`."""
    does = "hold recorded NTP replies (pcap, pcapng) against the log: leap, stratum, refid, bound, stamps, time"
    verb: argparse.ArgumentParser = verbs.add_parser(
        "check-capture", help=does, description=does[0].upper() + does[1:] + ".", allow_abbrev=False
    )
    verb.add_argument("capture", metavar="PCAP", type=Path, help="what tcpdump, dumpcap or Wireshark recorded")
    verb.add_argument(
        "--log",
        metavar="PATH",
        help="a laboratory's directory or record file, a folder of tiles, a bundle, a log's URL (default: the running "
        "laboratory's)",
    )
    verb.add_argument("--lab", type=Path, metavar="DIR", help="the laboratory whose records are meant, as elsewhere")
    verb.add_argument(
        "--policy", type=Path, metavar="FILE", help="hold it against the signed log, judged by this policy"
    )
    verb.add_argument("--keep", metavar="DIR", type=Path, help="keep the copy of a log behind a URL, and go on from it")
    verb.add_argument(
        "--server",
        metavar="ADDRESS[:PORT]",
        action="append",
        default=[],
        help="judge the replies of this server only; may be repeated (default: all from the ports 123 and 11123)",
    )
    verb.add_argument(
        "--clock-within",
        metavar="S",
        type=float,
        help="you vouch that the capturing machine's clock was within S seconds of UTC (default: nobody does)",
    )
    verb.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: argparse.Namespace) -> int:
    """Run it; return the exit status."""
    from truechimer.evidence.log_policy import CheckpointDistrusted
    from truechimer.laboratory.capture import CaptureCheck, lines

    if options.clock_within is not None and not 0.0 <= options.clock_within < 1e9:
        raise CaptureInputRejected(f"--clock-within {options.clock_within}: seconds, 0 or more")
    servers = [_server(one) for one in options.server]
    named = str(options.log) if options.log is not None else _running(options.lab)
    policy = read_policy(options.policy) if options.policy is not None else None
    with _mapped(options.capture) as capture:
        try:
            with records_of(named, policy, keep=options.keep) as source:
                check = CaptureCheck(lines(_until_bad(source.records.read())), within_s=options.clock_within)
                signature = signature_of(source.judged)
                name = source.name
        except CheckpointDistrusted as error:
            return as_distrusted(named, error, as_json=options.json)
        skipped = _judge(capture, check, servers)
        document = _document(options.capture, check.held, skipped, capture.findings)
    document |= {"log": name, "signature": signature, "clock_within_s": options.clock_within}
    document = {key: value for key, value in document.items() if value is not None}
    print(json.dumps(document) if options.json else "\n".join(_said(document)))
    return 0 if check.held.agree and not check.held.findings else 1


def _running(lab: Path | None) -> str:
    from truechimer.client import find_service

    return str(find_service(lab).lab)


def _server(text: str) -> tuple[str, int | None]:
    """Read ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT."""
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = str(ip_address(host))
    except ValueError:
        raise CaptureInputRejected(
            f"--server {text[:60]!r}: an IP address, with :PORT after it where it is needed"
        ) from None
    if port and not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65_536):
        raise CaptureInputRejected(f"--server {text[:60]!r}: the port is a number from 1 to 65535")
    return address, int(port) if port else None


@contextmanager
def _mapped(path: Path) -> "Iterator[Capture]":
    """Map a capture into memory; raises `CaptureInputRejected`."""
    from truechimer.formats.capture_file import Capture

    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if not path.is_file() or not 0 < size < LARGEST_CAPTURE:
                raise CaptureInputRejected(f"{path}: {size} octets: not a file of frames")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield Capture(data)
    except OSError as error:
        raise CaptureInputRejected(f"{path}: cannot be read ({error.strerror or error})") from None


def _until_bad(records: Iterator[bytes]) -> Iterator[bytes]:
    """Yield records as far as they are what was signed."""
    from truechimer.evidence.record import RecordRejected

    try:
        yield from records
    except RecordRejected:
        return


def _judge(capture: "Capture", check: "CaptureCheck", servers: list[tuple[str, int | None]]) -> Counter[str]:
    """Hold every NTP datagram of a capture against the log; return what was passed over, by reason."""
    from truechimer.formats.datagrams import NoDatagram, datagram
    from truechimer.laboratory.capture import seen_in

    skipped: Counter[str] = Counter()
    with Progress("reading") as progress:
        for frame in capture.frames():
            progress.show(frame.at, len(capture.data))
            found = datagram(frame.link_type, frame.data)
            if isinstance(found, NoDatagram):
                skipped[found.value] += 1
                continue
            source, target = (found.source, found.source_port), (found.target, found.target_port)
            seen = seen_in(found.payload, frame=frame.number, t_ns=frame.t_ns, source=source, target=target)
            if seen is None or not _is_meant(seen.server, servers):
                skipped["not-ntp" if seen is None else "other-server"] += 1
                continue
            check.take(seen)
    return skipped


def _is_meant(server: tuple[str, int], servers: list[tuple[str, int | None]]) -> bool:
    if not servers:
        return server[1] in NTP_PORTS
    return any(server[0] == host and port in {None, server[1]} for host, port in servers)


def _document(path: Path, held: "Held", skipped: Counter[str], faults: "list[Finding]") -> dict[str, Any]:
    by_fault = Counter(one.fault.value for one in held.findings)
    return {
        "capture": str(path),
        "replies": held.replies,
        "agree": held.agree,
        "unsynchronised": held.unsynchronised,
        "wrong": held.wrong,
        "requests": held.requests,
        "faults": dict(by_fault),
        "findings": [
            {"frame": one.frame, "fault": one.fault.value, "says": one.says} for one in held.findings[:MOST_TOLD]
        ],
        "served_minus_captured_s": None
        if held.lowest_offset_s is None
        else [held.lowest_offset_s, held.highest_offset_s],
        "passed_over": dict(skipped),
        "capture_findings": [one.says for one in faults],
    }


def _said(document: dict[str, Any]) -> list[str]:
    """Return the answer for people: the sentence first."""
    wrong, replies = document["wrong"], document["replies"]
    if wrong:
        sentence = f"{wrong} of {replies} replies are NOT what the log bears out"
    elif document["agree"]:
        sentence = f"all {document['agree']} synchronised replies are what the log bears out"
    else:
        sentence = "no synchronised reply of a server was found: nothing was held against the log"
    lines = [sentence]
    lines += [
        f"frame {one['frame']}: {one['fault']}: {printable(one['says'])}" for one in document["findings"][:MOST_SHOWN]
    ]
    if len(document["findings"]) > MOST_SHOWN:
        lines.append(f"... and {len(document['findings']) - MOST_SHOWN} more; --json has them")
    lines.append(f"replies {replies} ({document['unsynchronised']} unsynchronised), requests {document['requests']}")
    if "served_minus_captured_s" in document:
        low, high = document["served_minus_captured_s"]
        vouched = f"vouched for within {document['clock_within_s']} s" if "clock_within_s" in document else (
            "which nobody vouches for: --clock-within"
        )  # fmt: skip
        lines.append(f"served minus captured {low:+.6f} to {high:+.6f} s, by the capture's clock, {vouched}")
    if document["passed_over"]:
        lines.append("passed over: " + ", ".join(f"{n} {why}" for why, n in sorted(document["passed_over"].items())))
    lines += [printable(one) for one in document["capture_findings"]]
    if not document["signature"]["judged"]:
        lines.append("the signature of this log is NOT judged: give --policy")
    return lines
