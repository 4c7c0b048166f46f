"""`truechimer witness run | sign | key DIR`: cosign the logs of others, over HTTP or on a box without a network.

Rules stand in `evidence.witnessing`, key and memory in `daemon.log.witness_keeper`, HTTP in
`daemon.log.witness_server`; here are arguments and what is said. A folder is made by `--name`, once.

Exit status: 0 done; 1 `sign`: not cosigned, and why; 2 wrong use, or a folder, key or port that cannot be used.
"""

import argparse
import json
import secrets
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli.arguments import verb_parser
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from truechimer.daemon.log.witness_keeper import WitnessKeeper

DEFAULT_PORT = 11127
SILENT_AFTER_S = 180.0
"""A followed log that has asked for nothing for so long is said: three heartbeats."""
MOST_REQUEST_BYTES = 1 << 21
ONE_MACHINE = (
    "this witness answers on loopback: a witness on the machine of its log proves nothing against root there, who "
    "holds both keys. It is good for a trial, and against everybody else; put it on a machine in other hands"
)


class WitnessVerbRejected(Rejected):
    """A file that was named cannot be read or written."""


def main(argv: list[str]) -> int:
    """Run the verb."""
    options = _parser().parse_args(argv)
    from truechimer.daemon.log.witness_keeper import WitnessKeeper

    _make(options)
    keeper = WitnessKeeper(options.directory, now_s=_clock(options.lab))
    try:
        for line in options.follow:
            keeper.follow(line)
        match options.verb:
            case "run":
                return _run(keeper, options)
            case "sign":
                return _sign(keeper, options)
            case _:
                return _key(keeper, as_json=options.json)
    finally:
        keeper.close()


def _parser() -> argparse.ArgumentParser:
    parser = verb_parser("witness", "Vouch for the logs of others: each tree once, and none that forgets the last.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = _verb(verbs, "run", "answer logs over HTTP until Ctrl-C")
    run.add_argument("--address", default="127.0.0.1", help="address to answer on (default: 127.0.0.1)")
    run.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"port (default: {DEFAULT_PORT}; 0: any)")
    run.add_argument("--for", dest="for_s", type=float, metavar="S", help="end after S seconds")
    run.add_argument("--pidfile", type=Path, help="a file for the process's number and its port, once it answers")
    sign = _verb(verbs, "sign", "cosign one request from a file, on a box without a network")
    sign.add_argument("file", metavar="FILE", type=Path, help="the request that the laboratory wrote (NAME.request)")
    sign.add_argument("--out", required=True, metavar="FILE", type=Path, help="the answer to carry back (NAME.answer)")
    _verb(verbs, "key", "print this witness's keys, as policies name them, and the logs that it follows")
    return parser


