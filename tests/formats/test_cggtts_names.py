"""Names of CGGTTS files: there and back, and a file that is not what its name says."""

import pytest
from tests.formats.test_cggtts import BODIES, file_of, good

from truechimer.errors import Misuse
from truechimer.formats.cggtts_names import CggttsName, check, of


def test_a_name_says_system_kind_laboratory_receiver_and_day() -> None:
    name = CggttsName("E", "Z", "XY", "01", 60_258)
    assert name.text() == "EZXY0160.258"
    assert of("EZXY0160.258") == of("ezxy0160.258") == name
    assert of("57490.cctf") is None
    with pytest.raises(Misuse):
        CggttsName("E", "Z", "XYZ", "01", 60_258).text()


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("EZXY0160.258", []),
        ("EZXY0160.259", ["name-day"]),
        ("GZXY0160.258", ["name-system"]),
        ("MZXY0160.258", ["name-system"]),
        ("EMXY0160.258", ["name-kind"]),
        ("day.txt", ["name"]),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_named(name: str, rules: list[str]) -> None:
    assert [finding.rule for finding in check(name, good(file_of(BODIES[:2])))] == rules
