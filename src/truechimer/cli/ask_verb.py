"""`truechimer ask`: ask any NTP server, ours or another's, what time it is, and say how sure the answer can be.

It changes nothing and trusts nothing: the offset is against the label on this host's wall clock, which may itself be
wrong. The answer is not authenticated. Exit status: 0 at least one synchronised answer, 1 none, 2 wrong use.
"""

import ipaddress
import json
import sys
import time
from typing import Any

from truechimer.cli.arguments import VerbParser, verb_parser
from truechimer.cli.option_values import count, number
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp.ntp_exchange import (
    EndpointRejected,
    ExchangeFailure,
    NtpExchange,
    exchange,
    parse_endpoint,
    warm_up,
)
from truechimer.instants import ntp64
from truechimer.serve.ntp.client import refid_text
from truechimer.serve.ntp.packet import NtpLeap

OUR_NTP_PORT = 11_123
"""Default of `contract.md`; taken for loopback addresses, where the service of this machine listens."""
NTP_PORT = 123

GAP_S = 1.0
LOOPBACK_GAP_S = 0.02
"""Between requests: a stranger's server is asked no faster than once a second (RFC 8633 asks clients to be gentle)."""

FINE, NO, WRONG_USE = 0, 1, 2
_LEAP_WORDS = {
    NtpLeap.NONE: "none",
    NtpLeap.INSERT: "insert",
    NtpLeap.DELETE: "delete",
    NtpLeap.UNSYNCHRONISED: "unsynchronised",
}
_seconds = number("is not a time to wait, above 0 and up to 3600 s", above=0.0, most=3600.0)
_count = count("is not a number of requests, 1 to 100000", most=100_000)


def parser() -> VerbParser:
    """Return the command line of `ask`."""
    options = verb_parser("ask", "Ask a time server what time it is, and say how sure the answer can be.")
    options.add_argument("protocol", choices=["ntp"], help="the protocol to ask in")
    options.add_argument(
        "server",
        metavar="HOST[:PORT]",
        help=f"whom to ask; without a port {OUR_NTP_PORT} on loopback (our own service), {NTP_PORT} elsewhere",
    )
    options.add_argument("--count", type=_count, default=4, metavar="N", help="how many requests (default 4)")
    options.add_argument(
        "--timeout-s", type=_seconds, default=2.0, metavar="S", help="wait this long for an answer (default 2)"
    )
    options.add_argument("--json", action="store_true", help="one JSON document")
    return options


