"""A witness cosigns each tree of a log once, remembers it through its death, and answers whatever is sent to it."""

import http.client
import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.logs import LOG, ORIGIN, tree_of
from tests.log.journals import Journal, publisher

from truechimer.cli.__main__ import main
from truechimer.daemon.log.log_publisher import Publisher
from truechimer.daemon.log.log_state import LogState, WitnessState, read_state
from truechimer.daemon.log.log_witnesses import witness_policy
from truechimer.daemon.log.witness_keeper import WitnessKeeper, WitnessKeeperRejected, make_witness
from truechimer.daemon.log.witness_server import BURST, WitnessServer
from truechimer.errors import Rejected
from truechimer.evidence.cosignature import has_ml_dsa, public_key, verifier_of
from truechimer.evidence.log_policy import LogPolicyRejected, judged, log_policy
from truechimer.evidence.merkle import EMPTY_ROOT
from truechimer.evidence.record import Chain
from truechimer.evidence.succession import Head
from truechimer.evidence.witnessing import AddCheckpoint, Reply, answered, considered, origin_path
from truechimer.quorum.keys import COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44
from truechimer.store.sqlite_records import SqliteRecords

NAME = "witness.example/1"
T = 1_800_000_000
ML_DSA = {COSIGNATURE_ML_DSA_44: b"m" * 32} if has_ml_dsa() else {}


def a_witness(folder: Path, *, now_s: int | None = T) -> WitnessKeeper:
    if not folder.exists():
        make_witness(folder, name=NAME, seeds={COSIGNATURE_ED25519: b"w" * 32} | ML_DSA)
    return WitnessKeeper(folder, now_s=lambda: now_s)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[WitnessKeeper]:
    keeper = a_witness(tmp_path / "witness")
    keeper.follow(f"log {public_key(LOG).text}")
    yield keeper
    keeper.close()


def request(old: int, size: int, *, last: bytes | None = None) -> AddCheckpoint:
    tree = tree_of(size if last is None else size - 1)
    if last is not None:
        tree.append([last])
    return AddCheckpoint(old, tree.consistency(old) if old else (), tree.note())


def test_it_answers_as_the_specification_says(keeper: WitnessKeeper) -> None:
    first = request(0, 10)
    reply = keeper.add(first.data)
    by = answered(reply, first, [verifier_of(key) for key in keeper.public])
    assert isinstance(by, tuple)
    assert len(by) == len(keeper.public) == 1 + len(ML_DSA)
    assert keeper.add(request(0, 20).data).body == b"10\n"
    stranger = request(10, 20).data.replace(ORIGIN.encode(), b"lab.example/other")
    expected = {
        409: request(0, 20).data,
        422: AddCheckpoint(10, (bytes(32),) * len(request(10, 20).proof), request(10, 20).note).data,
        404: stranger,
        403: request(10, 20).data.replace(b" J", b" K"),
        400: b"old ten\n",
        200: request(10, 20).data,
    }
    for status, data in expected.items():
        assert keeper.add(data).status == status
    assert keeper.seen(ORIGIN).size == 20
    assert keeper.add(request(20, 20, last=b"another").data).status == 422, "another tree of the same size"
    assert keeper.add(request(20, 20).data).status == 200, "the same tree once more"


def test_it_remembers_through_its_death_and_never_cosigns_without_its_memory(
    keeper: WitnessKeeper, tmp_path: Path
) -> None:
    assert keeper.seen(ORIGIN) == Head(0, EMPTY_ROOT)
    assert keeper.add(request(0, 30).data).status == 200
    with pytest.raises(WitnessKeeperRejected, match="another process"):
        a_witness(tmp_path / "witness")
    keeper.close()
    assert keeper.add(request(30, 40).data).status == 503
    again = a_witness(tmp_path / "witness", now_s=None)
    assert (again.seen(ORIGIN).size, [log.name for log in again.logs]) == (30, [ORIGIN])
    assert again.add(request(30, 40).data).status == 503, "a clock that is not known cosigns nothing"
    assert again.seen(ORIGIN).size == 30
    again.close()
    memory = tmp_path / "witness" / "seen" / origin_path(ORIGIN)
    good = memory.read_bytes()
    for bad in (b"", good[:-40], request(0, 10).note, good.replace(b"\n30\n", b"\n29\n")):
        memory.write_bytes(bad)
        with pytest.raises(WitnessKeeperRejected):
            a_witness(tmp_path / "witness")
    memory.unlink()
    memory.mkdir()  # a disk that refuses
    with pytest.raises(Rejected):
        a_witness(tmp_path / "witness")


