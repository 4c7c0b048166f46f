"""One log four ways, as journal, folder of tiles, bundle and address: verified, replayed and judged to the same answer;
and a server of a log that is hostile is refused by what it did.
"""

import gzip
import http.server
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.evidence.logs import LOG, NOW_S, ORIGIN, POLICY_OF_LOG, WITNESSES, tree_of
from tests.evidence.test_verdict_verb import write
from tests.laboratory import rig
from tests.laboratory.test_verdict import SECONDS, after, rechained, recorded

from truechimer.cli.__main__ import main
from truechimer.daemon.log import log_mirror
from truechimer.evidence.bundle import bundled
from truechimer.evidence.checkpoint import Checkpoint
from truechimer.evidence.cosignature import Cosigner, public_key, signer_of
from truechimer.evidence.entry import entry_of, payload_path
from truechimer.evidence.log import Edge, grown
from truechimer.evidence.record import Chain, seal
from truechimer.quorum.note import joined, parsed, signed
from truechimer.store.bundle_reader import program

WITNESSED = "\n".join(
    [
        f"log {public_key(LOG).text}",
        *[f"witness {name} {public_key(WITNESSES[name]).text}" for name in ("w1", "w2")],
        "group both all w1 w2",
        "quorum both\n",
    ]
).encode()
END_POSIX_S = rig.ANCHOR_TAI_NS // rig.NS - 37 + SECONDS
Answer = tuple[int, dict[str, str], bytes]


def published(folder: Path, log: list[bytes], *, witnessed_s: int | None = None) -> Path:
    """The log as `up` would publish it, cosigned at a time."""
    growth = grown(Edge(), [entry_of(one) for one in log])
    head = Checkpoint(ORIGIN, growth.edge.size, growth.edge.root)
    note = signed(head.text, [signer_of(LOG, time_s=NOW_S)])
    for name in ("w1", "w2") if witnessed_s is not None else ():
        more = signed(head.text, [Cosigner(WITNESSES[name], witnessed_s or 0)])
        note = joined(head.text, [*parsed(note).signatures, *parsed(more).signatures])
    for tile, data in growth.tiles.items():
        (folder / tile.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / tile.path).write_bytes(data)
    (folder / "checkpoint").write_bytes(note)
    return folder


