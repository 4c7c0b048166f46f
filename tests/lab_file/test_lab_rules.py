"""Faults between keys of LAB.toml: one valid file, then one thing broken at a time, then many at once."""

import pytest

from truechimer.clocks.clock import ClockKind
from truechimer.daemon.lab.host_port import HostPort, split_address
from truechimer.daemon.lab.lab_file import AFTER_THE_FACT, Algorithm, LabFile, ScaleSettings
from truechimer.daemon.lab.lab_rules import InsecureFlags, faults_between_keys
from truechimer.daemon.lab.listener_settings import Protocol
from truechimer.daemon.lab.source_settings import SourceKind
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.toml_tree import read_with_lines
from truechimer.scale.live_state import DEFAULT_LIVE_ALGORITHM, LIVE_ALGORITHMS

VALID = """\
[lab]
name = "lab1"

[[clock]]
name = "H1"
kind = "maser"
bipm_code = 1400001
noise = { white_fm_1s = 1e-13, flicker_fm = 1e-16 }

[[source]]
name = "counters"
kind = "readings"
path = "readings.csv"

[[source]]
name = "p1"
kind = "ntp"
address = "192.0.2.1:123"

[[source]]
name = "gnss"
kind = "link"
to = "UTC.lab2"
path = "gnss.csv"
limit_s = 2e-9

[[listener]]
protocol = "ntp"

[[listener]]
protocol = "console"
"""


def faults(text: str, **flags: bool) -> list[Finding]:
    read = read_with_lines(text.encode(), LabFile)
    return [*read.findings, *faults_between_keys(read, InsecureFlags(**flags))]


def the_fault(text: str, **flags: bool) -> Finding:
    (found,) = faults(text, **flags)
    return found


RECEIVER = """
[[receiver]]
name = "rx1"
link = "UTC.lab2"
path = "rx1.ubx"
latitude_deg = 48.1
longitude_deg = 11.5
height_m = 520.0
"""


def test_a_receiver_that_judges_a_link_is_lawful() -> None:
    assert faults(VALID + RECEIVER) == []


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('link = "UTC.lab2"\npath = "rx', 'link = "H1"\npath = "rx', "bad-link"),
        ("height_m = 520.0", "", "half-an-antenna"),
        ("height_m = 520.0", "height_m = 520.0\nbaud = 9601", "bad-baud"),
        ("height_m = 520.0", "height_m = 520.0" + RECEIVER.replace("rx1", "rx2"), "two-receivers-one-link"),
        ("height_m = 520.0", "height_m = 520.0" + RECEIVER.replace("UTC.lab2", "UTC.lab3"), "duplicate-receiver"),
        ("height_m = 520.0", "height_m = 520.0\nevery_s = 0.0", "out-of-range"),
    ],
)
def test_a_receiver_with_one_thing_wrong_is_refused_with_its_rule(old: str, new: str, rule: str) -> None:
    text = (VALID + RECEIVER).replace(old, new)
    assert text != VALID + RECEIVER
    assert [fault.rule for fault in faults(text)] == [rule]


def line_of(text: str, words: str, *, last: bool = False) -> int:
    lines = [number for number, line in enumerate(text.splitlines(), 1) if words in line]
    return lines[-1 if last else 0]


def test_a_valid_file_has_no_faults_and_the_documented_defaults() -> None:
    assert faults(VALID) == []
    lab = read_with_lines(VALID.encode(), LabFile).value
    assert lab is not None
    assert (lab.lab.name, lab.lab.silence_s, lab.lab.seed) == ("lab1", 600.0, None)
    assert lab.clocks[0].kind is ClockKind.MASER
    assert lab.clocks[0].noise.flicker_fm == 1e-16
    assert (lab.scale.algorithm, lab.scale.tau_weight_s, lab.scale.weight_cap_n) == (Algorithm.AT1, 86400.0, 4.0)
    assert lab.max_age_s(lab.sources[0]) == 10 * lab.scale.interval_s
    assert [door.port_number for door in lab.listeners] == [11123, 11126]
    assert all(door.is_loopback and door.bound_limit_s == 0.001 for door in lab.listeners)
    assert not lab.policy.insecure_software_keys
    assert not lab.is_simulated


def test_a_name_with_sources_and_listeners_alone_is_valid() -> None:
    text = '[lab]\nname = "x"\n[[source]]\nname = "a"\nkind = "ntp"\naddress = "127.0.0.1:11123"\n'
    text += '[[listener]]\nprotocol = "ntp"\n'
    assert faults(text) == []


