"""Webhook: each alert as one signed HTTP POST, in order, from a thread of its own.

It chooses no alert and proves nothing: the alert's record is the evidence, whether or not anybody was told. Source:
RFC 9112 (HTTP/1.1), RFC 2104 (HMAC) over `timestamp.body`, as receivers of signed webhooks expect it.

The law of the file: memory and time are bounded whatever the receiver does (refuse, hang, drip, redirect, answer
without end), order is kept, what was dropped is said before what follows it, and no secret is ever written anywhere.
"""

import hashlib
import hmac
import http.client
import json
import random
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from truechimer._version import __version__
from truechimer.alerts import Alert
from truechimer.daemon import notify
from truechimer.daemon.journal_log import Priority
from truechimer.daemon.lab.notify_check import read_secret, split_url
from truechimer.daemon.lab.notify_settings import NotifySettings
from truechimer.daemon.lab_start import Started
from truechimer.errors import Misuse
from truechimer.instants import FS_PER_NS

MOST_WAITING = 256
"""Alerts that wait; of more, the oldest go."""

RETRY_S = (1.0, 60.0)
"""Pause after the first failure of a message, doubled each time up to the longest."""

REFUSALS = 3
"""Attempts at a message that the receiver refuses (4xx, a redirect): to ask more often would not help it."""

CLOSING_S = 2.0
"""At the end, so much time for what still waits."""

SIGNATURE = "X-Truechimer-Signature"
TIMESTAMP = "X-Truechimer-Timestamp"
SCHEME = "v1"
_RETRIED = frozenset({408, 425, 429})
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Outcome(StrEnum):
    """What became of one attempt."""

    DELIVERED = "delivered"
    REFUSED = "refused"  # the receiver does not want this message, and will not want it later
    FAILED = "failed"  # it may want it later


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to post, and why it ended so; `says` holds nothing of the address but its host."""

    outcome: Outcome
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who speaks: laboratory, scale, whether it is simulated; `unix_s` labels now (s since 1970 UTC, no leap seconds),
    by the laboratory's own label and not by the host's wall clock.
    """

    lab: str
    scale: str
    simulated: bool
    unix_s: Callable[[], int]


@dataclass(frozen=True, slots=True)
class _Message:
    body: dict[str, Any]
    since_s: float  # on the monotonic clock


_ONLY_DROPS = _Message({}, 0.0)


