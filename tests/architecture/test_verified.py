"""Nothing reaches a laboratory's state unchecked: who makes `Verified`, who holds it, who writes what it guards."""

import ast
import typing
from pathlib import Path

import pytest

from truechimer.laboratory.orders import Orders
from truechimer.laboratory.state import LaboratoryState
from truechimer.quorum import applier
from truechimer.quorum.verified import Verified
from truechimer.steer import realization

PACKAGE = Path(__file__).parents[2] / "src" / "truechimer"
GUARDED = {"limits", "orders", "coordination", "applied", "by_order"}
"""Fields of `LaboratoryState` through which time can be moved."""
WRITERS = {
    "laboratory/state.py": "the state before the first epoch",
    "laboratory/line.py": "an epoch",
    "laboratory/steering.py": "an automatic steer inside the envelope",
    "laboratory/ordering.py": "an order",
    "laboratory/ordered_rate.py": "what orders to steer by a rate add at an epoch",
    "laboratory/run_start.py": "a start, by the records",
    "laboratory/replay.py": "a start's place in the chain",
    "laboratory/snapshot.py": "the same state from the records again",
    "laboratory/orders.py": "the orders in force",
    "laboratory/order_chain.py": "the same orders from the records again",
    "laboratory/testimony.py": "what a judge hears, who acts on nothing",
}


def modules(*words: str) -> dict[str, ast.Module]:
    """Return the parsed modules in which any of these words stands; to parse all of them takes seconds."""
    texts = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    return {name: ast.parse(text) for name, text in texts.items() if any(word in text for word in words)}


def calls(tree: ast.Module) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_only_the_checks_of_quorum_make_a_verified_value() -> None:
    found = modules("seal", "_verified", "_SEAL")
    assert "quorum/verified.py" in found, "the test sees what it looks for"
    for name, tree in found.items():
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("truechimer")
            for alias in node.names
        }
        made = [call for call in calls(tree) if any(word.arg == "seal" for word in call.keywords)]
        if not name.startswith("quorum/"):
            assert not imported & {"_verified", "_SEAL"}, name
        if name != "quorum/verified.py":
            assert not made, name


@pytest.mark.parametrize(
    ("kind", "field"),
    [(LaboratoryState, "limits"), (Orders, "limits"), (applier.Applied, "order"), (applier.Applied, "envelope")],
    ids=str,
)
def test_what_may_move_the_time_is_held_as_verified(kind: type, field: str) -> None:
    hint = typing.get_type_hints(kind)[field]
    found = [one for one in (hint, *typing.get_args(hint)) if typing.get_origin(one) is Verified]
    assert found, hint


def test_what_acts_takes_nothing_else() -> None:
    for function, parameter in ((realization.apply, "order"), (applier.apply_order, "order")):
        assert typing.get_origin(typing.get_type_hints(function)[parameter]) is Verified


def test_nobody_else_writes_what_orders_guard() -> None:
    found = set()
    for name, tree in modules(*(f"{field}=" for field in GUARDED)).items():
        for call in calls(tree):
            what = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            if what in {"replace", "LaboratoryState", "Orders"} and {word.arg for word in call.keywords} & GUARDED:
                found.add(name)
    assert {name for name in found if name.startswith(("laboratory/", "daemon/", "cli/"))} <= set(WRITERS)
    assert "laboratory/ordering.py" in found, "the test sees what it looks for"
