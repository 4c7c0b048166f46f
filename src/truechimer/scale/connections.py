"""Connections: which names of a record are compared with each other, directly or through others.

It reads pairs, not readings. A scale is one group's: clocks that no chain of readings connects with it cannot be told
from it, and say nothing to it. Source: connected components of a graph.
"""

from collections.abc import Iterable, Sequence

from truechimer.formats.finding import Finding, Severity

SHOWN = 6


def groups(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return the names that chains of pairs connect, the largest group first, names in order of appearance."""
    of: dict[str, list[str]] = {}
    for a, b in pairs:
        one, other = of.setdefault(a, [a]), of.setdefault(b, [b])
        if one is other:
            continue
        if len(one) < len(other):
            one, other = other, one
        one += other
        for name in other:
            of[name] = one
    order = {name: k for k, name in enumerate(of)}
    found = {id(group): sorted(group, key=order.__getitem__) for group in of.values()}
    return sorted(found.values(), key=lambda group: (-len(group), order[group[0]]))


def check(pairs: Iterable[tuple[str, str]], in_scale: Sequence[str]) -> tuple[Finding, ...]:
    """Return a finding for each group of names that is never compared with the clocks of the scale (`in_scale`)."""
    members = set(in_scale)
    apart = [group for group in groups(pairs) if members.isdisjoint(group)]
    found = []
    for group in apart if members else []:
        names = ", ".join(group[:SHOWN]) + (f" and {len(group) - SHOWN} more" if len(group) > SHOWN else "")
        says = (
            f"{names}: no chain of readings connects them with the clocks of the scale ({', '.join(in_scale[:SHOWN])}"
            f"{' ...' if len(in_scale) > SHOWN else ''}): they carry no weight; compare one clock of each group"
        )
        found.append(Finding("not-connected", says, severity=Severity.WARNING))
    return tuple(found)
