"""Orders and edits of a laboratory's file: what was edited between two starts, and the desk that takes orders in."""

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from tests.daemon_laboratory.test_starts_and_ends import a_host_lab
from tests.laboratory.test_ordering import ordered, quiet

from truechimer.compare.reading import Reading
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab import guarded
from truechimer.daemon.lab.lab_check import check_lab
from truechimer.daemon.lab_start import LabStartRejected, Started, open_run
from truechimer.daemon.orders import orders_desk, orders_turn, policy_files
from truechimer.daemon.orders.orders_desk import MOST_WAITING, REFUSALS_A_MINUTE, OrdersDesk
from truechimer.instants import Instant
from truechimer.laboratory import ordering
from truechimer.laboratory.orders import PARTS
from truechimer.quorum.applier import Applied, Moment, OrderEntry
from truechimer.quorum.order import Order, SignedOrder
from truechimer.quorum.proposal import place_after, policy_of_one
from truechimer.quorum.sshsig import key_of_seed


@contextmanager
def started(folder: Path) -> Iterator[Started]:
    """A run as `up` opens it, without a thread or a door."""
    clocks = HostClocks()
    checked = check_lab(folder / "LAB.toml", now=Instant.from_tai_ns(clocks.realtime_ns() + 37 * 10**9))
    run = open_run(checked, clocks)
    try:
        yield run
    finally:
        run.store.close()
        run.release()


def edit(folder: Path, before: str, after: str) -> None:
    text = (folder / "LAB.toml").read_text()
    assert before in text
    (folder / "LAB.toml").write_text(text.replace(before, after))


def test_an_edit_between_two_starts_is_said_or_refused(tmp_path: Path) -> None:
    a_host_lab(tmp_path)
    with started(tmp_path) as first:
        assert first.changed == ()
    with started(tmp_path) as second:
        assert second.changed == (), "nothing was edited"
    edit(tmp_path, "[lab]\n", '[[delay]]\nclock = "host"\ndelay_s = 1e-6\n[lab]\n')
    with started(tmp_path) as third:
        assert third.changed == ("delays",)
        assert b'"guarded":[["clocks"' in next(iter(third.store.read(first=third.state.chain.seq - 1)))
    with started(tmp_path) as fourth:
        assert fourth.changed == (), "it was said, and is recorded"
    edit(tmp_path, "delay_s = 1e-6", "delay_s = 2e-6")
    edit(tmp_path, "[policy]\n", "[policy]\nrefuse_changes_without_order = true\n")
    with pytest.raises(LabStartRejected, match="delays"), started(tmp_path):
        pass
    edit(tmp_path, "delay_s = 2e-6", "delay_s = 1e-6")
    with started(tmp_path) as fifth:
        assert fifth.changed == ()


def test_every_part_that_an_order_can_name_is_guarded_and_no_other(tmp_path: Path) -> None:
    a_host_lab(tmp_path)
    with started(tmp_path) as first:
        assert tuple(name for name, _ in first.start.guarded) == PARTS


REFUSING = "refuse_changes_without_order = true\n"
DETOURS = {
    # kind of order: the part, and the edit of LAB.toml that would do without it
    "steer-rate": ("steering", "[lab]\n", "[steer]\ntime_constant_s = 4.0\n[lab]\n"),
    "clock-weight": ("scale", "[scale]\n", "[scale]\nweight_cap_n = 1.0\n"),
    "monitor-threshold": ("steering", "[lab]\n", "[lab]\nhost_clock_limit_s = 1.0\n"),
    "listener-policy": ("doors", "bound_limit_s = 0.01", "bound_limit_s = 5.0"),
    "log-keys": ("evidence", "[lab]\n", "[evidence]\nwitness_every_s = 3600.0\n[lab]\n"),
    "calibration-delay": ("delays", "[lab]\n", '[[delay]]\nclock = "host"\ndelay_s = 1e-6\n[lab]\n'),
    "sources": ("sources", "max_age_s = 4.0", "max_age_s = 400.0"),
    "alerts": ("notify", "[lab]\n", '[notify]\nwebhook = "http://127.0.0.1:9/x"\n[lab]\n'),
}


