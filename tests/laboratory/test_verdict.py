"""Was the time moved? Clean logs are proved, and truly; no manipulation of a log makes a moved second a proved one."""

import copy
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from tests.laboratory import rig
from tests.laboratory.signing import POLICY, key_of

from truechimer.evidence.record import Chain, seal
from truechimer.evidence.verdict import Why, Word
from truechimer.laboratory.replay import replay
from truechimer.laboratory.testimony import hear
from truechimer.laboratory.verdict import Verdict, VerdictRejected, reach, verdict
from truechimer.quorum.order_policy import OrderPolicy
from truechimer.quorum.proposal import policy_of_one
from truechimer.sim import World, demo_scenario

SECONDS = 120
FORGED_AT = 60
"""The second after the anchor from which on a log is manipulated."""


@cache
def taught(seed: int) -> tuple[rig.Lab, World]:
    """The demo's laboratory and its world after a history, before the first live second."""
    scenario = rig.of_days(demo_scenario(), 6.0)
    world = rig.world(scenario, seed=seed)
    lab = rig.Lab(
        rig.start_of(scenario, envelope_days=10.0, anchor_raw_ns=rig.ANCHOR_RAW_NS, anchor_tai_ns=rig.ANCHOR_TAI_NS)
    )
    lab.history(world)
    return lab, world


def recorded(
    change: Callable[[int, Any], Any] = lambda _, batch: batch, *, seed: int = 1
) -> tuple[list[bytes], list[tuple[float, float]]]:
    """A run of the demo's laboratory, live for two minutes: its log; of each page UTC (TAI s) and true error (s)."""
    lab, world = copy.deepcopy(taught(seed))
    truth = []
    for second, batch in enumerate(rig.live(world, seconds=SECONDS)):
        outcome = lab.take(change(second, batch))
        if outcome.page is not None:
            true_fs = world.true_tai_fs(batch.raw_ns)
            truth.append((true_fs / 1e15, (outcome.page.anchor_tai_fs - true_fs) / 1e15))
    return lab.records, truth


@pytest.fixture(scope="module")
def clean() -> tuple[list[bytes], list[tuple[float, float]]]:
    return recorded()


def judged(
    log: list[bytes], *, replayed: bool = True, policy: OrderPolicy | None = None, within_s: float = 1.0
) -> Verdict:
    """The verdict over all that the log was meant to reach."""
    said = hear(log, policy=policy)
    anchor_s = rig.ANCHOR_TAI_NS // rig.NS
    difference = replay(log).difference if replayed else None
    return verdict(said, anchor_s + 5, anchor_s + SECONDS - 2, within_s=within_s, difference=difference)


def rechained(log: list[bytes], change: Callable[[dict[str, Any]], None]) -> list[bytes]:
    """The log with records changed and every hash made to fit: what somebody with the whole disk can do."""
    out, chain = [], Chain()
    for data in log:
        body = json.loads(data)
        change(body)
        kind = body.pop("kind")
        del body["seq"], body["prev"]
        one, chain = seal(kind, body, chain)
        out.append(one.data)
    return out


def raw_of(second: int) -> int:
    return rig.ANCHOR_RAW_NS + second * rig.NS


def after(body: dict[str, Any]) -> bool:
    return body["kind"] == "served-time" and int(body["anchor_raw_ns"]) >= raw_of(FORGED_AT)


def proved_after(found: Verdict) -> int:
    """Seconds proved from the manipulation on, with a second of grace for where it falls."""
    first = rig.ANCHOR_TAI_NS // rig.NS + FORGED_AT + 1
    return sum(max(0, one.to_tai_s - max(first, one.from_tai_s)) for one in found.segments if one.word is Word.PROVED)


def test_every_second_of_a_clean_log_is_proved_and_the_stated_error_holds(
    clean: tuple[list[bytes], list[tuple[float, float]]],
) -> None:
    log, truth = clean
    found = judged(log)
    (segment,) = found.segments
    assert segment.word is Word.PROVED
    assert segment.by == ("laboratory-P", "laboratory-Q", "laboratory-S")
    assert segment.error_s is not None
    assert max(abs(error) for _, error in truth) <= segment.error_s < 50e-9


