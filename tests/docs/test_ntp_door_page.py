"""The page of the NTP door names each end that a packet can have, and each key of its rules."""

from pathlib import Path

from truechimer.daemon.lab.listener_settings import RULE_KEYS
from truechimer.serve.ntp import IgnoreReason, ReplyKind
from truechimer.serve.ntp.mac import KeyKind
from truechimer.serve.ntp.packet import MOST_FIELDS

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "ntp-door.md").read_text(encoding="utf-8")


def test_every_refusal_and_answer_is_named_as_it_is_counted() -> None:
    for word in [*(f"ignored-{reason.value}" for reason in IgnoreReason), *(kind.value for kind in ReplyKind)]:
        assert f"`{word}`" in PAGE, word


def test_every_key_of_the_rules_and_every_type_of_key_is_named() -> None:
    assert all(key in PAGE for key in RULE_KEYS)
    assert all(kind.value in PAGE for kind in KeyKind)
    assert f"more than {MOST_FIELDS} refused" in PAGE
