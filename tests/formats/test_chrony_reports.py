"""chronyd's reports: captured octets against chronyc's own decoding, then one thing broken at a time, then anything."""

import contextlib
import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.formats import chrony_reports
from truechimer.formats.chrony_reports import (
    ChronyReplyRejected,
    Command,
    NSources,
    NtpData,
    ReplyFault,
    SourceData,
    SourceMode,
    SourceState,
    SourceStats,
    Tracking,
    read,
    real,
    reference_word,
    refid_text,
    request,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "chrony_reports" / "reports.json").read_text())
STATES = {"*": 0, "?": 1, "x": 2, "~": 3, "+": 4, "-": 5}


def reports(*asked: str) -> tuple[list[str], list[tuple[bytes, bytes]]]:
    """Return what chronyc printed, and question and answer of each report that this program reads."""
    (found,) = [each for each in VECTORS["reports"] if each["asked"] == list(asked)]
    pairs = [(bytes.fromhex(question), bytes.fromhex(answer)) for question, answer in found["octets"]]
    return found["chronyc"], [pair for pair in pairs if command_of(pair[0]) in set(Command)]


def command_of(question: bytes) -> int:
    return int(struct.unpack_from(">H", question, 4)[0])


def sequence_of(question: bytes) -> int:
    return int(struct.unpack_from(">I", question, 8)[0])


def decoded(pair: tuple[bytes, bytes]) -> chrony_reports.Report:
    question, answer = pair
    return read(answer, Command(command_of(question)), sequence=sequence_of(question))


def test_sources_are_read_as_chronyc_reads_them() -> None:
    printed, pairs = reports("sources")
    counted, *found = [decoded(pair) for pair in pairs]
    assert isinstance(counted, NSources)
    assert counted.n == len(found) == 6
    # chronyc leaves out a source whose name does not resolve; here it is one without an address
    assert sum(data.address is None for data in found if isinstance(data, SourceData)) == 1
    found = [data for data in found if isinstance(data, SourceData) and data.address is not None]
    for line, data in zip(printed, found, strict=True):
        mode, state, name, stratum, poll, reach, last, adjusted, original, error = line.split(",")
        assert data.address == name
        assert {"^": SourceMode.SERVER, "=": SourceMode.PEER, "#": SourceMode.REFCLOCK}[mode] is data.mode
        assert chrony_mark(data) == state
        assert (data.stratum, data.poll_log2, data.reach) == (int(stratum), int(poll), int(reach, 8))
        assert data.since_sample_s == (None if int(last) == 2**32 - 1 else int(last))
        assert data.x_local_minus_source_s == pytest.approx(float(adjusted), abs=6e-10)
        assert data.original_x_local_minus_source_s == pytest.approx(float(original), abs=6e-10)
        assert data.root_distance_s == pytest.approx(float(error), abs=6e-10)
    assert found[3].x_local_minus_source_s == pytest.approx(-0.05, abs=1e-3), "a server ahead of us has the minus sign"


def chrony_mark(data: SourceData) -> str:
    """Return chronyc's mark; its two words for sources that are not selected are told by number."""
    return {
        SourceState.SELECTED: "*",
        SourceState.NOT_SELECTABLE: "?",
        SourceState.FALSETICKER: "x",
        SourceState.JITTERY: "~",
        SourceState.NOT_COMBINED: "+",
        SourceState.SELECTABLE: "-",
    }[data.state]


def test_statistics_are_read_as_chronyc_reads_them() -> None:
    printed, pairs = reports("sourcestats")
    found = [stats for pair in pairs[1:] if isinstance(stats := decoded(pair), SourceStats)]
    found = [stats for stats in found if stats.address is not None or stats.reference_id == b"TRUE"]
    for line, stats in zip(printed, found, strict=True):
        name, n, _runs, _span, residual, skew, _offset, sd = line.split(",")
        assert stats.address == name or refid_text(stats.reference_id) == name
        assert stats.n_samples == int(n)
        assert stats.residual_ppm == pytest.approx(float(residual), abs=6e-4)
        assert stats.skew_ppm == pytest.approx(float(skew), abs=6e-4)
        assert stats.sd_s == pytest.approx(float(sd), abs=6e-10)


