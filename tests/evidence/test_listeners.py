"""The manifest of the doors: another rule makes another one, and a stranger reads it from the signed log alone."""

import ipaddress
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.evidence.logs import POLICY_OF_LOG, POLICY_TEXT
from tests.evidence.test_evidence_source import published

from truechimer.cli.__main__ import main
from truechimer.cli.evidence_listeners import AT_ONCE
from truechimer.daemon.door import door_policy
from truechimer.daemon.door.door_rules import Denied
from truechimer.daemon.door.manifest import KIND, Manifest
from truechimer.daemon.lab.listener_settings import Listener, Protocol, Stamps
from truechimer.evidence.record import Chain, canonical, seal
from truechimer.quorum.listener_policy import ListenerPolicy
from truechimer.serve.ntp.smear import Smear

NAME = "ntp-123-192.0.2.1"
KEYS = "7 AES128 HEX:000102030405060708090a0b0c0d0e0f\n12 SHA1 ASCII:not-to-be-told\n"
DOOR = Listener(
    protocol=Protocol.NTP,
    address="192.0.2.1",
    port=123,
    allow=("2001:db8::/32", "192.0.2.0/24"),
    deny=("192.0.2.66/32",),
    keys="ntp.keys",
)


def with_keys(folder: Path, text: str = KEYS) -> None:
    (folder / "run").mkdir(exist_ok=True)
    (folder / "ntp.keys").write_text(text)
    (folder / "ntp.keys").chmod(0o600)


def looked(folder: Path, listener: Listener = DOOR) -> dict[str, Any]:
    rows = Manifest(folder).look([(NAME, listener)], 10.0)
    assert rows is not None
    assert b"not-to-be-told" not in canonical({"listeners": rows}), "a record holds it, and no key is in it"
    return rows[0]


