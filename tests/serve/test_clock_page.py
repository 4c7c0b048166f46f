"""The clock page: what is written is read, and nothing else is ever read."""

import dataclasses
import math
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.pages import a_leap_page, a_page

from truechimer.serve import PAGE_BYTES, ClockPage, ClockPageMisuse, PageUnreadable, ServiceState, clock_page

finite = st.floats(allow_nan=False, allow_infinity=False)
int62 = st.integers(-(2**62) + 1, 2**62 - 1)

pages = st.builds(
    a_page,
    anchor_raw_ns=int62,
    anchor_tai_fs=st.integers(-(2**62) * 10**15 + 1, 2**62 * 10**15 - 1),
    rate=st.floats(-9e-3, 9e-3),
    bound_s=st.floats(0, 1e300),
    bound_growth=st.floats(1e-8, 0.99),
    u_s=st.floats(0, 1e300),
    coverage=st.floats(0, 1),
    state=st.sampled_from(ServiceState),
    simulated=st.booleans(),
    leap_expires_tai_s=int62,
    valid_until_raw_ns=int62,
    refid=st.binary(min_size=4, max_size=4),
    stratum=st.integers(1, 15),
    root_delay_s=st.floats(0, 1e300),
    written_raw_ns=int62,
    laboratory_pid=st.integers(0, 2**31 - 1),
    boot_id=st.binary(min_size=16, max_size=16),
)


class OctetByOctet(bytearray):
    """A buffer that is written one octet at a time, with a look by `after_each` between any two."""

    after_each: Callable[[], None] | None = None

    def __setitem__(self, where: Any, octets: Any) -> None:
        for at, octet in zip(range(where.start, where.stop), octets, strict=True):
            super().__setitem__(at, octet)
            if self.after_each:
                self.after_each()


class CopiedInTwoParts(bytearray):
    """A buffer as a reader sees it whose copies take long: the first `k` octets of each are older than the rest, or
    newer.
    """

    def __init__(self, early: bytes, late: bytes, k: int) -> None:
        super().__init__(late)
        self._early = early
        self._k = k

    def __getitem__(self, where: Any) -> Any:
        return self._early[where][: self._k] + super().__getitem__(where)[self._k :]


def snapshots_of_a_write(before: ClockPage | None, page: ClockPage) -> list[bytes]:
    """Return the buffer's content before the write and after each octet of it."""
    buffer = OctetByOctet(PAGE_BYTES)
    if before is not None:
        clock_page.write(buffer, before)
    seen = [bytes(buffer)]
    buffer.after_each = lambda: seen.append(bytes(buffer))
    clock_page.write(buffer, page)
    return seen


@given(pages)
def test_what_is_written_is_read_back_exactly(page: ClockPage) -> None:
    buffer = bytearray(PAGE_BYTES)
    clock_page.write(buffer, page)
    assert clock_page.read(buffer) == page


def test_a_coming_leap_second_is_read_back() -> None:
    buffer = bytearray(PAGE_BYTES)
    clock_page.write(buffer, a_leap_page(inserted_s=-1))
    assert clock_page.read(buffer) == a_leap_page(inserted_s=-1)


def test_the_newest_of_many_writes_is_read() -> None:
    buffer = bytearray(PAGE_BYTES)
    for pid in range(1, 20):
        clock_page.write(buffer, a_page(laboratory_pid=pid))
        page = clock_page.read(buffer)
        assert isinstance(page, ClockPage)
        assert page.laboratory_pid == pid


def test_a_reader_between_any_two_octets_of_a_write_sees_the_old_page_or_the_new_one() -> None:
    old, new = (
        a_page(laboratory_pid=1),
        a_page(laboratory_pid=2, anchor_tai_fs=-1, bound_s=0.5, state=ServiceState.ALARM),
    )
    seen = [clock_page.read(bytearray(snapshot)) for snapshot in snapshots_of_a_write(old, new)]
    assert all(page in (old, new) for page in seen)  # the other slot stays whole, so never torn
    assert seen[0] == old
    assert seen[-1] == new
    assert seen == sorted(seen, key=lambda page: page == new)  # once new, never old again


def test_a_reader_during_the_first_write_of_all_sees_no_page_or_the_new_one() -> None:
    new = a_page()
    seen = [clock_page.read(bytearray(snapshot)) for snapshot in snapshots_of_a_write(None, new)]
    assert seen[0] is PageUnreadable.EMPTY
    assert seen[-1] == new
    allowed = {PageUnreadable.EMPTY, PageUnreadable.NOT_A_PAGE, PageUnreadable.UNKNOWN_VERSION, PageUnreadable.TORN}
    assert all(page == new or page in allowed for page in seen)


@pytest.mark.parametrize("newer_part_first", [False, True])
def test_a_copy_torn_at_any_octet_is_never_taken_for_a_page(newer_part_first: bool) -> None:
    old, new = (
        a_page(laboratory_pid=1),
        a_page(laboratory_pid=2, anchor_tai_fs=-1, bound_s=0.5, state=ServiceState.ALARM),
    )
    third = a_page(laboratory_pid=3, rate=1e-3, refid=b"XYZW")
    buffer = bytearray(PAGE_BYTES)
    for page in (old, new):
        clock_page.write(buffer, page)
    before = bytes(buffer)
    clock_page.write(buffer, third)  # into the slot of `old`
    clock_page.write(buffer, old)  # and both slots have changed during the copy
    after = bytes(buffer)
    early, late = (after, before) if newer_part_first else (before, after)
    for k in range(200):
        page = clock_page.read(CopiedInTwoParts(early, late, k))
        assert page in (old, new, third) or page is PageUnreadable.TORN


