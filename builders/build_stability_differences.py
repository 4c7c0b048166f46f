"""Run the snippets of docs/guide/stability-differences.md and put what they print below them.

    PYTHONPATH=src python builders/build_stability_differences.py [--peers PEERS/bin/python]

Snippets that import allantools run with the Python of `--peers`, an environment of its own with allantools and NumPy
(allantools is no requirement of ours); without it their output stays as it is. A test runs all others and compares.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "guide" / "stability-differences.md"
PAIR = re.compile(r"```python\n(?P<code>.*?)```\n\n```text\n(?P<said>.*?)```", re.DOTALL)
ELSEWHERE = "import allantools"


def printed(code: str, python: str) -> str:
    """Return what a snippet prints."""
    path = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, env=path, check=False)
    if done.returncode:
        sys.exit(f"{done.stderr}\nin\n{code}")
    return done.stdout


def main() -> None:
    """Fill in all outputs."""
    parser = argparse.ArgumentParser(description="run the snippets of the page of differences")
    parser.add_argument("--peers", metavar="PYTHON", help="a Python that has allantools")
    options = parser.parse_args()

    def filled(pair: re.Match[str]) -> str:
        code, said = pair["code"], pair["said"]
        if ELSEWHERE not in code:
            said = printed(code, sys.executable)
        elif options.peers:
            said = printed(code, options.peers)
        return f"```python\n{code}```\n\n```text\n{said}```"

    text = PAGE.read_text(encoding="utf-8")
    new = PAIR.sub(filled, text)
    if new != text:
        PAGE.write_text(new, encoding="utf-8")
        print(f"{PAGE.relative_to(ROOT)}: rebuilt")


if __name__ == "__main__":
    main()
