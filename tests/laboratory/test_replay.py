"""A recorded run comes out in the same bytes, compiled or plain; whatever was changed in the log is found and named."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.laboratory import rig

from truechimer.errors import Misuse, Rejected
from truechimer.evidence import record as evidence
from truechimer.laboratory.replay import input_from, note, replay
from truechimer.laboratory.run_start import decode, encode
from truechimer.sim import demo_scenario

ROOT = Path(__file__).parents[2]


def recorded(days: float = 3.0, seconds: int = 40) -> list[bytes]:
    """A run with history, a restart, and live epochs."""
    scenario = rig.of_days(demo_scenario(), days)
    world, lab = rig.world(scenario), rig.Lab(rig.start_of(scenario, envelope_days=10.0))
    lab.history(world)
    lab.restart()
    for batch in rig.live(world, seconds=seconds):
        lab.take(batch)
    return lab.records


@pytest.fixture(scope="module")
def log() -> list[bytes]:
    return recorded()


def test_a_recorded_run_with_a_restart_comes_out_in_the_same_bytes(log: list[bytes]) -> None:
    again = replay(log)
    assert again.difference is None
    assert again.compared == len(log)
    assert again.state is not None
    assert again.state.chain.seq == len(log)


def test_a_log_that_ends_inside_an_epoch_is_no_difference(log: list[bytes]) -> None:
    for missing in range(1, 5):
        again = replay(log[:-missing])
        assert again.difference is None
        assert again.compared == len(log) - missing


def test_plain_and_compiled_kernels_make_the_same_bytes() -> None:
    code = (
        "import hashlib; from tests.laboratory.test_replay import recorded; from truechimer.kernel import COMPILED;"
        "print(COMPILED, hashlib.sha256(b''.join(recorded(1.5, 20))).hexdigest())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"TRUECHIMER_KERNELS": "plain", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
    )
    compiled, digest = ran.stdout.split()
    assert compiled == "False"
    assert digest == hashlib.sha256(b"".join(recorded(1.5, 20))).hexdigest()


def rechained(records: list[bytes]) -> list[bytes]:
    """The log with sequence numbers and chain made right again: what an editor with tools would leave."""
    chain, out = evidence.Chain(), []
    for data in records:
        body = json.loads(data)
        kind = body.pop("kind")
        del body["seq"], body["prev"]
        one, chain = evidence.seal(kind, body, chain)
        out.append(one.data)
    return out


def changed(log: list[bytes], kind: str, key: str, value: object, *, nth: int = 3) -> tuple[int, list[bytes]]:
    """The log with one value of the nth record of a kind replaced, chain made right; and that record's number."""
    at = [k for k, data in enumerate(log) if json.loads(data)["kind"] == kind][nth]
    body = json.loads(log[at]) | {key: value}
    return at, rechained([*log[:at], evidence.canonical(body), *log[at + 1 :]])


def test_rechaining_changes_nothing_by_itself(log: list[bytes]) -> None:
    assert rechained(log) == log


def test_an_edited_byte_breaks_the_chain_and_the_record_is_named(log: list[bytes]) -> None:
    edited = list(log)
    edited[300] = edited[300].replace(b"e-", b"e+", 1)
    difference = replay(edited).difference
    assert difference is not None
    assert difference.seq in (300, 301)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("scale-step", "divided", True),
        ("selection", "u_s", "1e-12 s"),
        ("served-time", "bound_s", "1e-09 s"),
        ("alert", "says", "nothing happened"),
    ],
)
def test_a_decision_edited_with_its_chain_made_right_is_still_the_first_difference(
    log: list[bytes], kind: str, key: str, value: object
) -> None:
    at, edited = changed(log, kind, key, value, nth=0 if kind == "alert" else 3)
    again = replay(edited)
    assert again.difference is not None
    assert again.difference.seq == at
    assert again.compared == at
    assert again.difference.why == "recorded and replayed bytes differ"