def _verb(verbs: "argparse._SubParsersAction[Any]", name: str, does: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = verbs.add_parser(
        name, help=does, description=does[0].upper() + does[1:] + ".", allow_abbrev=False
    )
    made.add_argument("directory", metavar="DIR", type=Path, help="the witness's folder")
    made.add_argument("--name", help="make a new witness of this name, like witness.example/1 (the first time)")
    made.add_argument("--ml-dsa", action="store_true", help="with --name: a second key, of kind ML-DSA-44")
    made.add_argument(
        "--follow", action="append", default=[], metavar="KEY", help="follow this log too (its line of `evidence head`)"
    )
    made.add_argument("--lab", type=Path, metavar="DIR", help="take the time from the laboratory that runs in DIR")
    made.add_argument("--json", action="store_true", help="print one JSON document")
    return made


def _make(options: argparse.Namespace) -> None:
    """Make the folder where `--name` asks for it."""
    from truechimer.daemon.log.witness_keeper import KEYS, WitnessKeeperRejected, can_ml_dsa, make_witness
    from truechimer.quorum.keys import COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44, is_key_name

    if options.name is None:
        if options.ml_dsa:
            raise WitnessKeeperRejected("--ml-dsa goes with --name: a key is made with its witness")
        return
    if not is_key_name(options.name):
        raise WitnessKeeperRejected(
            f"{options.name[:60]!r} is no name of a key: no spaces, no plus signs, up to 255 bytes"
        )
    if any((options.directory / file).exists() for file in KEYS):
        raise WitnessKeeperRejected(f"{options.directory}: is a witness already; leave --name out")
    if options.ml_dsa and not can_ml_dsa():
        raise WitnessKeeperRejected("--ml-dsa: the installed `cryptography` does not have ML-DSA-44; version 50 does")
    kinds = [COSIGNATURE_ED25519, *([COSIGNATURE_ML_DSA_44] if options.ml_dsa else [])]
    make_witness(options.directory, name=options.name, seeds={kind: secrets.token_bytes(32) for kind in kinds})


def _clock(lab: Path | None) -> "Callable[[], int | None]":
    """Return the clock of the cosignatures: a laboratory's served time, or this machine's own."""
    if lab is None:
        from truechimer.daemon.host_clocks import HostClocks

        clocks = HostClocks()
        return lambda: clocks.realtime_ns() // 10**9

    def served() -> int | None:
        from truechimer import client

        try:
            document = client.ask("now", lab=lab)
            if not document.get("synchronised") or "earliest" not in document:
                return None
            from datetime import datetime

            return int(datetime.fromisoformat(document["earliest"][:19] + "+00:00").timestamp())
        except (Rejected, OSError, ValueError, KeyError):
            return None

    return served


def _key(keeper: "WitnessKeeper", *, as_json: bool) -> int:
    """Print the keys and the logs."""
    keys = [key.text for key in keeper.public]
    logs = [{"origin": key.name, "size": keeper.seen(key.name).size} for key in keeper.logs]
    if as_json:
        print(json.dumps({"keys": keys, "logs": logs}))
        return 0
    for key in keys:
        print(f"witness NAME {key} URL")
    for log in logs:
        print(f"follows {log['origin']}, seen up to {log['size']} entries")
    return 0


def _sign(keeper: "WitnessKeeper", options: argparse.Namespace) -> int:
    """Cosign a request from a file."""
    from truechimer.evidence.witnessing import add_checkpoint
    from truechimer.quorum.note import joined, parsed, signatures_of

    try:
        with options.file.open("rb") as file:
            data = file.read(MOST_REQUEST_BYTES)
    except OSError as error:
        raise WitnessVerbRejected(f"{options.file}: cannot be read ({error.strerror})") from None
    reply = keeper.add(data)
    says = reply.body.decode("utf-8", "replace").strip()
    if reply.status == 409:
        says = f"this witness saw a tree of {says} entries last: the laboratory must ask from there (its next request)"
    if reply.status == 200:
        note = add_checkpoint(data).note
        answer = joined(parsed(note).text, [*parsed(note).signatures, *signatures_of(reply.body)])
    else:
        answer = f"{reply.status}\n".encode() + reply.body
    try:
        options.out.write_bytes(answer)
    except OSError as error:
        raise WitnessVerbRejected(f"{options.out}: cannot be written ({error.strerror})") from None
    if options.json:
        print(json.dumps({"status": reply.status, "cosigned": reply.status == 200, "says": says}))
    elif reply.status == 200:
        print(f"{options.out}: cosigned; carry it back to the laboratory's folder evidence/offline")
    else:
        print(f"not cosigned ({reply.status}): {''.join(c if c.isprintable() else '?' for c in says)}", file=sys.stderr)
    return 0 if reply.status == 200 else 1


def _run(keeper: "WitnessKeeper", options: argparse.Namespace) -> int:
    """Answer until somebody asks to end."""
    from truechimer.daemon.lab.host_port import is_loopback
    from truechimer.daemon.log.witness_server import WitnessServer

    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ending.set())
    with WitnessServer(keeper, address=options.address, port=options.port) as server:
        for key in keeper.public:
            _say(f"witness {key.text}")
        for log in keeper.logs:
            _say(f"follows {log.name}, seen up to {keeper.seen(log.name).size} entries")
        if not keeper.logs:
            _say("follows no log yet: give --follow KEY, the line that `truechimer evidence head` prints")
        if is_loopback(options.address):
            _say(ONE_MACHINE)
        _say(f"answers on http://{options.address}:{server.port}/")
        if options.pidfile is not None:
            import os

            options.pidfile.write_text(f"{os.getpid()} {server.port}\n", encoding="ascii")
        _watch(keeper, ending, options.for_s)
    if options.json:
        refused = {str(name): count for name, count in sorted(server.refused.items())}
        print(json.dumps({"answers": {str(k): v for k, v in sorted(keeper.counts.items())}, "refused": refused}))
    return 0


def _watch(keeper: "WitnessKeeper", ending: threading.Event, for_s: float | None) -> None:
    """Wait for the end; say which log has fallen silent, and which speaks again."""
    began = time.monotonic()
    grew = {key.name: (keeper.seen(key.name).size, began) for key in keeper.logs}
    silent: set[str] = set()
    while not ending.wait(1.0 if for_s is None else max(0.0, min(1.0, began + for_s - time.monotonic()))):
        now = time.monotonic()
        if for_s is not None and now >= began + for_s:
            return
        for name, (size, since) in list(grew.items()):
            seen = keeper.seen(name).size
            if seen != size:
                grew[name] = (seen, now)
                if name in silent:
                    silent.discard(name)
                    _say(f"{name}: speaks again, {seen} entries")
            elif now - since > SILENT_AFTER_S and name not in silent:
                silent.add(name)
                _say(
                    f"{name}: SILENT for {SILENT_AFTER_S:.0f} s at {size} entries: its laboratory has stopped, is cut "
                    "off, or shows its log to others only; ask its people another way"
                )


def _say(text: str) -> None:
    print(f"truechimer witness: {text}", file=sys.stderr, flush=True)
