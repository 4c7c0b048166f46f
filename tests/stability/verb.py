"""`truechimer stability` in this process, as a user runs it."""

import pytest

from truechimer.cli.__main__ import main


def run(capsys: pytest.CaptureFixture, *words: object) -> tuple[int, str, str]:
    """Return the status, and what went to standard output and to standard error."""
    try:
        status = main(["stability", *map(str, words)])
    except SystemExit as left:
        status = left.code
    said = capsys.readouterr()
    return status, said.out, said.err
