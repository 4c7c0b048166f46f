"""The house stands: who may call whom, and that no room is left out of the contracts."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "truechimer"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
LAYERS = [
    [name.strip().strip("()") for name in layer.split("|")]
    for contract in SETTINGS["contracts"]
    if contract["type"] == "layers"
    for layer in contract["layers"]
]
HOUSE = """
cli > console > drills > daemon > client | drivers | sim | store > laboratory > guard | watch > serve | steer > scale
> compare > clocks > evidence > alerts > formats | quorum | stability > instants > kernel > errors
"""
"""The order of the house (architecture page, section 3), written down here a second time on purpose."""

FORBIDDEN = """
socket asyncio ssl time random secrets uuid threading subprocess multiprocessing concurrent select selectors signal
sqlite3 urllib http logging os io pathlib tempfile shutil ctypes importlib
"""


def contract(name: str) -> dict[str, object]:
    (found,) = [each for each in SETTINGS["contracts"] if each["name"].startswith(name)]
    return found


def pure_rooms() -> set[str]:
    """Return the rooms at or below `laboratory` that exist, but for `kernel`, which alone may look for Numba."""
    first = next(index for index, layer in enumerate(LAYERS) if "laboratory" in layer)
    names = {name for layer in LAYERS[first:] for name in layer} - {"kernel"}
    return {name for name in names if (PACKAGE / name / "__init__.py").exists() or (PACKAGE / f"{name}.py").exists()}


def test_import_linter_keeps_every_contract() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(SETTINGS['contracts'])} kept, 0 broken" in result.stdout


def test_the_layers_are_those_of_the_house() -> None:
    house = [sorted(name.strip() for name in layer.split("|")) for layer in HOUSE.split(">")]
    assert [sorted(layer) for layer in LAYERS] == house
    assert all(each.get("exhaustive") for each in SETTINGS["contracts"] if each["type"] == "layers")
    assert SETTINGS["include_external_packages"]


def test_every_pure_room_is_under_the_purity_contract() -> None:
    pure = contract("pure rooms")
    assert {str(name).removeprefix("truechimer.") for name in pure["source_modules"]} == pure_rooms()  # type: ignore[attr-defined]
    assert set(pure["forbidden_modules"]) == set(FORBIDDEN.split())  # type: ignore[call-overload]
    assert not pure.get("ignore_imports"), "a pure room has no exceptions"


def test_dates_of_the_standard_library_stay_in_the_rooms_that_convert() -> None:
    dates = contract("datetime")
    rooms = {str(name).removeprefix("truechimer.") for name in dates["source_modules"]}  # type: ignore[attr-defined]
    assert rooms == pure_rooms() - {"instants", "formats"}


def test_serving_does_not_know_how_the_scale_is_made() -> None:
    serving = contract("serving")
    assert serving["source_modules"] == ["truechimer.serve"]
    assert set(serving["forbidden_modules"]) == {"truechimer.scale", "truechimer.compare", "truechimer.clocks"}  # type: ignore[call-overload]
    assert not serving.get("allow_indirect_imports"), "not even through another room"
