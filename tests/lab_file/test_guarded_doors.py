"""What an upgrade brings changes no laboratory: rules and keys that say nothing stand in no digest."""

from pathlib import Path

import pytest

from truechimer.daemon.lab.guarded import texts
from truechimer.daemon.lab.lab_reading import read_lab
from truechimer.daemon.lab.lab_rules import InsecureFlags
from truechimer.instants import builtin_leap_table

LAB = """
[lab]
name = "lab1"
[[source]]
name = "p1"
kind = "ntp"
address = "192.0.2.1:123"
{source}
[[listener]]
protocol = "ntp"
{listener}
"""


def parts(folder: Path, *, source: str = "", listener: str = "") -> dict[str, bytes]:
    path = folder / "LAB.toml"
    path.write_text(LAB.format(source=source, listener=listener))
    read = read_lab(path, InsecureFlags())
    assert read.lab is not None, read.findings
    return texts(read.lab, (), builtin_leap_table(), folder)


def test_doors_and_sources_without_rules_are_written_as_they_were_before_there_were_any(tmp_path: Path) -> None:
    found = parts(tmp_path)
    assert found["doors"] == b"('ntp', '127.0.0.1', 11123, 'open', 0.001)\n"
    assert b"keys" not in found["sources"]


@pytest.mark.parametrize(
    "rule",
    [
        'allow = ["192.0.2.0/24"]',
        'deny = ["192.0.2.7"]',
        "rate_per_s = 1.0",
        "ntpv5 = true",
        'keys = "k"',
        'denied = "kiss"',
        "rate_burst = 7",
        "rate_loopback = true",
        "interleaved = false",
    ],
)
def test_each_rule_of_a_door_is_guarded(tmp_path: Path, rule: str) -> None:
    assert parts(tmp_path, listener=rule)["doors"] != parts(tmp_path)["doors"]


def test_the_key_of_a_source_is_guarded(tmp_path: Path) -> None:
    assert b"'key', 7" in parts(tmp_path, source='key = 7\nkeys = "k"')["sources"]
