"""The webhook: signed, in order, bounded in time and memory whatever the receiver does, and no secret anywhere."""

import hashlib
import hmac
import itertools
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.notify.receivers import (
    Receiver,
    a_receiver,
    answers,
    certificate,
    drips,
    floods,
    hangs,
    talks_nonsense,
)
from tests.waits import PATIENCE_S, until

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.daemon import notify, webhook
from truechimer.daemon.lab.notify_settings import NotifySettings
from truechimer.daemon.webhook import MOST_WAITING, SIGNATURE, TIMESTAMP, Origin, Webhook

SECRET = b"0123456789abcdef0123456789abcdef"
QUICK = (0.01, 0.05)


def alert(number: int = 1, severity: AlertSeverity = AlertSeverity.WARNING) -> Alert:
    return Alert(AlertKind.CLOCK_STEP, "scale", f"clock{number}", severity, f"says {number}", ("why",), number, "do")


def origin(now: list[int] | None = None) -> Origin:
    return Origin(lab="lab1", scale="UTC(lab1)", simulated=False, unix_s=lambda: (now or [1_800_000_000])[0])


@contextmanager
def a_webhook(folder: Path, url: str, *, retry_s: tuple[float, float] = QUICK, **more: Any) -> Iterator[Webhook]:
    secret = folder / "webhook.secret"
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    settings = NotifySettings(webhook=url, webhook_secret_file=secret.name, **({"webhook_timeout_s": 30.0} | more))
    hook = Webhook(settings, folder, origin(), retry_s=retry_s)
    try:
        yield hook
    finally:
        hook.close()


def subjects(receiver: Receiver) -> list[str]:
    return [json.loads(request.body).get("subject", "") for request in receiver.requests]


def test_an_alert_arrives_whole_and_signed(tmp_path: Path) -> None:
    with a_receiver(answers(204)) as receiver, a_webhook(tmp_path, receiver.url) as hook:
        hook.post(alert(), 42)
        until(lambda: hook.document()["delivered"] == 1)
        (request,) = receiver.requests
    assert request.line == "POST /hook/secret-path?token=secret-query HTTP/1.1"
    assert json.loads(request.body) == {
        "lab": "lab1",
        "scale": "UTC(lab1)",
        "simulated": False,
        "alert": "clock-step",
        "component": "scale",
        "subject": "clock1",
        "severity": "warning",
        "says": "says 1",
        "do_next": "do",
        "because": ["why"],
        "epoch_tai_ns": 1,
        "record_seq": 42,
    }
    headers = request.headers
    assert headers["content-type"] == "application/json"
    assert headers[TIMESTAMP.lower()] == "1800000000"
    expected = hmac.new(SECRET, b"1800000000." + request.body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE.lower()] == f"v1={expected}"
    assert hook.document() == {
        "host": "127.0.0.1", "waiting": 0, "delivered": 1, "refused": 0, "dropped": 0, "failures": 0,
    }  # fmt: skip


def test_less_severe_alerts_are_not_posted(tmp_path: Path) -> None:
    with (
        a_receiver(answers(200)) as receiver,
        a_webhook(tmp_path, receiver.url, webhook_min_severity=AlertSeverity.CRITICAL) as hook,
    ):
        for number, severity in enumerate((AlertSeverity.NOTICE, AlertSeverity.WARNING, AlertSeverity.CRITICAL)):
            hook.post(alert(number, severity), None)
        until(lambda: hook.document()["delivered"] == 1)
        assert subjects(receiver) == ["clock2"]
        assert "record_seq" not in json.loads(receiver.requests[0].body)


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (answers(500), "status 500"),
        (answers(503, "Retry-After: 86400"), "status 503"),
        (answers(429), "status 429"),
        (hangs, "no answer within 1 s"),
        (drips, "no answer within 1 s"),
        (talks_nonsense, "no answer of HTTP"),
    ],
)
def test_what_fails_is_tried_again_and_order_is_kept(
    tmp_path: Path, first: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(notify, "say_line", lambda text, **_: said.append(text))
    timeout_s = 1.0 if says == "no answer within 1 s" else 30.0
    with (
        a_receiver(first, first, answers(200)) as receiver,
        a_webhook(tmp_path, receiver.url, webhook_timeout_s=timeout_s) as hook,
    ):
        for number in range(3):
            hook.post(alert(number), number)
        until(lambda: hook.document()["delivered"] == 3)
        assert subjects(receiver) == ["clock0", "clock0", "clock0", "clock1", "clock2"]
        assert hook.document()["failures"] == 2
        assert "says" not in hook.document()
    assert len(said) == 2
    assert says in said[0]
    assert "delivered again" in said[1]


def test_a_receiver_that_is_not_there_yet_gets_everything_once_it_is(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/"
        with a_webhook(tmp_path, url) as hook:
            hook.post(alert(), 1)
            until(lambda: hook.document()["failures"] >= 2)
            assert hook.document()["says"] == "connection refused"
            assert hook.document()["waiting"] == 1


def test_a_body_without_end_is_read_up_to_a_bound_and_counts_as_an_answer(tmp_path: Path) -> None:
    with a_receiver(floods) as receiver, a_webhook(tmp_path, receiver.url) as hook:
        hook.post(alert(), 1)
        until(lambda: hook.document()["delivered"] == 1)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 413])
