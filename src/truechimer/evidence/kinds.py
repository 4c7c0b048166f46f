"""The kinds of record that may stand in the log: what each says, and who makes it.

It makes no record. A writer refuses a kind that is not here (`daemon.records.journal`): a log whose readers must guess
what an entry means is no evidence. A kind that was registered once keeps its meaning for ever; a new meaning is a new
name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Maker(StrEnum):
    """Who makes the records of a kind. What the fold makes is repeated by a replay; what it was fed and what was noted
    beside it is taken as it stands.
    """

    INPUT = "input"
    FOLD = "fold"
    NOTED = "noted"
    BOTH = "both"  # of the fold, or noted where its component is the daemon


@dataclass(frozen=True, slots=True)
class KindOfRecord:
    """One kind: its name, what it is about (issue and guide name nine subjects), who makes it, what it says."""

    name: str
    about: str
    by: Maker
    says: str


_ALL = (
    KindOfRecord("run-start", "configuration", Maker.INPUT, "everything that a run depends on"),
    KindOfRecord("register", "configuration", Maker.INPUT, "pairs that readings brought"),
    KindOfRecord("readings", "readings", Maker.INPUT, "what came in at one epoch"),
    KindOfRecord("scale-step", "scale steps", Maker.FOLD, "the clocks against the scale at one epoch"),
    KindOfRecord("selection", "scale steps", Maker.FOLD, "the vote on UTC and the prediction after it"),
    KindOfRecord("link-quality", "readings", Maker.FOLD, "how far a receiver's own word lets its link be believed"),
    KindOfRecord("coordination-start", "steers", Maker.FOLD, "offset and rate set while the doors were unsynchronised"),
    KindOfRecord("steer", "steers", Maker.FOLD, "a steering order that was given or refused"),
    KindOfRecord("served-time", "serving state", Maker.FOLD, "the line and the bound that the doors were given"),
    KindOfRecord("state", "serving state", Maker.FOLD, "the state word changed"),
    KindOfRecord("alert", "alerts", Maker.BOTH, "an alert as it was said"),
    KindOfRecord("heartbeat", "heartbeat", Maker.NOTED, "both clocks' interval, and the log as it was published"),
    KindOfRecord("witnessed", "heartbeat", Maker.NOTED, "a checkpoint as witnesses outside cosigned it"),
    KindOfRecord("keys", "keys", Maker.NOTED, "the keys of the log and of its witnesses, as they are in force"),
    KindOfRecord("leap-table", "leap tables", Maker.NOTED, "the leap table in force, by its hash"),
    KindOfRecord("configuration", "configuration", Maker.NOTED, "the laboratory's file in force, by its hash"),
    KindOfRecord("listeners", "configuration", Maker.NOTED, "what each door promises whom, as it is in force"),
    KindOfRecord(
        "published",
        "readings",
        Maker.INPUT,
        "a file of published values of UTC - UTC(k), or of a frequency standard, and what became of it",
    ),
    KindOfRecord(
        "order", "orders", Maker.INPUT, "an order or veto of persons as it was offered, and what became of it"
    ),
)

KINDS: Mapping[str, KindOfRecord] = MappingProxyType({one.name: one for one in _ALL})
"""Every kind by its name, in the order of the guide."""

NOTED = frozenset(one.name for one in _ALL if one.by is Maker.NOTED)
"""Kinds that change nothing but the chain: a replay takes them as they stand."""
