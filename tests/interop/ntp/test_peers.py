"""Clients that cannot be installed beside chrony ask our door on port 123: ntpsec's ntpd, openntpd, systemd-timesyncd,
python's ntplib. `builders/fetch_peers.py` brings them; Debian's busybox is built without its ntpd.

All run in a network and mount namespace of their own, without power over this machine's clock (`apart`).
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.daemon_serve.doors import ENVIRONMENT, a_door, a_page_in
from tests.interop.ntp.apart import lay_users_over
from tests.waits import until

from truechimer.daemon.door.counters import read_counters
from truechimer.daemon.door.door_rules import DoorRules

ROOT = Path(__file__).parents[3]
PEERS = Path(os.environ.get("TRUECHIMER_PEERS", ROOT / "peers"))
APART = [sys.executable, "-m", "tests.interop.ntp.apart"]
AES = "000102030405060708090a0b0c0d0e0f"
LAY_OUT = (
    "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start && ip link set lo up && "
    "ip addr add 192.0.2.1/24 dev lo && mkdir -p /run/systemd && "
    "for folder in /etc/systemd /run/systemd /var/lib; do mount -t tmpfs none $folder; done && "
    "mkdir -p /var/lib/openntpd/run /var/lib/openntpd/db && "
    'printf "[Time]\\nNTP=127.0.0.1\\nFallbackNTP=\\n" > /etc/systemd/timesyncd.conf && exec "$@"'
)


def inside(what: str, folder: Path) -> None:
    """Run one of the functions below in namespaces of its own."""
    environment = ENVIRONMENT | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    script = (
        f"from pathlib import Path; from tests.interop.ntp import test_peers; test_peers.{what}(Path({str(folder)!r}))"
    )
    command = ["unshare", "--net", "--mount", "sh", "-c", LAY_OUT, "sh", sys.executable, "-c", script]
    environment |= {"TRUECHIMER_PEERS": str(PEERS)}
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def program(package: str, path: str) -> str:
    """Return a fetched program; skips where it is not there."""
    found = PEERS / package / path
    if not found.exists():
        pytest.skip(f"{found} is not there: python builders/fetch_peers.py {PEERS}")
    return str(found)


def said_by(words: list[str], folder: Path, *, wanted: str, patience_s: float = 30.0) -> str:
    """Run a program apart until it says what is wanted; return all that it said."""
    said = folder / "said"
    with (
        said.open("w") as out,
        subprocess.Popen([*APART, *words], stdout=out, stderr=out, start_new_session=True) as one,
    ):
        try:
            until(lambda: wanted in said.read_text(errors="replace"), patience_s=patience_s)
        except AssertionError:
            raise AssertionError(said.read_text(errors="replace")) from None
        finally:
            os.killpg(one.pid, 9)
    return said.read_text(errors="replace")


def timesyncd(folder: Path) -> None:
    with a_page_in(folder), a_door(folder, "--port", "123"):
        os.environ |= {"SYSTEMD_LOG_LEVEL": "debug", "SYSTEMD_LOG_TARGET": "console"}
        lay_users_over(folder)
        path = "lib/systemd/systemd-timesyncd"
        said = said_by([program("systemd-timesyncd", path)], folder, wanted="Contacted time server 127.0.0.1:123")
        assert "stratum      : 1" in said


def openntpd(folder: Path) -> None:
    lay_users_over(folder)
    (folder / "ntpd.conf").write_text("servers 127.0.0.1\n")
    words = [
        program("openntpd", "usr/sbin/ntpd"),
        "-d",
        "-v",
        "-f",
        str(folder / "ntpd.conf"),
        "-p",
        str(folder / "pid"),
    ]
    with a_page_in(folder), a_door(folder, "--port", "123"):
        said = said_by(words, folder, wanted="reply from 127.0.0.1")
        assert "not synced" not in said


def ntpsec(folder: Path) -> None:
    (folder / "ours").write_text(f"7 AES128 HEX:{AES}\n")
    (folder / "ours").chmod(0o600)
    (folder / "theirs").write_text(f"7 AES {AES}\n")
    (folder / "ntp.conf").write_text(
        f"disable ntp\nkeys {folder}/theirs\ntrustedkey 7\nserver 127.0.0.1 key 7 iburst minpoll 3 maxpoll 3\n"
        "interface ignore wildcard\ninterface ignore all\ninterface listen 192.0.2.1\n"
        f"statsdir {folder}/\nstatistics peerstats\nfilegen peerstats file peerstats type none enable\n"
    )
    words = [program("ntpsec", "usr/sbin/ntpd"), "-n", "-c", str(folder / "ntp.conf"), "-p", str(folder / "pid")]
    rules = DoorRules(keys=str(folder / "ours")).text()
    with a_page_in(folder), a_door(folder, "--port", "123", "--rules", rules) as door:
        with subprocess.Popen([*APART, *words], start_new_session=True) as one:
            try:
                until(lambda: (folder / "peerstats").exists() and (folder / "peerstats").stat().st_size > 0)
            finally:
                os.killpg(one.pid, 9)
        row = (folder / "peerstats").read_text().split()
        status = int(row[3], 16)
        assert status & 0x6000 == 0x6000, row  # authentication enabled and good
        assert abs(float(row[4])) < 0.01
        until(lambda: read_counters(door.counters_path())["replies_synchronised"] > 0)
        assert read_counters(door.counters_path())["replies_nak_bad_mac"] == 0


def ntplib(folder: Path) -> None:
    sys.path.append(str(PEERS / "python3-ntplib" / "usr/lib/python3/dist-packages"))
    import importlib

    client: Any = importlib.import_module("ntplib").NTPClient()
    with a_page_in(folder), a_door(folder) as door:
        for version in (2, 3, 4):
            found = client.request("127.0.0.1", port=door.port, version=version)
            assert (found.version, found.stratum, found.leap) == (version, 1, 0)
            assert abs(found.offset) < 0.01


@pytest.mark.acceptance
@pytest.mark.needs_netns
@pytest.mark.parametrize("peer", ["ntpsec", "openntpd", "timesyncd", "ntplib"])
def test_a_client_that_others_wrote_takes_time_from_our_door(peer: str, tmp_path: Path) -> None:
    package = {"timesyncd": "systemd-timesyncd", "ntplib": "python3-ntplib"}.get(peer, peer)
    if not (PEERS / package).is_dir():
        pytest.skip(f"{PEERS / package} is not there: python builders/fetch_peers.py {PEERS}")
    tmp_path.chmod(0o755)
    inside(peer, tmp_path)