@pytest.mark.parametrize("kind", DETOURS)
def test_what_an_order_does_cannot_be_had_by_an_edit_that_nobody_hears_of(tmp_path: Path, kind: str) -> None:
    part, before, after = DETOURS[kind]
    loose, strict = tmp_path / "loose", tmp_path / "strict"
    loose.mkdir()
    a_host_lab(loose)
    with started(loose):
        pass
    shutil.copytree(loose, strict)
    edit(strict, "[policy]\n", f"[policy]\n{REFUSING}")
    with started(strict) as run:
        assert run.changed == (), "to become strict needs no order"
    for folder in (loose, strict):
        edit(folder, before, after)
    with started(loose) as run:
        assert run.changed == (part,), "recorded, and said at the start"
    with pytest.raises(LabStartRejected, match=part), started(strict):
        pass
    edit(strict, REFUSING, "")
    with pytest.raises(LabStartRejected, match="refusal"), started(strict):
        pass  # the word that refuses cannot be taken out together with the edit that it refuses


def test_a_laboratory_of_an_earlier_version_is_compared_in_its_own_words(tmp_path: Path) -> None:
    a_host_lab(tmp_path)
    with started(tmp_path) as run:
        lab, start = run.lab, run.start
    old = guarded.as_before((("clocks", ""),), lab, start.clocks, start.leaps)
    assert old is not None
    assert sorted(old) == ["clocks", "delays", "doors", "leap-table", "scale", "steering"]
    edited = replace(lab, lab=replace(lab.lab, silence_s=5.0))
    new = guarded.as_before((("clocks", ""),), edited, start.clocks, start.leaps)
    assert new is not None
    assert guarded.changed(tuple(old.items()), tuple(new.items()), {}) == ("steering",)
    assert guarded.as_before(start.guarded, lab, start.clocks, start.leaps) is None


def test_an_edit_that_an_order_has_approved_is_taken_at_the_next_start_and_no_other(tmp_path: Path) -> None:
    a_host_lab(tmp_path)
    edit(tmp_path, "[lab]\n", "[policy]\nrefuse_changes_without_order = true\ninsecure_software_keys = true\n[lab]\n")
    new = tmp_path / "NEW.toml"
    new.write_text((tmp_path / "LAB.toml").read_text().replace("bound_limit_s = 0.01", "bound_limit_s = 0.02"))
    with started(tmp_path) as first:
        assert guarded.text_of_edit(tmp_path / "LAB.toml", "doors") != guarded.text_of_edit(new, "doors")
        text = guarded.text_of_edit(new, "doors")
        assert b"0.02" in text, "whoever signs reads the value"
        order_of(first, "configuration", "doors", text)
    edit(tmp_path, "bound_limit_s = 0.01", "bound_limit_s = 0.03")
    with pytest.raises(LabStartRejected, match="doors"), started(tmp_path):
        pass
    edit(tmp_path, "bound_limit_s = 0.03", "bound_limit_s = 0.02")
    with started(tmp_path) as second:
        assert second.changed == ()
        order_of(second, "configuration", "doors", guarded.text_of_edit(tmp_path / "LAB.toml", "doors") + b"x")
    with started(tmp_path) as third:
        assert third.changed == (), "the file is what it was at the last start"
    edit(tmp_path, "bound_limit_s = 0.02", "bound_limit_s = 0.01")
    with pytest.raises(LabStartRejected, match="doors"), started(tmp_path):
        pass
    new.write_text("[lab]\n")
    for path, part in ((new, "doors"), (tmp_path / "LAB.toml", "weather")):
        with pytest.raises(guarded.EditRejected):
            guarded.text_of_edit(path, part)


def order_of(run: Started, op: str, target: str, file: bytes) -> None:
    """Take an order of the laboratory's own person, as the desk does."""
    key = policy_files.software_key(run.folder / "policy" / "operator.key")
    place = place_after(run.state.orders.applier)
    now_ns = run.label.tai_ns
    asked = Order(
        op=op,
        target=target,
        value=sha256(file).hexdigest(),
        unit="sha256",
        because="a test",
        valid_from_ns=now_ns - 60 * 10**9,
        expires_ns=now_ns + 3_600 * 10**9,
        nonce="0" * 32,
        sequence=place.sequence,
        previous=place.previous,
        policy=place.policy,
    )
    signed = SignedOrder(asked.canonical(), (key.sign(asked.canonical(), asked.operation.namespace),))
    done = ordering.take(run.config, run.state, OrderEntry(signed, Moment(now_ns, now_ns), file))
    assert isinstance(done.outcome, Applied), done
    run.config, run.state = done.config, done.state
    run.store.append([(done.record.seq, done.record.data)])


