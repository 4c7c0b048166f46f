"""Orders from the command line as people give them: keys of OpenSSH, proposals in files, every step of the key ceremony
and of a lost key; the laboratory is the desk and the fold in this process, or (slow) a whole one.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.daemon_laboratory.laboratories import up
from tests.daemon_laboratory.test_restarts import a_simulated_lab, until_it_serves
from tests.waits import until

from truechimer.cli.__main__ import main
from truechimer.clocks.clock import Clock, ClockKind
from truechimer.daemon.orders import policy_files

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "key-ceremony.md").read_text(encoding="utf-8")
LIMITS = ("--steer", "2e-9", "--day", "5e-8", "--total", "7e-7", "--delay", "5e-8")
NS = 10**9


def keygen(folder: Path, name: str) -> Path:
    """A key as people make one; in a file, where an authenticator would be touched."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return folder / name


def said(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> dict:
    """Run a verb with --json and return its document."""
    assert main([str(word) for word in (*words, "--json")]) == status, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a verb that cannot be; return the one line that says why."""
    assert main([str(word) for word in words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    return err


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A laboratory's folder as its first start leaves it: one person's software key, an envelope."""
    folder = tmp_path / "lab1"
    clocks = (Clock(name="H1", kind=ClockKind.MASER),)
    policy_files.make_first_policy(
        folder / "policy", clocks, laboratory="lab1", target="UTC(lab1)", now_ns=1_900_000_000 * NS
    )
    return folder


@pytest.fixture
def people(tmp_path: Path) -> dict[str, Path]:
    return {name: keygen(tmp_path, name) for name in ("anna", "ben", "carla")}


def persons(people: dict[str, Path]) -> list[str]:
    return [word for name, key in people.items() for word in ("--person", f"{name}={key}.pub")]


def test_a_policy_is_made_of_public_keys_and_says_what_it_is(
    tmp_path: Path, people: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "policy.json"
    words = ["policy", "make", "--laboratory", "lab1", "--threshold", "2", *persons(people), *LIMITS, "--out", out]
    assert "ssh-keygen -t ed25519-sk" in refused(capsys, *words), "a key in a file is not taken without the ugly word"
    made = said(capsys, *words, "--insecure-software-keys")
    assert made["sentence"] == "2 of 3 persons, INSECURE: 3 of 3 hold software keys"
    assert said(capsys, "policy", "check", out, "--lab", tmp_path / "none")["policy"] == {
        key: value for key, value in made.items() if key != "path"
    }
    assert main(["policy", "check", str(out), "--lab", str(tmp_path)]) == 0
    assert made["sha256"][:12] in capsys.readouterr().out, "what is compared aloud"
    out.write_bytes(out.read_bytes().replace(b'"threshold":2', b'"threshold":4'))
    assert said(capsys, "policy", "check", out, status=1)["good"] is False


def test_a_proposal_says_who_is_missing_and_is_signed_with_ssh_keygen_and_without(
    lab: Path, tmp_path: Path, people: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["policy", "make", "--threshold", "2", *persons(people), "--insecure-software-keys", "--lab", lab]
    new = tmp_path / "policy2.json"
    assert said(capsys, *words, "--out", new)["version"] == 2
    changes = said(capsys, "policy", "check", new, "--lab", lab)["changes"]
    assert "2 persons instead of 1 must sign" in changes
    assert "operator may no longer sign" in changes
    why = "two of three persons from now on"
    made = said(capsys, "order", "propose", "policy-change", "--file", new, "--because", why, "--lab", lab)
    order = Path(made["path"])
    assert (made["enough"], made["refused"], made["could_still_sign"]) == (False, "signatures", ["operator"])
    assert said(capsys, "order", "show", order, "--lab", lab, status=1)["signed_by"] == []
    first = said(capsys, "order", "sign", order, "--key", lab / "policy" / "operator.key", "--yes", "--lab", lab)
    assert (first["signed_by"], first["refused"]) == (["operator"], "new-quorum")
    said(capsys, "order", "sign", order, "--key", people["anna"], "--yes", "--lab", lab)
    # ben signs on his own machine with nothing but OpenSSH, and brings the file
    copy = tmp_path / "ben.json"
    shutil.copy(order, copy)
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(people["ben"]), "-n", "policy@truechimer", str(copy)]
    subprocess.run(command, check=True)
    shutil.copy(f"{copy}.sig", f"{order}.ben.sig")
    shown = said(capsys, "order", "show", order, "--lab", lab)
    assert (shown["enough"], "refused" in shown) == (True, False)
    assert main(["order", "show", str(order), "--lab", str(lab)]) == 0
    screen = capsys.readouterr().out
    for words_there in ("what", "how much", "why", "until", "signed", "if not", "would be taken", why, "to submit"):
        assert words_there in screen


def test_a_screen_is_read_before_it_is_signed_and_nobody_signs_for_nobody(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    why = "moved to another room"
    words = ["order", "propose", "calibration-delay", "--target", "H1", "--value", "2e-8", "--because", why]
    order = said(capsys, *words, "--lab", lab)["path"]
    key = lab / "policy" / "operator.key"
    assert main(["order", "sign", order, "--key", str(key), "--lab", str(lab)]) == 2
    err = capsys.readouterr().err
    assert "the time moves by +20.0 ns at once" in err
    assert "nobody is there to say yes" in err
    key.chmod(0o644)
    assert "chmod 600" in refused(capsys, "order", "sign", order, "--key", key, "--yes", "--lab", lab)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["steer-rate", "--target", "UTC(lab1)", "--value", "fast"], "needs a number"),
        (["listener-policy", "--allow", "0.0.0.0/0"], "--target"),
        (["listener-policy", "--target", "ntp-11123", "--allow", "all"], "does not appear to be"),
        (["configuration", "--target", "doors", "--edited", "/dev/null"], "would not start"),
        (["no-such-thing", "--value", "1"], "there is no operation"),
        (["calibration-delay", "--target", "H1", "--value", "lots"], "needs a number"),
        (["calibration-delay", "--target", "H1", "--value", "1e-8", "--hours", "25"], "1 at most"),
        (["calibration-delay", "--value", "1e-8"], "--target"),
        (["clock-membership", "--target", "H1", "--value", "away"], "neither 'in' nor 'out'"),
        (["leap-table"], "--file"),
        (["clock-membership", "--target", "H1\x1b[2J", "--value", "out"], "legible"),
    ],
    ids=lambda one: " ".join(one)[:40] if isinstance(one, list) else one[:20],
)
def test_a_proposal_that_would_be_refused_whoever_signs_is_none(
    lab: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    found = refused(capsys, "order", "propose", *words, "--because", "a test", "--lab", lab)
    assert says in found
    assert "\x1b" not in found
    assert not list((lab / "policy").glob("orders/*.json"))


def test_files_that_are_no_order_are_refused_in_one_line(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junk = lab / "junk.json"
    for data in (b"", b"{}", b"\xff", b"[" * 3000, b'{"format":"truechimer-order-v1"}', b"x" * 5000):
        junk.write_bytes(data)
        assert "junk.json" in refused(capsys, "order", "show", junk, "--lab", lab)
    assert "No such file" in refused(capsys, "order", "show", lab / "none.json", "--lab", lab)


def test_the_page_of_the_ceremony_names_no_command_that_is_not_there() -> None:
    verbs = set(re.findall(r"truechimer (order|policy) (\w+)", PAGE))
    assert {verb for verb, _ in verbs} == {"order", "policy"}
    assert {what for _, what in verbs} <= {"propose", "sign", "show", "submit", "veto", "check", "make"}


@pytest.mark.slow
def test_a_running_laboratory_takes_orders_once_and_a_kill_sets_nothing_back(
    tmp_path: Path, people: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    a_simulated_lab(tmp_path)
    key = tmp_path / "policy" / "operator.key"

    def submit(*words: object, by: tuple[Path, ...] = (key,), status: int = 0) -> tuple[dict, str]:
        made = said(capsys, "order", *words, "--because", "a test", "--lab", tmp_path)
        for one in by:
            said(capsys, "order", "sign", made["path"], "--key", one, "--yes", "--lab", tmp_path)
        return said(capsys, "order", "submit", made["path"], "--lab", tmp_path, status=status), made["path"]

    with up(tmp_path) as running:
        until_it_serves(running)
        assert running.ask("now")["insecure_software_keys"] is True
        assert submit("propose", "calibration-delay", "--target", "C1", "--value", "2e-8")[0]["outcome"] == "applied"
        taken, path = submit("propose", "clock-membership", "--target", "H2", "--value", "out")
        assert (taken["outcome"], taken["by"]) == ("applied", ["operator"])
        stranger, _ = submit("propose", "steer-phase", "--value", "1e-9", by=(people["carla"],), status=1)
        assert stranger["reason"] == "unknown-key"
        new = tmp_path / "policy2.json"
        words = ["policy", "make", "--threshold", "2", *persons(people), "--insecure-software-keys", "--out", new]
        said(capsys, *words, "--lab", tmp_path)
        both = (key, people["anna"], people["ben"])
        waits, _ = submit("propose", "policy-change", "--file", new, by=both)
        assert waits["outcome"] == "waits"
        assert said(capsys, "order", "show", "--lab", tmp_path)["policy_change"]["version"] == 2
        running.kill()
    with up(tmp_path) as again:
        until_it_serves(again)
        assert said(capsys, "order", "submit", path, "--lab", tmp_path, status=1)["reason"] == "replay"
        shown = said(capsys, "order", "show", "--lab", tmp_path)
        assert (shown["next"]["sequence"], shown["clocks_out"]) == (5, ["H2"])
        assert 86_000.0 < shown["policy_change"]["left_s"] <= 86_400.0
        assert submit("veto")[0]["outcome"] == "vetoed"
        assert "policy_change" not in said(capsys, "order", "show", "--lab", tmp_path)
        until(lambda: any(one["alert"] == "order-refused" for one in again.ask().get("alerts", ())))
        assert again.end() == 0
    assert main(["evidence", "replay", str(tmp_path), "--json"]) == 0
