"""The page as a file: one writer, and readers that keep the last whole page."""

import os
from pathlib import Path

import pytest
from tests.serve.pages import a_page

from truechimer.daemon.door.counters import NAMES, Counters, CountersRejected, read_counters
from truechimer.daemon.page_file import PageFileRejected, PageReader, PageWriter
from truechimer.serve import ClockPage, PageUnreadable, clock_page

BOOT = b"boot of the test"


def test_what_the_writer_publishes_the_reader_has_with_the_writer_counter_name(tmp_path: Path) -> None:
    with PageWriter(tmp_path / "page", boot_id=BOOT) as writer:
        reader = PageReader(tmp_path / "page")
        assert reader.current() is PageUnreadable.EMPTY
        writer.publish(a_page())
        page = reader.current()
        assert page == a_page(boot_id=BOOT)
        assert reader.current() is page  # not read again while nothing changed
        writer.publish(a_page(laboratory_pid=77))
        page = reader.current()
        assert isinstance(page, ClockPage)
        assert page.laboratory_pid == 77
        reader.close()


def test_two_laboratories_cannot_write_one_page(tmp_path: Path) -> None:
    first = PageWriter(tmp_path / "page", boot_id=BOOT)
    with pytest.raises(PageFileRejected, match="another laboratory process writes it"):
        PageWriter(tmp_path / "page", boot_id=BOOT)
    first.close()
    PageWriter(tmp_path / "page", boot_id=BOOT).close()


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "page"
    other.write_bytes(b"SQLite format 3\0" * 10)
    with pytest.raises(PageFileRejected, match="move it away"):
        PageWriter(other, boot_id=BOOT)
    assert other.read_bytes() == b"SQLite format 3\0" * 10
    reader = PageReader(other)
    assert reader.current() is PageUnreadable.NOT_A_PAGE
    reader.close()


def test_a_symbolic_link_is_not_followed_by_the_writer(tmp_path: Path) -> None:
    (tmp_path / "page").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PageFileRejected):
        PageWriter(tmp_path / "page", boot_id=BOOT)
    assert not (tmp_path / "elsewhere").exists()


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(PageFileRejected, match="check the folder"):
        PageWriter(tmp_path / "none" / "page", boot_id=BOOT)


def test_a_page_of_another_version_is_begun_anew_by_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "page"
    with PageWriter(path, boot_id=BOOT) as writer:
        writer.publish(a_page())
    octets = bytearray(path.read_bytes())
    octets[8] = clock_page.VERSION + 1
    path.write_bytes(octets)
    reader = PageReader(path)
    assert reader.current() is PageUnreadable.UNKNOWN_VERSION
    with PageWriter(path, boot_id=BOOT) as writer:
        writer.publish(a_page())
    assert reader.current() == a_page(boot_id=BOOT)
    reader.close()


def test_a_reader_keeps_the_last_whole_page_when_both_slots_are_torn(tmp_path: Path) -> None:
    path = tmp_path / "page"
    with PageWriter(path, boot_id=BOOT) as writer:
        writer.publish(a_page())
    reader = PageReader(path)
    assert reader.current() == a_page(boot_id=BOOT)
    octets = bytearray(path.read_bytes())
    for start in clock_page.SLOT_OFFSETS:
        octets[start] = 1  # odd: a writer died here
    with path.open("r+b") as file:
        file.write(octets)
    assert reader.current() == a_page(boot_id=BOOT)
    assert reader.torn == 1
    late = PageReader(path)
    assert late.current() is PageUnreadable.TORN
    late.close()
    reader.close()


def test_a_replaced_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "page"
    with PageWriter(path, boot_id=BOOT) as writer:
        writer.publish(a_page(laboratory_pid=1))
    reader = PageReader(path)
    reader.current()
    path.unlink()
    with PageWriter(path, boot_id=BOOT) as writer:
        writer.publish(a_page(laboratory_pid=2))
    reader.reopen()
    page = reader.current()
    assert isinstance(page, ClockPage)
    assert page.laboratory_pid == 2
    reader.close()


def test_counters_are_read_back_by_name(tmp_path: Path) -> None:
    counters = Counters(tmp_path / "counters")
    assert set(read_counters(tmp_path / "counters").values()) == {0}
    for number, name in enumerate(NAMES):
        counters.add(name, number)
    counters.put("host_step_last_ns", -(2**80))
    counters.close()
    found = read_counters(tmp_path / "counters")
    assert tuple(found) == NAMES
    assert found["received"] == 0
    assert found["host_step_last_ns"] == -(2**63)
    assert found[NAMES[5]] == 5


def test_counters_are_written_over_what_was_there_and_the_rest_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "counters"
    path.write_bytes(b"x" * 20_000)
    cut: list[int] = []
    monkeypatch.setattr(os, "ftruncate", lambda descriptor, _length: cut.append(os.fstat(descriptor).st_size))
    Counters(path).close()
    assert cut == [20_000], "a disk without room takes no octet that was let go first"
    monkeypatch.undo()
    Counters(path).close()
    assert set(read_counters(path).values()) == {0}


def test_a_file_that_holds_other_counters_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    with pytest.raises(CountersRejected, match="No such file"):
        read_counters(path)
    Counters(path).close()
    octets = path.read_bytes()
    for broken in (b"", octets[:-8], octets + bytes(8), bytes(4) + octets[4:], octets[:12] + b"\xff" + octets[13:]):
        path.write_bytes(broken)
        with pytest.raises(CountersRejected, match="let the serve process of this version write it anew"):
            read_counters(path)


def test_names_of_counters_are_words_of_one_alphabet_and_stand_once() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert all(name.replace("_", "").isalnum() and name.islower() for name in NAMES)