def test_another_policy_file_changes_nothing_and_is_said(tmp_path: Path) -> None:
    a_host_lab(tmp_path)
    with started(tmp_path) as first:
        own = first.state.orders.applier.policy
    key, _ = key_of_seed(b"\x01" * 32)
    limits = {"per_day_s": 1000.0, "total_s": 1e6}
    policy_files.write_policy(tmp_path / "policy", policy_of_one(own.laboratory, "mallory", key.public, **limits))
    with started(tmp_path) as second:
        assert second.changed == ("policy-file",)
        assert second.state.orders.applier.policy == own
        assert second.start.policy == own


def request(order: bytes = b"{}", **more: object) -> dict:
    return {"ask": "submit", "order": base64.b64encode(order).decode(), "signatures": []} | more


@pytest.mark.parametrize(
    "broken",
    [
        {"order": 7},
        {"order": "not base64!"},
        {"order": base64.b64encode(b"x" * 5000).decode()},
        {"signatures": "x"},
        {"signatures": [None]},
        {"signatures": ["AAAA"] * 65},
        {"signatures": [base64.b64encode(b"x" * 5000).decode()]},
        {"file": base64.b64encode(b"x" * 50_000).decode()},
    ],
    ids=lambda one: json.dumps(one)[:30],
)
def test_what_is_no_order_is_refused_before_it_is_laid_on_the_desk(broken: dict) -> None:
    desk = OrdersDesk()
    assert "error" in desk.bring(request() | broken)
    assert desk.take() is None


def test_the_desk_takes_what_is_small_and_few_and_keeps_refusals_from_filling_the_records() -> None:
    desk = OrdersDesk()
    numbers = [desk.bring(request())["number"] for _ in range(MOST_WAITING)]
    assert "wait" in desk.bring(request())["error"]
    first = desk.take()
    assert first is not None
    assert desk.outcome(numbers[0]) is None
    desk.tell(first, {"outcome": "refused", "reason": "malformed", "says": "no order"})
    assert desk.outcome(numbers[0])["reason"] == "malformed"
    assert [desk.may_record_refusal(1.0) for _ in range(REFUSALS_A_MINUTE)] == [True] * REFUSALS_A_MINUTE
    assert not desk.may_record_refusal(60.0)
    assert desk.may_record_refusal(61.1)
    assert orders_desk.KEPT >= MOST_WAITING


def test_a_delay_changed_by_order_is_taken_off_every_reading_of_its_clock_from_then_on() -> None:
    rig = quiet().fork()
    assert isinstance(ordered(rig, "calibration-delay", "C1", "2e-08"), Applied)
    assert isinstance(ordered(rig, "calibration-delay", "UTC.P", "-1e-08"), Applied)
    readings = (reading("C1", "H1"), reading("H1", "C1"), reading("UTC.P", "H1"), reading("H2", "H1"))
    found = orders_turn.at_reference_plane(readings, rig.state.orders)
    moved = [one.x_a_minus_b_s - 1e-6 for one in found]
    assert moved == pytest.approx([2e-8, -2e-8, -1e-8, 0.0], abs=1e-16)
    assert (found[0].calibration_id, found[3].calibration_id) == ("order-3", "")
    assert orders_turn.at_reference_plane(readings, None) == readings


def reading(a: str, b: str) -> Reading:
    return Reading(epoch_tai_ns=1, a=a, b=b, x_a_minus_b_s=1e-6, u_s=1e-11)


def test_a_policy_folder_that_is_gone_is_written_again_from_the_records(tmp_path: Path) -> None:
    a_host_lab(tmp_path)
    with started(tmp_path) as first:
        own = first.state.orders
    shutil.rmtree(tmp_path / "policy")
    with started(tmp_path) as second:
        assert second.state.orders == own, "the same policy, the same envelope, nothing new on the chain"
        assert second.changed == ()
    assert policy_files.load(tmp_path / "policy").policy == own.applier.policy
    assert not list((tmp_path / "policy").glob("*.key")), "no key was made"