def test_the_default_operator_is_the_host_and_on_loopback_host_and_port() -> None:
    def operator(address: str, more: str = "") -> str:
        text = f'[lab]\nname = "x"\n[[source]]\nname = "a"\nkind = "ntp"\naddress = "{address}"\n{more}'
        lab = read_with_lines(text.encode(), LabFile).value
        assert lab is not None
        return lab.sources[0].operator_name

    assert operator("192.0.2.1:123") == "192.0.2.1"
    assert operator("ntp.example.net:123") == "ntp.example.net"
    assert operator("127.0.0.1:11123") == "127.0.0.1:11123"
    assert operator("[::1]:11124") == "::1:11124"
    assert operator("localhost:9") == "localhost:9"
    assert operator("192.0.2.1:123", 'operator = "operator-a"') == "operator-a"


@pytest.mark.parametrize(
    ("old", "new", "rule", "words"),
    [
        ('name = "H1"', 'name = "UTC"', "reserved-name", "UTC is reserved"),
        ('name = "H1"', 'name = "host"', "reserved-name", "host is reserved"),
        ('name = "H1"', 'name = "UTC.lab1"', "reserved-name", "reserved"),
        ('name = "H1"', 'name = "H 1"', "bad-name", "letters, digits"),
        ('kind = "maser"', 'kind = "host"', "reserved-name", "is named host"),
        ('kind = "maser"', 'kind = "link"', "reserved-name", "UTC.<lab>, not H1"),
        ('name = "p1"', 'name = "counters"', "duplicate-source", "two sources are named counters"),
        ('path = "readings.csv"', "", "missing-key", "of kind readings needs the key path"),
        ('address = "192.0.2.1:123"', "", "missing-key", "of kind ntp needs the key address"),
        ('to = "UTC.lab2"', "", "missing-key", "of kind link needs the key to"),
        ('to = "UTC.lab2"', 'to = "H2"', "bad-link", "UTC, UTCr or UTC.<lab>"),
        ('"192.0.2.1:123"', '"192.0.2.1"', "bad-address", "HOST:PORT"),
        ('"192.0.2.1:123"', '"192.0.2.1:0"', "bad-address", "from 1 to 65535"),
        ('"192.0.2.1:123"', '"2001:db8::1:123"', "bad-address", "around IPv6"),
        ('path = "readings.csv"', 'path = "a"\npoll_s = 4', "key-of-another-kind", "no use for the key poll_s"),
        ('kind = "ntp"\n', 'kind = "nts"\n', "not-built", "nts is not built yet in this version"),
        ('protocol = "console"', 'protocol = "roughtime"', "not-built", "roughtime is not built yet"),
        ('protocol = "console"', 'protocol = "nts"', "not-built", "nts is not built yet"),
        ('protocol = "console"', 'protocol = "console"\naddress = "localhost"', "bad-address", "not an IP address"),
        ('protocol = "console"', 'protocol = "ntp"', "same-port-twice", "127.0.0.1 port 11123 (its default"),
        ('protocol = "console"', 'protocol = "ntp"\naddress = "0.0.0.0"', "same-port-twice", "both want"),
        ('protocol = "console"', 'protocol = "ntp"\naddress = "::"', "same-port-twice", "both want"),
        ("[[clock]]", '[scale]\nalgorithm = "algos"\n[[clock]]', "after-the-fact", "use bands, at1 or kalman"),
    ],
)
def test_one_fault_between_keys_is_named_with_what_to_do(old: str, new: str, rule: str, words: str) -> None:
    assert old in VALID
    fault = the_fault(VALID.replace(old, new))
    assert (fault.rule, fault.severity) == (rule, Severity.ERROR)
    assert words in fault.says
    assert fault.line is not None


def test_two_clocks_with_one_name_are_named_with_both_lines() -> None:
    text = VALID + '[[clock]]\nname = "H1"\nkind = "caesium"\n'
    fault = the_fault(text)
    assert fault.rule == "duplicate-clock"
    assert fault.line == line_of(text, '"H1"', last=True)
    assert f"line {line_of(text, 'H1')}" in fault.says


def test_doors_that_differ_in_port_transport_or_address_do_not_clash() -> None:
    doors = """
[lab]
name = "x"
[[source]]
name = "r"
kind = "readings"
path = "r.csv"
[[listener]]
protocol = "ntp"
[[listener]]
protocol = "console"
port = 11123
[[listener]]
protocol = "ntp"
address = "::1"
[[listener]]
protocol = "ntp"
address = "127.0.0.2"
[[listener]]
protocol = "ntp"
port = 11999
"""
    assert faults(doors) == []


SIMULATED = """\
[lab]
name = "x"
[[source]]
name = "s"
kind = "simulated"
scenario = "demo.toml"
[[listener]]
protocol = "ntp"
"""


