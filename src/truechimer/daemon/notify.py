"""Notify: say an alert on standard error, one line, as soon as its record is on the disk.

It judges nothing. (Other ways to be told come with the watching of a later day.)
"""

import sys

from truechimer.alerts import Alert


def say(alert: Alert) -> None:
    """Write one line for an operator."""
    say_line(f"{alert.severity.value.upper()} {alert.kind.value} {alert.subject}: {alert.says}; {alert.do_next}")


def say_line(text: str) -> None:
    """Write a line; where nobody can read it any more (a closed terminal), the laboratory goes on."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        return
