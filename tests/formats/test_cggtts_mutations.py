"""CGGTTS: whatever happens to a file is found, in files of every producer at hand, and costs no other track."""

from collections import Counter
from pathlib import Path

import pytest
from tests.formats.cggtts_mutations import MUTATIONS, Mutation, tracks_of

from truechimer.formats import cggtts
from truechimer.formats.cggtts import ChecksumRule

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "cggtts"
PLACES = 3
"""So many tracks of each file are changed, one at a time."""


def files() -> list[Path]:
    """Files whose lines have sums: all but the collapsed example and the 30 s file."""
    return [path for path in sorted(SHARED.glob("*[0-9A-Za-z]")) if path.name[:2] in ("EZ", "GZ", "au")]


@pytest.mark.shared_data
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.says)
def test_none_of_what_happens_to_files_goes_unnoticed(mutation: Mutation) -> None:
    seen = 0
    for path in files():
        data = path.read_bytes()
        before, findings = cggtts.read(data)
        assert before is not None
        if mutation.needs_header_sum and before.header.checksum_rule is None:
            continue
        lines, numbers = tracks_of(data)
        was = Counter(finding.rule for finding in findings)
        for at in numbers[1 : -1 : max(1, (len(numbers) - 2) // PLACES)]:
            changed = b"\n".join(mutation.make(lines, at))
            assert changed != data
            after, findings = cggtts.read(changed)
            assert after is not None
            more = Counter(finding.rule for finding in findings) - was
            assert any(more[rule] for rule in mutation.rules), (path.name, at, dict(more))
            assert len(after.tracks) >= len(before.tracks) - mutation.costs, (path.name, at)
            seen += 1
    assert seen >= 12


@pytest.mark.shared_data
def test_every_producers_file_is_written_again_byte_for_byte_where_its_sum_is_the_standards() -> None:
    same, other = [], []
    for path in files():
        value, _ = cggtts.read(path.read_bytes())
        assert value is not None
        written = cggtts.write(value)
        if value.header.checksum_rule is ChecksumRule.STANDARD:
            assert written == path.read_bytes(), path.name
            same.append(path.name)
            continue
        again, findings = cggtts.read(written)
        assert again is not None
        assert again.header.checksum_rule is ChecksumRule.STANDARD
        assert not [finding for finding in findings if finding.rule.endswith("checksum")]
        for name in cggtts.Tracks.__slots__:
            if name != "line":
                assert (getattr(again.tracks, name) == getattr(value.tracks, name)).all(), (path.name, name)
        other.append(path.name)
    assert len(same) >= 3
    assert len(other) >= 3
