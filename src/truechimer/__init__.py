"""truechimer: a standard time that can be proved.

Nothing is imported here until a name is used (PEP 562), so that `import truechimer` costs nothing.
"""

from typing import TYPE_CHECKING, Any

from truechimer._version import __version__

if TYPE_CHECKING:
    from truechimer.client import now
    from truechimer.instants import Instant, LeapTable, Span, TimeBound, UtcLabel
    from truechimer.store.evidence_files import verify_evidence

_HOMES = {
    "Instant": "truechimer.instants",
    "LeapTable": "truechimer.instants",
    "Span": "truechimer.instants",
    "TimeBound": "truechimer.instants",
    "UtcLabel": "truechimer.instants",
    "now": "truechimer.client",
    "verify_evidence": "truechimer.store.evidence_files",
}
_ROOMS = frozenset({"formats", "scale", "stability"})

__all__ = ["Instant", "LeapTable", "Span", "TimeBound", "UtcLabel", "__version__", "now", "verify_evidence"]


def __getattr__(name: str) -> Any:
    """Load a public name from its room on first use."""
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"truechimer.{name}")
    raise AttributeError(f"module 'truechimer' has no attribute {name!r}")
