"""`truechimer evidence check-capture`: replies that doors made from logged pages agree; each forgery is named by what
it is; and tshark reads the same captures as we do.
"""

import copy
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.evidence.test_evidence_source import published
from tests.evidence.test_verdict_verb import write
from tests.formats.captures import COOKED_2, ETHERNET, RAW, framed, pcap, pcapng, udp
from tests.laboratory import rig
from tests.laboratory.test_verdict import taught

from truechimer.cli.__main__ import main
from truechimer.formats.capture_file import Capture
from truechimer.formats.datagrams import Datagram, datagram
from truechimer.instants import Instant, builtin_leap_table, ntp64
from truechimer.laboratory.capture import CaptureCheck, Line, lines, seen_in
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.ntp.packet import HEADER, NtpHeader
from truechimer.serve.ntp.server import Client, Reply, respond, transmit_stamp
from truechimer.serve.rx_stamp import RxStamp, StampKind
from truechimer.serve.served_time import serve_at

SECONDS = 40
SERVER, CLIENT = "192.0.2.10", "198.51.100.20"
WAY_NS = 150_000
LEAPS = builtin_leap_table()


@dataclass
class Exchange:
    """One exchange as it was: when the request passed the capture, the request, the reply."""

    t_ns: int
    request: bytes
    reply: bytes


def posix_ns(tai_fs: int) -> int:
    """UTC as a capturing machine's exact clock has it."""
    return tai_fs // 10**6 - ntp64.tai_minus_ntp_s(Instant(tai_fs), LEAPS) * 10**9


def exchange(page: ClockPage, raw_ns: int, true_fs: int, number: int) -> Exchange:
    """Ask the door's own core."""
    request = NtpHeader(transmit=0xABCD_0000_0000_0000 + number).encode()
    rx = RxStamp(raw_ns, StampKind.KERNEL, 1e-6)
    made = respond(request, Client(CLIENT, 40_000), rx=rx, served=serve_at(page, raw_ns + 20_000), precision_log2=-20)
    assert isinstance(made, Reply)
    return Exchange(
        posix_ns(true_fs) - WAY_NS, request, made.with_transmit(transmit_stamp(made, raw_ns + 30_000, last=0))
    )


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Exchange]]:
    """A laboratory's folder and exchanges with its door."""
    lab, world = copy.deepcopy(taught(1))
    made = []
    for n, batch in enumerate(rig.live(world, seconds=SECONDS)):
        page = lab.take(batch).page
        if page is not None:
            raw_ns = batch.raw_ns + 300_000_000
            made.append(exchange(page, raw_ns, world.true_tai_fs(raw_ns), n))
    return write(tmp_path_factory.mktemp("captured") / "lab", lab.records), made


@pytest.fixture(scope="module")
def served(day: tuple[Path, list[Exchange]]) -> list[Line]:
    """The lines of its log."""
    return list(lines(_records(day[0])))


def frames(exchanges: list[Exchange]) -> list[tuple[int, bytes]]:
    out = []
    for one in exchanges:
        out.append((one.t_ns, udp(CLIENT, SERVER, one.request, ports=(40_000, 123))))
        out.append((one.t_ns + 2 * WAY_NS, udp(SERVER, CLIENT, one.reply, ports=(123, 40_000))))
    return out


def captured(path: Path, exchanges: list[Exchange]) -> Path:
    path.write_bytes(pcap([(t, framed(one, ETHERNET)) for t, one in frames(exchanges)], ETHERNET, nanoseconds=True))
    return path


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, object]]:
    status = main(["evidence", "check-capture", *map(str, words), "--json"])
    said = capsys.readouterr()
    assert said.out, said.err
    return status, json.loads(said.out)


