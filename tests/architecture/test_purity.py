"""Pure rooms do no I/O, read no clock and draw nothing: judged from the syntax tree, beside the contract on imports."""

import ast
from pathlib import Path

import pytest

from .test_layers import PACKAGE, pure_rooms

BUILTINS_WITH_EFFECTS = {"open", "print", "input", "exec", "eval", "compile", "breakpoint", "__import__"}
CLOCKS = {"now", "utcnow", "today"}
FILES = {"load", "save", "loadtxt", "savetxt", "fromfile", "memmap", "genfromtxt"}


def faults(source: str, *, name: str) -> list[str]:
    """Return what a pure module must not do, as `line: what`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        what = ""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILTINS_WITH_EFFECTS:
            what = f"calls {node.func.id}()"
        elif isinstance(node, ast.Attribute) and (
            node.attr in CLOCKS | FILES or (isinstance(node.value, ast.Attribute) and node.value.attr == "random")
        ):
            dotted = ast.unparse(node)
            if dotted.startswith(("np.random.", "numpy.random.")) and dotted.split(".")[2] != "Generator":
                what = f"uses {dotted}: randomness comes in as a Generator"
            elif node.attr in CLOCKS and dotted.split(".")[0] in {"datetime", "date"}:
                what = f"reads a clock: {dotted}"
            elif dotted in {f"np.{name}" for name in FILES}:
                what = f"opens a file: {dotted}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numpy.random"):
            others = [alias.name for alias in node.names if alias.name != "Generator"]
            what = f"imports {', '.join(others)} from numpy.random" if others else ""
        elif isinstance(node, ast.ImportFrom) and node.module == "numpy":
            what = "imports numpy.random" if any(alias.name == "random" for alias in node.names) else ""
        if what:
            found.append(f"{name}:{node.lineno}: {what}")  # type: ignore[attr-defined]
    return found


def modules() -> list[Path]:
    return sorted(
        path
        for room in pure_rooms()
        for path in ([PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").exists() else (PACKAGE / room).rglob("*.py"))
    )


def test_no_pure_module_has_an_effect() -> None:
    judged = modules()
    assert len(judged) > 50
    found = [fault for path in judged for fault in faults(path.read_text(encoding="utf-8"), name=str(path))]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "open('x')",
        "print(1)",
        "__import__('os')",
        "eval('1')",
        "import numpy as np\nnp.random.default_rng(1)",
        "import numpy\nnumpy.random.normal()",
        "from numpy.random import default_rng",
        "from numpy import random",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import date\ndate.today()",
        "import numpy as np\nnp.loadtxt('x')",
    ],
)
def test_the_judge_sees_an_effect(source: str) -> None:
    assert len(faults(source, name="m")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from numpy.random import Generator",
        "import numpy as np\ndef f(g: np.random.Generator) -> float: return g.normal()",
        "def f(now): return now",
        "x.open('a')",
    ],
)
def test_the_judge_lets_pure_code_be(source: str) -> None:
    assert faults(source, name="m") == []