CHANGES: dict[str, tuple[Callable[[Listener], Listener], str, Any]] = {
    "allow": (lambda one: replace(one, allow=("192.0.2.0/25",)), "allow", ["192.0.2.0/25"]),
    "deny": (lambda one: replace(one, deny=()), "deny", []),
    "denied": (lambda one: replace(one, denied=Denied.KISS), "denied", "kiss"),
    "rate": (lambda one: replace(one, rate_per_s=3.5), "rate", "3.5 1/s"),
    "burst": (lambda one: replace(one, rate_burst=9), "rate_burst", 9),
    "own": (lambda one: replace(one, rate_loopback=True), "rate_loopback", True),
    "smear": (lambda one: replace(one, smear=next(s for s in Smear if s is not Smear.NONE)), "smear", "linear-24h"),
    "interleaved": (lambda one: replace(one, interleaved=False), "interleaved", False),
    "ntpv5": (lambda one: replace(one, ntpv5=True), "ntpv5", True),
    "bound": (lambda one: replace(one, bound_limit_s=0.25), "bound_limit", "0.25 s"),
    "stamps": (lambda one: replace(one, stamps=Stamps.PAIRS), "stamps", "pairs"),
    "accelerator": (lambda one: replace(one, accelerator=True), "accelerator", True),
    "hardware": (lambda one: replace(one, hardware="eth0"), "hardware", True),
    "port": (lambda one: replace(one, port=1123), "port", 1123),
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_rule_makes_another_manifest(what: str, tmp_path: Path) -> None:
    with_keys(tmp_path)
    change, key, value = CHANGES[what]
    before, after = looked(tmp_path), looked(tmp_path, change(DOOR))
    assert before[key] != value
    assert after[key] == value
    assert {name for name in after if after[name] != before[name]} == {key}


def test_what_an_order_or_a_file_of_keys_changes_is_said_once_and_while_it_lasts(tmp_path: Path) -> None:
    with_keys(tmp_path)
    manifest, now_s = Manifest(tmp_path), 0.0
    others = [
        ("console-11126", Listener(protocol=Protocol.CONSOLE)),
        ("chrony-sock", Listener(protocol=Protocol.CHRONY_SOCK, path="/run/chrony/refclock.sock")),
    ]

    def look(*, after_s: float = 1.0) -> list[dict[str, Any]] | None:
        nonlocal now_s
        now_s += after_s
        return manifest.look([(NAME, DOOR), *others], now_s)

    first = look()
    assert first is not None
    assert [row["protocol"] for row in first] == ["ntp", "console", "chrony-sock"]
    assert first[0]["key_ids"] == [7, 12]
    assert first[0]["allow_by"] == "file"
    assert look() is None, "nothing has changed"
    policy = ListenerPolicy(NAME, (ipaddress.ip_network("198.51.100.0/24"),), 0.125)
    door_policy.lay(tmp_path, [(NAME, policy.canonical().decode())])
    assert look(after_s=0.5) is None, "not looked at yet"
    by_order = look()
    assert by_order is not None
    assert by_order[0] == first[0] | {"allow": ["198.51.100.0/24"], "allow_by": "order", "bound_limit": "0.125 s"}
    door_policy.lay(tmp_path, [])
    assert look() == first
    with_keys(tmp_path, KEYS.replace("12 SHA1", "13 SHA1"))
    again = look()
    assert again is not None
    assert again[0]["key_ids"] == [7, 13]
    with_keys(tmp_path, "no keys\n")
    assert look() is None, "what cannot be read changes no door either"
    (tmp_path / "ntp.keys").unlink()
    assert look() is None


def a_log(folder: Path, rows: list[list[dict[str, Any]]], *, then: int = 0) -> Path:
    """The tiles of a log with these manifests, each among other records, as a stranger got them."""
    chain, log = Chain(), []

    def add(kind: str, body: dict[str, Any]) -> None:
        nonlocal chain
        one, chain = seal(kind, body, chain)
        log.append(one.data)

    add("run-start", {"epoch_tai_ns": "1"})
    for number, each in enumerate(rows):
        add(KIND, {"epoch_tai_ns": str(number), "listeners": each})
        add("alert", {"says": 'text that names "kind":"listeners" is none'})
    for _ in range(then):
        add("heartbeat", {"epoch_tai_ns": "9"})
    published(folder, log)
    return folder


def asked(path: Path, policy: bytes, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    (path.parent / "policy").write_bytes(policy)
    status = main(["evidence", "listeners", str(path), "--policy", str(path.parent / "policy"), *words])
    return status, capsys.readouterr().out


def test_a_stranger_verifies_the_newest_manifest_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_keys(tmp_path)
    before, after = looked(tmp_path), looked(tmp_path, replace(DOOR, rate_per_s=2.0))
    folder = a_log(tmp_path / "tiles", [[before], [after]], then=AT_ONCE)
    status, out = asked(folder, POLICY_OF_LOG, capsys, "--json")
    told = json.loads(out)
    assert (status, told["holds"], told["entry"], told["listeners"]) == (0, True, 3, [after])
    status, out = asked(folder, POLICY_OF_LOG, capsys)
    assert status == 0
    assert "ntp 192.0.2.1 port 123" in out
    assert "rate           2.0 1/s" in out
    assert "key_ids        7, 12" in out
    assert "deny           192.0.2.66/32" in out
    assert asked(folder, POLICY_TEXT, capsys)[0] == 1, "too few witnesses have cosigned it"
    assert asked(a_log(tmp_path / "silent", []), POLICY_OF_LOG, capsys)[0] == 1
    rows: list[Any] = [[before], ["a door"]]
    # an older one is not shown for a newer that cannot be read
    assert asked(a_log(tmp_path / "odd", rows), POLICY_OF_LOG, capsys) == (2, "")


def test_a_manifest_that_was_edited_afterwards_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_keys(tmp_path)
    folder = a_log(tmp_path / "tiles", [[looked(tmp_path)]])
    forged = shutil.copytree(folder, tmp_path / "forged")
    (tile,) = (path for path in (forged / "tile" / "entries").rglob("*") if path.is_file())
    assert tile.read_bytes().count(b"16.0 1/s") == 1
    tile.write_bytes(tile.read_bytes().replace(b"16.0 1/s", b"99.0 1/s"))
    status, out = asked(forged, POLICY_OF_LOG, capsys, "--json")
    told = json.loads(out)
    assert (status, told["holds"]) == (1, False)
    assert "listeners" not in told
    assert told["says"]