def test_simulated_time_leaves_the_machine_only_with_an_ugly_word() -> None:
    assert faults(SIMULATED) == []
    text = SIMULATED + 'address = "192.0.2.1"\n'
    assert the_fault(text).rule == "simulated-to-others"
    assert the_fault(text, mix_simulated=True).rule == "simulated-to-others"
    assert faults(text, serve_simulated_time=True) == []


def test_simulated_and_real_sources_mix_only_with_an_ugly_word() -> None:
    text = SIMULATED + '[[source]]\nname = "p"\nkind = "ntp"\naddress = "192.0.2.1:123"\n'
    assert the_fault(text).rule == "simulated-beside-real"
    assert the_fault(text, serve_simulated_time=True).rule == "simulated-beside-real"
    assert faults(text, mix_simulated=True) == []


def test_chrony_is_read_in_one_way_and_by_its_usual_socket_where_none_is_named() -> None:
    base = '[lab]\nname = "x"\n[[source]]\nname = "c"\nkind = "chrony"\n'
    assert faults(base) == []
    assert faults(base + 'socket = "/run/x.sock"\noperator = "one"\npoll_s = 0.5\nown_refid = "US"\n') == []
    assert faults(base + 'logdir = "/var/log/chrony"\nlimit_s = 1e-3\n') == []
    both = base + 'socket = "/run/x.sock"\nlogdir = "/var/log/chrony"\n'
    assert [fault.rule for fault in faults(both)] == ["two-ways"]
    assert [fault.rule for fault in faults(base + 'path = "x.csv"\n')] == ["key-of-another-kind"]
    assert [fault.rule for fault in faults(base + 'own_refid = "GPS 1"\n')] == ["bad-text"]


SOCK = '[[listener]]\nprotocol = "chrony-sock"\n'


def test_a_chrony_sock_door_has_a_path_and_the_others_have_none() -> None:
    base = '[lab]\nname = "x"\n[[source]]\nname = "p"\nkind = "ntp"\naddress = "ntp1.example.net:123"\n'
    good = base + SOCK + 'path = "/run/chrony/t.sock"\nperiod_s = 0.5\nbound_limit_s = 0.01\n'
    assert faults(good) == []
    assert [fault.rule for fault in faults(base + SOCK)] == ["missing-key"]
    assert [fault.rule for fault in faults(good + "port = 11123\n")] == ["key-of-another-kind"]
    assert [fault.rule for fault in faults(good + 'address = "192.0.2.1"\n')] == ["key-of-another-kind"]
    ntp = base + '[[listener]]\nprotocol = "ntp"\n'
    assert [fault.rule for fault in faults(ntp + 'path = "/run/t.sock"\n')] == ["key-of-another-kind"]
    assert [fault.rule for fault in faults(good + good[len(base) :])] == ["same-path-twice"]
    assert [fault.rule for fault in faults(good.replace("0.5", "0.0"))] == ["out-of-range"]


def test_a_simulated_laboratory_disciplines_no_clock_without_the_ugly_word() -> None:
    text = '[lab]\nname = "x"\n[[source]]\nname = "s"\nkind = "simulated"\nscenario = "s.toml"\n'
    text += SOCK + 'path = "/run/chrony/t.sock"\n'
    assert [fault.rule for fault in faults(text)] == ["simulated-to-others"]
    assert faults(text, serve_simulated_time=True) == []


def test_a_laboratory_that_may_follow_itself_through_chronyd_is_warned_once() -> None:
    text = '[lab]\nname = "x"\n[[source]]\nname = "c"\nkind = "chrony"\n'
    door = SOCK + 'path = "/run/chrony/t.sock"\n'
    (found,) = faults(text + door)
    assert (found.rule, found.severity) == ("may-follow-itself", Severity.WARNING)
    assert "refid TRUE" in found.says
    assert faults(text + 'own_refid = "US"\n' + door) == []


def test_what_is_lawful_but_useless_is_a_warning() -> None:
    assert [fault.rule for fault in faults('[lab]\nname = "x"\n')] == ["no-source"]
    text = '[lab]\nname = "x"\n[[clock]]\nname = "H1"\nkind = "maser"\n'
    text += '[[source]]\nname = "a"\nkind = "ntp"\naddress = "a.example:1"\n'
    assert [fault.rule for fault in faults(text)] == ["clocks-without-readings"]
    text = VALID.replace('name = "lab1"', 'name = "lab1"\nsilence_s = 10')
    assert [fault.rule for fault in faults(text)] == ["silence-too-short"]
    every = [*faults('[lab]\nname = "x"\n'), *faults(text)]
    assert all(fault.severity is Severity.WARNING for fault in every)