@given(st.data())
def test_a_copy_torn_between_any_two_moments_of_a_write_is_never_taken_for_a_page(data: st.DataObject) -> None:
    old, new = a_page(laboratory_pid=1), a_page(laboratory_pid=2, anchor_tai_fs=-1, bound_s=0.5, rate=1e-4)
    moments = snapshots_of_a_write(old, new)
    early = data.draw(st.sampled_from(moments))
    late = data.draw(st.sampled_from(moments))
    page = clock_page.read(CopiedInTwoParts(early, late, data.draw(st.integers(0, 170))))
    assert page in (old, new) or page is PageUnreadable.TORN


def test_a_writer_killed_at_any_octet_leaves_the_old_page_and_the_next_writer_repairs() -> None:
    old, new, next_page = a_page(laboratory_pid=1), a_page(laboratory_pid=2, bound_s=1e-3), a_page(laboratory_pid=3)
    for snapshot in snapshots_of_a_write(old, new):
        buffer = bytearray(snapshot)
        assert clock_page.read(buffer) in (old, new)
        clock_page.write(buffer, next_page)
        assert clock_page.read(buffer) == next_page


def test_one_changed_bit_anywhere_in_the_only_slot_is_refused() -> None:
    buffer = bytearray(PAGE_BYTES)
    clock_page.write(buffer, a_page())
    start = clock_page.SLOT_OFFSETS[0]
    for bit in range(8 * 152):
        spoiled = bytearray(buffer)
        spoiled[start + bit // 8] ^= 1 << (bit % 8)
        assert clock_page.read(spoiled) in {PageUnreadable.TORN, PageUnreadable.EMPTY}


def test_an_untouched_buffer_is_empty_not_a_page() -> None:
    assert clock_page.read(bytearray(PAGE_BYTES)) is PageUnreadable.EMPTY
    formatted = bytearray(PAGE_BYTES)
    clock_page.format_buffer(formatted)
    assert clock_page.read(formatted) is PageUnreadable.EMPTY


def test_another_version_or_another_file_is_refused_and_never_overwritten() -> None:
    newer = bytearray(PAGE_BYTES)
    clock_page.write(newer, a_page())
    newer[8:10] = struct.pack("<H", clock_page.VERSION + 1)
    assert clock_page.read(newer) is PageUnreadable.UNKNOWN_VERSION
    other = bytearray(b"SQLite format 3\0" + bytes(PAGE_BYTES - 16))
    assert clock_page.read(other) is PageUnreadable.NOT_A_PAGE
    for buffer in (newer, other):
        held = bytes(buffer)
        with pytest.raises(ClockPageMisuse, match="header"):
            clock_page.write(buffer, a_page())
        assert bytes(buffer) == held


def test_a_whole_slot_with_impossible_values_is_refused() -> None:
    buffer = bytearray(PAGE_BYTES)
    clock_page.write(buffer, a_page())
    start = clock_page.SLOT_OFFSETS[0]
    rate_at = start + 8 + 24
    buffer[rate_at : rate_at + 8] = struct.pack("<d", math.nan)
    checked = bytes(buffer[start : start + 148])
    buffer[start + 148 : start + 152] = struct.pack("<I", zlib.crc32(checked))
    assert clock_page.read(buffer) is PageUnreadable.OUT_OF_RANGE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bound_s", math.nan),
        ("bound_s", -1e-9),
        ("bound_s", math.inf),
        ("bound_growth", 9.9e-9),
        ("rate", 0.02),
        ("rate", math.nan),
        ("u_s", -1.0),
        ("coverage", 1.1),
        ("root_delay_s", math.inf),
        ("refid", b"SIM"),
        ("boot_id", b""),
        ("stratum", 0),
        ("stratum", 16),
        ("laboratory_pid", -1),
        ("anchor_raw_ns", 2**63),
        ("next_leap_tai_s", 1_800_000_000),
        ("next_tai_minus_utc_s", 38),
    ],
)
def test_a_page_that_no_door_could_serve_honestly_is_not_made(field: str, value: object) -> None:
    with pytest.raises(ClockPageMisuse) as caught:
        a_page(**{field: value})
    assert "the page was not written" in str(caught.value)


def test_a_leap_of_two_seconds_is_not_made() -> None:
    with pytest.raises(ClockPageMisuse, match="next_tai_minus_utc_s"):
        dataclasses.replace(a_leap_page(inserted_s=1), next_tai_minus_utc_s=39)


def test_the_fingerprint_changes_with_every_write() -> None:
    buffer = bytearray(PAGE_BYTES)
    seen = {clock_page.fingerprint(buffer)}
    for _ in range(10):
        clock_page.write(buffer, a_page())
        seen.add(clock_page.fingerprint(buffer))
    assert len(seen) == 11
