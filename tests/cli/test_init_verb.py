"""`truechimer init`: what it writes passes `check`, explains every key, and overwrites nothing."""

import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import socket
import tempfile
import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truechimer.cli.__main__ import main
from truechimer.cli.init_from_chrony import FromChrony, operator_of
from truechimer.clocks.clock import Clock
from truechimer.daemon.lab.host_port import HostPort
from truechimer.daemon.lab.lab_file import LabFile
from truechimer.daemon.lab.lab_rules import InsecureFlags, faults_between_keys
from truechimer.daemon.lab.lab_template import Template, lab_toml
from truechimer.formats.toml_fields import TomlField, fields_of, is_table, item_of, members_of
from truechimer.formats.toml_tree import read, read_with_lines

DEBIAN = """\
# What stands in the file that Debian installs, without its words.
confdir /nowhere/conf.d
pool 2.debian.pool.ntp.org iburst
sourcedir /nowhere/sources.d
keyfile /etc/chrony/chrony.keys
driftfile /var/lib/chrony/chrony.drift
ntsdumpdir /var/lib/chrony
#log tracking measurements statistics
logdir /var/log/chrony
maxupdateskew 100.0
rtcsync
makestep 1 3
leapsectz right/UTC
"""
OF_CHRONY_ALONE = ("keyfile", "drift", "ntsdump", "logdir", "max", "rtc", "makestep", "leap")


def every_field(cls: type) -> list[tuple[type, TomlField]]:
    found = []
    for item in fields_of(cls):
        found.append((cls, item))
        for member in members_of(item.hint):
            inner = item_of(member) or member
            if is_table(inner):
                found += every_field(inner)
    return found


