"""What ADR 12 shows of the packages that we need: from requirements/ and docs/measured/package_sizes.json."""

import importlib.metadata
import json
import re
import sys
from pathlib import Path
from typing import Any

from markdown_tables import table

SETS = ("run", "fast", "history", "plot")
"""Of requirements, those that a user may have."""

SIZES = "package_sizes.json"
MIB = 1024 * 1024


def pins(root: Path, name: str) -> dict[str, str]:
    """Return package: version of one set of requirements."""
    text = (root / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^([a-z0-9.-]+)==([^\s;]+)", text))


def measured_sizes(root: Path) -> dict[str, Any]:
    """Measure what the pinned packages take on the disk of this environment."""
    sizes = {}
    for name, version in _needed(root).items():
        found = importlib.metadata.distribution(name)
        if found.version != version:
            sys.exit(f"{name} {found.version} is installed, {version} is pinned: set up again first")
        files = [Path(str(found.locate_file(file))) for file in found.files or ()]
        octets = sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc")
        sizes[name] = {"version": version, "installed_bytes": octets}
    return {"platform": "x86-64", "packages": sizes}


def _needed(root: Path) -> dict[str, str]:
    return {package: version for name in SETS for package, version in pins(root, name).items()}


def _asked(root: Path, name: str) -> set[str]:
    """Return the packages that a set asks for by name; the others come with them."""
    lines = (root / "requirements" / f"{name}.in").read_text(encoding="utf-8").splitlines()
    return {re.split(r"[<>=!~ \[]", line)[0] for line in lines if line and not line.startswith(("#", "-"))}


def dependencies_block(root: Path) -> str:
    """Return the table of packages: which set, asked for or brought along, version, size."""
    sizes = json.loads((root / "docs" / "measured" / SIZES).read_text(encoding="utf-8"))["packages"]
    rows = [["set", "package", "version", "MiB installed"]]
    told: set[str] = set()
    for name in SETS:
        asked = _asked(root, name)
        for package, version in sorted(pins(root, name).items(), key=lambda pin: (pin[0] not in asked, pin[0])):
            if package in told:
                continue
            told.add(package)
            shown = package if package in asked else f"{package} (brought along)"
            rows.append([f"`{name}`", shown, version, f"{sizes[package]['installed_bytes'] / MIB:.1f}"])
    downloads = dict(
        line.split()
        for line in (root / "requirements" / "sizes.txt").read_text(encoding="utf-8").splitlines()
        if line[0] != "#"
    )
    words = (
        f"Downloads: set `run` {downloads['run']} MiB; beside it "
        + ", ".join(f"`{name}` {downloads[name]} MiB" for name in SETS[1:])
        + "."
    )
    return table(rows) + "\n\n" + words