class Poster:
    """Posts one body to one address; `post` ends within `timeout_s` and a little, and never raises."""

    def __init__(self, url: str, *, secret: bytes | None, ca_file: Path | None, timeout_s: float) -> None:
        parts = split_url(url)
        if parts is None or parts.hostname is None:
            raise Misuse("a webhook is made from an address that was checked")
        self.host, self._port = parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._tls = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        self._secret, self._timeout_s = secret, timeout_s

    def post(self, body: bytes, timestamp_s: int) -> Attempt:
        """Make one attempt."""
        reached: list[socket.socket] = []
        is_over = threading.Event()
        # A receiver that drips octets resets every time-out of the socket: this one it cannot reset.
        patience = threading.Timer(self._timeout_s, _hang_up, (reached, is_over))
        patience.daemon = True
        patience.start()
        connection = http.client.HTTPConnection(self.host, self._port)
        try:
            connection.sock = self._reach(reached)
            connection.request("POST", self._path, body, self.headers(body, timestamp_s))
            with connection.getresponse() as answer:  # status and headers; the body is nothing to us
                # a connection that we cut looks like headers that ended
                return self._too_late() if is_over.is_set() else _judged(answer.status)
        except ssl.SSLCertVerificationError as error:
            return Attempt(Outcome.FAILED, f"the certificate of {self.host} is not good: {error.verify_message}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            if is_over.is_set() or isinstance(error, TimeoutError):
                return self._too_late()
            return Attempt(Outcome.FAILED, _in_words(error))
        finally:
            patience.cancel()
            connection.close()
            for stream in reached:
                stream.close()

    def _too_late(self) -> Attempt:
        return Attempt(Outcome.FAILED, f"no answer within {self._timeout_s:g} s")

    def _reach(self, reached: list[socket.socket]) -> socket.socket:
        """Return a connection to the receiver, which from its first moment on can be ended through `reached`."""
        stream = socket.create_connection((self.host, self._port), self._timeout_s)  # for each of its addresses
        reached.append(stream)
        if self._tls is not None:
            stream = self._tls.wrap_socket(stream, server_hostname=self.host, do_handshake_on_connect=False)
            reached[:] = [stream]
            stream.do_handshake()
        return stream

    def headers(self, body: bytes, timestamp_s: int) -> dict[str, str]:
        """Return the headers of one message."""
        found = {
            "Content-Type": "application/json",
            "User-Agent": f"truechimer/{__version__}",
            "Connection": "close",
            TIMESTAMP: str(timestamp_s),
        }
        if self._secret is not None:
            found[SIGNATURE] = f"{SCHEME}={signature(self._secret, body, timestamp_s)}"
        return found


def signature(secret: bytes, body: bytes, timestamp_s: int) -> str:
    """Return HMAC-SHA256 over `timestamp.body`, in hexadecimal digits."""
    return hmac.new(secret, b"%d." % timestamp_s + body, hashlib.sha256).hexdigest()


def _hang_up(reached: list[socket.socket], is_over: threading.Event) -> None:
    """End whatever a connection waits for."""
    is_over.set()
    for stream in reached:
        try:
            socket.socket.shutdown(stream, socket.SHUT_RDWR)  # not TLS's own: it would wait for the other side
        except OSError:
            continue


def _judged(status: int) -> Attempt:
    """Return what a status of HTTP means for the message."""
    if 200 <= status < 300:
        return Attempt(Outcome.DELIVERED)
    if 300 <= status < 400:
        return Attempt(Outcome.REFUSED, f"the receiver redirects (status {status}), which is not followed")
    if 400 <= status < 500 and status not in _RETRIED:
        return Attempt(Outcome.REFUSED, f"the receiver refuses (status {status})")
    return Attempt(Outcome.FAILED, f"the receiver answers with status {status}")


def _in_words(error: Exception) -> str:
    """Return why an attempt failed; texts of exceptions may quote what came from the receiver, so they are not used."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, http.client.HTTPException):
        return f"no answer of HTTP ({type(error).__name__})"
    return f"the connection failed ({type(error).__name__})"


class Webhook:
    """An outlet of `notify`. Invariant: alerts leave in the order in which they came, each at most once delivered as
    far as the receiver says so; `delivered + refused + dropped + waiting` is how many came.
    """

    def __init__(
        self, settings: NotifySettings, folder: Path, origin: Origin, *, retry_s: tuple[float, float] = RETRY_S
    ) -> None:
        """Read the secret (raises `WebhookSecretRejected`) and begin; `retry_s`: first and longest pause."""
        if settings.webhook is None:
            raise Misuse("a webhook needs an address")
        named, secret_file = settings.webhook_ca_file, settings.webhook_secret_file
        self._settings, self._origin = settings, origin
        self._poster = Poster(
            settings.webhook,
            secret=None if secret_file is None else read_secret(folder / secret_file),
            ca_file=None if named is None else folder / named,
            timeout_s=settings.webhook_timeout_s,
        )
        self._first_retry_s, self._last_retry_s = retry_s
        self._jitter = random.Random()
        self._waiting: deque[_Message] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._delivered = self._refused = self._dropped = self._failures = 0
        self._unsaid_drops = 0
        self._says = ""
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    # ---- what the speaker's thread calls --------------------------------------------------------------------------

    def post(self, alert: Alert, record_seq: int | None) -> None:
        """Take an alert; one too many pushes the oldest out that is not on its way."""
        if not self._settings.is_posted(alert.severity):
            return
        body = self._of() | {
            "alert": alert.kind.value,
            "component": alert.component,
            "subject": alert.subject,
            "severity": alert.severity.value,
            "says": alert.says,
            "do_next": alert.do_next,
            "because": list(alert.because),
            "epoch_tai_ns": alert.seen_at_tai_ns,
        }
        if record_seq is not None:
            body["record_seq"] = record_seq
        with self._changed:
            self._waiting.append(_Message(body, time.monotonic()))
            if len(self._waiting) > MOST_WAITING:
                del self._waiting[1]  # the oldest itself is on its way
                self._drop()
            self._changed.notify()

    def document(self) -> dict[str, Any]:
        """Return what became of the alerts; of the address nothing but the host."""
        with self._changed:
            body: dict[str, Any] = {
                "host": self._poster.host,
                "waiting": len(self._waiting),
                "delivered": self._delivered,
                "refused": self._refused,
                "dropped": self._dropped,
                "failures": self._failures,
            }
            return body | ({"says": self._says} if self._says else {})

    def close(self) -> None:
        """End within `CLOSING_S`; what has not left by then is dropped."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(CLOSING_S)
        with self._changed:
            while self._waiting:
                self._waiting.popleft()
                self._drop()

    # ---- the webhook's own thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        """Post what waits, for as long as there is something to post or somebody may bring it."""
        while (message := self._next()) is not None:
            try:
                if message is _ONLY_DROPS:
                    self._tell_drops()
                else:
                    self._deliver(message)
            except Exception:  # noqa: BLE001 - a fault of ours costs one message, and not all that come after it
                notify.say_fault()
                self._done(message, self._count_refused)

    def _next(self) -> _Message | None:
        """Return the oldest message, without taking it away; None at the end. Where nothing waits, but nobody knows yet
        that alerts were dropped, that is the message.
        """
        with self._changed:
            while not self._waiting and not self._ending:
                if not self._changed.wait(self._last_retry_s if self._unsaid_drops else None):
                    return _ONLY_DROPS
            return self._waiting[0] if self._waiting else None

    def _tell_drops(self) -> None:
        """Try once to say how many alerts were dropped; a receiver that refuses that is not asked again."""
        found = self._attempt(_Message(self._of(), 0.0))
        self._say(found)
        if found.outcome is Outcome.REFUSED:
            with self._changed:
                self._unsaid_drops = 0

    def _of(self) -> dict[str, Any]:
        """Return what every message begins with."""
        return {"lab": self._origin.lab, "scale": self._origin.scale, "simulated": self._origin.simulated}

    def _deliver(self, message: _Message) -> None:
        """Try until the message is delivered, refused, too old, pushed out, or the end has come."""
        wait_s, refusals = self._first_retry_s, 0
        while self._is_next(message):
            if time.monotonic() - message.since_s > self._settings.webhook_give_up_s:
                self._done(message, self._drop)
                return
            attempt = self._attempt(message)
            if attempt.outcome is Outcome.DELIVERED:
                self._say(attempt)
                self._done(message, self._count_delivered)
                return
            refusals += attempt.outcome is Outcome.REFUSED
            self._say(attempt)
            if refusals >= REFUSALS:
                self._done(message, self._count_refused)
                return
            if self._ending:
                self._done(message, self._drop)
                return
            with self._changed:
                # jitter: laboratories that failed together do not come back together
                self._changed.wait_for(lambda: self._ending, timeout=wait_s * (0.5 + self._jitter.random() / 2))
            wait_s = min(2.0 * wait_s, self._last_retry_s)

    def _attempt(self, message: _Message) -> Attempt:
        """Make one attempt; where alerts were dropped since the last that was delivered, it says how many."""
        with self._changed:
            lost = self._unsaid_drops
        body = message.body | ({"dropped": lost} if lost else {})
        octets = json.dumps(body).encode()
        found = self._poster.post(octets, self._origin.unix_s())
        with self._changed:
            if found.outcome is Outcome.DELIVERED:
                self._unsaid_drops -= lost
            else:
                self._failures += 1
        return found

    def _is_next(self, message: _Message) -> bool:
        with self._changed:
            return bool(self._waiting) and self._waiting[0] is message

    def _done(self, message: _Message, count: Callable[[], None]) -> None:
        """Take a message away; one that was pushed out meanwhile has been counted already."""
        with self._changed:
            if self._waiting and self._waiting[0] is message:
                self._waiting.popleft()
                count()

    def _drop(self) -> None:
        self._dropped += 1
        self._unsaid_drops += 1

    def _count_delivered(self) -> None:
        self._delivered += 1

    def _count_refused(self) -> None:
        self._refused += 1

    def _say(self, attempt: Attempt) -> None:
        """Say on the log when delivering begins to fail, and when it works again; keep why for `status`."""
        with self._changed:
            before, self._says = self._says, attempt.says
            waiting = len(self._waiting)
        if attempt.says and not before:
            notify.say_line(
                f"webhook {self._poster.host}: {attempt.says}; {waiting} waiting, tried again with longer and longer "
                "pauses; the records hold every alert",
                priority=Priority.WARNING,
            )
        elif before and not attempt.says:
            notify.say_line(f"webhook {self._poster.host}: alerts are delivered again", priority=Priority.NOTICE)


def speak_for(started: Started, raw_ns: Callable[[], int]) -> None:
    """Let this process speak as `[notify]` of its laboratory's file says; raises `WebhookSecretRejected`.

    `notify.close` ends it.
    """
    settings, config = started.lab.notify, started.config

    def unix_s() -> int:
        tai_ns = started.label.at(raw_ns())
        leaps = config.leaps
        at_fs = max(tai_ns * FS_PER_NS, leaps.start_of(leaps.entries[0]).tai_fs)  # a host whose clock stands at 1970
        return tai_ns // 10**9 - leaps.entries[leaps.index_at(at_fs)].tai_minus_utc_s

    outlet = None
    if settings.webhook is not None:
        origin = Origin(lab=config.name, scale=config.scale_name, simulated=config.simulated, unix_s=unix_s)
        outlet = Webhook(settings, started.folder, origin)
    notify.configure(settings.log, outlet=outlet)
