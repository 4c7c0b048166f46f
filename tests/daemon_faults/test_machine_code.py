"""Plain kernels first, machine code afterwards: the same bits in one process, before, between and after."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from truechimer import kernel
from truechimer.daemon.machine_code import LIVE_AFTER_S, PAYS_AFTER_EPOCHS, MachineCode

ROOT = Path(__file__).parents[2]

CODE = """
import hashlib, sys
from tests.laboratory.test_replay import recorded
from truechimer import kernel
def digest():
    return hashlib.sha256(b"".join(recorded(1.5, 20))).hexdigest()
found = [digest()]
plain = kernel.COMPILED
kernel.use_machine_code(may_go_on=lambda: False)
stopped = kernel.COMPILED
kernel.use_machine_code()
found.append(digest())
kernel.use_machine_code()
print(plain, stopped, kernel.COMPILED, len(set(found)), found[0])
"""


def ran(code: str, kernels: str) -> list[str]:
    path = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    environment = os.environ | {"TRUECHIMER_KERNELS": kernels, "PYTHONPATH": path}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    return found.stdout.split()


@pytest.mark.slow
def test_records_are_the_same_bytes_before_and_after_a_process_goes_over_to_machine_code() -> None:
    plain, stopped, compiled, different, digest = ran(CODE, "later")
    assert (plain, stopped, compiled, different) == ("False", "False", "True", "1")
    assert ran(CODE, "plain")[3:] == ["1", digest]


def test_a_kernel_stands_for_the_function_that_it_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_MODE", "later")
    monkeypatch.setattr(kernel, "_later", [])
    monkeypatch.setattr(kernel, "_codes", set())

    def twice(x: float) -> float:
        """Return the double."""
        return 2.0 * x

    marked = kernel.kernel(twice)
    assert marked.__doc__ == twice.__doc__
    assert marked.__name__ == "twice"
    assert marked(2.0) == 4.0
    assert marked(3.0) == 6.0


def test_a_laboratory_goes_over_once_in_bulk_or_when_it_has_lived_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(kernel, "use_machine_code", lambda *, may_go_on: asked.append(may_go_on()))
    now = [100.0]
    monkeypatch.setattr("truechimer.daemon.machine_code.time.monotonic", lambda: now[0])
    live = MachineCode()
    live.turn()
    now[0] += LIVE_AFTER_S - 0.1
    live.turn()
    assert asked == []
    now[0] += 0.2
    live.turn()
    live.turn()
    live.end()
    assert asked == [True]
    bulk = MachineCode()
    for number in range(PAYS_AFTER_EPOCHS + 50):
        bulk.in_bulk(number)
    assert asked == [True, True]
    ended = MachineCode()
    ended.stop()
    ended.in_bulk(PAYS_AFTER_EPOCHS)
    ended.end()
    assert asked == [True, True, False], "nothing is compiled in a process that ends"


def test_what_a_compiler_finds_wrong_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(kernel, "use_machine_code", broken)
    MachineCode().in_bulk(PAYS_AFTER_EPOCHS)
    assert "no such instruction" in capsys.readouterr().err
