"""Symmetric keys and the interleaved mode as others speak them: Debian's chronyd and ntpsec's ntpdig; none gets control
of a clock.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.daemon_serve.doors import ENVIRONMENT, a_door, a_live_page, a_page_in
from tests.interop.ntp.test_chronyd import a_chronyd, ntpdata
from tests.ports import free_port
from tests.waits import until

from truechimer.daemon.door.counters import read_counters
from truechimer.daemon.door.door_rules import DoorRules
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp.ntp_exchange import ExchangeFailure, NtpMeasurement, ask_once, warm_up
from truechimer.instants import Instant, builtin_leap_table
from truechimer.serve.ntp.mac import KeyKind, SymmetricKey, read_keys, symmetric_key

ROOT = Path(__file__).parents[3]
NTPDIG = shutil.which("ntpdig") or "ntpdig"
AES = "000102030405060708090a0b0c0d0e0f"
OURS = f"7 AES128 HEX:{AES}\n8 SHA1 HEX:736563726574\n9 MD5 ASCII:oldold\n10 SHA512 HEX:{AES}{AES}\n"
NTPSEC = f"7 AES {AES}\n8 SHA1 secret\n9 MD5 oldold\n"
"""The same keys as ntpsec writes them."""


def keys_in(folder: Path) -> Path:
    path = folder / "ntp.keys"
    path.write_text(OURS)
    path.chmod(0o600)
    return path


def is_sound(seen: dict[str, str]) -> bool:
    """Return whether chronyd's last answer was interleaved and passed all its tests (the first one may be too old)."""
    return seen.get("Interleaved") == "Yes" and seen.get("NTP tests") == "111 111 1111"


@pytest.mark.needs_chrony
@pytest.mark.slow
@pytest.mark.parametrize("key", [7, 8, 10])
def test_chronyd_believes_an_answer_sealed_with_its_key_and_asks_interleaved(tmp_path: Path, key: int) -> None:
    path = keys_in(tmp_path)
    with a_page_in(tmp_path), a_door(tmp_path, "--rules", DoorRules(keys=str(path)).text()) as door:
        server = f"server 127.0.0.1 port {door.port} key {key} xleave iburst minpoll -4 maxpoll -4"
        with a_chronyd(tmp_path, server, f"keyfile {path}", "port 0") as command_socket:
            until(lambda: is_sound(ntpdata(command_socket)), patience_s=8)
            seen = ntpdata(command_socket)
            until(lambda: read_counters(door.counters_path())["replies_synchronised"] > 0)
        counted = read_counters(door.counters_path())
    assert seen["Authenticated"] == "Yes"
    assert seen["Total RX"] == seen["Total valid RX"]
    assert abs(float(seen["Offset"].split()[0])) < 2e-3
    assert counted["replies_nak_bad_mac"] == counted["replies_nak_unknown_key"] == 0


@pytest.mark.needs_chrony
@pytest.mark.slow
def test_chronyd_with_another_key_of_the_same_number_gets_no_time(tmp_path: Path) -> None:
    path = keys_in(tmp_path)
    other = tmp_path / "other.keys"
    other.write_text("7 AES128 HEX:ffffffffffffffffffffffffffffffff\n")
    other.chmod(0o600)
    with a_page_in(tmp_path), a_door(tmp_path, "--rules", DoorRules(keys=str(path)).text()) as door:
        server = f"server 127.0.0.1 port {door.port} key 7 iburst minpoll -2 maxpoll -2"
        with a_chronyd(tmp_path, server, f"keyfile {other}", "port 0") as command_socket:
            until(lambda: read_counters(door.counters_path())["replies_nak_bad_mac"] >= 2)
            assert ntpdata(command_socket).get("Total good RX", "0") == "0"


@pytest.mark.needs_chrony
@pytest.mark.slow
def test_our_client_believes_a_chronyd_that_holds_its_key_and_no_other(tmp_path: Path) -> None:
    path, port = keys_in(tmp_path), free_port()
    ring, near, leaps = read_keys(path.read_bytes()), Instant(a_live_page().anchor_tai_fs), builtin_leap_table()
    clocks = HostClocks()
    warm_up(clocks)

    def ask(key: SymmetricKey, timeout_s: float) -> NtpMeasurement | ExchangeFailure:
        return ask_once("127.0.0.1", port, timeout_s=timeout_s, clocks=clocks, leaps=leaps, near=near, key=key)

    local = ("local stratum 1", f"port {port}", "bindaddress 127.0.0.1", "allow 127.0.0.0/8", f"keyfile {path}")
    with a_chronyd(tmp_path, *local):
        until(lambda: isinstance(ask(ring[7], 0.2), NtpMeasurement))
        for key_id in (8, 9, 10):
            found = ask(ring[key_id], 5.0)
            assert isinstance(found, NtpMeasurement)
            assert found.synchronised
        stranger = ask(symmetric_key(7, KeyKind.AES128, bytes(16)), 0.3)
        assert isinstance(stranger, ExchangeFailure)


ASK = """
import json, subprocess, sys
from pathlib import Path
from tests.daemon_serve.doors import a_door, a_page_in
from tests.waits import until
folder, rules, program = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
said = {}
with a_page_in(folder), a_door(folder, "--rules", rules, "--port", "123"):
    for key in sys.argv[4:]:
        command = [program, "-j", "-t", "3", "-a", key, "-k", str(folder / "ntpsec.keys"), "127.0.0.1"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        said[key] = [found.returncode, found.stdout, found.stderr]
print(json.dumps(said))
"""


@pytest.mark.needs_ntpdig
@pytest.mark.needs_netns
@pytest.mark.slow
def test_ntpdig_believes_its_keys_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "ntpsec.keys").write_text(NTPSEC + "11 SHA1 stranger\n")
    rules = DoorRules(keys=str(keys_in(tmp_path))).text()
    inner = [sys.executable, "-c", ASK, str(tmp_path), rules, NTPDIG, "7", "8", "9", "11"]
    command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *inner]
    environment = ENVIRONMENT | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=environment)
    assert found.returncode == 0, found.stderr
    said = json.loads(found.stdout)
    for key in ("7", "8", "9"):
        status, out, err = said[key]
        assert status == 0, err
        offset = re.search(r'"offset": *"?(-?[0-9.e-]+)', out)
        assert offset, out
        assert abs(float(offset[1])) < 0.05
    assert said["11"][0] != 0  # the door holds no such key, and its crypto-NAK gives no time
