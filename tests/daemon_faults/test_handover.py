"""A door's sockets go to the door of another version, or of other rules, while a client asks: nobody is refused."""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.daemon_faults.laboratories import Run
from tests.daemon_laboratory.laboratories import ask_door, end_doors, environment, is_running
from tests.daemon_serve.doors import ENVIRONMENT, SOURCE, a_live_page, ready_of
from tests.ports import free_port
from tests.waits import PATIENCE_S, until

from truechimer._version import __version__
from truechimer.daemon.door import doors, handover
from truechimer.daemon.door.counters import WORKERS, CountersRejected, read_counters
from truechimer.daemon.door.door_rules import DoorRules
from truechimer.daemon.door.doors import Door
from truechimer.daemon.door.handover import Giver, HandoverRejected, take
from truechimer.daemon.early import Early
from truechimer.daemon.hold import Hold
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.listener_settings import Listener, Protocol
from truechimer.daemon.laboratory_process import end_on_signals
from truechimer.daemon.ntp import serve_process
from truechimer.daemon.ntp.departure_desk import DepartureDesk
from truechimer.daemon.ntp.ntp_loop import UdpPort
from truechimer.daemon.ntp.serve_workers import Workers
from truechimer.daemon.page_file import PageReader, PageWriter
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.ntp import NtpAnswer, make_request, read_reply
from truechimer.sim import DEMO_SCENARIO_TOML

NS = 10**9


class Asking(threading.Thread):
    """A client that asks without a pause. It keeps, for each answer, the raw counter between question and answer (ns),
    the time served then, less the counter (s), and the round trip (s); every step between two pages (s), as lines at
    one moment; and how often it was refused (no door at the port), never answered, or told that nobody is synchronised.
    """

    def __init__(self, port: int, *, every_s: float = 0.001, page: Path | None = None, clients: int = 1) -> None:
        """`clients`: ports to ask from, one after the other: the kernel gives each to one socket of a door."""
        super().__init__(daemon=True)
        self.port, self.every_s, self.clients = port, every_s, clients
        self.pages = None if page is None else PageReader(page)
        self.served: list[tuple[int, float, float]] = []
        self.steps_s: list[float] = [0.0]
        self.asked = self.refused = self.unanswered = self.doubted = 0
        self._ending = threading.Event()

    def run(self) -> None:
        raw_ns, due = HostClocks().raw_ns, time.monotonic()
        before = None
        with ExitStack() as stack:
            connections = [stack.enter_context(a_socket()) for _ in range(self.clients)]
            for one in connections:
                one.settimeout(60.0)
                one.connect(("127.0.0.1", self.port))
            while not self._ending.is_set():
                connection = connections[self.asked % self.clients]
                self.asked += 1
                nonce = time.monotonic_ns()
                try:
                    sent_ns = raw_ns()
                    connection.send(make_request(nonce))
                    answer = read_reply(connection.recv(2048), nonce)
                    took_ns = raw_ns() - sent_ns
                except ConnectionRefusedError:
                    self.refused += 1
                    continue
                except TimeoutError:
                    self.unanswered += 1
                    continue
                assert isinstance(answer, NtpAnswer)
                self.doubted += answer.doubt is not None
                middle_ns = sent_ns + took_ns // 2
                served_ns = (answer.receive + answer.transmit) * NS >> 33
                self.served.append((middle_ns, (served_ns - middle_ns) / NS, took_ns / NS))
                if self.pages is not None:
                    page = self.pages.current()
                    if isinstance(page, ClockPage) and page != before:
                        if before is not None:
                            self.steps_s.append(line_s(page, middle_ns, before) - line_s(before, middle_ns, before))
                        before = page
                due = max(due + self.every_s, time.monotonic() - 0.1)
                time.sleep(max(0.0, due - time.monotonic()))

    def end(self) -> None:
        self._ending.set()
        self.join(PATIENCE_S)

    def largest_step_s(self) -> tuple[float, float]:
        """Return the largest step between neighbouring seconds, of the time that was served less the line through it
        all, and half the round trip of the two answers together (s): so much of the step may be the way. In each second
        the answer that took least counts.
        """
        first_ns, best = self.served[0][0], dict[int, tuple[float, float, float]]()
        for at_ns, minus_raw_s, took_s in self.served:
            second, one = (at_ns - first_ns) // NS, (took_s, (at_ns - first_ns) / NS, minus_raw_s)
            best[second] = min(best.get(second, one), one)
        found = [best[second] for second in sorted(best)]
        slope = (found[-1][2] - found[0][2]) / (found[-1][1] - found[0][1])
        return max((abs(b[2] - a[2] - slope * (b[1] - a[1])), (a[0] + b[0]) / 2.0) for a, b in pairwise(found))


