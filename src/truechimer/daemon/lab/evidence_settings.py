"""The table `[evidence]` of LAB.toml: where the records are kept, and what becomes of the log over them.

It opens no file (`lab_check` does) and knows no key.
"""

from dataclasses import dataclass, field

from truechimer.daemon.lab.settings import says


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSettings:
    """Where the records are kept."""

    folder: str = field(
        default="evidence",
        metadata=says("folder of the records, relative to this file", "what happened cannot be shown afterwards"),
    )
    publish: bool = field(
        default=True,
        metadata=says(
            "whether the records become a signed log as they are written (its key is made at the first start)",
            "false: nobody outside can check what was recorded, and a record changed later is not seen",
        ),
    )
    origin: str | None = field(
        default=None,
        metadata=says(
            "the log's name for ever, a name of yours without spaces and plus signs; said before the first start",
            "a log without it gets a name that nobody owns, and keeps it",
            pattern=r"[^\s+]{1,255}",
            means="1 to 255 characters, no space and no plus sign",
            example='"lab.example/utc"',
        ),
    )
    witnesses: str | None = field(
        default=None,
        metadata=says(
            "a policy file (C2SP tlog-policy), relative to this file: who cosigns the log, and how many are enough",
            "nobody outside vouches for the log: who holds this machine can begin its history anew",
            example='"witnesses.policy"',
        ),
    )
    witness_every_s: float = field(
        default=10.0,
        metadata=says(
            "time between two questions to a witness",
            "too short: witnesses refuse; too long: what happened last is vouched for late",
            unit="s",
            min=1.0,
            max=3600.0,
        ),
    )