def files_of(folder: Path) -> Callable[[str], bytes | None]:
    return lambda name: (folder / name).read_bytes() if (folder / name).is_file() else None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal, its tiles, its bundle, policies."""
    place = tmp_path_factory.mktemp("sources")
    log = recorded()[0]
    write(place / "lab", log)
    folder = published(place / "tiles", log, witnessed_s=END_POSIX_S + 5)
    for name, data in bundled(
        files_of(folder), indexes=None, policy=b"", verifier=program(), disclosed={}, record=lambda n: log[n]
    ):
        (place / "bundle" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "bundle" / name).write_bytes(data)
    (place / "policy").write_bytes(POLICY_OF_LOG)
    (place / "witnessed").write_bytes(WITNESSED)
    return place


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        status, headers, body = self.server.answer(self.path)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/log"

    def handle_error(self, *_: object) -> None:
        pass


@pytest.fixture
def serving() -> Iterator[Callable[..., _Server]]:
    made: list[_Server] = []

    def begin(answer: Callable[[str], Answer]) -> _Server:
        made.append(_Server(answer))
        threading.Thread(target=made[-1].serve_forever, args=(0.01,), daemon=True).start()
        return made[-1]

    yield begin
    for server in made:
        server.shutdown()
        server.server_close()


def of_folder(folder: Path, **headers: str) -> Callable[[str], Answer]:
    def answer(path: str) -> Answer:
        file = folder / path.removeprefix("/log/")
        if not file.is_file():
            return 404, {}, b"no such tile"
        data = file.read_bytes()
        return 200, headers, gzip.compress(data) if "Content-Encoding" in headers else data

    return answer


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, object]]:
    status = main([*map(str, words), "--json"])
    said = capsys.readouterr()
    assert said.out, said.err
    return status, json.loads(said.out)


@pytest.mark.slow
def test_journal_tiles_bundle_and_address_give_one_verdict(
    place: Path, serving: Callable[..., _Server], capsys: pytest.CaptureFixture[str]
) -> None:
    server = serving(of_folder(place / "tiles"))
    _, plain = told(capsys, "verdict", "--log", place / "lab")
    assert plain["signature"] == {"judged": False}
    for log in (place / "bundle", server.url):
        status, found = told(capsys, "verdict", "--log", log, "--policy", place / "witnessed", "--no-replay")
        assert status == 0, found
        assert found["seconds"] == plain["seconds"]
        assert found["unwitnessed"] is False
        (segment,) = found["segments"]
        assert segment["witnessed_by"] == ["w1", "w2"]
        assert segment["error_s"] == plain["segments"][0]["error_s"]  # type: ignore[index]
        if log is server.url:
            status, again = told(capsys, "evidence", "replay", log, "--policy", place / "policy")
            assert (status, again["difference"]) == (0, None)
            assert again["records_compared"] == plain["replay"]["records_compared"]  # type: ignore[index]
        status, verified = told(capsys, "evidence", "verify", log, "--policy", place / "policy")
        assert (status, verified["holds"]) == (0, True)


@pytest.mark.slow
def test_a_forged_log_signed_anew_names_the_record_and_the_last_proved_second(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who holds the log's key can sign another history: the replay finds it; a changed entry the signature finds."""

    def change(body: dict[str, object]) -> None:
        if after(body):
            body["anchor_tai_fs"] = str(int(str(body["anchor_tai_fs"])) + 10**12)

    log = recorded()[0]
    forged = rechained(log, change)
    first = next(n for n, (one, other) in enumerate(zip(log, forged, strict=True)) if one != other)
    status, found = told(
        capsys, "verdict", "--log", published(tmp_path / "forged", forged), "--policy", place / "policy"
    )
    assert status == 1
    assert (found["tampering"]["what"], found["tampering"]["record"]) == ("replay", first)  # type: ignore[index]
    last = str(found["tampering"]["last_proved"])  # type: ignore[index]
    moved = next(one for one in found["segments"] if one["verdict"] == "moved")  # type: ignore[union-attr]
    assert last < moved["from"]
    assert moved["last_proved"] == last
    folder = shutil.copytree(place / "tiles", tmp_path / "edited")
    file = folder / f"tile/entries/{first // 256:03d}"
    file.write_bytes(file.read_bytes().replace(log[first][20:60], bytes(40), 1))
    for verb in (("verdict", "--no-replay", "--log"), ("evidence", "replay")):
        status, found = told(capsys, *verb, folder, "--policy", place / "policy")
        assert status == 1
        assert "tampering" not in found or found["tampering"]["what"] == "signature"  # type: ignore[index]
        assert found["signature"]["first_bad"] == first  # type: ignore[index]
    assert found["difference"]["seq"] == first  # type: ignore[index]