def main(argv: list[str]) -> int:
    """Ask, print, and return the exit status. `argv` is what follows `ask`."""
    options = parser().parse_args(argv)
    try:
        host, port = parse_endpoint(options.server)
    except EndpointRejected as error:
        print(f"truechimer ask: {error}", file=sys.stderr)
        return WRONG_USE
    loopback = _is_loopback(host)
    if port is None:
        port = OUR_NTP_PORT if loopback else NTP_PORT
    clocks = HostClocks()
    warm_up(clocks)
    samples: list[dict[str, Any]] = []
    try:
        for number in range(options.count):
            if number:
                time.sleep(LOOPBACK_GAP_S if loopback else GAP_S)
            sample = _sample(exchange(host, port, timeout_s=options.timeout_s, clocks=clocks), clocks)
            samples.append(sample)
            if not options.json:
                print(_line(sample), flush=True)
            elif sys.stderr.isatty() and options.count > 1:
                print(f"\rasked {number + 1} of {options.count}", end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        pass  # what was heard so far still counts
    document = _document(host, port, samples)
    if options.json:
        print(json.dumps(document))
    else:
        print(_summary(document))
    return FINE if document["synchronised"] else NO


def _is_loopback(host: str) -> bool:
    """Return True for 127.0.0.0/8, ::1 and the name localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def _sample(found: NtpExchange | ExchangeFailure, clocks: HostClocks) -> dict[str, Any]:
    """Return one exchange as the JSON has it; what is not known is absent."""
    if isinstance(found, ExchangeFailure):
        return {"synchronised": False, "reason": found.fault.value, "says": found.says}
    answer = found.answer
    sample: dict[str, Any] = {
        "synchronised": answer.doubt is None,
        "address": found.address,
        "stratum": answer.stratum,
        "leap": _LEAP_WORDS[answer.leap],
        "refid": refid_text(answer.refid, stratum=answer.stratum),
        "precision_s": 2.0**answer.precision_log2,
        "root_delay_s": answer.root_delay_s,
        "root_dispersion_s": answer.root_dispersion_s,
        "receive_stamp": found.rx.kind.value,
    }
    if answer.doubt is not None:
        sample["reason"] = answer.doubt.value
    if answer.kiss:
        sample["kiss"] = answer.kiss
    if found.delay_s is not None:
        sample |= {
            "offset_s": _offset_s(found, clocks),
            "delay_s": found.delay_s,
            "bound_s": found.root_distance_s,
        }
    return sample


def _offset_s(found: NtpExchange, clocks: HostClocks) -> float:
    """Return the server's label minus this host's wall clock label, at the middle of the exchange (s), in the nearer
    era.
    """
    answer = found.answer
    host_mid_ns = (clocks.realtime_at(found.sent_raw_ns) + clocks.realtime_at(found.rx.raw_ns)) // 2
    host_units = ((host_mid_ns + ntp64.S_1900_TO_1970 * 10**9) << 32) // 10**9
    held = _signed(answer.transmit - answer.receive)
    return _signed(answer.receive + held // 2 - host_units) / ntp64.UNITS_PER_S


def _signed(difference: int) -> int:
    """Return a difference of 64-bit stamps as a signed number."""
    difference &= ntp64.STAMP_MASK
    return difference - (1 << 64) if difference >> 63 else difference


def _document(host: str, port: int, samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the whole answer; of the synchronised samples the one with the smallest bound stands for it."""
    usable = [sample for sample in samples if sample["synchronised"] and "bound_s" in sample]
    heard = [sample for sample in samples if "stratum" in sample]
    document: dict[str, Any] = {
        "protocol": "ntp",
        "server": host,
        "port": port,
        "authenticated": False,
        "synchronised": bool(usable),
        "asked": len(samples),
        "answered": len(heard),
    }
    best = min(usable, key=lambda sample: sample["bound_s"]) if usable else heard[-1] if heard else None
    if best is not None:
        kept = (
            "offset_s",
            "delay_s",
            "bound_s",
            "stratum",
            "leap",
            "refid",
            "root_delay_s",
            "root_dispersion_s",
            "kiss",
        )
        document |= {key: best[key] for key in kept if key in best}
    if not usable and samples:
        document["reason"] = samples[-1]["reason"]
    return document | {"samples": samples}


def _line(sample: dict[str, Any]) -> str:
    """Return one sample for people."""
    if "stratum" not in sample:
        return f"no answer: {sample['says']}"
    words = f"stratum {sample['stratum']}  refid {sample['refid'] or '-'}  leap {sample['leap']}"
    if "offset_s" in sample:
        numbers = (
            f"offset {sample['offset_s']:+.9f} s  delay {sample['delay_s']:.9f} s  bound {sample['bound_s']:.9f} s"
        )
        words = f"{numbers}  {words}"
    return words if sample["synchronised"] else f"NOT SYNCHRONISED ({sample['reason']})  {words}"


def _summary(document: dict[str, Any]) -> str:
    """Return the last line for people."""
    head = f"{document['server']} port {document['port']}: {document['answered']} of {document['asked']} answered"
    if not document["synchronised"]:
        return f"{head}; no time from this server ({document.get('reason', 'not asked')})"
    return (
        f"{head}; the server is {document['offset_s']:+.9f} s from this host's wall clock, "
        f"right to {document['bound_s']:.9f} s if the server is honest (not authenticated)"
    )