def test_what_the_doors_said_agrees_with_the_log_and_with_the_captures_clock(
    day: tuple[Path, list[Exchange]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, made = day
    capture = captured(tmp_path / "a.pcap", made)
    status, found = told(capsys, capture, "--log", folder, "--clock-within", 0.001)
    assert (status, found["findings"]) == (0, [])
    assert found["agree"] == found["replies"] == found["requests"] == len(made) > SECONDS // 2
    low, high = found["served_minus_captured_s"]  # type: ignore[misc]
    assert -1e-3 < low <= high < 0.0
    assert main(["evidence", "check-capture", str(capture), "--log", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"all {len(made)} synchronised replies are what the log bears out\n")
    assert "nobody vouches" in said
    tiles = published(tmp_path / "tiles", [*_records(folder)])
    assert told(capsys, capture, "--log", tiles)[0] == 0


def _records(folder: Path) -> list[bytes]:
    from truechimer.store.sqlite_records import SqliteRecords

    store = SqliteRecords(folder / "evidence" / "records.sqlite3", read_only=True)
    records = list(store.read())
    store.close()
    return records


def field(name: str, change: Callable[[int], int]) -> Callable[[bytes], bytes]:
    """Change one field of a reply's header."""
    names = (
        "first",
        "stratum",
        "poll",
        "precision",
        "delay",
        "dispersion",
        "refid",
        "reference",
        "origin",
        "receive",
        "transmit",
    )

    def forge(reply: bytes) -> bytes:
        values = list(HEADER.unpack(reply))
        at = names.index(name)
        values[at] = bytes(4) if name == "refid" else change(values[at])
        return HEADER.pack(*values)

    return forge


def shifted(by_s: float, *names: str) -> Callable[[bytes], bytes]:
    def forge(reply: bytes) -> bytes:
        for name in names or ("reference", "receive", "transmit"):
            reply = field(name, lambda stamp: (stamp + round(by_s * 2**32)) % 2**64)(reply)
        return reply

    return forge


@pytest.mark.parametrize(
    ("fault", "forge"),
    [
        ("leap", field("first", lambda first: first | 0x40)),
        ("stratum", field("stratum", lambda stratum: stratum + 1)),
        ("refid", field("refid", lambda _: 0)),
        ("bound", field("dispersion", lambda dispersion: dispersion - 3)),
        ("no-line", shifted(0.25)),
        ("no-line", shifted(1e-6, "reference")),
        ("outside", shifted(3600.0)),
        ("outside", shifted(-86_400.0)),
        ("time", shifted(9.0, "receive", "transmit")),
        ("step", shifted(2.0, "receive", "transmit")),
        ("order", shifted(-0.001, "transmit")),
        ("order", shifted(-0.2, "receive")),
        ("order", shifted(-1.0, "receive", "transmit")),
        ("order", field("transmit", lambda _: 0)),
        ("origin", field("origin", lambda origin: origin ^ 1)),
    ],
)
def test_each_forgery_is_named_and_only_the_forged_reply(
    fault: str, forge: Callable[[bytes], bytes], served: list[Line], day: tuple[Path, list[Exchange]]
) -> None:
    made = day[1]
    forged = [Exchange(one.t_ns, one.request, forge(one.reply) if n == 9 else one.reply) for n, one in enumerate(made)]
    check = CaptureCheck(served)
    for number, (t_ns, packet) in enumerate(frames(forged), start=1):
        found = datagram(RAW, packet)
        assert isinstance(found, Datagram)
        source, target = (found.source, found.source_port), (found.target, found.target_port)
        seen = seen_in(found.payload, frame=number, t_ns=t_ns, source=source, target=target)
        assert seen is not None
        check.take(seen)
    named = {one.frame for one in check.held.findings}
    assert fault in {one.fault for one in check.held.findings}, check.held.findings
    assert 20 in named
    assert named <= {20, 22}  # a step is seen where it begins and where it ends


def test_an_unsynchronised_moment_and_a_clock_that_is_vouched_for_convict_a_reply(
    day: tuple[Path, list[Exchange]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log says `acquiring`, the reply calls itself synchronised; and a reply that is replayed a minute later."""
    folder, made = day
    late = [Exchange(one.t_ns + 60 * 10**9, one.request, one.reply) for one in made]
    status, found = told(capsys, captured(tmp_path / "a.pcap", late), "--log", folder, "--clock-within", 1)
    assert (status, set(found["faults"])) == (1, {"time"})  # type: ignore[call-overload]
    status, found = told(capsys, captured(tmp_path / "a.pcap", late), "--log", folder)
    assert status == 0  # without a clock that somebody vouches for nobody can tell
    assert found["served_minus_captured_s"][0] < -59.0  # type: ignore[index]

    def change(data: bytes) -> bytes:
        return data.replace(b'"state":"steered"', b'"state":"acquiring"')

    acquiring = write(tmp_path / "acquiring", [change(one) for one in _records(folder)])
    status, found = told(capsys, captured(tmp_path / "b.pcap", made), "--log", acquiring)
    assert (status, set(found["faults"])) == (1, {"state"})  # type: ignore[call-overload]


def test_other_servers_and_unsynchronised_replies_are_no_accusation(
    day: tuple[Path, list[Exchange]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, made = day
    stranger = udp("203.0.113.5", CLIENT, made[0].reply[:24] + bytes(24), ports=(123, 40_000))
    quiet = udp(SERVER, CLIENT, b"\xe4\0" + made[0].reply[2:], ports=(123, 40_001))
    more = [*frames(made), (made[-1].t_ns + 10**9, stranger), (made[-1].t_ns + 10**9, quiet)]
    file = tmp_path / "c.pcapng"
    file.write_bytes(pcapng([(t, framed(one, COOKED_2)) for t, one in more], COOKED_2, tsresol=9))
    status, found = told(capsys, file, "--log", folder, "--server", SERVER)
    assert status == 0
    assert (found["unsynchronised"], found["passed_over"]) == (1, {"other-server": 1})
    assert told(capsys, file, "--log", folder)[0] == 1
    assert told(capsys, file, "--log", folder, "--server", f"{SERVER}:124")[0] == 1
    for words in (["--server", "host"], ["--server", f"{SERVER}:0"], ["--clock-within", "-1"]):
        assert main(["evidence", "check-capture", str(file), "--log", str(folder), *words]) == 2
    (tmp_path / "text").write_text("no capture at all")
    for bad in (tmp_path / "text", tmp_path / "none", tmp_path):
        assert main(["evidence", "check-capture", str(bad), "--log", str(folder)]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.needs_tshark
def test_tshark_reads_the_same_replies_from_the_same_captures(day: tuple[Path, list[Exchange]], tmp_path: Path) -> None:
    """Every field of every NTP datagram, in every form of file, as an independent dissector has it."""
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not there: apt-get install tshark")
    made = [(t, one) for t, one in frames(day[1])]
    made += [(t, udp("2001:db8::1", "2001:db8::2", one[28:], ports=(123, 40_000))) for t, one in made[:6]]
    for name, data in {
        "a.pcap": pcap([(t, framed(one, ETHERNET, tags=2)) for t, one in made], ETHERNET, order=">"),
        "b.pcapng": pcapng([(t, framed(one, COOKED_2)) for t, one in made], COOKED_2, tsresol=9),
        "c.pcapng": pcapng([(t, framed(one, 101)) for t, one in made], 101, order=">"),
    }.items():
        (tmp_path / name).write_bytes(data)
        words = [
            tshark,
            "-r",
            tmp_path / name,
            "-Y",
            "ntp",
            "-T",
            "json",
            "-x",
            "--no-duplicate-keys",
            "-J",
            "frame ntp",
        ]
        told = subprocess.run(words, capture_output=True, check=True, timeout=120)
        theirs = [one["_source"]["layers"] for one in json.loads(told.stdout)]
        ours = []
        for frame in Capture(data).frames():
            found = datagram(frame.link_type, frame.data)
            assert isinstance(found, Datagram)
            seen = seen_in(found.payload, frame=frame.number, t_ns=frame.t_ns, source=("", 0), target=("", 0))
            assert seen is not None
            ours.append(seen)
        assert len(ours) == len(theirs) == len(made)
        for one, layers in zip(ours, theirs, strict=True):
            ntp, frame_layer = layers["ntp"], layers["frame"]
            raw = bytes.fromhex(layers["ntp_raw"][0])
            assert raw == one.header.encode()
            assert int(frame_layer["frame.number"]) == one.frame
            assert int(ntp["ntp.flags"], 16) == (one.header.leap << 6 | one.header.version << 3 | one.header.mode)
            assert int(ntp["ntp.stratum"]) == one.header.stratum
            seconds, _, fraction = frame_layer["frame.time_epoch"].partition(".")
            assert int(seconds) * 10**9 + int(fraction.ljust(9, "0")[:9]) == one.t_ns
            assert int(ntp["ntp.rootdispersion"]) == one.header.root_dispersion
