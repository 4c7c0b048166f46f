"""The page of the rules names every operation and every reason for a refusal, and none that is not there."""

import re
from pathlib import Path

import pytest

from truechimer.laboratory.orders import OPS_APPLIED, PARTS
from truechimer.quorum.operations import OPERATIONS
from truechimer.quorum.order_policy import _GRAVITY
from truechimer.watch.thresholds import THRESHOLDS

ROOT = Path(__file__).parent.parent.parent
SRC = ROOT / "src" / "truechimer"
PAGE = (ROOT / "docs" / "guide" / "orders.md").read_text(encoding="utf-8")
MODULES = ("order", "order_policy", "policy_change", "applier", "ssh_keys", "sshsig")
RAISED = re.compile(r'(?:Refused|SshRejected|OrderRejected)\(\s*"([a-z-]+)"')


def table(heading: str) -> list[list[str]]:
    """The rows of the first table after a heading, as cells."""
    part = PAGE.split(heading, 1)[1].split("\n\n|", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in part.splitlines()[2:]]


def test_every_operation_stands_there_with_its_units_and_its_purpose() -> None:
    text = PAGE.split("| op | value", 1)[1].split("\n\n", 1)[0]
    rows = {line.split("`")[1]: line for line in text.splitlines()[2:]}
    assert set(rows) == set(OPERATIONS)
    for name, operation in OPERATIONS.items():
        assert rows[name].endswith(f"| `{operation.namespace}` |")
        for unit in operation.units:
            assert (f"`{unit}`" if unit else "empty") in rows[name]


def test_every_reason_stands_there_and_none_that_is_not_given() -> None:
    given = {"signatures", *_GRAVITY}
    for module in MODULES:
        source = (SRC / "quorum" / f"{module}.py").read_text(encoding="utf-8")
        given |= set(RAISED.findall(source))
    for path in ("laboratory/orders.py", "laboratory/ordering.py"):
        given |= set(RAISED.findall((SRC / path).read_text(encoding="utf-8")))
    given |= set(
        re.findall(r'"reason": "([a-z-]+)"', (SRC / "daemon/orders/orders_turn.py").read_text(encoding="utf-8"))
    )
    told = {word for row in table("## Why an order was refused") for word in re.findall(r"`([a-z-]+)`", row[0])}
    assert told == given


@pytest.mark.parametrize("key", ["steer_s", "day_s", "total_s", "delay_s", "change_delay_s", "insecure_software_keys"])
def test_every_key_of_the_policy_that_needs_a_word_has_one(key: str) -> None:
    assert PAGE.count(f"`{key}`") >= 1


def test_what_is_applied_and_what_is_not_stands_there_operation_by_operation() -> None:
    text = PAGE.split("## What is applied today", 1)[1].split("\n\n", 2)[1]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    applied = {
        name
        for line in rows
        if "| not applied" not in line
        for name in re.findall(r"`([a-z-]+)`", line.split(" | ")[0])
    }
    refused = {
        name for line in rows if "| not applied" in line for name in re.findall(r"`([a-z-]+)`", line.split(" | ")[0])
    }
    assert applied == OPS_APPLIED
    assert refused == set(OPERATIONS) - OPS_APPLIED


def test_every_threshold_stands_there_with_its_floor_and_its_ceiling() -> None:
    rows = {
        row[0].strip("`| "): row for row in (one.split(" | ") for one in PAGE.splitlines() if one.startswith("| `"))
    }
    for one in THRESHOLDS.values():
        assert rows[one.name][1] == f"`{one.unit}`"
        assert rows[one.name][3] == f"{one.least:g} to {one.most:g}"
        assert rows[one.name][4].rstrip(" |") == one.says


def test_every_part_that_an_edit_needs_an_order_for_stands_there() -> None:
    text = PAGE.split("**Edits without an order.**", 1)[1].split(". ", 1)[0]
    assert tuple(re.findall(r"`([a-z-]+)`", text)) == PARTS
