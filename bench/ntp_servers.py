"""The servers that `bench/ntp.py` compares: our door, chronyd, a raw echo, and the newest NTP servers of others that
can be had, each on loopback on processor 0, none with the right to set this machine's clock.

It measures nothing. `builders/fetch_peers.py --newest DIR` fetches the newest servers: they are started in a mount
namespace of their own in which their libraries lie over this machine's, so that each runs as its package has it.
A peer that is not there is named in `Bench.missing` with the reason.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from truechimer.daemon.door.counters import CountersRejected, read_counters
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.page_file import PageWriter
from truechimer.instants import FS_PER_S
from truechimer.serve import ClockPage, ServiceState

HERE = Path(__file__).parent
ADDRESS = "127.0.0.1"
READY_WITHIN_S = 300.0
PEER_READY_WITHIN_S = 60.0
CHRONY = """
port {port}
cmdport 0
local stratum 1
allow 127.0.0.0/8
bindaddress 127.0.0.1
pidfile {folder}/chronyd.pid
{more}
"""
OPENNTPD_ADDRESS = "127.0.0.4"
"""It serves port 123 alone, as ntpsec does, which stands on an address of the machine: each has one of its own."""
NTPSEC = """
restrict default nomodify nopeer noquery
unrestrict default limited kod
tos orphan 1 orphanwait 1
interface ignore wildcard
interface listen 127.0.0.1
"""
"""By itself it lets an address ask 20 times, and then once a second: `limited` is among its defaults, and `restrict`
only adds to them. Every other server here is measured without limits too.
"""
OPENNTPD = f"listen on {OPENNTPD_ADDRESS}\n"
NTPD_RS = """
[observability]
log-level = "warn"
[synchronization]
local-stratum = 1
[[server]]
listen = "127.0.0.1:{port}"
"""
NO_CLOCK = ("setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-sys_time")
"""No server of this bench can set the clock that all of them are judged by."""
LAID_OVER = 'mount --bind "$0" "$1" && mount --bind "$2" "$3" && shift 3 && exec "$@"'
A_QUESTION = b"\x23" + bytes(39) + b"a nonce."
PROCESS_CLOCK = 2
"""The clock of a process's time on processors is named by its number (clock_getcpuclockid(3))."""
MODE, SERVER_MODE, UNSYNCHRONISED = 7, 4, 3


@dataclass(frozen=True)
class Server:
    """One server under test: `pids` are looked up anew for each run, since workers may have been replaced. `kind`: as
    `ntp_load.c` has it (0: synchronised, 1: an echo, 2: one that says that it is not synchronised).
    """

    name: str
    port: int
    pids: Callable[[], list[int]]
    kind: int = 0
    command: str = ""
    version: str = ""
    address: str = ADDRESS

    @property
    def is_echo(self) -> bool:
        """True where only octets come back."""
        return self.kind == 1


def a_page(clocks: HostClocks, first: Any) -> ClockPage:
    """Return a page whose line is this host's CLOCK_REALTIME as it runs now."""
    pair = clocks.take_pair()
    tai_fs = pair.realtime_ns * 10**6 + 37 * FS_PER_S
    since_ns = pair.raw_ns - first.raw_ns
    return ClockPage(
        anchor_raw_ns=pair.raw_ns,
        anchor_tai_fs=tai_fs,
        rate=(pair.realtime_minus_raw_ns - first.realtime_minus_raw_ns) / since_ns if since_ns > 10**8 else 0.0,
        bound_s=1e-5,
        bound_growth=1e-8,
        u_s=1e-6,
        coverage=0.99,
        state=ServiceState.STEERED,
        simulated=False,
        tai_minus_utc_s=37,
        next_leap_tai_s=None,
        next_tai_minus_utc_s=None,
        leap_expires_tai_s=tai_fs // FS_PER_S + 10**7,
        valid_until_raw_ns=pair.raw_ns + 600 * 10**9,
        refid=b"HOST",
        stratum=1,
        root_delay_s=0.0,
        written_raw_ns=pair.raw_ns,
        laboratory_pid=os.getpid(),
    )


@contextmanager
def following_page(path: Path) -> Iterator[None]:
    """Keep a page that follows this host's clock in `path`."""
    ending = threading.Event()
    clocks = HostClocks()
    first = clocks.take_pair()
    with PageWriter(path, boot_id=clocks.boot_id()) as writer:
        writer.publish(a_page(clocks, first))

        def follow() -> None:
            while not ending.wait(0.1):
                writer.publish(a_page(clocks, first))

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()


