"""chrony.conf as far as it names servers: lines as chrony.conf(5) allows them, and anything else."""

from hypothesis import given
from hypothesis import strategies as st

from truechimer.formats import chrony_conf

TEXT = b"""\
# server commented.example
! server too.example
; server three.example
% server four.example
server ntp1.example.net iburst
  Server\tntp2.example.net  port 1123 minpoll 4 maxpoll 6
pool pool.example.net iburst maxsources 4
peer 2001:db8::1
server nts.example.net iburst nts
server key.example.net key nts
confdir /etc/chrony/conf.d /run/chrony
sourcedir /etc/chrony/sources.d
include /etc/chrony/*.more
refclock PHC /dev/ptp0
makestep 1 3
"""


def test_the_command_socket_is_the_one_with_a_path() -> None:
    conf, _ = chrony_conf.read(b"bindcmdaddress 127.0.0.1\nBindCmdAddress /run/x/c.sock\nbindcmdaddress ::1\n")
    assert conf.command_socket == "/run/x/c.sock"


def test_every_way_to_name_a_server_is_read() -> None:
    conf, findings = chrony_conf.read(TEXT)
    assert findings == []
    assert [(each.directive, each.host, each.port, each.nts, each.minpoll, each.line) for each in conf.sources] == [
        ("server", "ntp1.example.net", 123, False, 6, 5),
        ("server", "ntp2.example.net", 1123, False, 4, 6),
        ("pool", "pool.example.net", 123, False, 6, 7),
        ("peer", "2001:db8::1", 123, False, 6, 8),
        ("server", "nts.example.net", 123, True, 6, 9),
        ("server", "key.example.net", 123, False, 6, 10),  # the value of `key` is no option
    ]
    assert [(each.directive, each.paths) for each in conf.folders] == [
        ("confdir", ("/etc/chrony/conf.d", "/run/chrony")),
        ("sourcedir", ("/etc/chrony/sources.d",)),
        ("include", ("/etc/chrony/*.more",)),
    ]
    assert conf.has_reference_clock
    assert conf.command_socket is None


def test_what_is_not_read_is_named_with_its_line() -> None:
    conf, findings = chrony_conf.read(
        b"server a.example iburst xleave offset 0.001 maxpoll 9 noselect\nMakeStep 1 3\nmakestpe 1 3\n"
        b"server b.example key 5 prefer extfield F323\nrefclock PPS /dev/pps0 lock NMEA\n"
    )
    assert findings == []
    assert [(each.left_out, each.has_key, each.is_not_selected) for each in conf.sources] == [
        (("xleave", "offset 0.001"), False, True),
        (("prefer", "extfield F323"), True, False),
    ]
    assert [(each.name, each.words, each.line, each.is_known) for each in conf.others] == [
        ("makestep", ("1", "3"), 2, True),
        ("makestpe", ("1", "3"), 3, False),
        ("refclock", ("PPS", "/dev/pps0", "lock", "NMEA"), 5, True),
    ]


def test_a_line_that_cannot_be_read_costs_no_other_line() -> None:
    conf, findings = chrony_conf.read(b"server\nserver a.example port x\nserver b.example port 0\nserver c.example\n")
    assert [(finding.rule, finding.line) for finding in findings] == [
        ("no-host", 1),
        ("bad-option", 2),
        ("bad-option", 3),
    ]
    assert [(each.host, each.port) for each in conf.sources] == [
        ("a.example", 123),
        ("b.example", 123),
        ("c.example", 123),
    ]


@given(
    st.one_of(st.binary(max_size=200), st.lists(st.sampled_from([*TEXT.split(), b"\n", b"9" * 5000])).map(b" ".join))
)
def test_no_bytes_raise(data: bytes) -> None:
    conf, _ = chrony_conf.read(data)
    assert all(1 <= source.port <= 65535 for source in conf.sources)