def test_faults_of_single_keys_do_not_hide_faults_between_keys() -> None:
    text = """\
[lab]
nmae = "x"
silence_ms = 3
[[clock]]
name = "H1"
kind = "maser"
[[clock]]
name = "H1"
kind = "maser"
[[source]]
name = "a"
kind = "ntp"
[[source]]
name = "a"
kind = "sundial"
[[listener]]
protocol = "ntp"
[[listener]]
protocol = "ntp"
port = "11123"
[[listener]]
protocol = "ntp"
"""
    found = sorted((fault.line, fault.rule) for fault in faults(text))
    assert found == [
        (2, "unknown-key"),
        (3, "wrong-unit"),
        (8, "duplicate-clock"),
        (10, "missing-key"),
        (15, "not-a-choice"),
        (20, "wrong-type"),
        (21, "same-port-twice"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ntp.example.net:123", HostPort("ntp.example.net", 123)),
        ("192.0.2.1:65535", HostPort("192.0.2.1", 65535)),
        ("[2001:db8::1]:123", HostPort("2001:db8::1", 123)),
        ("localhost:11123", HostPort("localhost", 11123)),
        ("a:1", HostPort("a", 1)),
        ("", None),
        (":123", None),
        ("a", None),
        ("a:", None),
        ("a:b", None),
        ("a:-1", None),
        ("a:65536", None),
        ("a:٣", None),
        ("a:000123", None),
        ("2001:db8::1", None),
        ("[192.0.2.1]:123", None),
        ("[a]:123", None),
        ("192.0.2.256:123", None),
        ("1.2.3:123", None),
        ("a b:123", None),
        ("-a:123", None),
        ("a..b:123", None),
    ],
)
def test_an_address_is_a_host_and_a_port_or_nothing(text: str, expected: HostPort | None) -> None:
    assert split_address(text) == expected


def test_every_kind_and_protocol_of_the_contract_is_in_the_grammar() -> None:
    assert {kind.value for kind in SourceKind} == {"simulated", "ntp", "nts", "chrony", "readings", "link", "watchdog"}
    assert {"ntp", "nts", "roughtime", "console"} <= {protocol.value for protocol in Protocol}
    assert {algorithm.value for algorithm in Algorithm} == {"bands", "at1", "kalman", "algos"}
    assert {one.value for one in Algorithm} - {one.value for one in AFTER_THE_FACT} == set(LIVE_ALGORITHMS)
    assert ScaleSettings().algorithm.value == DEFAULT_LIVE_ALGORITHM


def test_a_server_may_be_trusted_less_than_it_says_of_itself() -> None:
    base = '[lab]\nname = "x"\n[[source]]\nname = "a"\nkind = "ntp"\naddress = "192.0.2.1:123"\n'
    assert faults(base + "u_s = 1e-4\nlimit_s = 1e-3\n") == []
    assert faults(base + "limit_s = -1e-3\n") != []


@pytest.mark.parametrize("algorithm", ["bands", "kalman"])
def test_who_chooses_another_algorithm_is_told_what_it_does_not_do(algorithm: str) -> None:
    scale = f'[scale]\nalgorithm = "{algorithm}"\nweight_cap_n = 3.0\n'
    found = faults(VALID + scale)
    assert [one.rule for one in found] == ["judges-late", "key-of-another-algorithm"]
    assert {one.severity for one in found} == {Severity.WARNING}
    assert [one.line for one in found] == [line_of(VALID + scale, "algorithm"), line_of(VALID + scale, "weight_cap_n")]
    assert faults(VALID + scale.replace(algorithm, "at1")) == []


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ("ntpv5 = true\n", {"smear-of-version-5"}),
        ("accelerator = true\n", {"smear-by-itself"}),
        ("", set()),
    ],
)
def test_a_door_that_smears_speaks_no_version_5_and_is_not_accelerated(keys: str, found: set[str]) -> None:
    door = '[[listener]]\nprotocol = "ntp"\n'
    text = VALID.replace(door, f'{door}smear = "linear-24h"\n{keys}')
    assert {each.rule for each in faults(text) if "smear" in each.rule} == found


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ('hardware = "eth0"\naddress = "192.0.2.1"\n', set()),
        ('hardware = "eth0"\naddress = "0.0.0.0"\n', {"hardware-everywhere"}),
        ('hardware = "eth0"\naddress = "::"\n', {"hardware-everywhere"}),
        ('hardware = "a/b"\n', {"no-such-interface"}),
        ('hardware = ""\n', {"no-such-interface"}),
    ],
)
def test_a_card_stamps_for_a_door_on_its_own_address(keys: str, found: set[str]) -> None:
    door = '[[listener]]\nprotocol = "ntp"\n'
    rules = {each.rule for each in faults(VALID.replace(door, door + keys))}
    assert rules & {"hardware-everywhere", "no-such-interface"} == found
