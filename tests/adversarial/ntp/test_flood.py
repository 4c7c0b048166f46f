"""D41: a flood at the door, and what honest clients get meanwhile; the bench's own bars."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[3] / "bench" / "ntp_flood.py"


def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ntp_flood", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("rate", "for_s", "kind"),
    [(200_000.0, 30.0, "plain"), (200_000.0, 10.0, "mixed"), (0.0, 10.0, "plain"), (0.0, 10.0, "mixed")],
)
def test_honest_clients_are_answered_through_a_flood(tmp_path: Path, rate: float, for_s: float, kind: str) -> None:
    found = bench().measure(tmp_path, rate=rate, for_s=for_s, sources=64, clients=50, kind=kind)
    assert all(found["met"].values()), found