def test_segments_follow_each_other_without_a_gap_and_count_every_second(
    clean: tuple[list[bytes], list[tuple[float, float]]],
) -> None:
    said = hear(clean[0])
    anchor_s = rig.ANCHOR_TAI_NS // rig.NS
    found = verdict(said, anchor_s - 50, anchor_s + SECONDS + 50)
    assert [one.to_tai_s for one in found.segments[:-1]] == [one.from_tai_s for one in found.segments[1:]]
    assert sum(found.count(word) for word in Word) == SECONDS + 100
    assert found.segments[0].why == found.segments[-1].why == Why.OUTSIDE.value
    first, last = reach(said) or (0, 0)
    assert anchor_s <= first < anchor_s + 5
    assert last >= anchor_s + SECONDS - 2


@pytest.mark.parametrize("moved_s", [1e-9, -1e-6, 3600.0])
def test_a_forged_line_whose_hashes_fit_is_moved_and_nothing_after_it_is_proved(
    clean: tuple[list[bytes], list[tuple[float, float]]], moved_s: float
) -> None:
    def change(body: dict[str, Any]) -> None:
        if after(body):
            body["anchor_tai_fs"] = str(int(body["anchor_tai_fs"]) + round(moved_s * 1e15))

    forged = rechained(clean[0], change)
    found = judged(forged)
    moved = [one for one in found.segments if one.word is Word.MOVED]
    assert moved
    assert moved[0].moved_s == pytest.approx(moved_s, rel=0.3, abs=1e-9)
    assert proved_after(found) == 0
    before = moved[0].before
    assert before is not None
    assert before.last_proved_tai_s is not None
    assert abs(before.last_proved_tai_s - rig.ANCHOR_TAI_NS // rig.NS - FORGED_AT) <= 2
    assert before.signers == ("operator",)


@pytest.mark.parametrize("moved_s", [1e-9, -40e-9, 1e-6, -1e-3, 1.0, 3600.0])
def test_without_a_replay_a_proof_still_states_an_error_that_holds(
    clean: tuple[list[bytes], list[tuple[float, float]]], moved_s: float
) -> None:
    def change(body: dict[str, Any]) -> None:
        if after(body):
            body["anchor_tai_fs"] = str(int(body["anchor_tai_fs"]) + round(moved_s * 1e15))

    found = judged(rechained(clean[0], change), replayed=False)
    for one in found.segments:
        if one.word is Word.PROVED and one.to_tai_s > rig.ANCHOR_TAI_NS // rig.NS + FORGED_AT + 1:
            assert one.error_s is not None
            assert one.error_s >= abs(moved_s) - 1e-9
    if abs(moved_s) > 60e-9:
        assert found.count(Word.MOVED) >= SECONDS - FORGED_AT - 5


def test_a_slow_drag_of_the_line_is_proved_only_with_an_error_that_contains_it_then_moved(
    clean: tuple[list[bytes], list[tuple[float, float]]],
) -> None:
    y = 5e-9

    def change(body: dict[str, Any]) -> None:
        if after(body):
            dragged_s = y * (int(body["anchor_raw_ns"]) - raw_of(FORGED_AT)) / 1e9
            body["anchor_tai_fs"] = str(int(body["anchor_tai_fs"]) + round(dragged_s * 1e15))

    found = judged(rechained(clean[0], change), replayed=False)
    anchor_s = rig.ANCHOR_TAI_NS // rig.NS
    for one in found.segments:
        if one.word is Word.PROVED:
            assert (one.error_s or 0.0) >= y * (one.to_tai_s - anchor_s - FORGED_AT - 2)
    assert found.segments[-1].word is Word.MOVED


def test_a_changed_byte_breaks_the_chain_and_proves_nothing_after_it(
    clean: tuple[list[bytes], list[tuple[float, float]]],
) -> None:
    log = list(clean[0])
    index = next(k for k, data in enumerate(log) if after(json.loads(data)))
    for broken in (
        [*log[:index], log[index].replace(b'"rate":"', b'"rate":"-', 1), *log[index + 1 :]],
        [*log[:index], *log[index + 1 :]],
        [*log[:index], log[index][:40], *log[index + 1 :]],
        [*log[:index], b"", *log[index + 1 :]],
        [*log[:index], log[index - 1], *log[index:]],
    ):
        found = judged(broken, replayed=False)
        assert hear(broken).broken is not None
        assert hear(broken).broken[0] == index  # type: ignore[index]
        assert proved_after(found) == 0
        assert found.segments[0].word is Word.PROVED
        assert found.segments[-1].why == Why.BROKEN.value


def test_an_envelope_that_a_given_policy_does_not_accept_proves_nothing(
    clean: tuple[list[bytes], list[tuple[float, float]]],
) -> None:
    stranger = policy_of_one("rig", "stranger", key_of(bytes(31) + b"\1").public, per_day_s=10.0, total_s=1e4)
    found = judged(clean[0], policy=stranger, replayed=False)
    assert found.count(Word.PROVED) == 0
    assert {one.why for one in found.segments} == {Why.NOT_SIGNED.value}
    assert judged(clean[0], policy=POLICY, replayed=False).count(Word.PROVED) == SECONDS - 7


def test_a_wider_error_than_asked_for_proves_nothing(clean: tuple[list[bytes], list[tuple[float, float]]]) -> None:
    found = judged(clean[0], replayed=False, within_s=1e-12)
    assert {one.why for one in found.segments} == {Why.TOO_WIDE.value}


@pytest.mark.parametrize(("gone", "why"), [(("UTC.P", "UTC.Q"), Why.ONE_OPERATOR), (("UTC.P", "UTC.Q", "UTC.S"), None)])
def test_who_is_not_heard_proves_nothing(gone: tuple[str, ...], why: Why | None) -> None:
    """One operator alone is contradicted by nobody; silent operators still count among those who must agree."""
    lab, world = copy.deepcopy(taught(1))
    for batch in rig.live(world, seconds=SECONDS):
        lab.take(batch, drop=gone)
    found = judged(lab.records, replayed=False)
    assert found.count(Word.MOVED) == 0
    if why is None:  # the last values are minutes old at most: carried on by a maser they still prove
        assert all(one.word is Word.PROVED or one.why in {w.value for w in Why} for one in found.segments)
    else:
        assert found.segments[-1].word in {Word.PROVED, Word.UNPROVED}


def test_nothing_is_said_of_an_empty_interval_or_one_that_ends_before_it_begins() -> None:
    with pytest.raises(VerdictRejected, match="--from"):
        verdict(hear([]), 10, 10)
    with pytest.raises(VerdictRejected, match="--from"):
        verdict(hear([]), 10, 9)
    with pytest.raises(VerdictRejected, match="too many"):
        verdict(hear([]), 0, 10**9)


def test_an_empty_or_foreign_log_proves_nothing_and_never_raises() -> None:
    for log in ([], [b"{}"], [b"\xff"], [b'{"kind":"readings","prev":"0","seq":0}'], [b"[]"] * 3):
        found = verdict(hear(log), 100, 200)
        assert found.count(Word.UNPROVED) == 100


def test_a_spike_or_a_frozen_link_of_the_host_is_an_instruments_fault_and_no_movement() -> None:
    from dataclasses import replace

    def change(second: int, batch: Any) -> Any:
        if second % 20 != 7:
            return batch
        return replace(
            batch,
            readings=tuple(
                replace(one, x_a_minus_b_s=one.x_a_minus_b_s + 1e-6) if "host" in (one.a, one.b) else one
                for one in batch.readings
            ),
        )

    log, _ = recorded(change)
    found = judged(log)
    assert found.count(Word.MOVED) == 0
    assert found.count(Word.PROVED) >= 0.9 * (SECONDS - 7)
