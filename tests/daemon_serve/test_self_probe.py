"""The door's own client finds what is wrong between the page and the wire, and the laboratory says it."""

from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.daemon_serve.doors import a_door, a_live_page, a_page_in
from tests.waits import until

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.cli.status_verb import screen
from truechimer.daemon.door import counters as names
from truechimer.daemon.door.counters import BARRED_SAYS, Barred, Counters, read_counters
from truechimer.daemon.door.door_rules import DoorRules, Gatekeeper
from truechimer.daemon.door.door_watch import LOOK_EVERY_S, DoorWatch
from truechimer.daemon.door.doors import Door
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.listener_settings import Listener, Protocol
from truechimer.daemon.ntp.ntp_exchange import NtpExchange
from truechimer.daemon.ntp.self_probe import TO_THE_SOCKETS, SelfProbe
from truechimer.daemon.page_file import PageReader
from truechimer.instants import FS_PER_S
from truechimer.quorum.listener_policy import ListenerPolicy
from truechimer.serve.ntp.client import AnswerDoubt, NtpAnswer, make_request
from truechimer.serve.ntp.packet import NtpLeap, TailKind, tail_of
from truechimer.serve.ntp.reply import stamp_at
from truechimer.serve.ntp.smear import bent
from truechimer.serve.rx_stamp import RxStamp, StampKind

UNITS_PER_NS = 2**32 / 1e9


