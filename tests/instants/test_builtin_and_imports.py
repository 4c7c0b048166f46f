"""The table that ships, rebuilt from its authority; and what importing this room costs."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import truechimer
from truechimer.formats import leap_second_dat
from truechimer.instants import LeapEntry, UtcLabel, builtin_leap_table

ROOT = Path(__file__).resolve().parents[2]


def the_builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_leap_table", ROOT / "builders" / "build_leap_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_builtin_table_is_rebuilt_from_the_kept_answer_of_its_authority() -> None:
    builder = the_builder()
    provenance = json.loads(builder.PROVENANCE.read_text(encoding="ascii"))
    rebuilt = builder.module_text(builder.TRANSCRIPT.read_bytes(), provenance)
    assert rebuilt == builder.MODULE.read_text(encoding="ascii"), "run builders/build_leap_table.py"


def test_the_kept_answer_is_what_the_installed_package_answers() -> None:
    pytest.importorskip("astropy_iers_data")
    builder = the_builder()
    data, provenance = builder.installed_answer()
    assert builder.TRANSCRIPT.read_bytes() == data, (
        "the authority says something newer: run builders/build_leap_table.py"
    )
    assert json.loads(builder.PROVENANCE.read_text(encoding="ascii")) == provenance
    assert builder.main(["--check"]) == 0


def test_a_kept_answer_that_was_edited_is_refused() -> None:
    builder = the_builder()
    provenance = json.loads(builder.PROVENANCE.read_text(encoding="ascii"))
    with pytest.raises(SystemExit):
        builder.module_text(builder.TRANSCRIPT.read_bytes().replace(b"37", b"38"), provenance)


def test_the_builtin_table_ends_with_37_seconds_and_expires_in_2027() -> None:
    table = builtin_leap_table()
    assert table.entries[0] == LeapEntry(41_317, 10)
    assert table.entries[-1] == LeapEntry(57_754, 37)
    assert len(table.entries) == 28
    assert table.expires == UtcLabel.parse("2027-06-28T00:00:00Z")
    read, findings = leap_second_dat.read((ROOT / "authorities" / "leap_seconds" / "Leap_Second.dat").read_bytes())
    assert findings == []
    assert read is not None
    assert (read.entries, read.expires) == (table.entries, table.expires)


HEAVY = ("numpy", "hashlib", "decimal", "fractions", "socket", "asyncio", "random", "json", "cryptography")


def test_importing_every_module_of_instants_imports_nothing_heavy() -> None:
    names = sorted(path.stem for path in (ROOT / "src" / "truechimer" / "instants").glob("[a-z]*.py"))
    program = (
        f"import sys, importlib\nfor name in {names!r}: importlib.import_module('truechimer.instants.' + name)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-S", "-E", "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})\n{program}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert answer.stdout.strip() == "[]"


def test_the_public_names_of_time_load_from_the_package() -> None:
    for name in ("Instant", "Span", "UtcLabel", "LeapTable", "TimeBound"):
        assert getattr(truechimer, name) is getattr(sys.modules["truechimer.instants"], name)