def a_free_port() -> int:
    """Return a port that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.bind((ADDRESS, 0))
        return int(asked.getsockname()[1])


def family(pid: int) -> list[int]:
    """Return a process, its children and theirs; none where it has ended."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def wait_for(condition: Callable[[], bool], otherwise: str, *, within_s: float = 10.0) -> None:
    """Wait until something holds; ends the bench where it does not in time."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(otherwise)
        time.sleep(0.05)


def says(address: str, port: int) -> bytes | None:
    """Ask once; return the answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(0.2)
        try:
            asked.sendto(A_QUESTION, (address, port))
            return asked.recv(200)
        except OSError:
            return None


def answers(address: str, port: int, kind: int) -> bool:
    """Return whether a server answers as it has to."""
    answer = says(address, port)
    if answer is None or len(answer) != len(A_QUESTION) or answer[0] & MODE != SERVER_MODE:
        return False
    return kind == 2 or (answer[0] >> 6 != UNSYNCHRONISED and 0 < answer[1] < 16)


def version_of(program: str, word: str) -> str:
    """Return the first line of what a program says of itself."""
    found = shutil.which(program) or f"/usr/sbin/{program}"
    try:
        said = subprocess.run([found, word], capture_output=True, text=True, check=False)
    except OSError:
        return "absent"
    return (said.stdout or said.stderr).splitlines()[0]


