"""The laboratory's side of its log: starts the publisher's process, wakes it, notes a heartbeat, tells what goes wrong.

It publishes nothing and asks no witness (`log_publisher` does, in a process of its own), and waits for neither: where
that process hangs, dies or is stopped, records are written as before, and this says so. It makes no time: the heartbeat
says what the scale and this machine's wall clock say.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from truechimer.alerts import Alert
from truechimer.daemon import notify
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.journal_log import Priority
from truechimer.daemon.lab_start import Started
from truechimer.daemon.log.log_alerts import LogAlerts
from truechimer.daemon.log.log_state import STATE, WITNESSED, LogState, read_state
from truechimer.daemon.log.log_words import document, log_began_ns
from truechimer.evidence.record import canonical
from truechimer.instants import FS_PER_NS, FS_PER_S, Instant
from truechimer.quorum.note import NoteRejected, parsed

MODULE = "truechimer.daemon.log.log_publisher"
HEARTBEAT_S = 60.0
LOOK_EVERY_S = 1.0
RESTART_EVERY_S = 5.0
KEYS_BY_ORDER = "keys-by-order.policy"
"""Beside the log: the keys and witnesses that an order has brought, written anew at each start of the publisher."""
END_WITHIN_S = 10.0
"""How long the last round, with its witnesses, may take at the end; what is left is taken up at the next start."""


@dataclass(frozen=True, slots=True)
class Outlets:
    """What this may do to the laboratory: note a record on the chain, say an alert, and ask for `now`."""

    note: Callable[[str, dict[str, Any]], None]
    alert: Callable[[Alert], None]
    now_document: Callable[[], dict[str, Any]]


class LogKeeping:
    """The log of one run. All methods but `document` are for the laboratory's own thread."""

    def __init__(self, started: Started, clocks: HostClocks) -> None:
        """Start nothing yet."""
        self._started, self._clocks = started, clocks
        settings = started.lab.evidence
        self.is_on = settings.publish
        self._folder = started.folder / settings.folder
        self._state_path = started.folder / "run" / STATE
        self._process: subprocess.Popen[bytes] | None = None
        self._began_s = 0.0
        self._state: LogState | None = None
        self._state_stamp = 0
        self._look_s = self._beat_s = 0.0
        self._began_raw_ns = clocks.raw_ns()
        self._log_began_ns = log_began_ns(started)
        self._noted = -1
        self._has_keys = self._goes_over = False
        orders = started.state.orders
        self._keys = "" if orders is None else orders.log_keys
        self._alerts = LogAlerts(started, began_raw_ns=self._began_raw_ns)

    def begin(self, outlets: Outlets) -> None:
        """Start the publisher, and note what this run's entries rest on."""
        if self.is_on:
            self._state_path.unlink(missing_ok=True)
            self._start()
        for kind, body in self._bases():
            outlets.note(kind, body)

    def wake(self) -> None:
        """Say that records were committed; never waits."""
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(OSError):  # a full pipe has woken it already; one that ended is started again by `turn`
                os.write(self._process.stdin.fileno(), b"\n")

    def use_keys(self, text: str) -> None:
        """Go on with the keys of the log and the witnesses that an order has brought: the publisher does its last round
        with the old ones and is started again. Never waits.
        """
        self._keys, self._has_keys, self._noted = text, False, -1
        if self._process is not None and self._process.stdin is not None:
            self._goes_over = True
            self._process.stdin.close()

    def turn(self, outlets: Outlets) -> None:
        """Look at the publisher, note a heartbeat where one is due, tell what changed; to be called again and again."""
        now_s = time.monotonic()
        if now_s < self._look_s:
            return
        self._look_s = now_s + LOOK_EVERY_S
        if self.is_on:
            self._look(now_s)
            self._note_keys(outlets)
        raw_ns = self._clocks.raw_ns()
        for alert in self._alerts.look(self._state, is_on=self.is_on, raw_ns=raw_ns):
            outlets.alert(alert)
        if now_s >= self._beat_s:
            self._beat_s = now_s + HEARTBEAT_S
            outlets.note("heartbeat", self._heartbeat(outlets.now_document()))
            self._note_witnessed(outlets)

    def close(self) -> None:
        """Let the publisher do its last round and end; all records are on the disk."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            notify.say_line(
                "evidence: the publisher did not end in time; the next start publishes what it left",
                priority=Priority.WARNING,
            )
            process.kill()
            process.wait()

    def document(self) -> dict[str, Any]:
        """Return the block `evidence` of `status`; any thread may ask."""
        return document(
            self._state,
            self._started,
            is_on=self.is_on,
            raw_ns=self._clocks.raw_ns(),
            log_began_ns=self._log_began_ns,
        )

    # ---- the process ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        settings = self._started.lab.evidence
        prefix = "sim-" if self._started.config.simulated else ""
        command = [sys.executable, "-m", MODULE, "--records", str(self._started.store.path)]
        command += ["--evidence", str(self._folder), "--state", str(self._state_path)]
        command += ["--new-origin", f"{prefix}{self._started.config.name}.invalid/{secrets.token_hex(4)}"]
        command += ["--witness-every-s", repr(settings.witness_every_s), "--log", notify.log_form().value]
        command += ["--origin", settings.origin] if settings.origin else []
        if self._keys:
            policy = self._folder / KEYS_BY_ORDER
            beside = policy.with_name(f"{policy.name}.new")
            beside.write_text(self._keys, encoding="utf-8")
            beside.replace(policy)
            command += ["--policy", str(policy), "--keys-by-order"]
        elif settings.witnesses:
            command += ["--policy", str(self._started.folder / settings.witnesses)]
        package = str(Path(__file__).parents[3])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        self._began_s = time.monotonic()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)

    def _look(self, now_s: float) -> None:
        """Start the publisher again where it ended; read what it says of itself."""
        process = self._process
        if self._goes_over and process is not None and process.poll() is not None:
            self._goes_over = False
            self._start()
        elif process is not None and process.poll() is not None and now_s - self._began_s >= RESTART_EVERY_S:
            notify.say_line(
                f"evidence: the publisher ended by itself (status {process.returncode}) and is started again",
                priority=Priority.WARNING,
            )
            if process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
            self._start()
        try:
            stamp = self._state_path.stat().st_mtime_ns
        except OSError:
            return
        if stamp != self._state_stamp:
            self._state_stamp = stamp
            self._state = read_state(self._state_path) or self._state

    # ---- what is noted ----------------------------------------------------------------------------------------------

    def _bases(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the records that a run's entries rest on, beside its `run-start`."""
        epoch = {"epoch_tai_ns": str(self._started.label.at(self._clocks.raw_ns()))}
        leaps = self._started.config.leaps
        table = {
            "entries": [[one.mjd, one.tai_minus_utc_s] for one in leaps.entries],
            "expires": str(leaps.expires),
            "source": leaps.source,
        }
        digest = {"sha256": sha256(canonical(table)).hexdigest()}
        return [("leap-table", epoch | digest | {"last": table["entries"][-1], "expires": table["expires"]})]

    def _note_keys(self, outlets: Outlets) -> None:
        """Note the public keys in force, once they are known: the log's, and the rule about its witnesses."""
        state, settings = self._state, self._started.lab.evidence
        if self._has_keys or state is None or not state.log_key:
            return
        self._has_keys = True
        body = {"epoch_tai_ns": str(self._started.label.at(self._clocks.raw_ns())), "log": state.log_key}
        if self._keys:
            body |= {"witnesses": self._keys, "by": "order"}
        elif settings.witnesses:
            with suppress(OSError):
                body["witnesses"] = (self._started.folder / settings.witnesses).read_text("utf-8", "replace")
        outlets.note("keys", body)

    def _heartbeat(self, now: dict[str, Any]) -> dict[str, Any]:
        """Return the body of a heartbeat: both clocks as intervals on the TAI axis, and the log as it was published."""
        pair = self._clocks.take_pair()
        leaps = self._started.config.leaps
        about = Instant(pair.realtime_ns * FS_PER_NS + leaps.entries[-1].tai_minus_utc_s * FS_PER_S)
        wall_tai_ns = pair.realtime_ns + leaps.tai_minus_utc_at(about) * 10**9
        body: dict[str, Any] = {
            "epoch_tai_ns": str(self._started.label.at(pair.raw_ns)),
            "raw_ns": str(pair.raw_ns),
            "boot_id": self._clocks.boot_id().hex(),
            "every_s": round(HEARTBEAT_S),
            "host_earliest_tai_ns": str(wall_tai_ns - pair.half_width_ns),
            "host_latest_tai_ns": str(wall_tai_ns + pair.half_width_ns),
            "state": now["state"],
        }
        if "earliest_tai_fs" in now:
            body["scale_earliest_tai_ns"] = str(int(now["earliest_tai_fs"]) // FS_PER_NS)
            body["scale_latest_tai_ns"] = str(-(-int(now["latest_tai_fs"]) // FS_PER_NS))
        if self._state is not None and self._state.size:
            body["log"] = {"origin": self._state.origin, "size": self._state.size, "root": self._state.root}
        if "unwitnessed_since" in (told := self.document()):
            body["unwitnessed_since"] = told["unwitnessed_since"]
        return body

    def _note_witnessed(self, outlets: Outlets) -> None:
        """Put the newest checkpoint that enough witnesses cosigned into the log: proof, in the log itself, of what
        existed when.
        """
        state = self._state
        if state is None or state.witnessed <= self._noted:
            return
        try:
            note = (self._folder / WITNESSED).read_bytes()
            signers = [one.name for one in parsed(note).signatures]
        except (OSError, NoteRejected):
            return
        self._noted = state.witnessed
        epoch = str(self._started.label.at(self._clocks.raw_ns()))
        outlets.note("witnessed", {"epoch_tai_ns": epoch, "checkpoint": note.decode(), "signed_by": signers})
