"""`truechimer init`: what it writes passes `check`, explains every key, and overwrites nothing."""

import dataclasses
import json
import re
import shutil
import socket
import tempfile
import tomllib
from pathlib import Path

import jsonschema
import pytest

from truechimer.cli.__main__ import main
from truechimer.clocks.clock import Clock
from truechimer.daemon.lab_file import LabFile
from truechimer.daemon.lab_template import Template, lab_toml
from truechimer.formats.toml_fields import TomlField, fields_of, is_table, item_of, members_of
from truechimer.formats.toml_tree import read


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
    assert dataclasses.replace(value, lab=lab, notify=notify) == plain


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
    assert "--chrony-conf FILE" in err
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


def test_a_folder_without_readings_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path), "--from", "files"]) == 2
    assert "no readings CSV" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_new_laboratory_says_that_its_key_is_a_file() -> None:
    value, findings = read(lab_toml(Template(name="x")).encode(), LabFile)
    assert findings == []
    assert value is not None
    assert value.policy.insecure_software_keys
    assert not LabFile(lab=value.lab).policy.insecure_software_keys, "the default stays no"
