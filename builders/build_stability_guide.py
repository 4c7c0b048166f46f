"""Run the commands of docs/guide/stability.md, put what they print below them, and keep the pictures that they draw.

    PYTHONPATH=src python builders/build_stability_guide.py

A block of `sh` is run in one temporary folder after the other blocks; a block of `text` below it is what it prints to
standard output. Pictures that the page shows are those that the commands wrote under the same name.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "guide" / "stability.md"
PICTURES = PAGE.parent / "pictures"
BLOCK = re.compile(r"```sh\n(?P<command>[^\n]*)\n```\n(?:\n```text\n(?P<said>.*?)```\n)?", re.DOTALL)
SHOWN = re.compile(r"!\[[^\]]*\]\(pictures/([a-z]+\.svg)\)")


def by_itself(words: list[str], folder: Path) -> str:
    """Run `truechimer` with these words in a process of its own; return what it prints to standard output."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "truechimer", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT / "src"), "HOME": str(folder)},
        check=False,
    )
    if done.returncode not in {0, 1} or "Traceback" in done.stderr:
        sys.exit(f"{words}\n{done.stderr}")
    return done.stdout


def run(text: str, folder: Path, call: Callable[[list[str], Path], str] = by_itself) -> str:
    """Run the page's commands in `folder`; return the page with what they print."""

    def filled(block: re.Match[str]) -> str:
        words = shlex.split(block["command"])
        assert words[0] == "truechimer", block["command"]
        words = [str(ROOT / word) if word.startswith("labs/") else word for word in words[1:]]
        said = call(words, folder)
        said = f"\n```text\n{said.rstrip()}\n```\n" if block["said"] is not None else ""
        return f"```sh\n{block['command']}\n```\n{said}"

    return BLOCK.sub(filled, text)


def main() -> None:
    """Rebuild the page and its pictures."""
    with tempfile.TemporaryDirectory() as name:
        text = PAGE.read_text(encoding="utf-8")
        new = run(text, Path(name))
        PICTURES.mkdir(exist_ok=True)
        for picture in SHOWN.findall(text):
            shutil.copyfile(Path(name) / "week" / picture, PICTURES / picture)
    if new != text:
        PAGE.write_text(new, encoding="utf-8")
        print(f"{PAGE.relative_to(ROOT)}: rebuilt")


if __name__ == "__main__":
    main()