def an_exchange(page: Any, *, t2_late_ns: int, t3_early_ns: int, delay_ns: int) -> NtpExchange:
    """Return an exchange of `delay_ns` there and back, whose stamps are off by so much."""
    sent = page.anchor_raw_ns + 10**6
    served_ns, came = 30_000, sent + delay_ns + 30_000
    receive = stamp_at(page, sent + delay_ns // 2 + t2_late_ns)
    transmit = stamp_at(page, sent + delay_ns // 2 + served_ns - t3_early_ns)
    answer = NtpAnswer(
        leap=NtpLeap.NONE, version=4, stratum=1, poll_log2=0, precision_log2=-23, root_delay_s=0.0,
        root_dispersion_s=1e-5, refid=b"TRUE", reference=0, receive=receive, transmit=transmit, doubt=None, kiss=None,
    )  # fmt: skip
    rx = RxStamp(came, StampKind.KERNEL, 5e-6)
    return NtpExchange(address="", sent_raw_ns=sent, rx=rx, answer=answer, delay_s=None, rejected=0)


@pytest.mark.parametrize(
    ("t2_late_ns", "t3_early_ns", "error_ns"),
    [(0, 0, 0), (300_000, 0, 150_000), (0, 6_000, -3_000), (-(10**9), 0, -5e8)],
)
def test_a_stamp_read_at_the_wrong_place_is_the_error_that_a_client_would_have(
    tmp_path: Path, t2_late_ns: int, t3_early_ns: int, error_ns: float
) -> None:
    page = a_live_page()
    with a_page_in(tmp_path, page):
        pages = PageReader(tmp_path / "page")
    found = an_exchange(page, t2_late_ns=t2_late_ns, t3_early_ns=t3_early_ns, delay_ns=40_000)
    probe = SelfProbe("127.0.0.1", 1, pages, clocks=HostClocks(), ask=lambda *_: found)
    probe.turn()
    assert probe.seen.error_ns == pytest.approx(error_ns, abs=2)
    assert (probe.seen.asked, probe.seen.unanswered, probe.seen.timed) == (1, 0, 1)
    late = an_exchange(page, t2_late_ns=10**7, t3_early_ns=0, delay_ns=9 * 10**7)
    probe._ask = lambda *_: late
    probe.turn()  # a slow answer says less than a quick one
    assert probe.seen.error_ns == pytest.approx(error_ns, abs=2)
    probe._ask = lambda *_: None
    probe.turn()
    assert (probe.seen.asked, probe.seen.unanswered, probe.seen.timed) == (3, 1, 2)


@dataclass
class Watched:
    """A door whose counters a test writes."""

    counters_file: Counters
    watch: DoorWatch
    door: Any
    now_s: list[float]

    def look(self, **figures: int) -> list[Any]:
        for name, value in figures.items():
            self.counters_file.put(name, value)
        self.counters_file.flush()
        self.now_s[0] += LOOK_EVERY_S
        return self.watch.look([self.door], Path(), allow_simulated=True)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    path, now_s = tmp_path / "counters", [0.0]
    listener = SimpleNamespace(protocol=SimpleNamespace(value="ntp"), accelerator=False)
    process = SimpleNamespace(poll=lambda: None)
    door = SimpleNamespace(process=process, counters=path, listener=listener, where="on 127.0.0.1 port 1")
    return Watched(Counters(path), DoorWatch(monotonic_s=lambda: now_s[0]), door, now_s)


def test_a_wrong_answer_is_said_once_and_again_only_after_it_was_right(watched: Watched) -> None:
    right = {names.PROBES: 3, names.PROBES_TIMED: 3, names.SERVE_ERROR_NS: 24_000}
    assert watched.look(**right, **{names.SERVE_ERROR_HALF_DELAY_NS: 15_000}) == []
    (told,) = watched.look(**{names.PROBES: 4, names.SERVE_ERROR_NS: -26_000})
    assert (told.kind, told.severity) == (AlertKind.SERVE_ERROR, AlertSeverity.CRITICAL)
    assert "-0.000026 s" in told.says
    assert watched.look(**{names.PROBES: 5}) == []
    assert watched.look(**{names.PROBES: 6, names.SERVE_ERROR_NS: 0}) == []
    assert len(watched.look(**{names.PROBES: 7, names.SERVE_ERROR_NS: 10**9})) == 1


def test_a_door_that_does_not_answer_its_own_client_is_said_once(watched: Watched) -> None:
    told = [watched.look(**{names.PROBES: 10 + n, names.PROBES_UNANSWERED: 2 + n}) for n in range(9)]
    assert [len(one) for one in told] == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert told[5][0].severity is AlertSeverity.WARNING
    assert watched.look(**{names.PROBES: 20, names.PROBES_UNANSWERED: 10}) == []


def test_what_the_rules_forbid_is_neither_silence_nor_wrong_and_what_comes_after_is_said_anew(watched: Watched) -> None:
    off = {names.PROBES: 3, names.PROBES_TIMED: 3, names.SERVE_ERROR_NS: 10**9}
    assert len(watched.look(**off)) == 1
    barred = {names.PROBE_BARRED: Barred.DENIED, names.SERVE_ERROR_NS: 0}
    assert [watched.look(**barred) for _ in range(9)] == [[]] * 9
    (told,) = watched.look(**off, **{names.PROBE_BARRED: Barred.NO})
    assert told.severity is AlertSeverity.CRITICAL


def test_an_answer_from_below_the_sockets_may_be_off_by_what_it_states(watched: Watched) -> None:
    watched.door.listener.accelerator = True
    assert watched.look(**{names.PROBES: 1, names.PROBES_TIMED: 1, names.SERVE_ERROR_NS: 34_000}) == []
    assert len(watched.look(**{names.SERVE_ERROR_NS: 36_000})) == 1


def a_probe(page: Any, folder: Path, rules: DoorRules, **changes: Any) -> SelfProbe:
    """Return a probe of a door with these rules, on 127.0.0.1 where nothing else is said."""
    with a_page_in(folder, page):
        pages = PageReader(folder / "page")
    words: dict[str, Any] = {"gate": Gatekeeper(rules, secret=bytes(range(256))), "clocks": HostClocks()} | changes
    return SelfProbe(words.pop("address", "127.0.0.1"), 1, pages, **words)


@pytest.mark.parametrize(
    ("rules", "barred"),
    [
        (DoorRules(allow=("192.0.2.0/24",)), Barred.DENIED),
        (DoorRules(allow=("127.0.0.0/8",), deny=("127.0.0.1/32",), denied="kiss"), Barred.DENIED),
        (DoorRules(allow=("127.0.0.1/32",), rate_per_s=0.01), Barred.NO),
        (DoorRules(rate_loopback=True, rate_per_s=1.0), Barred.RATE),
        (DoorRules(rate_loopback=True, rate_per_s=2.0, rate_burst=1), Barred.NO),
        (DoorRules(rate_loopback=True, rate_per_s=0.0), Barred.NO),
    ],
)
@pytest.mark.parametrize("address", ["0.0.0.0", "127.3.4.5"])
def test_who_the_rules_refuse_does_not_ask_and_says_why(
    tmp_path: Path, rules: DoorRules, barred: Barred, address: str
) -> None:
    asked: list[object] = []

    def ask(*words: object) -> None:
        asked.append(words)

    probe = a_probe(a_live_page(), tmp_path, rules, address=address, ask=ask)
    probe.turn()
    told = Counters()
    probe.put_into(told)
    assert told[names.PROBE_BARRED] == barred
    assert len(asked) == told[names.PROBES] == told[names.PROBES_UNANSWERED] == (barred is Barred.NO)


@pytest.mark.parametrize("barred", Barred)
def test_status_says_why_a_door_is_not_asked(tmp_path: Path, barred: Barred) -> None:
    counters = Counters(tmp_path / "counters")
    counters.put(names.PROBE_BARRED, barred)
    counters.close()
    process = SimpleNamespace(pid=1, returncode=None)
    row = Door(Listener(protocol=Protocol.NTP, port=123), process, 123, tmp_path / "counters").row()  # type: ignore[arg-type]
    text = "\n".join(screen({"state": "steered", "listeners": [row]}))
    words = BARRED_SAYS.get(barred)
    assert row.get("self_probe") == (words and {"asks": False, "because": words})
    assert ("its own client does not ask" in text) is (words is not None)
    assert (words or "") in text


@pytest.mark.parametrize(
    ("error_ns", "half_ns", "accelerator", "off"),
    [
        (0, 0, False, False),
        (-9_999, 0, False, False),
        (10_001, 0, False, True),
        (-12_000, 3_000, False, False),
        (34_000, 0, True, False),
        (35_001, 0, True, True),
    ],
)
def test_status_says_how_far_a_doors_answers_are_off_its_page(
    tmp_path: Path, error_ns: int, half_ns: int, accelerator: bool, off: bool
) -> None:
    counters = Counters(tmp_path / "counters")
    for name, count in {
        names.PROBES: 7,
        names.PROBES_UNANSWERED: 2,
        names.PROBES_TIMED: 5,
        names.SERVE_ERROR_NS: error_ns,
        names.SERVE_ERROR_HALF_DELAY_NS: half_ns,
    }.items():
        counters.put(name, count)
    counters.close()
    listener = Listener(protocol=Protocol.NTP, port=123, accelerator=accelerator)
    row = Door(listener, SimpleNamespace(pid=1, returncode=None), 123, tmp_path / "counters").row()  # type: ignore[arg-type]
    assert row["self_probe"] == {
        "asks": True,
        "questions": 7,
        "unanswered": 2,
        "error_s": error_ns / 1e9,
        "half_delay_s": half_ns / 1e9,
        "explained_s": (half_ns + (35_000 if accelerator else 10_000)) / 1e9,
        "is_off": off,
    }
    text = " ".join("\n".join(screen({"state": "steered", "listeners": [row]})).split())
    assert ("WRONG" in text) is off
    assert "by its own client" in text


def test_an_order_that_closes_a_door_to_this_machine_ends_the_asking_and_the_figures(tmp_path: Path) -> None:
    page = a_live_page()
    found = an_exchange(page, t2_late_ns=0, t3_early_ns=0, delay_ns=40_000)
    probe = a_probe(page, tmp_path, DoorRules(), ask=lambda *_: found)
    probe.turn()
    assert probe.seen.error_ns is not None
    probe._gate.use_policy(ListenerPolicy("ntp-1", (ip_network("192.0.2.0/24"),), 0.001))  # type: ignore[union-attr]
    probe.turn()
    assert (probe.seen.asked, probe.seen.error_ns, probe.seen.barred) == (1, None, Barred.DENIED)
    probe._gate.use_policy(None)  # type: ignore[union-attr]
    probe.turn()
    assert (probe.seen.asked, probe.seen.timed, probe.seen.barred) == (2, 2, Barred.NO)


@pytest.mark.parametrize(("rate_loopback", "counted"), [(True, "refused"), (False, "unanswered")])
def test_no_answer_is_a_refusal_where_the_rate_counts_this_machine_and_the_door_refused_somebody(
    tmp_path: Path, rate_loopback: bool, counted: str
) -> None:
    counts = iter(range(100))
    rules = DoorRules(rate_loopback=rate_loopback)
    probe = a_probe(a_live_page(), tmp_path, rules, ask=lambda *_: None, refusals=lambda: next(counts))
    probe.turn()
    assert {name: getattr(probe.seen, name) for name in ("refused", "unanswered")} == {
        "refused": 0,
        "unanswered": 0,
        counted: 1,
    }
    probe._refusals = lambda: 7  # nobody was refused meanwhile
    probe.turn()
    assert probe.seen.unanswered == 1 + (counted == "unanswered")


def test_a_kiss_is_a_refusal_and_no_silence(tmp_path: Path) -> None:
    page = a_live_page()
    kiss = an_exchange(page, t2_late_ns=0, t3_early_ns=0, delay_ns=40_000)
    kiss = replace(kiss, answer=replace(kiss.answer, stratum=0, kiss="RATE", doubt=AnswerDoubt.KISS))
    probe = a_probe(page, tmp_path, DoorRules(rate_loopback=True), ask=lambda *_: kiss)
    probe.turn()
    assert (probe.seen.asked, probe.seen.refused, probe.seen.unanswered, probe.seen.timed) == (1, 1, 0, 0)


def test_a_door_that_smears_is_held_against_its_smear(tmp_path: Path) -> None:
    live = a_live_page()
    leap_s = live.anchor_tai_fs // FS_PER_S + 3_600  # three quarters of the smear's first half are over
    page = replace(live, next_leap_tai_s=leap_s, next_tai_minus_utc_s=live.tai_minus_utc_s + 1)
    served = bent(page, page.anchor_raw_ns).page
    found = an_exchange(served, t2_late_ns=0, t3_early_ns=0, delay_ns=40_000)
    smearing = a_probe(page, tmp_path, DoorRules(smear="linear-24h"), ask=lambda *_: found)
    smearing.turn()
    assert smearing.seen.error_ns == pytest.approx(0, abs=2)
    plain = a_probe(page, tmp_path, DoorRules(), ask=lambda *_: found)
    plain.turn()
    assert abs(plain.seen.error_ns or 0) > 10**8


def test_where_an_accelerator_answers_the_sockets_are_asked_as_well_and_the_worse_is_told(tmp_path: Path) -> None:
    page = a_live_page()
    below = an_exchange(page, t2_late_ns=0, t3_early_ns=0, delay_ns=10_000)
    above = an_exchange(page, t2_late_ns=10**6, t3_early_ns=-(10**6), delay_ns=60_000)
    tails = (b"", TO_THE_SOCKETS)
    probe = a_probe(page, tmp_path, DoorRules(), ask=lambda *words: above if words[3] else below, tails=tails)
    probe.turn()
    assert probe.seen.error_ns == pytest.approx(10**6, abs=2)
    probe._ask = lambda *words: None if words[3] else below
    probe.turn()
    assert (probe.seen.asked, probe.seen.unanswered) == (2, 1), "the accelerator does not cover for dead sockets"
    assert tail_of(make_request(5) + TO_THE_SOCKETS, version=4) == (TailKind.FIELDS, 0)


@pytest.mark.slow
def test_a_real_door_says_within_microseconds_what_it_serves(tmp_path: Path) -> None:
    with a_page_in(tmp_path), a_door(tmp_path) as door:
        until(lambda: read_counters(door.counters_path())[names.PROBES_TIMED] >= 2)
        counts = read_counters(door.counters_path())
    assert abs(counts[names.SERVE_ERROR_NS]) <= counts[names.SERVE_ERROR_HALF_DELAY_NS] + 10_000
    assert counts[names.PROBES_UNANSWERED] == 0