def test_what_the_receiver_refuses_is_tried_three_times_and_does_not_hold_up_the_rest(
    tmp_path: Path, status: int
) -> None:
    refuses = answers(status, "Location: http://127.0.0.1:1/elsewhere")
    with a_receiver(refuses, refuses, refuses, answers(200)) as receiver, a_webhook(tmp_path, receiver.url) as hook:
        hook.post(alert(1), 1)
        hook.post(alert(2), 2)
        until(lambda: hook.document()["delivered"] == 1)
        assert subjects(receiver) == ["clock1", "clock1", "clock1", "clock2"]
        assert hook.document()["refused"] == 1
        assert receiver.accepted == 4  # and nobody was asked where a redirect pointed


def test_of_too_many_that_wait_the_oldest_go_and_the_receiver_is_told_how_many(tmp_path: Path) -> None:
    with a_receiver(answers(500)) as receiver, a_webhook(tmp_path, receiver.url) as hook:
        hook.post(alert(0), 0)
        until(lambda: receiver.requests)
        for number in range(1, MOST_WAITING + 50):
            hook.post(alert(number), number)
        assert hook.document()["waiting"] == MOST_WAITING
        assert hook.document()["dropped"] == 50
        receiver.behaviours[:] = [answers(200)]
        until(lambda: hook.document()["delivered"] == MOST_WAITING)
        bodies = [json.loads(request.body) for request in receiver.requests[-MOST_WAITING:]]
    assert [body["record_seq"] for body in bodies] == [0, *range(51, MOST_WAITING + 50)]
    assert [body.get("dropped") for body in bodies] == [50, *[None] * (MOST_WAITING - 1)]


def test_an_outage_that_outlasts_all_patience_drops_alerts_and_says_so_when_it_is_over(tmp_path: Path) -> None:
    with a_receiver(answers(500)) as receiver, a_webhook(tmp_path, receiver.url, webhook_give_up_s=0.1) as hook:
        for number in range(3):
            hook.post(alert(number), number)
        until(lambda: hook.document()["dropped"] == 3)
        assert hook.document()["waiting"] == 0
        receiver.behaviours[:] = [answers(200)]
        until(lambda: json.loads(receiver.requests[-1].body).get("dropped") == 3)
        body = json.loads(receiver.requests[-1].body)
        assert body == {"lab": "lab1", "scale": "UTC(lab1)", "simulated": False, "dropped": 3}
        hook.post(alert(9), 9)
        until(lambda: hook.document()["delivered"] == 1)
        assert "dropped" not in json.loads(receiver.requests[-1].body)


@pytest.mark.slow
def test_every_alert_that_came_is_counted_under_its_end(tmp_path: Path) -> None:
    kinds = [answers(200), answers(500), answers(404), answers(404), answers(404)] * 20
    with a_receiver(*kinds, answers(200)) as receiver, a_webhook(tmp_path, receiver.url) as hook:
        for number in range(40):
            hook.post(alert(number), number)
        until(lambda: hook.document()["waiting"] == 0)
        document = hook.document()
    assert document["delivered"] + document["refused"] + document["dropped"] == 40
    assert document["refused"] > 0
    order = [name for index, name in enumerate(subjects(receiver)) if name not in subjects(receiver)[:index]]
    assert order == [f"clock{number}" for number in range(40)]


@pytest.mark.slow
def test_posting_never_waits_and_ending_waits_a_moment_only(tmp_path: Path) -> None:
    with a_receiver(hangs) as receiver:
        secret = tmp_path / "s"
        secret.write_bytes(SECRET)
        secret.chmod(0o600)
        settings = NotifySettings(webhook=receiver.url, webhook_secret_file="s", webhook_timeout_s=60.0)
        hook = Webhook(settings, tmp_path, origin())
        for number in range(10_000):
            hook.post(alert(number), number)  # the receiver hangs: who waited for it would not come back
        assert hook.document()["waiting"] == MOST_WAITING
        until(lambda: receiver.requests)
        begun = time.monotonic()
        hook.close()
        assert time.monotonic() - begun < 60.0, "it waits no webhook_timeout_s"
        assert hook.document()["waiting"] == 0
        assert hook.document()["dropped"] == 10_000


