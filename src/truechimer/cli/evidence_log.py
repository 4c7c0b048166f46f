"""`truechimer evidence publish | head | next-key | bundle | verify`: the signed log, its key, what a stranger
gets of it, and its judgement.

Rules stand in `evidence`, files in `store`, the key in the signer's process; here are arguments and what is said.

Exit status: 0 done, all as signed; 1 something is not, or is not believed; 2 wrong use or unreadable input.
"""

import argparse
import json
import secrets
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from truechimer.errors import Rejected

MOST_ENTRIES = 100_000
SIGNER = "signer"
KEYS = f"evidence/{SIGNER}"
LOG = "evidence/log"


class EvidenceArgumentsRejected(Rejected):
    """What was asked for is not in the log, or cannot be written."""


def add(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add these verbs to the parser of `evidence`."""
    publish = _verb(verbs, "publish", "take all records into the signed log (makes its key the first time)")
    publish.add_argument("directory", metavar="DIR", type=Path, help="a laboratory's directory")
    publish.add_argument("--origin", help="the log's name for ever, like lab.example/utc (needed the first time)")
    publish.add_argument("--json", action="store_true", help="print one JSON document")
    head = _verb(verbs, "head", "the last signed checkpoint, and the line that others put into their policy")
    head.add_argument("directory", metavar="DIR", type=Path, help="a laboratory's directory, or a folder of tiles")
    head.add_argument("--json", action="store_true", help="print one JSON document")
    next_key = _verb(verbs, "next-key", "make the key that shall follow the log's own; an order brings it into force")
    next_key.add_argument("directory", metavar="DIR", type=Path, help="a laboratory's directory")
    next_key.add_argument("--json", action="store_true", help="print one JSON document")
    bundle = _verb(verbs, "bundle", "what a stranger verifies offline: single entries with proofs, or the whole log")
    bundle.add_argument("directory", metavar="DIR", type=Path, help="a laboratory's directory")
    bundle.add_argument("--out", required=True, metavar="PATH", type=Path, help="a new folder, or a new file .zip")
    bundle.add_argument("--entries", metavar="N,A-B", help="only these entries, each with its proof")
    bundle.add_argument("--policy", metavar="FILE", type=Path, help="the policy to suggest (default: this log alone)")
    bundle.add_argument("--disclose", metavar="N=FILE", action="append", default=[], help="open entry N's commitment")
    verify = _verb(verbs, "verify", "judge a bundle, a folder of tiles or a laboratory's log offline, or a log's URL")
    verify.add_argument(
        "path", metavar="PATH", help="a bundle (folder or .zip), a folder with a log, or a URL of tiles"
    )
    verify.add_argument(
        "--policy", required=True, metavar="FILE", type=Path, help="whose logs and witnesses you believe"
    )
    verify.add_argument(
        "--keep", metavar="DIR", type=Path, help="keep the copy of a log behind a URL: go on from it, and compare heads"
    )
    verify.add_argument("--json", action="store_true", help="print one JSON document")


def _verb(verbs: "argparse._SubParsersAction[Any]", name: str, does: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = verbs.add_parser(
        name, help=does, description=does[0].upper() + does[1:] + ".", allow_abbrev=False
    )
    return made


def run(options: argparse.Namespace) -> int:
    """Run one of these verbs; return the exit status."""
    match options.verb:
        case "publish":
            return _publish(options.directory, options.origin, as_json=options.json)
        case "head":
            return _head(options.directory, as_json=options.json)
        case "next-key":
            return _next_key(options.directory, as_json=options.json)
        case "bundle":
            return _bundle(options)
        case _:
            return _verify(options)


def _publish(directory: Path, origin: str | None, *, as_json: bool) -> int:
    from truechimer.cli.evidence_source import records_file
    from truechimer.daemon.log.signer import SignerProcess
    from truechimer.daemon.log.tree_keeper import KEY, make_keeper
    from truechimer.evidence.cosignature import private_key, public_key
    from truechimer.quorum.keys import is_key_name
    from truechimer.store.log_files import LogFiles
    from truechimer.store.sqlite_records import SqliteRecords
    from truechimer.store.tiles import TiledLog

    keys = directory / KEYS
    file = records_file(directory)
    if not (keys / KEY).exists():
        if origin is None or not is_key_name(origin):
            raise EvidenceArgumentsRejected(
                f"{directory}: this log has no key yet; say its name for ever with --origin, a name of yours like "
                "lab.example/utc (no spaces, no plus signs)"
            )
        make_keeper(keys, origin=origin, seed=secrets.token_bytes(32))
    key = public_key(private_key((keys / KEY).read_text(encoding="utf-8")))
    if origin is not None and origin != key.name:
        raise EvidenceArgumentsRejected(f"{directory}: this log is called {key.name!r}, for ever; leave --origin out")
    records = SqliteRecords(file, read_only=True)
    signer = SignerProcess(keys)
    try:
        log = TiledLog(
            LogFiles(directory / LOG), origin=key.name, records=lambda n: records.read(first=n), signer=signer
        )
        log.advance()
        log.settle()
    finally:
        signer.close()
        records.close()
    return _head(directory, as_json=as_json)


def _next_key(directory: Path, *, as_json: bool) -> int:
    """Make the key that shall follow the log's own, and say what has to be signed for it."""
    from truechimer.daemon.log.tree_keeper import make_next_key
    from truechimer.store.evidence_files import log_folder

    folder = log_folder(directory).parent / SIGNER
    key = make_next_key(folder, seed=secrets.token_bytes(32))
    if as_json:
        print(json.dumps({"origin": key.name, "line": f"log {key.text}", "file": str(folder / "next.key")}))
        return 0
    print(f"log {key.text}")
    print(
        "it waits, and signs nothing before an order names it: put this line beside the line of the present key into a "
        f"policy file, and have `truechimer order propose log-keys --target {key.name} --file FILE` signed",
        file=sys.stderr,
    )
    return 0


def _head(directory: Path, *, as_json: bool) -> int:
    from truechimer.evidence.checkpoint import checkpoint
    from truechimer.quorum.note import parsed
    from truechimer.store.evidence_files import log_folder
    from truechimer.store.log_files import LogFiles

    note = parsed(LogFiles(log_folder(directory)).read("checkpoint") or b"")
    head = checkpoint(note.text)
    signers = [one.name for one in note.signatures]
    others = [name for name in signers if name != head.origin]
    line = _policy_line(directory)
    if as_json:
        told = {
            "origin": head.origin,
            "size": head.size,
            "root": head.root.hex(),
            "signed_by": signers,
            "log_key": line,
        }
        print(json.dumps(told))
        return 0
    print(f"log        {_printable(head.origin)}\ncheckpoint {head.size} entries, root {head.root.hex()}")
    print(
        f"witnessed  {', '.join(map(_printable, others))}"
        if others
        else "UNWITNESSED: nobody outside has signed this checkpoint"
    )
    if line:
        print(f"policy     {line}")
    return 0


def _policy_line(directory: Path) -> str:
    """Return the line `log KEY` of a laboratory's own log; empty where its key is not here."""
    from truechimer.daemon.log.tree_keeper import KEY
    from truechimer.evidence.cosignature import private_key, public_key

    try:
        key = private_key((directory / KEYS / KEY).read_text(encoding="utf-8"))
    except OSError:
        return ""
    return f"log {public_key(key).text}"


def _bundle(options: argparse.Namespace) -> int:
    from truechimer.cli.evidence_source import records_file
    from truechimer.console.verify_page import page
    from truechimer.evidence.bundle import bundled
    from truechimer.evidence.checkpoint import checkpoint
    from truechimer.evidence.disclosure import disclosure
    from truechimer.quorum.note import parsed
    from truechimer.store.bundle_reader import program
    from truechimer.store.evidence_files import log_folder
    from truechimer.store.log_files import LogFiles
    from truechimer.store.sqlite_records import SqliteRecords

    if options.out.exists():
        raise EvidenceArgumentsRejected(f"{options.out}: is there already; name a new one")
    files = LogFiles(log_folder(options.directory))
    size = checkpoint(parsed(files.read("checkpoint") or b"").text).size
    indexes = None if options.entries is None else _indexes(options.entries, size)
    line = _policy_line(options.directory)
    policy = options.policy.read_bytes() if options.policy else f"{line}\nquorum none\n".encode()
    disclosed = {}
    for one in options.disclose:
        number, _, path = one.partition("=")
        if not path or _indexes(number, size)[0] not in (indexes or ()):
            raise EvidenceArgumentsRejected(f"--disclose {one}: N=FILE, where N is one of --entries")
        disclosed[int(number)] = disclosure(Path(path).read_bytes())

    def record(index: int) -> bytes:
        store = SqliteRecords(records_file(options.directory), read_only=True)
        try:
            return next(iter(store.read(first=index)))
        finally:
            store.close()

    _write(
        options.out,
        bundled(
            files.read,
            indexes=indexes,
            policy=policy,
            verifier=program(),
            page=page(),
            disclosed=disclosed,
            record=record,
        ),
    )
    count = size if indexes is None else len(indexes)
    print(f"{options.out}: {count} entries; verify it: python3 verify.py --policy FILE")
    return 0


def _indexes(text: str, size: int) -> list[int]:
    """Read `3,10-20`; raises `EvidenceArgumentsRejected`."""
    out: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = (first, last if dash else first)
        if not all(one.isascii() and one.isdigit() and len(one) < 20 for one in ends):
            raise EvidenceArgumentsRejected(f"{part[:40]!r} is no entry and no range: like 3,10-20")
        low, high = map(int, ends)
        if not low <= high < size:
            raise EvidenceArgumentsRejected(f"{part}: the log has the entries 0 to {size - 1}")
        if len(out) + high - low >= MOST_ENTRIES:
            raise EvidenceArgumentsRejected(f"more than {MOST_ENTRIES} entries: hand over the whole log (no --entries)")
        out += range(low, high + 1)
    return sorted(set(out))


def _write(out: Path, files: Iterable[tuple[str, bytes]]) -> None:
    if out.suffix == ".zip":
        with zipfile.ZipFile(out, "x", compression=zipfile.ZIP_DEFLATED) as archive:
            for name, data in files:
                archive.writestr(name, data)
        return
    for name, data in files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)