class Bench:
    """The servers, the generator, and where they run."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.missing: dict[str, str] = {}
        self._stack = ExitStack()
        self.load, self.echo, self.least = folder / "ntp_load", folder / "ntp_echo", folder / "ntp_floor"
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise SystemExit("no C compiler (cc); install g++")
        for program in (self.load, self.echo, self.least):
            source = HERE / f"{program.name}.c"
            subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)

    def __enter__(self) -> Self:
        self._stack.enter_context(following_page(self.folder / "page"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, command: list[str], **keywords: Any) -> "subprocess.Popen[str]":
        """Start a server on processor 0; it is ended with the bench."""
        prefix = ["taskset", "-c", "0"]
        if self.options.real_time:
            prefix = ["chrt", "-f", "1", *prefix]
        process = subprocess.Popen([*prefix, *command], text=True, **keywords)

        def end() -> None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

        self._stack.callback(end)
        return process

    def raw_echo(self) -> Server:
        """Start what no server with sockets can beat."""
        port = a_free_port()
        process = self.begin([str(self.echo), ADDRESS, str(port)], stdout=subprocess.PIPE)
        return Server("echo", port, lambda: [process.pid], kind=1, command="recvmmsg 64, sendmmsg 64, in C")

    def floor(self, name: str, answers_a_stamp: int) -> Server:
        """Start what no server with sockets and an honest stamp for so many answers can beat by much."""
        port = a_free_port()
        process = self.begin([str(self.least), ADDRESS, str(port), str(answers_a_stamp)], stdout=subprocess.PIPE)
        said = "sendto" if answers_a_stamp == 1 else f"sendmmsg {answers_a_stamp}"
        command = f"recvmmsg 64 with the kernel's stamps, one clock reading and one {said} each, in C"
        return Server(name, port, lambda: [process.pid], command=command)

    def processor_s(self, server: Server) -> float:
        """Return the processor time that all processes of a server have taken."""
        return sum(_taken_s(pid) for pid in server.pids())

    def ours(self, name: str, *words: str, plain: bool = False) -> Server:
        """Start our door; it is ready when its worker is (`plain`: it has none)."""
        port, counters = a_free_port(), self.folder / f"{name}.counters"
        command = [sys.executable, "-m", "truechimer.daemon.ntp.serve_process", "--page", str(self.folder / "page")]
        command += ["--address", ADDRESS, "--port", str(port), "--counters", str(counters), *words]
        environment = {key: value for key, value in os.environ.items() if key != "TRUECHIMER_NO_WORKERS"}
        process = self.begin(command, stdout=subprocess.PIPE, env=environment)

        def is_ready() -> bool:
            try:
                return plain or bool(read_counters(counters)["workers"])
            except CountersRejected:
                return False

        wait_for(is_ready, "the worker did not get ready; is numba installed?", within_s=READY_WITHIN_S)
        return Server(name, port, lambda: family(process.pid), command=" ".join(["serve_process", *words]))

    def chrony(self, name: str, more: str = "") -> Server:
        """Start this machine's chronyd."""
        port, config = self._chrony_file(name, more)
        process = self.begin([*NO_CLOCK, _chronyd(), *config], stderr=subprocess.DEVNULL)
        server = Server(name, port, lambda: family(process.pid), command=f"chronyd -x, local stratum 1 {more}".strip())
        wait_for(lambda: answers(ADDRESS, port, 0), "chronyd did not answer; this bench has to be root's")
        return server

    def newest(self) -> list[Server]:
        """Start the newest servers of others; what is not there, or does not answer, is kept in `missing`."""
        rs_port = a_free_port()
        bare, bare_config = self._chrony_file("chrony-newest-noclientlog", "noclientlog")
        default, config = self._chrony_file("chrony-newest", "")
        for name, text in (("ntpsec", NTPSEC), ("openntpd", OPENNTPD), ("ntpd-rs", NTPD_RS.format(port=rs_port))):
            (self.folder / f"{name}.conf").write_text(text, encoding="ascii")
        ntpsec, openntpd, rs = (str(self.folder / f"{name}.conf") for name in ("ntpsec", "openntpd", "ntpd-rs"))
        found = [
            self._peer("chrony-newest", "chrony/usr/sbin/chronyd", config, default, "chronyd -x, local stratum 1"),
            self._peer(
                "chrony-newest-noclientlog",
                "chrony/usr/sbin/chronyd",
                bare_config,
                bare,
                "chronyd -x, local stratum 1 noclientlog",
            ),
            self._peer(
                "ntpsec",
                "ntpsec/usr/sbin/ntpd",
                ["-n", "-c", ntpsec],
                123,
                "ntpd -n, orphan stratum 1",
            ),
            self._peer("ntpd-rs", "ntpd-rs/usr/bin/ntp-daemon", ["-c", rs], rs_port, "ntp-daemon, local-stratum = 1"),
            self._peer(
                "openntpd",
                "openntpd/usr/sbin/ntpd",
                ["-d", "-f", openntpd],
                123,
                "ntpd -d, unsynchronised: it has no local reference",
                address=OPENNTPD_ADDRESS,
                kind=2,
            ),
        ]
        return [server for server in found if server is not None]

    def _peer(
        self,
        name: str,
        program: str,
        words: list[str],
        port: int,
        command: str,
        *,
        address: str = ADDRESS,
        kind: int = 0,
    ) -> Server | None:
        """Start one of the newest servers under its own libraries."""
        folder: Path | None = self.options.peers
        package = program.partition("/")[0]
        if folder is None:
            self.missing[name] = "not asked for: builders/fetch_peers.py --newest DIR, then --peers DIR"
            return None
        path = folder / "newest" / program
        libraries = next((folder / "newest" / "libraries" / "usr" / "lib").glob("*-linux-gnu"), None)
        if not path.is_file() or libraries is None:
            self.missing[name] = "the newest release's packages do not have it"
            return None
        over = [str(self._passwd()), "/etc/passwd", str(libraries.absolute()), f"/usr/lib/{libraries.name}"]
        process = self.begin(
            [*NO_CLOCK, "unshare", "--mount", "sh", "-c", LAID_OVER, *over, str(path.absolute()), *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + PEER_READY_WITHIN_S
        while not answers(address, port, kind):
            if time.monotonic() > end or process.poll() is not None:
                self.missing[name] = f"it did not answer within {PEER_READY_WITHIN_S:g} s of its start"
                return None
            time.sleep(0.1)
        version = (folder / "newest" / package / f"{package}.version").read_text(encoding="ascii").strip()
        return Server(
            name,
            port,
            lambda: family(process.pid),
            kind=kind,
            command=command,
            version=f"{package} {version}",
            address=address,
        )

    def _passwd(self) -> Path:
        """Return this machine's list of users with those that the packages would have made."""
        path = self.folder / "passwd"
        home = self.folder / "empty"
        home.mkdir(mode=0o755, exist_ok=True)
        known = Path("/etc/passwd").read_text(encoding="utf-8")
        more = [
            f"{name}:x:{61_000 + k}:{61_000 + k}::{home}:/bin/false"
            for k, name in enumerate(("_chrony", "ntpsec", "_ntpd", "openntpd", "ntpd-rs"))
            if f"\n{name}:" not in known
        ]
        path.write_text("\n".join([known.rstrip(), *more]) + "\n", encoding="utf-8")
        self.folder.chmod(0o755)
        return path

    def _chrony_file(self, name: str, more: str) -> tuple[int, list[str]]:
        port, folder = a_free_port(), self.folder / name
        folder.mkdir()
        (folder / "chrony.conf").write_text(CHRONY.format(port=port, folder=folder, more=more), encoding="ascii")
        return port, ["-x", "-d", "-f", str(folder / "chrony.conf")]

    def ask(self, server: Server, *, rate: int | None, seconds: float) -> dict[str, Any]:
        """Run the generator against one server."""
        words = [str(self.load), "open" if rate else "closed", server.address, str(server.port), str(seconds)]
        words += [str(server.kind), *([str(rate)] if rate else []), *map(str, server.pids())]
        prefix = ["chrt", "-f", "2"] if self.options.real_time else []
        done = subprocess.run([*prefix, "taskset", "-c", "1", *words], capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def _taken_s(pid: int) -> float:
    """Return the processor time of a process; nothing where it has ended."""
    try:
        return time.clock_gettime((~pid << 3) | PROCESS_CLOCK)
    except OSError:
        return 0.0


def _chronyd() -> str:
    return shutil.which("chronyd") or "/usr/sbin/chronyd"