def test_an_edited_reading_changes_what_follows_it(log: list[bytes]) -> None:
    at = [k for k, data in enumerate(log) if json.loads(data)["kind"] == "readings"][100]
    body = json.loads(log[at])
    body["x_a_minus_b_s"][0] = evidence.quantity(evidence.number_of(body["x_a_minus_b_s"][0], "s") + 1e-10, "s")
    difference = replay(rechained([*log[:at], evidence.canonical(body), *log[at + 1 :]])).difference
    assert difference is not None
    assert difference.seq > at


def test_a_record_taken_out_is_missed(log: list[bytes]) -> None:
    steps = [k for k, data in enumerate(log) if json.loads(data)["kind"] == "scale-step"]
    at = steps[5]
    difference = replay(rechained(log[:at] + log[at + 1 :])).difference
    assert difference is not None
    assert difference.seq == at


def test_a_record_put_in_is_found(log: list[bytes]) -> None:
    at = [k for k, data in enumerate(log) if json.loads(data)["kind"] == "readings"][7]
    extra = evidence.canonical(json.loads(log[at - 1]) | {"kind": "alert"})
    difference = replay(rechained([*log[:at], extra, *log[at:]])).difference
    assert difference is not None
    assert difference.seq == at


def test_a_log_without_its_beginning_is_named() -> None:
    log = recorded(0.1, 2)
    assert replay([]).difference is None
    assert replay([]).compared == 0
    difference = replay(log[1:]).difference
    assert difference is not None
    assert difference.seq == 0
    difference = replay(rechained(log[1:])).difference
    assert difference is not None
    assert "does not begin with run-start" in difference.why


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_bytes_that_are_no_log_never_raise(records: list[bytes]) -> None:
    outcome = replay(records)
    assert outcome.difference is not None or not records


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["1.0 s", "1e-09 s", "0", "1.0 1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data())
def test_run_start_with_any_of_its_values_replaced_is_read_or_rejected(data: st.DataObject) -> None:
    body = encode(rig.start_of(rig.of_days(demo_scenario(), 1.0)))
    for key in data.draw(st.lists(st.sampled_from(sorted(body)), min_size=1, max_size=3)):
        body[key] = data.draw(JSON)
    try:
        decode(body)
    except Rejected:
        return


def test_run_start_comes_back_as_it_was() -> None:
    start = rig.start_of(rig.of_days(demo_scenario(), 1.0), reference_refids=(("UTC.P", b"P\0\0\0"),), boot_id="b")
    body = encode(start)
    assert json.loads(evidence.canonical(body)) == body
    assert decode(body) == start


@given(
    st.dictionaries(
        st.sampled_from(["x_a_minus_b_s", "u_s", "limit_s", "age_s", "raw_ns", "epoch_tai_ns", "stratum", "seq"]), JSON
    )
)
def test_a_readings_record_of_anything_is_read_or_rejected(body: dict[str, object]) -> None:
    try:
        input_from(body, 3)
    except Rejected:
        return


def test_what_is_noted_beside_the_fold_stands_in_the_log_and_changes_nothing_that_follows(log: list[bytes]) -> None:
    at = [k for k, data in enumerate(log) if json.loads(data)["kind"] == "readings"][50]
    beat = evidence.canonical({"kind": "heartbeat", "seq": 0, "prev": "", "epoch_tai_ns": "1", "state": "steered"})
    again = replay(rechained([*log[:at], beat, *log[at:]]))
    assert (again.difference, again.compared) == (None, len(log) + 1)
    assert again.state is not None
    state, record = note(again.state, "keys", {"log": "lab+00000000+AA=="})
    assert (record.kind, state.chain.seq) == ("keys", len(log) + 2)
    for kind, body in (("scale-step", {}), ("heartbeats", {}), ("heartbeat", {"x": 1.0})):
        with pytest.raises(Misuse):
            note(again.state, kind, body)