def _verify(options: argparse.Namespace) -> int:
    from truechimer.cli.evidence_source import as_distrusted, copied, read_policy
    from truechimer.daemon.log.log_mirror import LogUrlRejected, is_url
    from truechimer.evidence.dating import DatingFault
    from truechimer.evidence.log_policy import CheckpointDistrusted
    from truechimer.store.evidence_files import misdated_entries, verify_evidence

    path, as_json = str(options.path), options.json
    try:
        if is_url(path):
            with copied(path, read_policy(options.policy), options.keep) as folder:
                found = verify_evidence(folder, options.policy)
                dates = misdated_entries(folder, found.trusted.checkpoint.size)
        else:
            found = verify_evidence(path, options.policy)
            dates = misdated_entries(path, found.trusted.checkpoint.size)
    except CheckpointDistrusted as error:
        return as_distrusted(path, error, as_json=as_json)
    except LogUrlRejected as error:
        if error.reason not in {"rollback", "fork"}:
            raise
        told = {"path": path, "holds": False, "distrusted": error.reason, "says": str(error)}
        print(json.dumps(told) if as_json else f"not believed: {_printable(str(error))}")
        return 1
    head = found.trusted.checkpoint
    fine = found.holds and not any(one.what is DatingFault.BACKDATED for one in dates)
    if as_json:
        print(
            json.dumps(
                {
                    "path": path,
                    "holds": found.holds,
                    "origin": head.origin,
                    "size": head.size,
                    "root": head.root.hex(),
                    "witnessed": dict(found.trusted.witnessed),
                    "entries": found.entries,
                    "first_bad": found.first_bad,
                    "faults": list(found.faults[:1000]),
                    "dates": [{"what": one.what.value, "entry": one.index, "says": one.says} for one in dates[:1000]],
                }
            )
        )
        return 0 if fine else 1
    print(f"log        {_printable(head.origin)}\ncheckpoint {head.size} entries, root {head.root.hex()}")
    witnesses = ", ".join(map(_printable, found.trusted.witnessed))
    print(
        f"witnessed  by {witnesses}"
        if witnesses
        else "UNWITNESSED: nobody but the log itself vouches for this checkpoint"
    )
    for one in found.faults[:20]:
        print(f"fault      {_printable(one)}")
    if len(found.faults) > 20:
        print(f"fault      and {len(found.faults) - 20} more")
    for dated in dates[:20]:
        print(f"dates      {dated.says}")
    if len(dates) > 20:
        print(f"dates      and {len(dates) - 20} more")
    if found.first_bad is not None:
        print(f"first bad  entry {found.first_bad}")
    else:
        print(f"ok         {found.entries} entries are what was signed")
    return 0 if fine else 1


def _printable(text: str) -> str:
    """Return text from outside without anything a terminal obeys."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