def line_s(page: ClockPage, raw_ns: int, origin: ClockPage) -> float:
    """Return the time on a page's line at a raw value, since the origin's anchor."""
    since_ns = raw_ns - page.anchor_raw_ns
    return ((page.anchor_tai_fs - origin.anchor_tai_fs) * 1e-6 + since_ns + since_ns * page.rate) * 1e-9


def listener(port: int, **more: Any) -> Listener:
    return Listener(protocol=Protocol.NTP, port=port, **more)


@contextmanager
def a_folder(folder: Path) -> Iterator[Path]:
    (folder / "run").mkdir(exist_ok=True)
    with PageWriter(folder / "run" / "clock.page", boot_id=HostClocks().boot_id()) as writer:
        writer.publish(a_live_page())
        yield folder


def upgraded(listener: Listener, folder: Path) -> Door:
    """What the next laboratory does with the doors that it finds."""
    begun = doors.begin_all((listener,), folder, allow_simulated=False, early={})
    (found,) = doors.all_opened(begun, folder, allow_simulated=False)
    return found


def test_sockets_go_from_version_to_version_and_no_question_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUECHIMER_NO_WORKERS", "1")
    port = free_port()
    with a_folder(tmp_path):
        door = doors.open_door(listener(port), tmp_path, allow_simulated=False)
        asking = Asking(port)
        asking.start()
        try:
            for number, more in enumerate(({}, {"rate_per_s": 0.0})):  # another version; then other rules too
                until(lambda: len(asking.served) > 20)
                monkeypatch.setattr(doors, "__version__", f"0.0.{number}")
                before, door = door, upgraded(listener(port, **more), tmp_path)
                assert isinstance(door.process, subprocess.Popen)
                assert before.process.wait(120) == 0, "the door before has ended in order"
                doors.end_door(before)  # its pipe
                answered = len(asking.served)
                until(lambda answered=answered: len(asking.served) > answered + 20)  # type: ignore[misc]
                assert handover.path_of(tmp_path / "run" / f"ntp-{port}.pid").is_socket(), "it gives in its turn"
                until(lambda door=door: door.row()["counters"].get("received", 0) > 20)  # type: ignore[misc]
        finally:
            asking.end()
            doors.end_door(door)
        assert (asking.refused, asking.unanswered) == (0, 0), asking.asked
        assert list((tmp_path / "run").glob("*.handover*")) == []


def test_a_door_whose_sockets_do_not_fit_is_ended_and_the_port_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUECHIMER_NO_WORKERS", "1")
    port = free_port()
    with a_folder(tmp_path):
        before = doors.open_door(listener(port), tmp_path, allow_simulated=False)
        door = upgraded(listener(port, workers=2), tmp_path)
        try:
            assert before.process.wait(120) == 0
            doors.end_door(before)
            assert door.is_open
        finally:
            doors.end_door(door)


def a_socket(port: int = 0) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", port))
    return made


@contextmanager
def giving(giver: Giver) -> Iterator[None]:
    """Let a giver look, as a door does."""
    ending = threading.Event()

    def look() -> None:
        while not ending.wait(0.002):
            giver.look()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(5)
        giver.close()


def opened_here() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_was_taken_is_the_very_socket_and_the_taker_knows_when_it_is_alone(tmp_path: Path) -> None:
    pidfile = tmp_path / ("a-name-beyond-the-room-that-a-local-socket-has" * 3) / "ntp-1.pid"
    pidfile.parent.mkdir()
    with a_socket() as held, a_socket() as client:
        port = held.getsockname()[1]
        client.sendto(b"waits", ("127.0.0.1", port))
        with giving(Giver(pidfile, [held])):
            taken = take(pidfile, address="127.0.0.1", port=port, count=1)
            assert not taken.is_alone()
        assert taken.is_alone()
        assert taken.is_alone(), "again is harmless"
        held.close()
        with socket.socket(fileno=taken.descriptors[0]) as mine:
            assert not os.get_inheritable(mine.fileno())
            assert mine.recv(100) == b"waits"


