"""The log's key: it never signs a smaller or another tree, remembers through its death, and shows nobody its seed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.evidence.logs import LOG, ORIGIN, WITNESSES, Tree, entry, tree_of

from truechimer.daemon.log.signer import SignerProcess, SignerRejected, answer
from truechimer.daemon.log.tree_keeper import KEY, SIGNED, KeeperRejected, NotSigned, TreeKeeper, make_keeper
from truechimer.evidence.checkpoint import Checkpoint
from truechimer.evidence.cosignature import public_key, verifier_of
from truechimer.evidence.merkle import EMPTY_ROOT
from truechimer.evidence.succession import Head
from truechimer.evidence.witnessing import AddCheckpoint
from truechimer.quorum.note import opened
from truechimer.store.fabric import StoreFull


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_keeper(tmp_path / "signer", origin=ORIGIN, seed=LOG.seed)
    return tmp_path / "signer"


@pytest.fixture
def process(folder: Path) -> Iterator[SignerProcess]:
    signer = SignerProcess(folder)
    yield signer
    signer.close()


def forked(first: int, size: int) -> Tree:
    tree = tree_of(first)
    tree.append([b"other", *[entry(n) for n in range(first + 1, size)]])
    return tree


def remembered_by(folder: Path) -> Head:
    keeper = TreeKeeper(folder)
    last = keeper.last()
    keeper.close()
    return last


SMALL, LARGE = tree_of(40), tree_of(300)


def test_a_growing_tree_is_signed_and_nothing_else(folder: Path) -> None:
    keeper = TreeKeeper(folder)
    assert keeper.last() == Head(0, EMPTY_ROOT)
    note = keeper.sign(SMALL.checkpoint, old_size=0, proof=())
    assert opened(note, [verifier_of(keeper.public)]).text == SMALL.checkpoint.text
    keeper.sign(SMALL.checkpoint, old_size=40, proof=())
    cases = {
        "smaller": (tree_of(30).checkpoint, 40, ()),
        "old-size": (LARGE.checkpoint, 30, LARGE.consistency(30)),
        "proof": (forked(17, 300).checkpoint, 40, forked(17, 300).consistency(40)),
        "origin": (Checkpoint("other", 300, LARGE.edge.root), 40, LARGE.consistency(40)),
    }
    for reason, (head, old, proof) in cases.items():
        with pytest.raises(NotSigned) as caught:
            keeper.sign(head, old_size=old, proof=proof)
        assert caught.value.reason == reason
    with pytest.raises(NotSigned):
        keeper.sign(forked(17, 40).checkpoint, old_size=40, proof=())
    with pytest.raises(NotSigned):
        keeper.sign(Checkpoint(ORIGIN, 300, LARGE.edge.root, ("x",)), old_size=40, proof=LARGE.consistency(40))
    assert keeper.last() == Head(40, SMALL.edge.root)
    keeper.sign(LARGE.checkpoint, old_size=40, proof=LARGE.consistency(40))
    with pytest.raises(KeeperRejected, match="only one may sign"):
        TreeKeeper(folder)
    keeper.close()
    assert remembered_by(folder) == Head(300, LARGE.edge.root)
    with pytest.raises(KeeperRejected, match="given back"):
        keeper.sign(LARGE.checkpoint, old_size=300, proof=())


def test_the_log_may_cosign_with_ml_dsa_too(folder: Path) -> None:
    keeper = TreeKeeper(folder, cosign=[WITNESSES["w3"]], now_s=lambda: 77)
    note = keeper.sign(SMALL.checkpoint, old_size=0, proof=())
    both = [verifier_of(keeper.public), verifier_of(public_key(WITNESSES["w3"]))]
    assert len(opened(note, both).by) == 2
    keeper.close()
    assert remembered_by(folder).size == 40


def test_nothing_is_signed_that_could_not_be_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = TreeKeeper(folder)

    def full(name: str, data: bytes) -> None:
        raise StoreFull(name, "no room")

    monkeypatch.setattr(keeper._files, "replace_durably", full)
    with pytest.raises(StoreFull):
        keeper.sign(SMALL.checkpoint, old_size=0, proof=())
    assert keeper.last().size == 0
    assert answer(keeper, b"sign\n" + AddCheckpoint(0, (), SMALL.checkpoint.text).data).startswith(b"no disk\n")


def test_a_key_without_its_memory_or_open_to_others_is_refused(folder: Path) -> None:
    assert (folder / KEY).stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeeperRejected, match="not replaced"):
        make_keeper(folder, origin=ORIGIN, seed=bytes(32))
    (folder / KEY).chmod(0o640)
    with pytest.raises(KeeperRejected, match="chmod 600"):
        TreeKeeper(folder)
    (folder / KEY).chmod(0o600)
    remembered = (folder / SIGNED).read_bytes()
    for data in (b"", remembered[:-1], remembered.replace(b"\n0\n", b"\n1\n"), None):
        (folder / SIGNED).unlink()
        if data is not None:
            (folder / SIGNED).write_bytes(data)
        else:
            (folder / SIGNED).touch()
        with pytest.raises(KeeperRejected, match="do not go on"):
            TreeKeeper(folder)
    (folder / SIGNED).write_bytes(remembered)
    (folder / KEY).write_text("PRIVATE+KEY+x\n", encoding="ascii")
    with pytest.raises(KeeperRejected, match="no usable key"):
        TreeKeeper(folder)


def test_the_process_signs_and_refuses_as_the_keeper_does(process: SignerProcess, folder: Path) -> None:
    assert process.last() == Head(0, EMPTY_ROOT)
    with pytest.raises(SignerRejected):
        SignerProcess(folder)  # two processes that remember would be two histories
    note = process.sign(SMALL.checkpoint, old_size=0, proof=())
    assert opened(note, [verifier_of(public_key(LOG))]).text == SMALL.checkpoint.text
    with pytest.raises(NotSigned) as caught:
        process.sign(tree_of(30).checkpoint, old_size=40, proof=())
    assert caught.value.reason == "smaller"
    assert process.last().size == 40
    environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    assert LOG.seed not in environment
    assert b"SECRET" not in environment
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(SignerRejected):
        process.sign(LARGE.checkpoint, old_size=40, proof=LARGE.consistency(40))
    again = SignerProcess(folder)
    try:
        assert again.last() == Head(40, SMALL.edge.root)
    finally:
        again.close()


def test_a_process_without_a_key_does_not_come_up(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SignerRejected):
        SignerProcess(tmp_path)
    assert "no usable key" in capfd.readouterr().err


@pytest.mark.parametrize(
    "message", [b"", b"x", b"last ", b"sign", b"sign\n", b"sign\nold 0\n\nx\n", b"sign\nold 0\n\n" + b"a\n" * 9]
)
def test_any_other_message_is_answered_no(folder: Path, message: bytes) -> None:
    assert answer(TreeKeeper(folder), message).startswith(b"no request\n")
