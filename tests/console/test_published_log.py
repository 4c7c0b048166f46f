"""The log over HTTP: its own files by their one name, and what the page is told of it."""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.console.consoles import Console, a_console
from tests.control.fake_laboratory import FakeLaboratory
from tests.evidence.logs import NOW_S, ORIGIN, POLICY_TEXT, Tree
from tests.evidence.test_audit import files_of

from truechimer.console.published_log import KEPT_OF_A_KIND, PublishedLog, log_key_in, row_of, utc_of
from truechimer.evidence.log import Edge
from truechimer.evidence.log_policy import log_policy
from truechimer.evidence.merkle import check_inclusion, leaf_hash
from truechimer.evidence.proof import proof_file

POLICY = log_policy(POLICY_TEXT)
KEY = POLICY.logs[0].key.text


def record(n: int) -> bytes:
    body = {"kind": f"kind-{n % 5}", "says": f"said {n}", "seq": n, "epoch_tai_ns": str(10**18 + n)}
    return json.dumps(body).encode()


def log_of(size: int) -> Tree:
    tree = Tree(Edge(), {}, [])
    tree.append([record(n) for n in range(size)])
    return tree


def publish(lab: Path, tree: Tree) -> None:
    for name, data in files_of(tree).items():
        place = lab / "evidence" / "log" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeLaboratory]:
    with FakeLaboratory(tmp_path_factory.mktemp("log") / "lab") as running:
        publish(running.folder, log_of(700))
        keys = running.folder / "evidence" / "signer"
        keys.mkdir(parents=True)
        (keys / "log.key").write_text("SECRET", encoding="utf-8")
        (running.folder / "evidence" / "log" / "settled").write_text("SECRET", encoding="utf-8")
        yield running


@pytest.fixture(scope="module")
def console(lab: FakeLaboratory) -> Iterator[Console]:
    with a_console(lab.folder) as running:
        yield running


def body(console: Console, path: str) -> tuple[int, bytes]:
    with console.get(path) as reply:
        return reply.status, reply.read()


def test_the_logs_files_are_served_by_the_names_that_every_reader_asks_for(console: Console) -> None:
    for name, data in files_of(log_of(700)).items():
        assert body(console, f"/log/{name}") == (200, data)


@pytest.mark.parametrize(
    "name",
    [
        "", "settled", "tile/0/0", "tile/0/000.p/0", "tile/entries/002", "tile/9/000", "tile/0/000/", "./checkpoint",
        "../signer/log.key", "..%2fsigner%2flog.key", "tile/../settled", "tile/0/000%00", "%2e%2e/signer/log.key",
        "/etc/passwd", "tile/entries/x000/000",
    ],
)  # fmt: skip
def test_no_other_name_is_answered(console: Console, name: str) -> None:
    status, said = body(console, f"/log/{name}")
    assert status == 404
    assert b"SECRET" not in said


def test_an_entry_and_its_proof_lead_to_the_checkpoint(console: Console) -> None:
    tree = log_of(700)
    for index in (0, 255, 699):
        assert body(console, f"/api/evidence/entry/{index}") == (200, record(index))
        proof = proof_file(body(console, f"/api/evidence/proof/{index}")[1])
        check_inclusion(leaf_hash(record(index)), index, 700, proof=proof.hashes, root=tree.edge.root)
        assert proof.note == tree.note("w1", "w2")
    for index in ("700", "99999999999999999999999", "-1", "x"):
        assert body(console, f"/api/evidence/proof/{index}")[0] == 404


def test_what_the_page_is_told_is_what_the_log_holds(console: Console) -> None:
    status, told = console.json("/api/evidence")
    assert status == 200
    assert (told["published"], told["size"], told["origin"]) == (True, 700, ORIGIN)
    assert told["root"] == log_of(700).edge.root.hex()
    assert [one.get("says_at_s") for one in told["signatures"]] == [None, NOW_S, NOW_S]
    newest = {one["kind"]: one["newest"] for one in told["kinds"]}
    assert [row["index"] for row in newest["kind-4"]] == [699 - 5 * n for n in range(KEPT_OF_A_KIND)]
    assert newest["kind-4"][0]["utc"].startswith("2001-09-09T01:46:")
    assert newest["kind-4"][0]["says"] == "said 699"
    assert sum(one["count"] for one in told["kinds"]) == 700 - told["first_scanned"]


def test_what_is_new_is_read_and_nothing_twice(tmp_path: Path) -> None:
    raw = iter(range(10**9, 10**12, 10**9))
    log = PublishedLog(tmp_path, lambda: next(raw))
    assert log.document()["published"] is False
    tree = log_of(300)
    for size in (300, 511, 512, 9000, 9001):
        tree.append([record(n) for n in range(tree.edge.size, size)])
        publish(tmp_path, tree)
        told = log.document()
        assert told["size"] == size
        assert max(row["index"] for one in told["kinds"] for row in one["newest"]) == size - 1
        assert sum(one["count"] for one in told["kinds"]) == size - told["first_scanned"]
    publish(tmp_path, log_of(3))
    assert sum(one["count"] for one in log.document()["kinds"]) == 3


def test_the_key_is_taken_from_a_record_only_where_it_is_of_this_log() -> None:
    said = json.dumps({"kind": "keys", "log": KEY, "witnesses": [one.key.text for one in POLICY.witnesses]}).encode()
    assert log_key_in(said, ORIGIN) == KEY
    assert log_key_in(said, "another.example") is None
    assert log_key_in(said.replace(KEY[-4:].encode(), b"AAAA"), ORIGIN) is None


def test_an_entry_of_any_form_is_shown_cut_short() -> None:
    for entry in (b"", b"\xff\xfe", b"[" * 20_000, b"{}", b'{"kind":7}', b'{"kind":"x","says":' + b'"y"' * 9 + b"}"):
        assert row_of(1, entry)["kind"] == "(no record)"
    assert len(row_of(1, b'{"kind":"' + b"k" * 999 + b'","says":"' + b"s" * 9999 + b'"}')["says"]) == 300
    assert row_of(1, b'{"kind":"x","anchor_tai_fs":"1000000000000000000000000"}')["utc"].startswith("2001-09-09T01:46:")
    assert [utc_of(one) for one in (None, True, "x", "-5", "9" * 30, 1.5, [])] == [None] * 7


def test_a_small_reply_does_not_wait_for_an_acknowledgement(console: Console) -> None:
    """Nagle's delay cost 40 ms a reply: the listener's sockets are known as TCP, so that asyncio turns it off."""
    connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=120)
    quickest = 1.0
    for _ in range(20):
        begun = time.perf_counter()
        connection.request("GET", "/api/evidence/entry/5")
        connection.getresponse().read()
        quickest = min(quickest, time.perf_counter() - begun)
    connection.close()
    assert quickest < 0.035