@pytest.mark.parametrize("wrong", ["count", "port", "address", "kind", "nobody", "user"])
def test_what_does_not_fit_is_declined_in_words_and_nothing_stays_open(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pidfile = tmp_path / "ntp-1.pid"
    says = {
        "count": "has 1 sockets, and 2 are wanted",
        "port": "serves 127.0.0.1 port",
        "address": "serves 127.0.0.1 port",
        "kind": "no socket of this kind",
        "nobody": "does not give them: No such file",
        "user": "does not give them all",
    }[wrong]
    with a_socket() as held, socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
        port = held.getsockname()[1] + (wrong == "port")
        if wrong == "user":
            monkeypatch.setattr(os, "geteuid", lambda: 4711)
        before = opened_here()
        giver = Giver(pidfile, [stream if wrong == "kind" else held])
        if wrong == "nobody":
            giver.close()
        address = "127.0.0.2" if wrong == "address" else "127.0.0.1"
        with giving(giver), pytest.raises(HandoverRejected, match=says):
            take(pidfile, address=address, port=port, count=2 if wrong == "count" else 1)
        assert opened_here() == before


@pytest.mark.parametrize("word", [b"{", b"[]", b"7", b"\xff\xfe", b'{"format": "truechimer-door-handover-2"}', b"{}"])
def test_a_giver_of_another_form_is_declined(word: bytes, tmp_path: Path) -> None:
    pidfile = tmp_path / "ntp-1.pid"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as ear, a_socket() as held:
        ear.bind(str(handover.path_of(pidfile)))
        ear.listen(1)

        def give() -> None:
            with ear.accept()[0] as asked:
                socket.send_fds(asked, [word], [held.fileno()])

        thread = threading.Thread(target=give, daemon=True)
        thread.start()
        with pytest.raises(HandoverRejected, match="another form"):
            take(pidfile, address="127.0.0.1", port=held.getsockname()[1], count=1)
        thread.join(5)


def test_a_giver_holds_nothing_for_doors_that_took_its_sockets_and_ended(tmp_path: Path) -> None:
    pidfile = tmp_path / "ntp-1.pid"
    with a_socket() as held, giving(Giver(pidfile, [held])):
        counts = []
        for _ in range(5):
            taken = take(pidfile, address="127.0.0.1", port=held.getsockname()[1], count=1)
            os.close(taken.descriptors[0])
            counts.append(opened_here())
            assert not taken.is_alone()
            assert taken._connection is not None
            taken._connection.close()  # this door has ended
    assert max(counts) <= counts[0] + 1, counts


def test_what_the_door_before_asked_the_kernel_for_does_not_keep_the_next_one_awake(tmp_path: Path) -> None:
    pidfile = tmp_path / "ntp-1.pid"
    with a_folder(tmp_path), a_socket() as held, a_socket() as client, giving(Giver(pidfile, [held])):
        held.setblocking(False)
        DepartureDesk(held).send(bytes(48), (), client.getsockname())
        poll = select.poll()
        poll.register(held, 0)
        assert poll.poll(1e3 * PATIENCE_S), "a departure stands on the error queue"
        words = ["--page", str(tmp_path / "run" / "clock.page"), "--address", "127.0.0.1", "--pidfile", str(pidfile)]
        command = [sys.executable, "-m", doors.SERVE_MODULE, *words, "--port", str(held.getsockname()[1])]
        command += ["--rules", DoorRules(interleaved=False).text()]  # it asks for nothing by itself
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT | {handover.TAKES: "1"})
        with process:
            try:
                ready_of(process)
                until(lambda: not poll.poll(0))
            finally:
                process.kill()


def test_who_took_the_sockets_is_alone_only_when_the_workers_before_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[handover.Taken] = []

    def serve(_options: Any, ports: list[UdpPort], *_: Any, giver: Giver, **__: Any) -> None:
        def gives() -> None:
            while not taken:
                giver.look()
                time.sleep(0.001)

        thread = threading.Thread(target=gives)
        thread.start()
        taken.append(take(tmp_path / "ntp-1.pid", address="127.0.0.1", port=ports[0].port, count=1))
        thread.join(5)

    alone_at_their_end: list[bool] = []
    monkeypatch.setattr(serve_process, "_serve", serve)
    monkeypatch.setattr(serve_process, "_give_up_rights", lambda _options: None)
    monkeypatch.setattr(Workers, "end", lambda _workers: alone_at_their_end.append(taken[0].is_alone()))
    words = ["--page", str(tmp_path / "page"), "--address", "127.0.0.1", "--port", "0"]
    assert serve_process.main([*words, "--pidfile", str(tmp_path / "ntp-1.pid")]) == 0
    assert alone_at_their_end == [False]
    assert taken[0].is_alone()
    os.close(taken[0].descriptors[0])


