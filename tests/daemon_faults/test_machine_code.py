"""Plain kernels first, machine code afterwards: the same bits in one process, before, between and after."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from truechimer import kernel
from truechimer.daemon.door.counters import Counters
from truechimer.daemon.machine_code import LIVE_AFTER_S, PAYS_AFTER_EPOCHS, MachineCode
from truechimer.daemon.ntp import serve_workers
from truechimer.daemon.ntp.ntp_loop import UdpPort

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


ALONE = """
import sys
from truechimer import kernel
@kernel.kernel
def twice(x):
    return x + x
print(kernel.COMPILED, twice(2.0), any(name.startswith(("scipy.", "cffi.")) for name in sys.modules))
"""


@pytest.mark.slow
def test_a_process_that_runs_kernels_alone_reads_nothing_that_no_kernel_uses(tmp_path: Path) -> None:
    program = tmp_path / "alone.py"
    program.write_text(ALONE, encoding="utf-8")
    environment = os.environ | {
        "TRUECHIMER_KERNELS": "alone",
        "PYTHONPATH": str(ROOT / "src"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    for _ in range(2):  # made, then read
        found = subprocess.run(
            [sys.executable, str(program)], capture_output=True, text=True, check=True, env=environment
        )
        assert found.stdout.split() == ["True", "4.0", "False"]


def test_a_doors_worker_runs_kernels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[dict[str, str]] = []

    def refused(*_: Any, env: dict[str, str], **__: Any) -> None:
        begun.append(env)
        raise OSError

    monkeypatch.setattr(subprocess, "Popen", refused)
    monkeypatch.setattr(serve_workers, "machine_code_is_possible", lambda: True)
    port = UdpPort("127.0.0.1", 0)
    workers = serve_workers.Workers([port], [], Counters(), path=None, wanted=True)
    for now_ns in (0, serve_workers.AFTER_NS - 1, serve_workers.AFTER_NS):
        workers.look(now_ns)
    port.close()
    assert [one["TRUECHIMER_KERNELS"] for one in begun] == ["alone"]


FIRST, SECOND = "@kernel\ndef first(x):\n    return second(x) + 1.0\n", "@kernel\ndef second(x):\n    return 2.0 * x\n"


@pytest.mark.parametrize("when", ["before", "while", "after"])
def test_a_kernel_finds_those_further_down_whenever_its_module_is_imported(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The way to machine code is looked at, not the compiler: the compiled form is the function itself."""
    for name, value in (("_MODE", "later"), ("_later", []), ("_codes", set()), ("_NUMBA", None), ("COMPILED", False)):
        monkeypatch.setattr(kernel, name, value)
    monkeypatch.setattr(kernel, "_load_numba", object)
    made: list[str] = []
    monkeypatch.setattr(kernel, "_compiled", lambda function, **_: made.append(function.__name__) or function)
    names: dict[str, Any] = {"kernel": kernel.kernel}
    if when == "before":
        kernel.use_machine_code()
    exec(FIRST, names)
    if when == "while":
        kernel.use_machine_code()
    exec(SECOND, names)
    if when == "after":
        kernel.use_machine_code()
    assert kernel.COMPILED
    assert made == []
    assert [names["first"](2.0), names["first"](3.0), names["second"](1.0)] == [5.0, 7.0, 2.0]
    assert sorted(made) == ["first", "second"]


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


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of four modules: `a` calls a kernel of `b`, which takes a constant from `c`; `d` stands apart."""
    (tmp_path / "room").mkdir()
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "room" / "__init__.py").write_text("from truechimer.room.d import D\n")
    (tmp_path / "room" / "a.py").write_text("from truechimer.room import (  # why (so)\n    b,\n)\n")
    (tmp_path / "room" / "b.py").write_text("def f():\n    from truechimer.room.c import C as c, \\\n        E\n")
    (tmp_path / "room" / "c.py").write_text("C = 1\nE = 2\n")
    (tmp_path / "room" / "d.py").write_text("import truechimer.room.c, truechimer.room.a as a\n")
    return tmp_path


def test_machine_code_is_kept_by_all_that_it_is_made_of_and_by_nothing_else(package: Path) -> None:
    assert set(kernel.sources_of("truechimer.room.a", package=package)) == {"room/a.py", "room/b.py", "room/c.py"}
    assert set(kernel.sources_of("truechimer.room.d", package=package)) == {
        "room/a.py",
        "room/b.py",
        "room/c.py",
        "room/d.py",
    }
    # a name that is no module stands in the package's own file
    (package / "room" / "c.py").write_text("from truechimer.room import D\n")
    assert "room/__init__.py" in kernel.sources_of("truechimer.room.a", package=package)


@pytest.mark.parametrize("text", ["from .b import x", "from . import b", "    from ..room import b"])
def test_an_import_that_is_not_understood_counts_for_all_sources(package: Path, text: str) -> None:
    (package / "room" / "c.py").write_text(text + "\n")
    assert len(kernel.sources_of("truechimer.room.a", package=package)) == 6
    assert len(kernel.sources_of("tests.room.a", package=package)) == 6


def test_the_sources_of_a_kernel_hold_the_constants_that_it_names() -> None:
    assert "scale/bands_state.py" in kernel.sources_of("truechimer.scale.bands_kernels")
    assert "scale/at1.py" not in kernel.sources_of("truechimer.scale.bands_kernels")


SORTS = """
import sys
import numpy as np
from itertools import islice
from numba.core.bytecode import FunctionIdentity
from truechimer.kernel import kernel
for _ in islice(FunctionIdentity._unique_ids, int(sys.argv[2])):
    pass
@kernel
def in_order(values):
    return np.sort(values)
@kernel
def order_of(values):
    return np.argsort(values)
for name in sys.argv[1].split():
    print(name, globals()[name](np.array([2.0, 1.0, 3.0])).tolist())
"""


@pytest.mark.slow
def test_machine_code_that_several_processes_left_is_not_mixed_up(tmp_path: Path) -> None:
    # Both are sorted by a function of one name and one type. Without numbers of their own the two processes give it the
    # same symbol here (the second draws three numbers, as other kernels of its would), and the third process sorts the
    # values where it was asked for their order.
    program = tmp_path / "sorts.py"
    program.write_text(SORTS, encoding="utf-8")
    environment = os.environ | {
        "TRUECHIMER_KERNELS": "",
        "PYTHONPATH": str(ROOT / "src"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }

    def ran_with(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, str(program), *arguments], capture_output=True, text=True, check=True, env=environment
        ).stdout

    assert ran_with("in_order", "0") == "in_order [1.0, 2.0, 3.0]\n"
    assert ran_with("order_of", "3") == "order_of [1, 0, 2]\n"
    assert ran_with("in_order order_of", "0") == "in_order [1.0, 2.0, 3.0]\norder_of [1, 0, 2]\n"
