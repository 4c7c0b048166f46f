"""A door keeps the rules that LAB.toml gives it: who is answered, how often, and with what."""

import dataclasses
import ipaddress
import itertools
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from tests.daemon_serve.doors import a_door, a_page_in
from tests.waits import PATIENCE_S, until

from truechimer.daemon.door.counters import Barred, read_counters
from truechimer.daemon.door.door_rules import DoorRules, DoorRulesRejected, Gatekeeper, keys_in, open_gate, rules_from
from truechimer.quorum.listener_policy import ListenerPolicy
from truechimer.serve.ntp import IgnoreReason, Kiss, NtpHeader, decode
from truechimer.serve.ntp.mac import KeyKind, symmetric_key

SECRET = bytes(range(256))
S = 10**9


def a_gate(**changes: object) -> Gatekeeper:
    return Gatekeeper(dataclasses.replace(DoorRules(), **changes), secret=SECRET)  # type: ignore[arg-type]


def test_rules_survive_the_command_line_and_say_only_what_is_not_usual() -> None:
    rules = DoorRules(allow=("192.0.2.0/24",), denied="kiss", rate_per_s=0.25, ntpv5=True, keys="/x/ntp.keys")
    assert rules_from(rules.text()) == rules
    assert DoorRules().text() == "{}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"smear":1}',
        '{"allow":["192.0.2.1/24"]}',
        '{"denied":"maybe"}',
        '{"rate_per_s":-1}',
        '{"allow":7}',
        '{"rate_burst":0}',
        '{"rate_per_s":"x"}',
    ],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(DoorRulesRejected):
        rules_from(text)


def test_the_access_list_and_the_rate_decide_in_this_order() -> None:
    gate = a_gate(deny=("198.51.100.0/24",), rate_per_s=1.0, rate_burst=2)
    assert gate.ask("198.51.100.9", S).ignored is IgnoreReason.NOT_ALLOWED
    assert gate.ask("nowhere", S).ignored is IgnoreReason.NOT_ALLOWED
    asked = [gate.ask("192.0.2.1", S) for _ in range(40)]
    assert [(one.kiss, one.ignored) for one in asked[:2]] == [(None, None)] * 2
    assert {one.kiss for one in asked[2:]} == {None, Kiss.RATE}
    assert IgnoreReason.RATE_LIMITED in {one.ignored for one in asked[2:]}


def test_a_denied_client_hears_what_the_rules_say() -> None:
    assert a_gate(deny=("0.0.0.0/0",), denied="kiss").ask("192.0.2.1", S).kiss is Kiss.DENY


@pytest.mark.parametrize(("host", "limited"), [("127.0.0.1", False), ("::1", False), ("::ffff:127.9.9.9", False)])
def test_this_machine_is_limited_only_where_the_rules_say_so(host: str, *, limited: bool) -> None:
    usual, strict = a_gate(rate_burst=1), a_gate(rate_burst=1, rate_loopback=True)
    for gate, wanted in ((usual, limited), (strict, True)):
        refused = [one for one in (gate.ask(host, S) for _ in range(30)) if one.ignored or one.kiss]
        assert bool(refused) is wanted


def test_a_policy_by_order_takes_the_place_of_allow_and_never_lifts_a_denial() -> None:
    gate = a_gate(allow=("192.0.2.0/24",), deny=("203.0.113.7/32",), rate_per_s=0.0)
    order = ListenerPolicy("ntp-123", (ipaddress.ip_network("203.0.113.0/24"),), 0.001)
    gate.use_policy(order)
    answered = [host for host in ("192.0.2.1", "203.0.113.1", "203.0.113.7") if gate.ask(host, S).ignored is None]
    assert answered == ["203.0.113.1"]
    gate.use_policy(None)
    assert gate.ask("192.0.2.1", S).ignored is None


def test_a_gate_without_rules_lets_everybody_in() -> None:
    assert all(open_gate().ask("192.0.2.1", S).ignored is None for _ in range(1000))


def test_keys_are_read_from_a_file_of_ones_own_alone_and_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "ntp.keys"
    gate = a_gate(keys=str(path))
    assert "cannot be read" in str(gate.look_at_keys())
    assert gate.look_at_keys() is None  # said once
    path.write_text("1 AES128 0123456789abcdef\n")
    path.chmod(0o644)
    assert "chmod 600" in str(gate.look_at_keys())
    path.chmod(0o600)
    assert gate.look_at_keys() is None
    assert gate.offers.keys[1].kind is KeyKind.AES128
    path.write_text("nonsense\nmore\n")
    assert "line 1" in str(gate.look_at_keys())
    assert gate.has_keys  # those read before are kept
    path.unlink()
    with pytest.raises(DoorRulesRejected):
        keys_in(path)


def test_a_door_serves_by_its_rules_and_counts_each_refusal(tmp_path: Path) -> None:
    keys = tmp_path / "ntp.keys"
    keys.write_text("7 AES128 0123456789abcdef\n")
    keys.chmod(0o600)
    key = symmetric_key(7, KeyKind.AES128, b"0123456789abcdef")
    rules = DoorRules(keys=str(keys), rate_loopback=True, rate_per_s=0.5, rate_burst=3, deny=("127.0.0.9/32",))
    plain = NtpHeader(transmit=5).encode()
    with a_page_in(tmp_path), a_door(tmp_path, "--rules", rules.text()) as door:

        def ask(source: str, octets: bytes, *, times: int = 1) -> list[bytes]:
            """Return all answers: those to this source have left when an answer to what is asked after it is here."""
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last,
            ):
                asking.bind((source, 0))
                for _ in range(times):
                    asking.sendto(octets, ("127.0.0.1", door.port))
                last.bind((f"127.0.1.{next(numbers)}", 0))
                last.settimeout(PATIENCE_S)
                last.sendto(plain, ("127.0.0.1", door.port))
                last.recv(2048)
                asking.setblocking(False)
                answers: list[bytes] = []
                with suppress(BlockingIOError):
                    while True:
                        answers.append(asking.recv(2048))
                return answers

        numbers = itertools.count(1)
        (sealed,) = ask("127.0.0.2", plain + key.seal(plain))
        assert key.verifies(sealed[:48], sealed[52:])
        (refused,) = ask("127.0.0.3", plain + (7).to_bytes(4, "big") + bytes(16))
        assert refused[48:] == bytes(4)
        assert ask("127.0.0.9", plain) == []
        headers = [header for header in map(decode, ask("127.0.0.4", plain, times=24)) if header is not None]
        assert [header.stratum for header in headers[:3]] == [1, 1, 1]
        kisses = [header for header in headers if header.refid == b"RATE"]
        assert kisses
        assert all((header.stratum, header.leap, header.origin, header.poll) == (0, 3, 5, 1) for header in kisses)
        names = ("ignored_not_allowed", "replies_nak_bad_mac", "replies_kiss_rate", "ignored_rate_limited")
        until(lambda: all(read_counters(door.counters_path())[name] for name in names))
        # the counters are written out every 100 ms; the door's own client asks no door that answers so seldom
        until(lambda: read_counters(door.counters_path())["replies_kiss_rate"] >= len(kisses))
        until(lambda: read_counters(door.counters_path())["probe_barred"] == Barred.RATE)
        counts = read_counters(door.counters_path())
        assert counts["replies_kiss_rate"] == len(kisses)
        assert counts["probes"] == 0
