"""Leap words: what `status` says of leap seconds that are announced: voices, votes, what is disputed and refused.

It decides nothing: the fold votes. Keys follow the contract.
"""

from typing import Any

from truechimer.instants import UtcLabel
from truechimer.laboratory import leap_notices
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState


def document(state: LaboratoryState, config: LaboratoryConfig) -> dict[str, Any]:
    """Return what this adds to the block `leap` of `status`; nothing where nothing is voted on."""
    if not config.leap_need:
        return {}
    votes, leaps = state.leap.votes, config.leaps
    return {
        "voices": [
            {
                "provenance": each.provenance,
                "source": each.source.value,
                "name": each.name,
                "day": _day(each.mjd),
                "step_s": each.step_s,
            }
            for each in state.leap.voices
        ],
        "votes": [
            {
                "day": _day(each.mjd),
                "verdict": each.verdict.value,
                "step_s": each.step_s,
                "table_step_s": leaps.step_at(each.mjd),
                "disputed": leap_notices.is_disputed(each, leaps),
                "for": list(each.for_it),
                "against": list(each.against),
                "refused": [voice.name for voice in each.refused],
            }
            for each in votes
        ],
        "disputed": any(leap_notices.is_disputed(each, leaps) for each in votes),
        "notices_refused": sum(len(each.refused) for each in votes),
    }


def _day(mjd: int) -> str:
    """Return the day that ends in the moment in question."""
    return UtcLabel(mjd - 1, 0).isoformat(0)[:10]
