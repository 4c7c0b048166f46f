"""Standing: the page before the doors and the view before the askers, both of what is on the disk and of nothing else.

It makes no time and writes no record. While records cannot be written both stay at the last that was, and say less and
less (`holding`, ADR 16).
"""

import os
from dataclasses import replace
from pathlib import Path

from truechimer.alerts import Alert
from truechimer.daemon import notify
from truechimer.daemon.answering.answers import View
from truechimer.daemon.holding import held
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab_start import Started
from truechimer.daemon.page_file import PageWriter
from truechimer.daemon.sources import source_feeds
from truechimer.laboratory.line import EpochOutcome
from truechimer.serve.clock_page import ClockPage

NS_PER_S = 10**9


class Standing:
    """What the rest of the machine sees of a laboratory. `page`: what doors read, None before the first."""

    def __init__(self, started: Started, clocks: HostClocks) -> None:
        self.page: ClockPage | None = None
        self.view: View | None = None
        self._started, self._clocks = started, clocks
        self._writer: PageWriter | None = None
        self._recorded = started.last_page
        self._is_stuck = False
        if self._in_file() is not None:
            self.view = View(started.state, None, self._in_file(), 0, ())

    def _in_file(self) -> ClockPage | None:
        """Return what doors read: before the first page of this run, the last one of the run before. Askers are told
        the same.
        """
        before = None if self._started.config.observing else self._started.last_page
        return before if self.page is None else self.page

    def open(self, path: Path) -> None:
        """Put the page into the file that doors read, from now on."""
        self._writer = PageWriter(path, boot_id=self._clocks.boot_id())
        if self._started.false_page is not None:
            self._writer.publish(self._started.false_page)
        if self.page is not None:
            self._writer.publish(self.page)

    def show(self, outcome: EpochOutcome | None, *, epochs: int, alerts: tuple[Alert, ...]) -> None:
        """Let everybody see the state of now, whose records are all on the disk; a page that was published is not made
        valid for longer by it.
        """
        if outcome is not None and outcome.page is not None and outcome.page is not self._recorded:
            self._recorded = outcome.page
            self._publish(outcome.page, newest_raw_ns=outcome.page.anchor_raw_ns)
        self.view = View(self._started.state, outcome, self._in_file(), epochs, alerts)

    def hold(self, outcome: EpochOutcome | None, *, alerts: tuple[Alert, ...], is_followed: bool) -> None:
        """Let everybody see the last recorded state, with what has been learned against it since.

        `is_followed`: the fold goes on, so that what it finds can widen the bound; without, the page is left to age.
        """
        recorded, before = self._recorded, self.view
        if recorded is not None and is_followed:
            present = None if outcome is None or outcome.page is recorded else outcome.page
            page = held(
                recorded,
                present=present,
                service=None if outcome is None else outcome.service,
                raw_ns=self._clocks.raw_ns(),
            )
            self._publish(page, newest_raw_ns=(present or recorded).anchor_raw_ns)
        if before is None:
            self.view = View(self._started.state, None, self._in_file(), 0, alerts)
            return
        shown = before.outcome
        if shown is not None and self.page is not None:
            shown = replace(shown, service=self.page.state)
        self.view = View(before.state, shown, self.page, before.epochs, alerts, held=True)

    def close(self) -> None:
        """Let go of the page; it stays, and ages."""
        if self._writer is not None:
            self._writer.close()

    def _publish(self, page: ClockPage, *, newest_raw_ns: int) -> None:
        """Write the page: from this moment valid for `silence_s`, and no longer than the newest epoch may be old."""
        raw_ns = self._clocks.raw_ns()
        until = raw_ns + round(self._started.config.silence_s * NS_PER_S)
        oldest_s = source_feeds.oldest_epoch_s(self._started.lab)
        if oldest_s is not None:
            until = min(until, newest_raw_ns + round(oldest_s * NS_PER_S))
        page = replace(page, valid_until_raw_ns=until, written_raw_ns=raw_ns, laboratory_pid=os.getpid())
        if self._writer is not None:
            try:
                self._writer.publish(page)
            except OSError as error:
                # doors go on from the page that they have, and so does `now`: both are of one page
                if not self._is_stuck:
                    notify.say_line(f"the clock page cannot be written ({error.strerror}): check the volume of run/")
                self._is_stuck = True
                return
        self._is_stuck = False
        self.page = page