def test_tracking_is_read_as_chronyc_reads_it() -> None:
    (line,), pairs = reports("tracking")
    found = decoded(pairs[0])
    assert isinstance(found, Tracking)
    words = line.split(",")
    assert found.reference_id.hex().upper() == words[0]
    assert found.address == words[1]
    assert found.stratum == int(words[2])
    assert found.reference_time_ns == int(words[3].replace(".", ""))
    # chronyc calls "slow" what is ahead of the system clock: its figure has our sign
    assert found.x_cooked_minus_wall_s == pytest.approx(float(words[4]), abs=6e-10)
    assert found.last_x_local_minus_source_s == pytest.approx(float(words[5]), abs=6e-10)
    assert [found.frequency_ppm, found.residual_ppm, found.skew_ppm] == [
        pytest.approx(float(word), abs=6e-4) for word in words[7:10]
    ]
    assert [found.root_delay_s, found.root_dispersion_s] == [pytest.approx(float(w), abs=6e-10) for w in words[10:12]]
    assert (words[13], found.leap) == ("Normal", 0)


def test_the_path_to_a_server_is_read_as_chronyc_reads_it() -> None:
    (line,), pairs = reports("ntpdata", "127.0.0.4")
    found = decoded(pairs[0])
    words = line.split(",")
    assert isinstance(found, NtpData)
    assert (found.address, found.port) == (words[0], int(words[2]))
    assert found.stratum == int(words[8])
    assert found.delay_s == pytest.approx(float(words[19]), abs=6e-10)
    assert found.reference_id.hex().upper() == words[15]


def test_what_chronyd_refuses_is_refused_by_type() -> None:
    _, pairs = reports("ntpdata", "127.0.0.9")
    with pytest.raises(ChronyReplyRejected, match="no such source") as refused:
        decoded(pairs[0])
    assert refused.value.fault is ReplyFault.STATUS


def test_our_questions_are_those_of_chronyc() -> None:
    for asked in (["sources"], ["sourcestats"], ["tracking"]):
        for question, _ in reports(*asked)[1]:
            command = Command(command_of(question))
            index = struct.unpack_from(">I", question, 20)[0] if len(question) > 32 else 0
            ours = request(command, sequence_of(question), index=index if command is not Command.TRACKING else 0)
            assert ours[:24] == question[:24]
            assert len(ours) == len(question)
    ((question, _),) = reports("ntpdata", "127.0.0.4")[1]
    ours = request(Command.NTP_DATA, sequence_of(question), address="127.0.0.4")
    assert ours[:40] == question[:40]
    assert len(ours) >= len(question)


def broken(change: Callable[[bytearray], None]) -> ReplyFault:
    """Return how a good answer is refused after one change."""
    _, pairs = reports("sources")
    question, answer = pairs[2]
    octets = bytearray(answer)
    change(octets)
    with pytest.raises(ChronyReplyRejected) as refused:
        decoded((question, bytes(octets)))
    return refused.value.fault


def put(form: str, offset: int, value: int) -> Callable[[bytearray], None]:
    return lambda octets: struct.pack_into(form, octets, offset, value)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (put("B", 0, 5), ReplyFault.VERSION),
        (put("B", 0, 7), ReplyFault.VERSION),
        (put("B", 1, 1), ReplyFault.NOT_A_REPLY),
        (put(">H", 4, 33), ReplyFault.OTHER_COMMAND),
        (put(">H", 6, 5), ReplyFault.FORMAT),
        (put(">H", 6, 27), ReplyFault.FORMAT),
        (put(">H", 8, 2), ReplyFault.STATUS),
        (put(">H", 8, 999), ReplyFault.STATUS),
        (put(">I", 16, 1), ReplyFault.OTHER_SEQUENCE),
        (put(">H", 28 + 16, 9), ReplyFault.VALUE),  # address family
        (put(">H", 28 + 24, 6), ReplyFault.VALUE),  # state
        (put(">H", 28 + 26, 3), ReplyFault.VALUE),  # mode
        (put(">I", 28 + 44, 0x01FFFFFF), ReplyFault.VALUE),  # a negative root distance
        (lambda octets: octets.__delitem__(slice(27, None)), ReplyFault.SHORT),
        (lambda octets: octets.__delitem__(slice(-1, None)), ReplyFault.SHORT),
        (lambda octets: octets.clear(), ReplyFault.SHORT),
    ],
)
def test_one_broken_field_is_one_typed_refusal(change: Callable[[bytearray], None], fault: ReplyFault) -> None:
    assert broken(change) is fault


