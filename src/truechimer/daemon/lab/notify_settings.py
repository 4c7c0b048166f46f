"""[notify] of LAB.toml: how the laboratory speaks to operators beside its records.

It says nothing itself (`daemon.notify` and `daemon.webhook` do) and judges nothing (`daemon.lab.notify_check`).
"""

from dataclasses import dataclass, field

from truechimer.alerts import AlertSeverity
from truechimer.daemon.journal_log import LogForm

LEAST_SECRET_BYTES = 16
SEVERITIES = tuple(AlertSeverity)
"""From the worst on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """How alerts reach people: a line or a journal entry each, and a message to a web server."""

    log: LogForm = field(
        default=LogForm.AUTO,
        metadata={
            "doc": "form of what is said on standard error; auto: entries with fields where that leads to the journal "
            "of systemd, else text; json: one JSON object a line",
            "wrong": "whatever reads the lines does not understand them",
        },
    )
    webhook: str | None = field(
        default=None,
        metadata={
            "doc": "address to which each alert is posted as JSON; https, or http to this machine itself",
            "wrong": "nobody is told but whoever reads the log",
            "example": '"https://alerts.example.net/truechimer"',
        },
    )
    webhook_secret_file: str | None = field(
        default=None,
        metadata={
            "doc": "file (mode 0600, relative to this file) whose content signs each message, "
            f"{LEAST_SECRET_BYTES} octets or more",
            "wrong": "the receiver cannot tell our alerts from anybody's",
            "example": '"webhook.secret"',
        },
    )
    webhook_ca_file: str | None = field(
        default=None,
        metadata={
            "doc": "certificates (PEM, relative to this file) that the receiver's is checked against; the system's "
            "where absent",
            "wrong": "a receiver with a certificate of one's own authority is refused",
            "example": '"ca.pem"',
        },
    )
    webhook_min_severity: AlertSeverity = field(
        default=AlertSeverity.WARNING,
        metadata={
            "doc": "only alerts at least this severe are posted",
            "wrong": "too low: nobody reads them any more; too high: the first signs are not heard",
        },
    )
    webhook_timeout_s: float = field(
        default=5.0,
        metadata={
            "doc": "time for one attempt to post, from the look-up of the name to the end of the answer",
            "wrong": "too short: a slow receiver gets alerts twice; too long: the next alert waits",
            "unit": "s",
            "min": 0.1,
            "max": 60.0,
        },
    )
    webhook_give_up_s: float = field(
        default=3600.0,
        metadata={
            "doc": "an alert that could not be posted for so long is dropped, and counted",
            "wrong": "too short: an outage of the receiver loses alerts; too long: it is flooded with old ones after",
            "unit": "s",
            "min": 1.0,
            "max": 604800.0,
        },
    )
    insecure_webhook_plain_http: bool = field(
        default=False,
        metadata={
            "doc": "true: alerts may leave this machine without encryption",
            "wrong": "everybody on the way reads them, and can change or withhold them",
        },
    )

    def is_posted(self, severity: AlertSeverity) -> bool:
        """Return True for an alert that is severe enough for the webhook."""
        return SEVERITIES.index(severity) <= SEVERITIES.index(self.webhook_min_severity)