def test_seconds_after_the_witnesses_saw_the_logs_end_are_not_proved(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records dated ahead of the moment at which others had seen them were written before their time."""
    seen = END_POSIX_S - SECONDS // 2 - 120
    early = published(tmp_path / "early", recorded()[0], witnessed_s=seen)
    status, found = told(capsys, "verdict", "--log", early, "--policy", place / "witnessed", "--no-replay")
    assert status == 1
    assert found["segments"][0]["verdict"] == "proved"  # type: ignore[index]
    assert "witnesses" in found["segments"][-1]["why"]  # type: ignore[index]
    assert found["seconds"]["proved"] == pytest.approx(SECONDS // 2, abs=8)  # type: ignore[index]


def with_sighting(log: list[bytes], at: int, *, of: list[bytes], at_s: int) -> list[bytes]:
    """The log with a record before entry `at` that holds a checkpoint over `of`, as witnesses signed it at a time."""
    growth = grown(Edge(), of)
    head = Checkpoint(ORIGIN, growth.edge.size, growth.edge.root)
    lines = [signer_of(LOG, time_s=NOW_S), *[Cosigner(WITNESSES[name], at_s) for name in ("w1", "w2")]]
    body = {"epoch_tai_ns": "0", "checkpoint": signed(head.text, lines).decode(), "signed_by": ["w1", "w2"]}
    seen = {"kind": "witnessed", "prev": "", "seq": 0, **body}
    return rechained([*log[:at], json.dumps(seen).encode(), *log[at:]], lambda _: None)


@pytest.mark.parametrize(("what", "late_s"), [(None, 0), ("dated", 1800), ("dated", -1800), ("fork", 0)])
def test_witnesses_date_the_records_between_them_and_show_another_history(
    what: str | None, late_s: int, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Records after a cosignature that the log holds were written after it; records below its size before it."""
    log = recorded()[0]
    middle = next(
        n for n, one in enumerate(log)
        if b'"kind":"readings"' in one and int(json.loads(one).get("raw_ns", 0)) > rig.ANCHOR_RAW_NS + 60 * rig.NS
    )  # fmt: skip
    tree = [*log[: middle - 1], b"{}"] if what == "fork" else log[:middle]
    kept = with_sighting(log, middle, of=tree, at_s=END_POSIX_S - 60 + late_s)
    folder = published(tmp_path / "log", kept, witnessed_s=END_POSIX_S + 5 + max(0, late_s))
    status, found = told(capsys, "verdict", "--log", folder, "--policy", place / "witnessed", "--no-replay")
    if what is None:
        assert (status, "tampering" in found) == (0, False)
        return
    assert status == 1
    assert found["tampering"]["what"] == what  # type: ignore[index]
    first, last = found["segments"][0]["verdict"], found["segments"][-1]["verdict"]  # type: ignore[index]
    # written after the signature and dated half an hour before it: the second half; dated after it: the first
    assert (first, last) == {1800: ("proved", "unproved"), -1800: ("unproved", "proved"), 0: ("unproved", "unproved")}[
        late_s
    ]


def test_a_log_that_the_policy_does_not_believe_proves_nothing(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unwitnessed = published(tmp_path / "log", recorded()[0])
    interval = ("--from", "2026-11-18T12:00:00Z", "--to", "2026-11-18T13:00:00Z")
    status, found = told(capsys, "verdict", "--log", unwitnessed, "--policy", place / "witnessed", *interval)
    assert status == 1
    assert found["seconds"] == {"proved": 0, "unproved": 3600, "moved": 0}
    assert found["signature"]["distrusted"] == "quorum"  # type: ignore[index]
    assert told(capsys, "evidence", "replay", unwitnessed, "--policy", place / "witnessed")[0] == 1
    assert told(capsys, "verdict", "--log", unwitnessed, "--no-replay")[1]["signature"] == {"judged": False}


def test_a_log_behind_an_address_is_copied_once_and_must_go_on_from_the_last_copy(
    place: Path, tmp_path: Path, serving: Callable[..., _Server], capsys: pytest.CaptureFixture[str]
) -> None:
    log = recorded()[0]
    short, other = published(tmp_path / "short", log[:300]), published(tmp_path / "other", [*log[:200], *log[201:]])
    served = [short]

    def answer(path: str) -> Answer:
        return of_folder(served[0], **{"Content-Encoding": "gzip"})(path)

    server = serving(answer)
    verify = ("evidence", "verify", server.url, "--policy", place / "policy", "--keep", tmp_path / "copy")
    assert told(capsys, *verify)[1]["size"] == 300
    served[0], server.asked[:] = place / "tiles", []
    assert told(capsys, *verify)[1]["size"] == len(log)
    assert "/log/tile/entries/000" not in server.asked
    assert told(capsys, *verify)[0] == 0
    for folder, reason in ((short, "rollback"), (other, "rollback")):
        served[0] = folder
        status, found = told(capsys, *verify)
        assert (status, found["distrusted"]) == (1, reason)
        assert (tmp_path / "copy" / "checkpoint.conflict").read_bytes() == (folder / "checkpoint").read_bytes()
    served[0] = published(tmp_path / "fork", [*log[:200], *log[201:], *log[:50]])
    status, found = told(capsys, *verify)
    assert (status, found["distrusted"]) == (1, "fork")
    assert not told(capsys, *verify)[1]["holds"]


def test_long_records_are_replayed_from_their_payloads(tmp_path: Path, serving: Callable[..., _Server]) -> None:
    from truechimer.evidence.log_policy import log_policy
    from truechimer.evidence.log_records import LogRecords
    from truechimer.evidence.record import RecordRejected
    from truechimer.store.log_files import LogFiles

    chain, log = Chain(), []
    for n in range(300):
        one, chain = seal("test", {"text": "x" * (70_000 if n == 270 else n)}, chain)
        log.append(one.data)
    folder = published(tmp_path / "log", log)
    digest = json.loads(entry_of(log[270]))["payload_sha256"]
    (folder / "payloads").mkdir()
    (folder / payload_path(digest)).write_bytes(log[270])
    files = LogFiles(tmp_path / "copy")
    log_mirror.mirror(serving(of_folder(folder)).url, files, log_policy(POLICY_OF_LOG))
    records = LogRecords(files.read, 300)
    assert list(records.read()) == log
    assert list(records.read(first=269)) == log[269:]
    (files.folder / payload_path(digest)).write_bytes(log[270][:-1])
    with pytest.raises(RecordRejected) as refused:
        list(records.read())
    assert refused.value.seq == 270


BOMB = gzip.compress(bytes(64 << 20), 1)


@pytest.mark.parametrize(
    ("reason", "hostile"),
    [
        ("missing", lambda path: (404, {}, b"")),
        ("redirect", lambda path: (302, {"Location": "http://127.0.0.1:1/"}, b"")),
        ("status", lambda path: (418, {}, b"")),
        ("too-long", lambda path: (200, {}, bytes(2 << 20))),
        ("too-long", lambda path: (200, {"Content-Encoding": "gzip"}, BOMB)),
        ("encoding", lambda path: (200, {"Content-Encoding": "br"}, b"x")),
        ("encoding", lambda path: (200, {"Content-Encoding": "gzip"}, b"x")),
        ("protocol", lambda path: (200, {"Content-Length": "100000000000", "Connection": "close"}, b"x" * 1000)),
        ("protocol", lambda path: (200, {f"X-{n}": "y" for n in range(200)}, b"x")),
        ("slow", lambda path: time.sleep(3) or (200, {}, b"x")),
    ],
)  # fmt: skip
def test_a_hostile_server_is_refused_by_what_it_did(
    reason: str, hostile: Callable[[str], Answer], serving: Callable[..., _Server], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    """As checkpoint, and as the tile of an honest checkpoint."""
    from truechimer.evidence.log_policy import log_policy
    from truechimer.store.log_files import LogFiles

    monkeypatch.setattr(log_mirror, "RECEIVE_S", 0.3 if reason == "slow" else 10.0)
    monkeypatch.setattr(log_mirror, "TRIES", 1)
    note = tree_of(300).note()
    for first in (hostile, lambda path: (200, {}, note) if path == "/log/checkpoint" else hostile(path)):
        server = serving(first)
        if first is not hostile and reason == "missing":
            continue  # a tile that is missing is found by the audit
        with pytest.raises(log_mirror.LogUrlRejected) as refused:
            log_mirror.mirror(server.url, LogFiles(tmp_path / "copy"), log_policy(POLICY_OF_LOG))
        assert refused.value.reason == reason


def test_what_is_no_address_of_a_log_is_refused() -> None:
    for text in (
        "ftp://h/x",
        "http://",
        "http://h:99999/",
        "http://u:p@h/",
        "http://h/?q",
        "http://[::1",
        "http://h/\n",
    ):
        with pytest.raises(log_mirror.LogUrlRejected) as refused:
            log_mirror.address(text)
        assert refused.value.reason == "address"
    assert log_mirror.address("https://[::1]/a/checkpoint") == log_mirror.Address(True, "::1", 443, "/a")
