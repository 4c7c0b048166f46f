"""The log's key is changed by an order, in two steps: both keys sign, then the next one alone; what was signed before
is known to it, and no key signs that no order names.
"""

import shutil
from pathlib import Path

import pytest
from tests.log.journals import ORIGIN, Journal, publisher
from tests.log.test_publisher import whole

from truechimer.daemon.log.log_state import TroubleKind
from truechimer.daemon.log.tree_keeper import KeeperRejected, TreeKeeper, make_keeper, make_next_key
from truechimer.evidence.merkle import EMPTY_ROOT
from truechimer.quorum.note import parsed


def test_both_keys_sign_then_the_next_one_alone_and_the_log_is_one(tmp_path: Path) -> None:
    journal, policy = Journal(tmp_path), tmp_path / "keys.policy"
    old = make_keeper(tmp_path / "signer", origin=ORIGIN, seed=b"s" * 32).text
    journal.grow(300)
    one = publisher(tmp_path)
    one.close()
    new = make_next_key(tmp_path / "signer", seed=b"n" * 32).text
    with pytest.raises(KeeperRejected, match="waits already"):
        make_next_key(tmp_path / "signer", seed=b"m" * 32)
    sizes = []
    for lines in ((old, new), (new,)):
        policy.write_text("".join(f"log {line}\n" for line in lines) + "quorum none\n")
        journal.grow(20)
        one = publisher(tmp_path, policy=policy, by_order=True)
        one.round()
        assert one.state.trouble == "", one.state.trouble_says
        one.close()
        note = parsed((tmp_path / "log" / "checkpoint").read_bytes())
        assert len(note.signatures) == len(lines)
        sizes += [whole(tmp_path, line) for line in lines]
    assert sizes == [320, 320, 340]
    assert not (tmp_path / "signer" / "next.key").exists()
    assert one.state.log_key == new
    journal.grow(1)
    again = publisher(tmp_path)
    again.close()
    assert whole(tmp_path, new) == 341, "without the order's policy the key is the new one"


def test_an_order_that_names_no_key_of_this_log_stops_the_signing_and_says_what_to_do(tmp_path: Path) -> None:
    journal, policy = Journal(tmp_path), tmp_path / "keys.policy"
    make_keeper(tmp_path / "signer", origin=ORIGIN, seed=b"s" * 32)
    elsewhere = make_keeper(tmp_path / "elsewhere", origin=ORIGIN, seed=b"x" * 32).text
    journal.grow(3)
    policy.write_text(f"log {elsewhere}\nquorum none\n")
    one = publisher(tmp_path, policy=policy, by_order=True)
    one.round()
    assert one.state.trouble == TroubleKind.SIGNER
    assert "evidence next-key" in one.state.trouble_says
    assert not (tmp_path / "log" / "checkpoint").exists()
    one.close()


def test_a_next_key_signs_nothing_by_itself_and_a_power_cut_between_the_keys_loses_no_memory(tmp_path: Path) -> None:
    old = make_keeper(tmp_path / "signer", origin=ORIGIN, seed=b"s" * 32).text
    new = make_next_key(tmp_path / "signer", seed=b"n" * 32).text
    assert (tmp_path / "signer" / "next.key").stat().st_mode & 0o777 == 0o600
    keeper = TreeKeeper(tmp_path / "signer")
    assert keeper.public.text == old
    keeper.use_keys([old, new])
    keeper.use_keys([old])
    keeper.close()
    # as a power cut leaves it: the head is signed by both, the key is still the old one
    before = shutil.copytree(tmp_path / "signer", tmp_path / "cut")
    again = TreeKeeper(tmp_path / "signer")
    again.use_keys([new])
    again.close()
    shutil.copy(tmp_path / "signer" / "signed", before / "signed")
    for folder in (before, tmp_path / "signer"):
        keeper = TreeKeeper(folder)
        keeper.use_keys([new])
        assert (keeper.public.text, keeper.last().size, keeper.last().root) == (new, 0, EMPTY_ROOT)
        keeper.close()
