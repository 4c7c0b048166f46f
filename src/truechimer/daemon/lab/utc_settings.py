"""The table `[utc]` of LAB.toml: where published values of UTC - UTC(k) are put, and what is made of them;
files that announce leap seconds.

It opens no file (`lab_check` and `published_turn` do) and judges no value.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from truechimer.daemon.lab.settings import says

MOST_NOTICES = 16
CODE_PATTERN = "[A-Za-z0-9]{1,6}"


class SteerBy(StrEnum):
    """What UTC(k) follows."""

    LINKS = "links"
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class UtcSettings:
    """Published values of UTC - UTC(k), and of a frequency standard."""

    published: str | None = field(
        default=None,
        metadata=says(
            "folder, relative to this file, into which Circular T, rapid UTC, answers of the BIPM's server and CSV are "
            "put; each file is taken in once, when it is there or has changed",
            "values that are published days later are not heard of",
            example='"published"',
        ),
    )
    laboratory: str | None = field(
        default=None,
        metadata=says(
            "code of the laboratory in those tables (default: [lab] name)",
            "files are refused as another laboratory's",
            pattern=CODE_PATTERN,
            means="1 to 6 letters and digits",
            example='"AAA"',
        ),
    )
    by: SteerBy | None = field(
        default=None,
        metadata=says(
            "what UTC(k) follows (default: links where a source is one, or a server; else published)",
            "links where they are worse than what the BIPM says: their calibration is in UTC(k)",
        ),
    )
    leap_notices: tuple[str, ...] = field(
        default=(),
        metadata=says(
            "files that announce leap seconds, relative to this file: leap-seconds.list, Leap_Second.dat, Bulletin C; "
            "NAME=FILE names its provenance. They are read again when they change; they vote, and change no table",
            "a forged or forgotten leap second is seen by what servers and satellites say alone",
            example='["bulletinc.txt", "NIST=leap-seconds.list"]',
            max=MOST_NOTICES,
        ),
    )
    before: str | None = field(
        default=None,
        metadata=says(
            "the clock that was UTC(k) until steering began here, by its name",
            "values of the days before say nothing, and steering by published values alone cannot begin",
            example='"H1"',
        ),
    )
    fountain_u_b: float = field(
        default=2e-16,
        metadata=says(
            "what all rates of a frequency standard may be off by alike, one sigma",
            "too small: its fault becomes the rate of UTC(k); too large: it says little",
            unit="1",
            min=0.0,
            max=1e-9,
        ),
    )
    accuracy: float = field(
        default=1.05,
        metadata=says(
            "how near UTC(k) keeps to its forecast: its error over the forecast's own, rms",
            "near 1: each publication disturbs the stability over a day; larger: UTC(k) follows late",
            unit="1",
            exclusive_min=1.0,
            max=100.0,
        ),
    )
    day_stability: float | None = field(
        default=None,
        metadata=says(
            "the Allan deviation of UTC(k) over a day against the free scale's, at most",
            "near 1: UTC(k) is off by nearly twice what the values allow; absent: no limit",
            unit="1",
            exclusive_min=1.0,
            max=1000.0,
        ),
    )
