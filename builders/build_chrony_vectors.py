"""Capture answers of a real chronyd, and what chronyc makes of the very same octets: tests/vectors/chrony_reports.

    PYTHONPATH=src:. python builders/build_chrony_vectors.py

chronyc asks through a relay that keeps both directions. So each vector is a question and an answer in octets, beside
chrony's own decoding of them (`chronyc -c`), which this program had no hand in.
"""

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from tests.daemon_chrony.chronyds import CHRONYC, CHRONYD, chronyd, liar, server  # noqa: E402

from truechimer.drivers.chrony_sock import SockLeap, SockSender, pack  # noqa: E402

OUT = ROOT / "tests" / "vectors" / "chrony_reports" / "reports.json"
SECONDS_TO_LEARN = 12.0


class Relay(threading.Thread):
    """Passes datagrams between chronyc and chronyd, and keeps them."""

    def __init__(self, path: Path, to: Path) -> None:
        super().__init__(daemon=True)
        self.kept: list[tuple[str, str]] = []
        self._front = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._front.bind(str(path))
        self._back = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._back.bind(f"{path}.back")
        self._back.connect(str(to))
        self.ended = False

    def run(self) -> None:
        self._front.settimeout(0.2)
        while not self.ended:
            try:
                question, client = self._front.recvfrom(4096)
            except TimeoutError:
                continue
            self._back.send(question)
            answer = self._back.recv(4096)
            self._front.sendto(answer, client)
            self.kept.append((question.hex(), answer.hex()))


def main() -> int:
    """Run the peers, ask, and write the file."""
    with ExitStack() as ends:
        honest = ends.enter_context(server("127.0.0.2"))
        third = ends.enter_context(server("127.0.0.3", stratum=3))
        lying = ends.enter_context(liar("127.0.0.4", "127.0.0.2", honest, shift_s=0.05))
        client = ends.enter_context(
            chronyd(
                f"server 127.0.0.2 port {honest} iburst minpoll 0 maxpoll 0",
                f"server 127.0.0.3 port {third} iburst minpoll 0 maxpoll 0",
                f"server 127.0.0.4 port {lying.port} iburst minpoll 0 maxpoll 0",
                "server 2001:db8::7 minpoll 6",
                "server ntp.invalid minpoll 6",
                "refclock SOCK {folder}/true.sock refid TRUE poll 2 noselect",
                "port 0",
                "logdir {folder}",
                "log measurements tracking refclocks",
            )
        )
        fed = SockSender(client.folder / "true.sock")
        for _ in range(round(SECONDS_TO_LEARN / 0.5)):
            fed.send(pack(wall_ns=time.time_ns(), reference_minus_wall_s=0.02, leap=SockLeap.NONE))
            time.sleep(0.5)
        fed.close()
        relay = Relay(client.folder / "relay", client.socket)
        relay.start()
        found = []
        for words in (["sources"], ["sourcestats"], ["tracking"], ["ntpdata", "127.0.0.4"], ["ntpdata", "127.0.0.9"]):
            relay.kept.clear()
            command = [CHRONYC, "-h", str(client.folder / "relay"), "-N", "-c", *words]
            printed = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
            found.append({"asked": words, "octets": list(relay.kept), "chronyc": printed.splitlines()})
        relay.ended = True
        relay.join()
        OUT.parent.mkdir(parents=True, exist_ok=True)
        for name in ("measurements", "tracking", "refclocks"):
            shutil.copyfile(client.folder / f"{name}.log", OUT.parent / f"{name}.log")
    version = subprocess.run([CHRONYD, "--version"], capture_output=True, text=True, check=True).stdout.split(" (+")[0]
    body = {"version": version, "reports": found}
    OUT.write_text(json.dumps(body, indent=1) + "\n", encoding="ascii")
    print(f"{OUT.relative_to(ROOT)}: {version}, {sum(len(each['octets']) for each in found)} answers")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
