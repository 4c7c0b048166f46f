"""[notify] of LAB.toml: what is refused, and why, before anything starts."""

import os
from pathlib import Path

import pytest
from tests.notify.receivers import certificate

from truechimer.alerts import AlertSeverity
from truechimer.daemon.lab.lab_file import LabFile
from truechimer.daemon.lab.lab_rules import InsecureFlags, faults_between_keys
from truechimer.daemon.lab.listener_settings import MetricNames
from truechimer.daemon.lab.notify_check import WebhookSecretRejected, faults_of_files, read_secret
from truechimer.daemon.lab.notify_settings import NotifySettings
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.toml_tree import read_with_lines

BEGIN = '[lab]\nname = "x"\n\n[[source]]\nname = "a"\nkind = "ntp"\naddress = "192.0.2.1:123"\n\n'
SIGNED = 'webhook_secret_file = "s"\n'


def faults(text: str) -> list[Finding]:
    read = read_with_lines((BEGIN + text).encode(), LabFile)
    return [*read.findings, *faults_between_keys(read, InsecureFlags())]


def file_faults(text: str, folder: Path) -> list[Finding]:
    read = read_with_lines((BEGIN + text).encode(), LabFile)
    assert read.partial is not None
    return list(faults_of_files(read, read.partial.notify, folder))


@pytest.mark.parametrize(
    "webhook",
    [
        "https://alerts.example.net",
        "https://alerts.example.net:8443/a/b?token=c",
        "http://127.0.0.1:9000/",
        "http://[::1]:9000/",
        "http://localhost/x",
        "https://192.0.2.7/",
    ],
)
def test_an_address_that_can_be_used_is_no_fault(webhook: str) -> None:
    assert faults(f'[notify]\nwebhook = "{webhook}"\n{SIGNED}') == []


@pytest.mark.parametrize(
    ("webhook", "rule"),
    [
        ("ftp://alerts.example.net/", "bad-webhook"),
        ("alerts.example.net/hook", "bad-webhook"),
        ("https://", "bad-webhook"),
        ("https://alerts.example.net:70000/", "bad-webhook"),
        ("https://alerts.example.net:0/", "bad-webhook"),
        ("https://[::1/", "bad-webhook"),
        ("https://a b/", "bad-webhook"),
        ("https://alerts.example.net/\\r\\nX-Evil: 1", "bad-webhook"),
        ("https://alerts.example.net/\u00e9", "bad-webhook"),
        ("", "bad-webhook"),
        ("https://user:word@alerts.example.net/", "webhook-holds-secret"),
        ("http://alerts.example.net/", "webhook-unencrypted"),
        ("http://192.0.2.7:80/", "webhook-unencrypted"),
        ("http://127.0.0.1.example.net/", "webhook-unencrypted"),
    ],
)
def test_an_address_that_cannot_be_used_or_would_leak_is_refused(webhook: str, rule: str) -> None:
    (fault,) = faults(f'[notify]\nwebhook = "{webhook}"\n{SIGNED}')
    assert (fault.rule, fault.severity, fault.line) == (rule, Severity.ERROR, BEGIN.count("\n") + 2)
    assert "word" not in fault.says.replace("password", "")  # the secret that it may hold is not repeated


def test_plain_http_to_others_needs_its_ugly_word() -> None:
    text = f'[notify]\nwebhook = "http://alerts.example.net/"\n{SIGNED}insecure_webhook_plain_http = true\n'
    assert faults(text) == []


def test_an_unsigned_webhook_and_a_secret_without_one_are_warned_of() -> None:
    (fault,) = faults('[notify]\nwebhook = "https://alerts.example.net/"\n')
    assert (fault.rule, fault.severity) == ("webhook-unsigned", Severity.WARNING)
    (fault,) = faults(f"[notify]\n{SIGNED}")
    assert (fault.rule, fault.severity) == ("no-webhook", Severity.WARNING)


@pytest.mark.parametrize(
    "line",
    ['log = "xml"', 'webhook_min_severity = "debug"', "webhook_timeout_s = 0", "webhook_give_up_s = -1", "webhok = 1"],
)
def test_a_value_out_of_its_range_is_a_fault_with_its_line(line: str) -> None:
    (fault,) = faults(f"[notify]\n{line}\n")
    assert fault.line == BEGIN.count("\n") + 2


def test_metrics_belong_to_a_console() -> None:
    assert faults('[[listener]]\nprotocol = "console"\nmetrics = "own"\n') == []
    (fault,) = faults('[[listener]]\nprotocol = "ntp"\nmetrics = "own"\n')
    assert fault.rule == "key-of-another-kind"
    (fault,) = faults('[[listener]]\nprotocol = "console"\nmetrics = "some"\n')
    assert all(word.value in fault.says for word in MetricNames)


def test_severe_enough_is_judged_from_the_worst_on() -> None:
    posted = {
        least: [each for each in AlertSeverity if NotifySettings(webhook_min_severity=least).is_posted(each)]
        for least in AlertSeverity
    }
    critical, warning, notice = AlertSeverity
    assert posted == {critical: [critical], warning: [critical, warning], notice: [critical, warning, notice]}
    assert not NotifySettings().is_posted(notice)


# ---- the secret ------------------------------------------------------------------------------------------------------


def a_secret(folder: Path, content: bytes = b"  0123456789abcdef\n", mode: int = 0o600) -> Path:
    path = folder / "s"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_secret_is_read_without_the_white_space_around_it(tmp_path: Path) -> None:
    assert read_secret(a_secret(tmp_path)) == b"0123456789abcdef"
    assert file_faults(f'[notify]\nwebhook = "https://a.example/"\n{SIGNED}', tmp_path) == []


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620, 0o601])
def test_a_secret_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    a_secret(tmp_path, mode=mode)
    (fault,) = file_faults(f'[notify]\nwebhook = "https://a.example/"\n{SIGNED}', tmp_path)
    assert fault.rule == "secret-permissions"
    assert "chmod 600 s" in fault.says
    assert fault.line == BEGIN.count("\n") + 3


@pytest.mark.parametrize("content", [b"", b"short", b" " * 100, b"x" * 15 + b"\n", b"x" * 5000])
def test_a_secret_that_is_none_is_refused_and_not_repeated(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(WebhookSecretRejected) as found:
        read_secret(a_secret(tmp_path, content))
    assert found.value.rule == "weak-secret"
    assert "xxx" not in str(found.value)
    assert "short" not in str(found.value)


def test_what_is_no_file_is_no_secret_and_nothing_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s", 0o600)
    with pytest.raises(WebhookSecretRejected, match="no ordinary file"):
        read_secret(tmp_path / "s")
    for name in ("absent", "a\0b", ""):
        with pytest.raises(WebhookSecretRejected):
            read_secret(tmp_path / name)


def test_certificates_are_looked_at(tmp_path: Path) -> None:
    public, _ = certificate(tmp_path)
    text = f'[notify]\nwebhook = "https://a.example/"\nwebhook_ca_file = "{public.name}"\n'
    assert file_faults(text, tmp_path) == []
    public.write_text("no certificate", encoding="utf-8")
    (fault,) = file_faults(text, tmp_path)
    assert fault.rule == "bad-certificates"
    public.unlink()
    (fault,) = file_faults(text, tmp_path)
    assert "no such file" in fault.says