def test_a_new_folder_gets_a_file_that_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "my lab"
    assert main(["init", str(folder)]) == 0
    assert "laboratory my-lab, 0 sources" in capsys.readouterr().out
    text = (folder / "LAB.toml").read_text()
    assert text.startswith("#:schema ./lab.schema.json\n")
    schema = json.loads((folder / "lab.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(tomllib.loads(text))
    assert main(["check", str(folder / "LAB.toml")]) in {0, 1}  # 1 only where a default port is taken on this machine
    value, findings = read(text.encode(), LabFile)
    assert findings == []
    assert value is not None
    assert value.lab.name == "my-lab"
    assert [door.protocol for door in value.listeners] == ["ntp", "console"]


def test_every_key_is_explained_with_unit_range_default_and_consequence() -> None:
    flat = " ".join(line.lstrip("# ") for line in lab_toml(Template(name="x")).splitlines())
    for cls, item in every_field(LabFile):
        assert item.key in flat
        if is_table(item.hint) or item_of(item.hint) is not None or cls is Clock:
            continue  # tables are explained key by key; the clock's own words stand with the clock
        assert item.doc, f"{cls.__name__}.{item.key} does not say what it is"
        assert item.wrong, f"{cls.__name__}.{item.key} does not say what goes wrong otherwise"
        assert item.doc in flat
        assert item.wrong[1:] in flat
        assert item.unit_words in flat
        assert item.range_words in flat


def test_a_default_that_is_uncommented_changes_nothing() -> None:
    text = lab_toml(Template(name="x"))
    opened = re.sub(r"(?m)^# ([a-z_]+ = )", r"\1", text)
    assert opened.count(" = ") > text.count("\n# ") / 10
    plain, _ = read(text.encode(), LabFile)
    value, findings = read(opened.encode(), LabFile)
    assert findings == []
    assert value is not None
    assert plain is not None
    assert value.lab.leap_seconds_file == "leap-seconds.list"  # an example, not a default
    lab = dataclasses.replace(value.lab, leap_seconds_file=None)
    examples = {"webhook": None, "webhook_secret_file": None, "webhook_ca_file": None}
    notify = dataclasses.replace(value.notify, **examples)
    evidence = dataclasses.replace(value.evidence, origin=None, witnesses=None)
    utc = dataclasses.replace(value.utc, published=None, laboratory=None, by=None, leap_notices=(), before=None)
    assert dataclasses.replace(value, lab=lab, notify=notify, evidence=evidence, utc=utc) == plain


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "LAB.toml").write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert "is not overwritten" in capsys.readouterr().err
    assert (tmp_path / "LAB.toml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["LAB.toml"]
    (tmp_path / "LAB.toml").rename(tmp_path / "lab.schema.json")
    assert main(["init", str(tmp_path)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["lab.schema.json"]
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file" / "lab")]) == 2
    assert "cannot be written: not a directory" in capsys.readouterr().err


def test_servers_of_chrony_become_sources_with_their_polls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = tmp_path / "more"
    more.mkdir()
    (more / "a.sources").write_text("server ntp3.example.net\nserver ntp1.example.net\n")
    (more / "b.conf").write_text("server ignored.example.net\n")
    conf = tmp_path / "chrony.conf"
    conf.write_text(
        f"pool pool.example.net iburst\nserver ntp1.example.net minpoll 4\nserver ntp1.example.net port 1123\n"
        f"server nts.example.net nts\nserver 2001:db8::1\nserver ntp1.example.net\n"
        f"sourcedir {more}\ninclude {tmp_path}/chrony.conf\nrefclock SHM 0\n"
    )
    folder = tmp_path / "lab"
    assert main(["init", str(folder), "--from", "chrony", "--chrony-conf", str(conf), "--json"]) == 0
    out, err = capsys.readouterr()
    assert "nts.example.net is written as a comment" in err
    assert "refclock" in err
    sources = json.loads(out)["sources"]
    assert [(each["name"], each["address"], each["poll_s"]) for each in sources] == [
        ("pool.example.net", "pool.example.net:123", 64.0),
        ("ntp1.example.net", "ntp1.example.net:123", 16.0),
        ("ntp1.example.net-1123", "ntp1.example.net:1123", 64.0),
        ("2001-db8--1", "[2001:db8::1]:123", 64.0),
        ("ntp3.example.net", "ntp3.example.net:123", 64.0),
    ]
    text = (folder / "LAB.toml").read_text()
    value, findings = read(text.encode(), LabFile)
    assert findings == []
    assert value is not None
    assert [source.address for source in value.sources] == [each["address"] for each in sources]
    assert '# name = "nts.example.net"' in text


def taken_over(tmp_path: Path, text: str) -> tuple[list[dict[str, object]], str, str]:
    """Take over a chrony.conf; return the sources used, what was said, and the laboratory's file, judged good."""
    conf, folder = tmp_path / "chrony.conf", tmp_path / "lab"
    conf.write_text(text)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(["init", str(folder), "--from", "chrony", str(conf), "--json"]) == 0
    body = json.loads(out.getvalue())
    assert [f"truechimer init: {note}" for note in body["notes"]] == err.getvalue().splitlines()
    lab = (folder / "LAB.toml").read_text()
    value, findings = read(lab.encode(), LabFile)
    assert [
        *findings,
        *(faults_between_keys(read_with_lines(lab.encode(), LabFile), InsecureFlags()) if value else []),
    ] == []
    shutil.rmtree(folder)
    return body["sources"], err.getvalue(), lab


def test_debians_own_file_becomes_the_four_names_of_its_zone_with_one_vote(tmp_path: Path) -> None:
    sources, said, lab = taken_over(tmp_path, DEBIAN)
    assert [(each["address"], each["operator"]) for each in sources] == [
        (f"{number}.debian.pool.ntp.org:123", "pool.ntp.org") for number in range(4)
    ]
    lines = {number for number, line in enumerate(DEBIAN.split("\n"), 1) if line.startswith(OF_CHRONY_ALONE)}
    assert {int(number) for number in re.findall(r"chrony\.conf:(\d+): \S.*: not carried over; ", said)} == lines
    assert "there is 1 vote" in said
    assert "bound_limit_s = 0.05" in lab


@pytest.mark.parametrize(
    ("host", "operator"),
    [
        ("ntp1.lab.example.net", "example.net"),
        ("NTP2.Example.NET.", "example.net"),
        ("example.net", "example.net"),
        ("time.dept.example.co.zz", "example.co.zz"),
        ("time.example.zz", "example.zz"),
        ("3.pool.ntp.org", "pool.ntp.org"),
        ("2.zz.pool.ntp.org", "pool.ntp.org"),
        ("pool.ntp.org.example.net", "example.net"),
        ("ntp1", None),
        ("localhost", None),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
    ],
)
def test_an_operator_is_suggested_from_a_domain_and_never_from_less(host: str, operator: str | None) -> None:
    assert operator_of(HostPort(host, 123)) == operator


def test_three_servers_of_one_domain_have_one_vote_and_addresses_one_each(tmp_path: Path) -> None:
    sources, said, _ = taken_over(
        tmp_path, "server a.one.example\nserver b.one.example\nserver 192.0.2.1\nserver 2001:db8::7 minpoll -4\n"
    )
    assert [each.get("operator") for each in sources] == ["one.example", "one.example", None, None]
    assert [each["poll_s"] for each in sources] == [64.0, 64.0, 64.0, 0.1]
    assert "one.example (2 sources)" in said
    assert "each with a vote of its own: 192.0.2.1, 2001:db8::7" in said
    assert "cannot be outvoted" not in said


def test_what_is_authenticated_or_only_watched_becomes_a_comment(tmp_path: Path) -> None:
    text = (
        "server a.one.example key 5\nserver b.two.example nts\nserver c.three.example noselect\nserver d.four.example\n"
    )
    sources, said, lab = taken_over(tmp_path, text)
    assert [each["address"] for each in sources] == ["d.four.example:123"]
    for line, why in ((1, "with a key"), (2, "with NTS"), (3, "noselect")):
        assert re.search(rf"chrony\.conf:{line}: \S+ is written as a comment: .*{why}", said)
    assert len(re.findall(r"(?m)^# \[\[source\]\]$", lab)) == 3


def test_every_line_that_is_not_carried_over_is_said_with_its_place(tmp_path: Path) -> None:
    text = (
        "server a.one.example iburst xleave offset 1e-3 prefer\nrefclock PPS /dev/pps0\nmakestpe 1 3\n"
        "local stratum 10\n"
        'server bad"name\nserver a.one.example\npool many.two.example maxsources 3\ninclude /nowhere/*.conf\n'
    )
    sources, said, _ = taken_over(tmp_path, text)
    assert [each["address"] for each in sources] == ["a.one.example:123", "many.two.example:123"]
    for words in (
        "chrony.conf:1: a.one.example: xleave: asked in basic mode",
        "chrony.conf:1: a.one.example: offset 1e-3: not applied",
        "chrony.conf:1: a.one.example: prefer: no source is preferred",
        "chrony.conf:2: refclock PPS /dev/pps0: not carried over; read chronyd's reference clocks through chronyd",
        "chrony.conf:3: unknown directive 'makestpe 1 3'",
        "chrony.conf:4: local stratum 10: not carried over; without a majority",
        "chrony.conf:5: 'bad\"name' is neither a host's name nor an IP address",
        "chrony.conf:6: a.one.example:123 was named before; it is asked once",
        "chrony.conf:7: pool many.two.example is many servers, and one of them is asked here",
        "chrony.conf:7: many.two.example: maxsources 3: not carried over",
        "chrony.conf:8: include /nowhere/*.conf: no such file",
    ):
        assert words in said


def test_folders_of_one_directive_give_each_name_once_and_odd_files_are_passed_over(tmp_path: Path) -> None:
    for folder, name, host in (("a", "x", "first"), ("b", "x", "hidden"), ("b", "y", "second")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.conf").write_text(f"server {host}.example\n")
    os.mkfifo(tmp_path / "b" / "z.conf")
    sources, said, _ = taken_over(
        tmp_path, f"confdir {tmp_path}/a {tmp_path}/b\nsourcedir /nowhere\ninclude {tmp_path}/a/*.conf\n"
    )
    assert [each["address"] for each in sources] == ["first.example:123", "second.example:123"]
    assert "z.conf cannot be read: it is no ordinary file" in said


ODD_WORDS = st.sampled_from(
    [b"server", b"pool", b"\n", b"a.b", b'"', b"\\", b"port", b"nts", b"[::1]", b"\xff", b"\x7f"]
)


@settings(max_examples=40)
@given(data=st.binary(max_size=300) | st.lists(ODD_WORDS).map(b" ".join))
def test_whatever_stands_in_a_chrony_conf_its_sources_make_a_file_without_faults(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(prefix="init-") as conf:
        # what names other files is another test's: nothing of this machine is read here
        conf.write(b"server always.example\n" + re.sub(rb"(?i)include|confdir|sourcedir|bindcmdaddress", b"", data))
        conf.flush()
        found = FromChrony()
        found.take(Path(conf.name))
    sources = lab_toml(Template(name="x", sources=tuple(found.sources))).partition("[[source]]\nname")
    tree = read_with_lines(f'[lab]\nname = "x"\n{sources[1]}{sources[2]}'.encode(), LabFile)
    assert [*tree.findings, *faults_between_keys(tree, InsecureFlags())] == []


def test_chronys_file_is_named_once_and_behind_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "chrony.conf"
    conf.write_text("server a.one.example\n")
    for words, says in (
        ([str(conf), "--from", "chrony", str(tmp_path / "lab")], "is a file; write"),
        ([str(tmp_path / "lab"), str(conf)], "with --from chrony only"),
        ([str(tmp_path / "lab"), "--from", "files", str(conf)], "with --from chrony only"),
        ([str(tmp_path / "lab"), str(conf), "--from", "chrony", "--chrony-conf", str(conf)], "once"),
    ):
        with pytest.raises(SystemExit) as left:
            main(["init", *words])
        assert left.value.code == 2
        assert says in capsys.readouterr().err
    assert main(["init", "--from", "chrony", str(tmp_path / "lab"), str(conf)]) == 0


def test_without_a_name_the_machines_own_file_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = (tmp_path / "debian.conf", tmp_path / "other.conf")
    monkeypatch.setattr("truechimer.cli.init_from_chrony.DEFAULT_CONFS", places)
    assert main(["init", str(tmp_path / "lab"), "--from", "chrony"]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert f"there is no {places[0]} or {places[1]}" in err
    places[1].write_text("server a.one.example\n")
    assert main(["init", str(tmp_path / "lab"), "--from", "chrony"]) == 0
    assert "a.one.example:123" in (tmp_path / "lab" / "LAB.toml").read_text()


def test_a_chronyd_that_runs_here_is_offered_as_a_comment(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="init-") as name, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as runs:
        conf, folder = Path(name) / "chrony.conf", Path(name) / "lab"
        conf.write_text(f"server ntp1.example.net\nbindcmdaddress 127.0.0.1\nbindcmdaddress {name}/d.sock\n")
        words = ["init", str(folder), "--from", "chrony", "--chrony-conf", str(conf)]
        assert main(words) == 0
        assert "kind chrony" not in capsys.readouterr().err
        shutil.rmtree(folder)
        runs.bind(f"{name}/d.sock")
        assert main(words) == 0
        assert f"a chronyd answers on {name}/d.sock" in capsys.readouterr().err
        text = (folder / "LAB.toml").read_text()
        assert f'# kind = "chrony"\n# socket = "{name}/d.sock"' in text
        begun = text.index('# [[source]]\n# name = "chrony"')
        used = text[:begun] + text[begun:].replace("# ", "", 4)
        value, findings = read(used.encode(), LabFile)
        assert findings == []
        assert value is not None
        assert [source.kind for source in value.sources] == ["ntp", "chrony"]


def test_a_chrony_conf_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "lab"), "--from", "chrony", "--chrony-conf", str(tmp_path / "no")]) == 2
    err = capsys.readouterr().err
    assert "--from chrony FILE" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "lab").exists()


def test_readings_of_a_folder_become_sources_and_their_clocks_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n"
    (tmp_path / "two clocks.csv").write_text(
        header + "1,H2,H1,1e-9,1e-12\n1,host,H1,1e-9,1e-12\n2,UTC.lab2,H1,1e-9,1e-12\n3,C"
    )
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert main(["init", str(tmp_path), "--from", "files", "--name", "lab1"]) == 0
    out, err = capsys.readouterr()
    assert "laboratory lab1, 1 source\n" in out
    assert "other.csv is left out" in err
    text = (tmp_path / "LAB.toml").read_text()
    value, findings = read(text.encode(), LabFile)
    assert findings == []
    assert value is not None
    assert [(source.name, source.path) for source in value.sources] == [("two-clocks", "two clocks.csv")]
    assert value.clocks == ()
    opened = re.sub(r"(?m)^# (\[\[clock\]\]|name = |kind = )", r"\1", text[text.index("# [[clock]]\n# name") :])
    assert [clock["name"] for clock in tomllib.loads(opened)["clock"]] == ["H2", "H1"]
    said = [finding.rule for finding in read(opened.encode(), LabFile)[1]]
    assert said.count("not-a-choice") == 2, "a kind that nobody named is a fault"


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ("1,UTC.gnss,H1,1e-9,1e-9\n2,H1,UTC.gnss,1e-9,1e-9\n", "link"),
        ("1,UTC.gnss,H1,1e-9,1e-9\n1,H2,H1,1e-9,1e-9\n", "readings"),
        ("1,UTC.gnss,H1,1e-9,1e-9\n2,UTC.ptp,H1,1e-9,1e-9\n", "readings"),
        ("1,UTC.gnss,UTC.ptp,1e-9,1e-9\n", "readings"),
    ],
)
def test_a_file_of_one_link_alone_becomes_that_link(tmp_path: Path, rows: str, kind: str) -> None:
    (tmp_path / "x.csv").write_text("epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n" + rows)
    assert main(["init", str(tmp_path), "--from", "files", "--name", "lab1"]) == 0
    value, findings = read((tmp_path / "LAB.toml").read_bytes(), LabFile)
    assert findings == []
    assert value is not None
    assert [(source.kind, source.to) for source in value.sources] == [(kind, "UTC.gnss" if kind == "link" else None)]


def test_a_folder_without_readings_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path), "--from", "files"]) == 2
    assert "no readings CSV" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert main(["init", str(tmp_path), "--from", "files"]) == 2
    assert re.search(
        r"no readings CSV .*; other\.csv is left out, it has no readings: other\.csv:1: ", capsys.readouterr().err
    )
    assert [path.name for path in tmp_path.iterdir()] == ["other.csv"]


def test_a_new_laboratory_says_that_its_key_is_a_file() -> None:
    value, findings = read(lab_toml(Template(name="x")).encode(), LabFile)
    assert findings == []
    assert value is not None
    assert value.policy.insecure_software_keys
    assert not LabFile(lab=value.lab).policy.insecure_software_keys, "the default stays no"
