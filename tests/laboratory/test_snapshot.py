"""A laboratory that goes on from a snapshot cannot be told from one that never stopped; a snapshot that is not whole,
or not of this journal, is refused.
"""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.laboratory import rigs
from tests.laboratory.rigs import Rig, event, scenario, steered

from truechimer.evidence import exact
from truechimer.laboratory import snapshot
from truechimer.laboratory.replay import Known, Replay, replay
from truechimer.laboratory.snapshot import SnapshotRejected
from truechimer.laboratory.state import LaboratoryState
from truechimer.quorum.verified import Refused, Verified
from truechimer.serve.clock_page import ServiceState
from truechimer.sim import What


def resumed(log: list[bytes], taken: bytes) -> Known:
    """What a journal and a snapshot of it give back."""
    found = snapshot.read(taken)
    roots = found.roots
    known = snapshot.restore(found, log.__getitem__)
    return Known(*known, roots)


def whole(log: list[bytes]) -> Replay:
    """The state by replay of everything."""
    found = replay(log)
    assert found.difference is None, found.difference
    assert found.state is not None
    assert found.roots is not None
    return found


def taken_of(found: Replay) -> bytes:
    """The snapshot of a replay's end."""
    assert found.state is not None
    assert found.roots is not None
    return snapshot.encode(found.state, found.roots)


def epochs(log: list[bytes]) -> list[int]:
    """Where a laboratory can stop: before each record that is fed, and at the end."""
    fed = ("run-start", "readings", "register")
    starts = [k for k, data in enumerate(log) if k and json.loads(data)["kind"] in fed]
    return [*starts, len(log)]


def eventful() -> Rig:
    """Steps, freezes, a source that lies, clocks that leave, a restart, another boot, a register that grows."""
    of = scenario(
        event(What.PHASE_STEP, "C2", at_s=1.8 * 86_400.0, magnitude=3e-8),
        event(What.FREEZE, "H4-H1", at_s=1.9 * 86_400.0),
        event(What.RAMP, "UTC.Q-H1", at_s=1.8 * 86_400.0, magnitude=1e-11),
        event(What.REMOVE, "C3", at_s=1.9 * 86_400.0),
    )
    rig = Rig.begin(of).history().live(20)
    rig.again().live(15).grow([("UTC.new", "H1"), ("H2", "H3")], {"UTC.new": "N"}).live(15)
    return rig.again(same_boot=False).live(10)


def without_envelope() -> Rig:
    """A laboratory whose envelope nobody signed."""
    of = scenario(days=0.2)
    start = rigs.start_of(of)
    assert start.envelope is not None
    start = replace(start, envelope=replace(start.envelope, signed=replace(start.envelope.signed, signatures=())))
    rig = Rig.begin(of, start=start).history().live(5)
    assert isinstance(rig.state.limits, Refused)
    return rig


def observing() -> Rig:
    """A laboratory that was in service and only watches now: its envelope is that of the run before."""
    rig = steered()
    rig.again(observe=True, policy=None, envelope=None).live(8)
    assert isinstance(rig.state.limits, Verified)
    return rig


def holding_over() -> Rig:
    """A laboratory whose sources of UTC fell silent."""
    rig = steered()
    rig.meddle = lambda readings: [one for one in readings if not one.a.startswith("UTC")]
    rig.live(12)
    assert rig.last.service is ServiceState.HOLDOVER
    return rig


RUNS: dict[str, Callable[[], Rig]] = {
    "eventful": eventful,
    "without-envelope": without_envelope,
    "observing": observing,
    "holdover": holding_over,
}


@cache
def log_of(name: str) -> list[bytes]:
    return RUNS[name]().log


@pytest.mark.parametrize("name", RUNS)
def test_the_rest_of_a_run_from_a_snapshot_is_the_rest_of_the_run(name: str) -> None:
    log = log_of(name)
    stops = epochs(log)
    chosen = {stops[0], stops[-2], *random.Random(4).sample(stops[-60:], 4), *random.Random(5).sample(stops, 2)}
    at_end = taken_of(whole(log))
    for stop in sorted(chosen):
        taken = taken_of(whole(log[:stop]))
        known = resumed(log[:stop], taken)
        assert snapshot.encode(known.state, known.roots) == taken
        rest = replay(log[stop:], known)
        assert rest.difference is None
        assert rest.compared == len(log) - stop
        assert taken_of(rest) == at_end


