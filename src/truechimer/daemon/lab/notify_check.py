"""[notify] of LAB.toml judged: an address that cannot be used or would leak, a secret that others can read.

It sends nothing and asks no server: whether a receiver answers is seen when the first alert is posted.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from truechimer.daemon.lab.host_port import is_loopback
from truechimer.daemon.lab.notify_settings import LEAST_SECRET_BYTES, NotifySettings
from truechimer.errors import Rejected
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.toml_tree import TreeRead

MOST_SECRET_BYTES = 4096


class WebhookSecretRejected(Rejected):
    """The file with the webhook's secret cannot be used."""

    def __init__(self, path: Path, because: str, *, do_next: str, rule: str) -> None:
        super().__init__(f"the webhook's secret {path.name} {because}; {do_next}")
        self.path = path
        self.rule = rule


def split_url(text: str) -> SplitResult | None:
    """Return a usable webhook address in parts, None where it is none."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    printable = text.isascii() and text.isprintable() and " " not in text
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or not printable:
        return None
    return parts


def faults_between_keys(read: TreeRead[Any], notify: NotifySettings) -> Iterator[Finding]:
    """Yield what is wrong with `[notify]` as such."""
    for key in ("webhook_secret_file", "webhook_ca_file"):
        if notify.webhook is None and getattr(notify, key) is not None and read.is_sound(notify, "webhook"):
            says = f"[notify] {key} has no use without webhook; give the address too, or remove it"
            yield Finding("no-webhook", says, read.line_of(notify, key), severity=Severity.WARNING)
    if notify.webhook is None or not read.is_sound(notify, "webhook"):
        return
    line = read.line_of(notify, "webhook")
    parts = split_url(notify.webhook)
    if parts is None:
        says = "[notify] webhook is no address of http or https; write it as https://HOST[:PORT]/PATH"
        yield Finding("bad-webhook", says, line)
        return
    if parts.username is not None or parts.password is not None:
        says = "[notify] webhook holds a user name or password; put a secret into a file (webhook_secret_file) instead"
        yield Finding("webhook-holds-secret", says, line)
    if parts.scheme == "http" and not is_loopback(parts.hostname or "") and not notify.insecure_webhook_plain_http:
        says = (
            f"[notify] webhook would send alerts to {parts.hostname} unencrypted; use https, or ask for it with "
            "insecure_webhook_plain_http = true"
        )
        yield Finding("webhook-unencrypted", says, line)
    if notify.webhook_secret_file is None and read.is_sound(notify, "webhook_secret_file"):
        says = (
            "[notify] webhook without webhook_secret_file: the receiver cannot tell our alerts from anybody's; give a "
            "file with a secret that both know"
        )
        yield Finding("webhook-unsigned", says, line, severity=Severity.WARNING)


def faults_of_files(read: TreeRead[Any], notify: NotifySettings, folder: Path) -> Iterator[Finding]:
    """Yield what is wrong with the files that `[notify]` names, as they are now."""
    if notify.webhook_secret_file is not None:
        try:
            read_secret(folder / notify.webhook_secret_file)
        except WebhookSecretRejected as error:
            yield Finding(error.rule, f"[notify] {error}", read.line_of(notify, "webhook_secret_file"))
    if notify.webhook_ca_file is not None:
        reason = _why_no_certificates(folder / notify.webhook_ca_file)
        if reason:
            says = f"[notify] webhook_ca_file {notify.webhook_ca_file}: {reason}; give a file of certificates in PEM"
            yield Finding("bad-certificates", says, read.line_of(notify, "webhook_ca_file"))


def _why_no_certificates(path: Path) -> str:
    """Return why a file holds no certificates, empty where it does."""
    import ssl

    try:
        ssl.create_default_context(cafile=str(path))
    except (OSError, ValueError) as error:  # SSLError is an OSError
        return (getattr(error, "strerror", None) or str(error)).lower()
    return ""


def read_secret(path: Path) -> bytes:
    """Return the webhook's secret: the file's content without white space around it. Raises `WebhookSecretRejected`
    where others could read it, or where it is no secret.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise _no_secret(path, f"cannot be read: {reason.lower()}") from None
    try:
        _judge_file(path, os.fstat(descriptor))
        secret = os.read(descriptor, MOST_SECRET_BYTES + 1).strip()
    except OSError as error:
        raise _no_secret(path, f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    finally:
        os.close(descriptor)
    if not LEAST_SECRET_BYTES <= len(secret) <= MOST_SECRET_BYTES:
        raise WebhookSecretRejected(
            path,
            f"holds {len(secret)} octets",
            do_next=f"write at least {LEAST_SECRET_BYTES} at random (and at most {MOST_SECRET_BYTES})",
            rule="weak-secret",
        )
    return secret


def _no_secret(path: Path, because: str) -> WebhookSecretRejected:
    return WebhookSecretRejected(path, because, do_next="make it, readable by this user alone", rule="no-secret")


def _judge_file(path: Path, found: os.stat_result) -> None:
    """Raise `WebhookSecretRejected` for a file that others could read or change, or that is none."""
    if not stat.S_ISREG(found.st_mode):
        raise _no_secret(path, "is no ordinary file")
    if found.st_mode & 0o077:
        raise WebhookSecretRejected(
            path,
            f"has mode {stat.S_IMODE(found.st_mode):04o}: others can sign alerts in your name",
            do_next=f"run: chmod 600 {path.name}",
            rule="secret-permissions",
        )
    if found.st_uid not in {os.geteuid(), 0}:
        raise WebhookSecretRejected(
            path,
            f"belongs to user {found.st_uid}, who can change it",
            do_next="make it your own (chown)",
            rule="secret-owner",
        )