def test_the_pid_file_names_the_door_before_until_the_one_that_took_its_sockets_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pidfile = tmp_path / "ntp-1.pid"
    pidfile.write_text("4711\n")

    def fails(*_: Any, taken: handover.Taken, **__: Any) -> None:
        assert taken._connection is not None
        taken._connection.close()
        raise RuntimeError("a fault of the new version")

    monkeypatch.setattr(serve_process, "_serve", fails)
    monkeypatch.setattr(serve_process, "_give_up_rights", lambda _options: None)
    monkeypatch.setenv(handover.TAKES, "1")
    counted, gives = tmp_path / "counters", handover.path_of(pidfile)
    counted.write_bytes(b"what the door before counts")
    with a_socket() as held, giving(Giver(pidfile, [held])):
        before = gives.stat().st_ino
        words = ["--page", str(tmp_path / "page"), "--address", "127.0.0.1", "--port", str(held.getsockname()[1])]
        with pytest.raises(RuntimeError):
            serve_process.main([*words, "--pidfile", str(pidfile), "--counters", str(counted)])
        assert gives.stat().st_ino == before, "it gives still"
    assert pidfile.read_text() == "4711\n"
    assert counted.read_bytes() == b"what the door before counts"


def test_a_door_that_cannot_write_its_pid_file_says_so_in_a_line_and_leaves_all_to_the_one_before(
    tmp_path: Path,
) -> None:
    pidfile, counted = tmp_path / "run" / "ntp-1.pid", tmp_path / "run" / "counters"
    with a_folder(tmp_path), a_socket() as held, giving(Giver(pidfile, [held])):
        pidfile.write_text("4711\n")
        counted.write_bytes(b"what the door before counts")
        pidfile.with_name("ntp-1.pid.new").mkdir()  # nothing can be written there
        words = ["--page", str(tmp_path / "run" / "clock.page"), "--address", "127.0.0.1", "--pidfile", str(pidfile)]
        words += ["--port", str(held.getsockname()[1]), "--counters", str(counted)]
        ended = subprocess.run(
            [sys.executable, "-m", doors.SERVE_MODULE, *words],
            env=ENVIRONMENT | {handover.TAKES: "1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert handover.path_of(pidfile).is_socket()
    assert (ended.returncode, ended.stdout) == (serve_process.WRONG_USE, "")
    assert ended.stderr.startswith("serve_process: cannot write ")
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert pidfile.read_text() == "4711\n"
    assert counted.read_bytes() == b"what the door before counts"
    assert not counted.with_name("counters.new").exists()


def test_a_new_giver_takes_the_place_of_the_one_before_which_leaves_it_there(tmp_path: Path) -> None:
    pidfile = tmp_path / "ntp-1.pid"
    with a_socket() as held:
        before = Giver(pidfile, [held])
        with giving(Giver(pidfile, [held])):
            before.close()
            taken = take(pidfile, address="127.0.0.1", port=held.getsockname()[1], count=1)
            os.close(taken.descriptors[0])
        assert taken.is_alone()
        assert not handover.path_of(pidfile).exists()
    unwritable = Giver(tmp_path / "no-such-folder" / "ntp-1.pid", [])
    unwritable.look()  # gives nothing, and harms nobody
    unwritable.close()


LAB = """[lab]
name = "upgraded"
seed = 3
silence_s = 60
[[source]]
name = "world"
kind = "simulated"
scenario = "demo.toml"
[[listener]]
protocol = "ntp"
port = {port}
workers = {workers}
[evidence]
publish = false
[policy]
insecure_software_keys = true
"""


def other_version(folder: Path) -> Path:
    """A copy of this program that calls itself another version; return where it is found."""
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    version = folder / "truechimer" / "_version.py"
    version.write_text(version.read_text(encoding="utf-8").replace(__version__, "9.9.9"), encoding="utf-8")
    return folder


def begun(folder: Path, source: Path, *, machine_code: bool) -> "subprocess.Popen[bytes]":
    """Run `up` of a version; `machine_code`: its door has workers."""
    kept = environment(folder) | {"PYTHONPATH": str(source), "TRUECHIMER_KERNELS": "plain"}
    if machine_code:
        del kept["TRUECHIMER_NO_WORKERS"], kept["TRUECHIMER_KERNELS"]
    return subprocess.Popen(
        [sys.executable, "-m", "truechimer", "up", str(folder / "LAB.toml")],
        env=kept,
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )


def served_by(folder: Path, port: int) -> tuple[int, str]:
    """The process of the door that serves, and the version that it is of."""
    pid = int((folder / "run" / f"ntp-{port}.pid").read_text())
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return pid, words[words.index(b"--version-of-laboratory") + 1].decode()


def workers_of(folder: Path, port: int) -> int:
    """How many workers of the door serve."""
    try:
        return read_counters(folder / "run" / f"ntp-{port}.counters")[WORKERS]
    except CountersRejected:
        return 0


def upgraded_while_served(folder: Path, handovers: int, *, workers: int) -> Asking:
    """Let a laboratory go from version to version and back, while a client asks a thousand times a second. `workers`:
    of the door, each time before it hands over; 0: it serves by itself.
    """
    port = free_port()
    (folder / "lab").mkdir()
    lab, page = folder / "lab", folder / "lab" / "run" / "clock.page"
    (lab / "LAB.toml").write_text(LAB.format(port=port, workers=max(1, workers)))
    (lab / "demo.toml").write_text(DEMO_SCENARIO_TOML)
    versions = [(SOURCE, __version__), (other_version(folder / "other"), "9.9.9")]
    process = begun(lab, SOURCE, machine_code=workers > 0)
    asking = None
    try:
        until(lambda: (found := ask_door(port)) is not None and found.synchronised, patience_s=240.0)
        asking = Asking(port, page=page, clients=8)
        asking.start()
        for number in range(1, handovers + 1):
            until(lambda: workers_of(lab, port) == workers, patience_s=240.0)
            until(lambda: len(asking.served) > 500)
            source, version = versions[number % 2]
            before_pid, written = served_by(lab, port)[0], page.stat().st_mtime_ns
            process.send_signal(signal.SIGUSR2)
            assert process.wait(120) == 0
            assert is_running(before_pid), "its door stays"
            process = begun(lab, source, machine_code=workers > 0)
            until(
                lambda v=version, pid=before_pid: served_by(lab, port)[1] == v and not is_running(pid), patience_s=240
            )  # type: ignore[misc]
            until(lambda at=written: page.stat().st_mtime_ns > at, patience_s=240.0)  # type: ignore[misc]
            answered = len(asking.served)
            until(lambda n=answered: len(asking.served) > n + 500)  # type: ignore[misc]
    finally:
        if asking is not None:
            asking.end()
        process.terminate()
        process.wait(120)
        end_doors(lab)
    assert ask_door(port) is None, "an end that hands nothing over ends the door"
    return asking


MOST_STEP_S = 10e-6


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_laboratory_that_hands_over_leaves_its_door_open_and_any_other_end_does_not(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUECHIMER_NO_WORKERS", "1")
    before = {one: signal.getsignal(one) for one in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)}
    run = Run.copied(tmp_path)
    run.close()
    port = free_port()
    with (tmp_path / "LAB.toml").open("a") as file:
        file.write(f'[[listener]]\nprotocol = "ntp"\nport = {port}\n')
    run = Run.begin(tmp_path, run.machine, early=Early(tmp_path, "faults", Hold(tmp_path)))
    try:
        run.laboratory.open_doors()
        end_on_signals(run.laboratory)
        os.kill(os.getpid(), number)
        assert run.laboratory.ending.is_set()
    finally:
        run.close()
        for one, handler in before.items():
            signal.signal(one, handler)
    (door,) = run.laboratory.doors
    assert ((tmp_path / "run" / f"ntp-{port}.pid").is_file(), door.process.poll() is None) == (
        number is signal.SIGUSR2,
        number is signal.SIGUSR2,
    )
    assert (ask_door(port) is not None) == (number is signal.SIGUSR2)
    doors.end_door(door)


@pytest.mark.acceptance
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_ten_handovers_between_versions_refuse_nobody_and_step_nothing(
    workers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asking = upgraded_while_served(tmp_path, 10, workers=workers)
    step_s, half_s = asking.largest_step_s()
    with capsys.disabled():
        print(
            f"\n  {workers} workers, {asking.asked} questions, 10 handovers: {asking.refused} refused, "
            f"{asking.unanswered} unanswered, "
            f"{asking.doubted} not synchronised; largest step of the page {max(map(abs, asking.steps_s)):.1e} s, of "
            f"what a client saw {step_s:.1e} s, {half_s:.1e} s of which its way may explain",
            end="",
        )
    assert (asking.refused, asking.unanswered, asking.doubted) == (0, 0, 0), asking.asked
    assert max(map(abs, asking.steps_s)) < MOST_STEP_S
    assert step_s < MOST_STEP_S + half_s