def test_what_was_verified_is_verified_again_from_the_journal_and_stands_not_in_the_snapshot() -> None:
    log = log_of("eventful")
    taken = taken_of(whole(log))
    limits = resumed(log, taken).state.limits
    assert isinstance(limits, Verified)
    assert b"per_change" not in taken
    last = snapshot.read(taken).last_order
    assert last is not None
    start = last.seq
    forged = json.loads(log[start])
    forged["envelope"]["signatures"] = []
    with pytest.raises(SnapshotRejected, match="misfit"):
        resumed([*log[:start], json.dumps(forged).encode(), *log[start + 1 :]], taken)


def test_one_array_that_stands_for_two_things_does_so_again() -> None:
    log = log_of("eventful")
    known = resumed(log, taken_of(whole(log)))
    assert known.state.noise_of is known.state.scale.weight


@pytest.fixture(scope="module")
def good() -> bytes:
    return taken_of(whole(log_of("holdover")))


def test_every_flipped_bit_is_found(good: bytes) -> None:
    rng = random.Random(7)
    places = [*range(120), *(rng.randrange(len(good)) for _ in range(1_000))]
    for place in places:
        flipped = bytearray(good)
        flipped[place] ^= 1 << rng.randrange(8)
        with pytest.raises(SnapshotRejected):
            snapshot.read(bytes(flipped))


def test_a_cut_or_lengthened_snapshot_is_found(good: bytes) -> None:
    for data in (
        b"",
        good[:1],
        good[: len(good) // 2],
        good[:-1],
        good + b" ",
        b" " + good,
        good.replace(b"\n", b"", 1),
    ):
        with pytest.raises(SnapshotRejected, match="corrupt"):
            snapshot.read(data)


def packed(body: bytes, *, form: int = snapshot.FORMAT) -> bytes:
    """A snapshot with any body, made whole again."""
    return f"truechimer-snapshot {form} {sha256(body).hexdigest()}\n".encode() + body


def changed(good: bytes, **values: object) -> bytes:
    """The snapshot with values of its body replaced, made whole again."""
    body = json.loads(good.partition(b"\n")[2]) | values
    return packed(json.dumps(body, separators=(",", ":")).encode())


def test_another_version_says_so(good: bytes) -> None:
    body = good.partition(b"\n")[2]
    assert packed(body) == good
    for other in (packed(body, form=2), packed(body, form=0), changed(good, shape="0" * 64)):
        with pytest.raises(SnapshotRejected, match="version"):
            snapshot.read(other)


def test_a_snapshot_of_another_journal_says_so(good: bytes) -> None:
    other = log_of("eventful")
    with pytest.raises(SnapshotRejected, match="misfit"):
        resumed(other, good)
    own = log_of("holdover")
    for one in (changed(good, seq=7), changed(good, head="0" * 64), changed(good, limits="0" * 64)):
        with pytest.raises(SnapshotRejected, match="misfit"):
            resumed(own, one)


TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=4)
    | st.integers()
    | st.sampled_from(["i", "f", "a", "o", "e", "Chain"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(key=st.sampled_from(["seq", "head", "start", "envelope", "limits", "shape", "state"]), tree=TREES)
def test_any_body_is_read_or_rejected(key: str, tree: object) -> None:
    log = log_of("holdover")
    good = taken_of_holdover()
    for one in (changed(good, **{key: tree}), packed(json.dumps(tree).encode())):
        try:
            resumed(log, one)
        except (SnapshotRejected, IndexError):
            continue


@given(name=st.sampled_from([*LaboratoryState.__slots__]), tree=TREES)
def test_any_state_is_read_or_rejected(name: str, tree: object) -> None:
    good = taken_of_holdover()
    state = json.loads(good.partition(b"\n")[2])["state"] | {name: tree}
    try:
        resumed(log_of("holdover"), changed(good, state=state))
    except SnapshotRejected:
        return


@cache
def taken_of_holdover() -> bytes:
    return taken_of(whole(log_of("holdover")))


def test_every_field_of_the_state_is_written_but_what_was_verified(good: bytes) -> None:
    written = set(json.loads(good.partition(b"\n")[2])["state"])
    assert written == set(LaboratoryState.__slots__) - {"limits", "orders"}
    assert exact.hints_of(LaboratoryState)["limits"] == Verified[snapshot.run_start.SteeringLimits] | Refused