def test_an_answer_may_be_longer_than_what_is_known_of_it() -> None:
    _, pairs = reports("tracking")
    question, answer = pairs[0]
    assert decoded((question, answer + bytes(16))) == decoded((question, answer))


def test_a_refusal_says_what_was_expected_and_what_to_do() -> None:
    _, pairs = reports("tracking")
    question, answer = pairs[0]
    with pytest.raises(ChronyReplyRejected, match=r"expected report 5, found 99; .*report it"):
        decoded((question, answer[:6] + struct.pack(">H", 99) + answer[8:]))


@pytest.mark.parametrize("reply", [16, 26])
def test_both_lengths_of_ntp_data_are_known(reply: int) -> None:
    ((question, answer),) = reports("ntpdata", "127.0.0.4")[1]
    newer = answer[:6] + struct.pack(">H", reply) + answer[8:] + bytes(16)
    assert decoded((question, newer)) == decoded((question, answer))


def float_words() -> Iterator[tuple[int, float]]:
    yield 0, 0.0
    yield (1 << 25) | 0x0800000, 0.5  # exponent 1, coefficient 2^23
    yield (1 << 25) | 0x1000000, -1.0  # coefficient -2^24
    yield (0x40 << 25) | 1, 2.0 ** (-64 - 25)
    yield (0x3F << 25) | 0xFFFFFF, (2**24 - 1) * 2.0 ** (63 - 25)


@pytest.mark.parametrize(("word", "value"), list(float_words()))
def test_chronys_float(word: int, value: float) -> None:
    assert real(word) == value


@given(st.integers(0, 2**32 - 1))
def test_chronys_float_is_always_finite(word: int) -> None:
    assert math.isfinite(real(word))


@given(st.sampled_from(list(Command)), st.binary(max_size=320), st.integers(0, 2**32 - 1))
def test_anything_is_a_report_or_a_refusal(command: Command, data: bytes, sequence: int) -> None:
    with contextlib.suppress(ChronyReplyRejected):
        read(data, command, sequence=sequence)


@given(
    st.sampled_from([(words, k) for words in (["sources"], ["sourcestats"], ["tracking"]) for k in range(2)]), st.data()
)
def test_a_damaged_answer_is_a_report_or_a_refusal(which: tuple[list[str], int], data: st.DataObject) -> None:
    words, k = which
    pairs = reports(*words)[1]
    question, answer = pairs[min(k, len(pairs) - 1)]
    octets = bytearray(answer)
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ChronyReplyRejected):
        decoded((question, bytes(octets)))


@given(st.ip_addresses(), st.ip_addresses())
def test_names_of_references_are_lawful_and_differ_as_addresses_do(one: object, other: object) -> None:
    words = [reference_word(source(str(address))) for address in (one, other)]
    assert all(
        word and set(word) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") for word in words
    )
    assert (words[0] == words[1]) == (str(one) == str(other))


@given(st.binary(min_size=4, max_size=4))
def test_any_refid_makes_a_lawful_name(octets: bytes) -> None:
    word = reference_word(source(refid_text(octets)))
    assert word
    assert word.isascii()
    assert word.isalnum()


def source(address: str) -> SourceData:
    return SourceData(address, 0, 1, SourceState.SELECTED, SourceMode.SERVER, 255, 0, 0.0, 0.0, 0.0)


def test_a_source_without_an_address_has_no_name() -> None:
    unresolved = bytearray(reports("sources")[1][2][1])
    struct.pack_into(">H", unresolved, 28 + 16, 3)
    question = reports("sources")[1][2][0]
    found = decoded((question, bytes(unresolved)))
    assert isinstance(found, SourceData)
    assert found.address is None
    assert reference_word(found) is None