def test_a_tree_that_cannot_be_stored_is_not_cosigned(keeper: WitnessKeeper, tmp_path: Path) -> None:
    (tmp_path / "witness" / "seen").write_bytes(b"a file where a folder belongs")
    assert keeper.add(request(0, 30).data).status == 503
    assert keeper.seen(ORIGIN).size == 0


@given(st.binary(max_size=300))
def test_whatever_bytes_are_answered_with_a_status(data: bytes) -> None:
    logs = {ORIGIN: [verifier_of(public_key(LOG))]}
    for one in (data, request(0, 3).data[: len(data)] + data):
        found = considered(one, logs=logs, seen={})
        assert isinstance(found, Reply)
        assert found.status in {400, 403, 404}


def ask(port: int, raw: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as line:
        line.sendall(raw)
        line.shutdown(socket.SHUT_WR)
        data = b""
        while part := line.recv(65_536):
            data += part
    return data


def test_its_door_answers_http_and_counts_what_is_none(keeper: WitnessKeeper) -> None:
    with WitnessServer(keeper, address="127.0.0.1", port=0) as server:
        good = request(0, 12).data
        head = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n"
        made = ask(server.port, head + b"Content-Length: %d\r\n\r\n" % len(good) + good)
        assert made.startswith(b"HTTP/1.1 200 OK\r\n")
        line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        line.request("GET", f"/{origin_path(ORIGIN)}")
        shown = line.getresponse().read()
        line.close()
        assert judged(shown, log_policy(policy_of(keeper, "").encode())).witnessed["w"] == T
        for status, raw in {
            400: b"hello\r\n\r\n",
            404: b"GET /../witness.key HTTP/1.1\r\n\r\n",
            405: b"PUT /add-checkpoint HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            411: head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            413: head + b"Content-Length: 999999999\r\n\r\n",
            431: b"GET /" + b"x" * 40_000,
        }.items():
            assert ask(server.port, raw).startswith(b"HTTP/1.1 %d " % status), raw[:40]
        assert ask(server.port, head + b"Content-Length: 50\r\n\r\nshort").startswith(b"HTTP/1.1 400 ")
        flood = [ask(server.port, b"GET / HTTP/1.1\r\n\r\n") for _ in range(round(BURST))]
        assert flood[-1].startswith(b"HTTP/1.1 429 ")
    assert {str(name) for name in server.refused} >= {"not-http", "too-long", "cut-short", "too-many"}


def policy_of(keeper: WitnessKeeper, url: str, *, quorum: str = "w", log: bool = True) -> str:
    lines = [f"log {public_key(LOG).text}"] if log else []
    lines += [f"witness {'w' if n == 0 else f'w{n}'} {key.text} {url}" for n, key in enumerate(keeper.public)]
    return "\n".join([*lines, f"quorum {quorum}\n"])


def until(one: Publisher, done: Callable[[LogState], bool]) -> None:
    """Do rounds until this holds of the state."""
    for _ in range(300):
        one.round()
        if done(one.state):
            return
        time.sleep(0.02)
    pytest.fail(f"in vain: {one.state}")


def watched(tmp_path: Path, url: str, keeper: WitnessKeeper) -> tuple[Journal, Publisher]:
    """A published log and its policy file."""
    journal = Journal(tmp_path / "lab")
    journal.grow(20)
    (tmp_path / "policy").write_text(policy_of(keeper, url, log=False), encoding="ascii")
    return journal, publisher(tmp_path / "lab", policy=tmp_path / "policy")


@pytest.mark.slow
def test_a_fork_and_a_rollback_are_seen_at_the_first_answer_and_the_proof_is_kept(tmp_path: Path) -> None:
    keeper = a_witness(tmp_path / "witness")
    with WitnessServer(keeper, address="127.0.0.1", port=0) as server:
        journal, one = watched(tmp_path, f"http://127.0.0.1:{server.port}", keeper)
        one.round()
        keeper.follow(one.state.log_key)
        until(one, lambda s: s.witnessed == s.published == 20 and not s.waits_since_raw_ns)
        one.close()
        journal.store.close()
        shutil.copytree(tmp_path / "lab", tmp_path / "older")
        journal = Journal(tmp_path / "lab", journal.chain)
        journal.grow(30)
        one = publisher(tmp_path / "lab", policy=tmp_path / "policy")
        until(one, lambda s: s.witnessed == 50)
        one.close()
        told = read_state(tmp_path / "lab" / "evidence.json")
        assert told is not None
        assert (told.contradictions, told.witnesses[0].state, told.witnesses[0].at_s) == ([], "good", T)
        # the whole folder as it was before, key and memory with it
        back = publisher(tmp_path / "older", policy=tmp_path / "policy")
        until(back, lambda s: bool(s.contradictions))
        assert back.state.contradictions[0].what == "rollback"
        assert "30 of them are not here" in back.state.contradictions[0].says
        # and then it grows past what the witness saw, with other entries
        forked = Journal(tmp_path / "older", chain_of(tmp_path / "older"))
        forked.grow(45, says="another history")
        until(back, lambda s: s.contradictions[-1].what == "fork")
        assert back.state.witnessed == 20
        kept = sorted(path.name for path in (tmp_path / "older" / "contradictions").iterdir())
        assert any(name.endswith(".witness") for name in kept)
        back.close()
        proof = (tmp_path / "older" / "contradictions" / kept[-1]).read_bytes()
        believed = log_policy(f"log {one.state.log_key}\nquorum none\n".encode())
        assert judged(proof, believed).checkpoint.size == 50, "the log's own key signed what is not here"
    keeper.close()


def chain_of(folder: Path) -> Chain:
    """Where the next record of a journal goes."""
    store = SqliteRecords(folder / "records.sqlite3", read_only=True)
    try:
        *_, last = store.read()
        return Chain(store.count(), sha256(last).hexdigest())
    finally:
        store.close()


@pytest.mark.slow
def test_a_witness_that_is_away_delays_nothing(tmp_path: Path) -> None:
    keeper = a_witness(tmp_path / "witness")
    journal, one = watched(tmp_path, "http://127.0.0.1:9", keeper)
    until(one, lambda s: s.witnesses[0].state is WitnessState.AWAY)
    journal.grow(10)
    one.round()
    assert (one.state.size, one.state.published, one.state.witnessed) == (30, 20, -1)
    assert one.state.waits_since_raw_ns > 0
    one.close()
    keeper.close()


def test_a_box_without_a_network_cosigns_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = str(tmp_path / "box")
    assert main(["witness", "key", box, "--name", NAME, "--json"]) == 0
    (key,) = json.loads(capsys.readouterr().out)["keys"]
    Journal(tmp_path / "lab").grow(20)
    (tmp_path / "policy").write_text(f"witness box {key}\nquorum box\n", encoding="ascii")
    one = publisher(tmp_path / "lab", policy=tmp_path / "policy")
    asked, answer = tmp_path / "lab" / "offline" / "box.request", tmp_path / "lab" / "offline" / "box.answer"
    one.round()
    assert asked.is_file()
    assert main(["witness", "sign", box, str(asked), "--out", str(answer)]) == 1, "it does not follow this log yet"
    assert "404" in capsys.readouterr().err
    assert main(["witness", "sign", box, str(asked), "--out", str(answer), "--follow", one.state.log_key]) == 0
    assert one._witnesses is not None
    one._witnesses._next_offline_s = 0.0
    one.round()
    assert (one.state.witnessed, one.state.published, one.state.witnesses[0].state) == (20, 20, "good")
    one.close()


def test_what_names_no_witness_of_ours_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (
        ["key", str(tmp_path / "nowhere")],
        ["key", str(tmp_path / "a"), "--name", "a b"],
        ["run", str(tmp_path / "a"), "--ml-dsa"],
        ["sign", str(tmp_path / "w"), str(tmp_path / "nothing"), "--name", "w", "--out", str(tmp_path / "o")],
        ["key", str(tmp_path / "w"), "--follow", "log x+00000000+AA=="],
    ):
        assert main(["witness", *argv]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "w" / "witness.key").chmod(0o644)
    assert main(["witness", "key", str(tmp_path / "w")]) == 2
    assert "chmod 600" in capsys.readouterr().err
    (tmp_path / "p").write_text("quorum nobody\n", encoding="ascii")
    with pytest.raises(LogPolicyRejected):
        witness_policy(tmp_path / "p")
    with pytest.raises(LogPolicyRejected):
        witness_policy(tmp_path / "none")