def test_at_the_end_what_can_still_leave_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "CLOSING_S", PATIENCE_S)
    with a_receiver(answers(200)) as receiver:
        with a_webhook(tmp_path, receiver.url) as hook:
            for number in range(20):
                hook.post(alert(number), number)
        assert hook.document()["delivered"] == 20
        assert len(receiver.requests) == 20


def test_at_the_end_nothing_is_tried_a_second_time(tmp_path: Path) -> None:
    with a_receiver(answers(500)) as receiver:
        with a_webhook(tmp_path, receiver.url, retry_s=(30.0, 30.0)) as hook:
            for number in range(3):
                hook.post(alert(number), number)
            until(lambda: receiver.requests)
        assert hook.document()["dropped"] == 3
        assert len(receiver.requests) <= 4


def test_a_fault_of_ours_costs_one_message_and_not_those_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[str] = []
    monkeypatch.setattr(notify, "say_fault", lambda: faults.append("said"))
    with a_receiver(answers(200)) as receiver, a_webhook(tmp_path, receiver.url) as hook:
        broken = alert(1)
        object.__setattr__(broken, "says", {1, 2})  # no JSON can say it
        hook.post(broken, 1)
        hook.post(alert(2), 2)
        until(lambda: hook.document()["delivered"] == 1)
        assert hook.document()["refused"] == 1
        assert faults == ["said"]


# ---- TLS and secrets -------------------------------------------------------------------------------------------------


def test_a_certificate_is_checked_against_the_authority_that_the_file_names(tmp_path: Path) -> None:
    public, tls = certificate(tmp_path)
    with a_receiver(answers(200), tls=tls) as receiver:
        with a_webhook(tmp_path, receiver.url) as hook:
            hook.post(alert(), 1)
            until(lambda: hook.document()["failures"])
            assert "certificate of 127.0.0.1 is not good" in hook.document()["says"]
            assert not receiver.requests
        with a_webhook(tmp_path, receiver.url, webhook_ca_file=public.name) as hook:
            hook.post(alert(), 1)
            until(lambda: hook.document()["delivered"] == 1)
        with a_webhook(
            tmp_path,
            receiver.url.replace("127.0.0.1", "localhost"),
            webhook_ca_file=public.name,
        ) as hook:
            hook.post(alert(), 1)
            until(lambda: hook.document()["failures"])
            assert "certificate of localhost is not good" in hook.document()["says"]  # it names 127.0.0.1 alone


@pytest.mark.slow
def test_a_handshake_that_drips_ends_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        with a_webhook(tmp_path, url, webhook_timeout_s=1.0) as hook:
            hook.post(alert(), 1)
            stream, _ = listener.accept()
            with stream:
                try:
                    stream.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 kB begins
                    while not hook.document()["failures"]:
                        stream.sendall(b"\x02")
                        time.sleep(0.02)
                except OSError:
                    until(lambda: hook.document()["failures"])
            assert hook.document()["says"] == "no answer within 1 s"


def test_no_secret_reaches_the_log_or_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    echo = answers(200)

    def quote(stream: socket.socket, request: Any) -> None:
        """Fail with what came, as a receiver's error page may."""
        answers(500, body=request.body + str(request.headers).encode() + request.line.encode())(stream, request)

    with a_receiver(quote, talks_nonsense, quote, echo) as receiver, a_webhook(tmp_path, receiver.url) as hook:
        seen = []
        hook.post(alert(), 1)
        while not hook.document()["delivered"]:
            seen.append(str(hook.document()))
            time.sleep(0.005)
    said = "".join(capfd.readouterr()) + "".join(seen)
    assert "webhook 127.0.0.1" in said
    for secret in (SECRET.decode(), "secret-path", "secret-query"):
        assert secret not in said


@pytest.mark.slow
def test_the_pauses_grow_with_jitter_up_to_a_bound(tmp_path: Path) -> None:
    times: list[float] = []

    def fail(stream: socket.socket, request: Any) -> None:
        times.append(time.monotonic())
        answers(500)(stream, request)

    with a_receiver(fail) as receiver, a_webhook(tmp_path, receiver.url, retry_s=(0.04, 0.16)) as hook:
        hook.post(alert(), 1)
        until(lambda: len(times) >= 7)
        assert receiver.accepted < 12
    pauses = [later - sooner for sooner, later in itertools.pairwise(times)]
    for pause, longest in zip(pauses, (0.04, 0.08, 0.16, 0.16, 0.16, 0.16), strict=False):
        assert longest / 2 <= pause <= longest + 0.15
