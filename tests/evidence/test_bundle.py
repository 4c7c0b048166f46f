"""Bundles: made from a log, judged by two implementations that share nothing, and by the program inside them."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from tests.evidence.logs import NOW_S, ORIGIN, POLICY_OF_LOG, POLICY_TEXT, Tree
from tests.evidence.test_audit import files_of, flipped, log_of, rewritten

import truechimer
from truechimer.cli import evidence_verb
from truechimer.errors import Rejected
from truechimer.evidence import verifier
from truechimer.evidence.bundle import Judged, bundled, judged_bundle
from truechimer.evidence.disclosure import Disclosure, DisclosureRejected, salt_of
from truechimer.evidence.entry import entry_of
from truechimer.evidence.log import Edge
from truechimer.evidence.log_policy import CheckpointDistrusted, log_policy
from truechimer.evidence.merkle import ProofRejected
from truechimer.evidence.record import Chain, seal
from truechimer.store.bundle_reader import program
from truechimer.store.evidence_files import EvidenceFilesRejected, verify_evidence
from truechimer.store.sqlite_records import SqliteRecords

Files = dict[str, bytes]
POLICY = log_policy(POLICY_TEXT)
SHOWN = Disclosure(salt_of(b"s" * 32, "login/3"), b'{"account":"operator-b"}')


def special() -> Tree:
    """A log of real records, in which entry 3 commits to a payload and entry 5 is too long for an entry."""
    chain, sealed = Chain(), []
    for n in range(400):
        body = {3: {"commitment": SHOWN.commitment}, 5: {"x": "y" * 70_000}}.get(n, {"n": n})
        one, chain = seal("test", dict(body), chain)
        sealed.append(one.data)
    RECORDS[:] = sealed
    tree = Tree(Edge(), {}, [])
    tree.append([entry_of(one) for one in sealed])
    return tree


RECORDS: list[bytes] = []
TREE = special()
LOG_FILES = files_of(TREE)


def bundle_of(*indexes: int, read: Callable[[str], bytes | None] = LOG_FILES.get, whole: bool = False) -> Files:
    made = bundled(
        read,
        indexes=None if whole else indexes,
        policy=POLICY_TEXT,
        verifier="",
        disclosed={3: SHOWN} if 3 in indexes else {},
        record=RECORDS.__getitem__,
    )
    return dict(made)


SINGLE = bundle_of(0, 3, 5, 399)
WHOLE = bundle_of(whole=True)


def by_both(files: Files, policy: bytes = POLICY_TEXT) -> Judged | None:
    """Judge with both implementations, which must agree; None where the evidence is not believed at all."""
    try:
        mine = judged_bundle(files, files.get, log_policy(policy))
    except CheckpointDistrusted:
        mine = None
    try:
        other = verifier.verified(files, files.get, policy)
    except verifier.Unverified:
        other = None
    assert (mine is None) == (other is None), (mine, other)
    if mine is None or other is None:
        return None
    head = mine.trusted.checkpoint
    assert mine.holds == (not other.faults), (mine.faults, other.faults)
    assert (mine.first_bad is None) == (other.first_bad is None), (mine.faults, other.faults)
    if mine.holds:
        assert (head.origin, head.size, head.root) == tuple(other.head)
        assert dict(mine.trusted.witnessed) == other.witnessed
        assert mine.entries == other.entries
    return mine


def test_single_entries_and_the_whole_log_hold_for_both_judges() -> None:
    single, whole = by_both(SINGLE), by_both(WHOLE)
    assert single is not None
    assert whole is not None
    assert single.holds
    assert whole.holds
    assert (single.entries, whole.entries) == (4, 400)
    assert set(SINGLE) == {
        "README.md", "policy", "verify.py", "disclosed/3.json", *(f"proofs/{n}.tlog-proof" for n in (0, 3, 5, 399)),
        *(f"entries/{n}.json" for n in (0, 3, 5, 399)), *(name for name in SINGLE if name.startswith("payloads/")),
    }  # fmt: skip
    assert [data for name, data in SINGLE.items() if name.startswith("payloads/")] == [RECORDS[5]]


def test_both_judges_say_the_same_of_any_flipped_bit_and_none_passes() -> None:
    rng = Random(3)
    for files in (SINGLE, WHOLE):
        names = [name for name in files if name not in {"README.md", "policy", "verify.py"}]
        for name in names:
            for bit in rng.sample(range(8 * len(files[name])), 5):
                found = by_both(files | {name: flipped(files[name], bit)})
                assert found is None or not found.holds, (name, bit)


def test_a_bad_entry_among_good_ones_is_named() -> None:
    found = by_both(SINGLE | {"entries/3.json": SINGLE["entries/0.json"]})
    assert found is not None
    assert found.first_bad == 3
    for name in ("entries/3.json", "proofs/3.tlog-proof"):
        found = by_both({key: data for key, data in SINGLE.items() if key != name})
        assert found is not None
        assert found.first_bad == 3
    of_five = {"proofs/3.tlog-proof": SINGLE["proofs/5.tlog-proof"], "entries/3.json": SINGLE["entries/5.json"]}
    swapped = by_both(SINGLE | of_five)
    assert swapped is not None
    assert swapped.first_bad == 3


def test_the_policy_of_another_or_of_too_many_witnesses_believes_nothing() -> None:
    lines = POLICY_TEXT.decode().splitlines(keepends=True)
    other = "".join(line for line in lines if not line.startswith("log")).encode()
    three = POLICY_TEXT.replace(b"group all 2", b"group all 3")
    for policy in (other, three):
        assert by_both(SINGLE, policy) is None
        assert by_both(WHOLE, policy) is None
    assert by_both({"README.md": b""}) is None


def test_two_histories_in_one_bundle_are_seen() -> None:
    fork = rewritten(TREE, 7, b'{"n":"other"}')
    other = Tree(Edge(), {}, [])
    other.append([*TREE.all[:7], b'{"n":"other"}', *TREE.all[8:]])
    files = files_of(other)
    assert fork.keys() == files.keys()
    of_other = bundle_of(7, read=files.get)
    both = SINGLE | {name: of_other[name] for name in ("proofs/7.tlog-proof", "entries/7.json")}
    assert by_both(both) is None


def test_a_bundle_is_not_made_from_tiles_that_do_not_lead_to_the_checkpoint() -> None:
    entry_3 = 8 * (sum(2 + len(one) for one in TREE.all[:3]) + 10)
    for path, bit in (("tile/0/000", 8 * 32 * 2 + 5), ("tile/entries/000", entry_3)):
        changed = LOG_FILES | {path: flipped(LOG_FILES[path], bit)}
        with pytest.raises(Rejected):
            bundle_of(3, read=changed.get)
    with pytest.raises(ProofRejected):
        bundle_of(300, read=(LOG_FILES | {"tile/1/000.p/1": bytes(32)}).get)
    with pytest.raises(DisclosureRejected):
        dict(bundled(LOG_FILES.get, indexes=[4], policy=b"", verifier="", disclosed={4: SHOWN}, record=bytes))


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257])
def test_logs_of_any_size_hold_for_both_judges(size: int) -> None:
    found = by_both(files_of(log_of(size)))
    assert found is not None
    assert found.holds


# -- as a user does it ---------------------------------------------------------------------------------------------


@pytest.fixture
def laboratory(tmp_path: Path) -> Path:
    store = SqliteRecords(tmp_path / "lab" / "records.sqlite3") if (tmp_path / "lab").mkdir() is None else None
    assert store is not None
    store.append(enumerate(RECORDS))
    store.close()
    return tmp_path / "lab"


def cli(*words: object) -> int:
    return evidence_verb.main([str(word) for word in words])


def test_from_records_to_a_bundle_that_bare_python_verifies(
    laboratory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Rejected, match="--origin"):
        cli("publish", laboratory)
    assert cli("publish", laboratory, "--origin", ORIGIN, "--json") == 0
    head = json.loads(capsys.readouterr().out)
    assert (head["origin"], head["size"], head["signed_by"]) == (ORIGIN, 400, [ORIGIN])
    policy = tmp_path / "policy"
    policy.write_text(f"{head['log_key']}\nquorum none\n", encoding="utf-8")
    assert cli("publish", laboratory) == 0
    with pytest.raises(Rejected, match="for ever"):
        cli("publish", laboratory, "--origin", "another.example")
    (tmp_path / "shown").write_bytes(SHOWN.data)
    assert (
        cli(
            "bundle",
            laboratory,
            "--out",
            tmp_path / "b.zip",
            "--entries",
            "3,5-9",
            "--disclose",
            f"3={tmp_path / 'shown'}",
        )
        == 0
    )
    assert cli("bundle", laboratory, "--out", tmp_path / "whole") == 0
    capsys.readouterr()
    for path, count in ((tmp_path / "b.zip", 6), (tmp_path / "whole", 400), (laboratory, 400)):
        assert cli("verify", path, "--policy", policy, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["holds"], told["entries"], told["first_bad"]) == (True, count, None)
        assert truechimer.verify_evidence(path, policy).holds
    assert cli("verify", tmp_path / "whole", "--policy", policy) == 0
    said = capsys.readouterr().out
    assert "UNWITNESSED" in said
    assert "ok         400 entries" in said
    file = tmp_path / "whole" / "tile" / "entries" / "000"
    file.write_bytes(flipped(file.read_bytes(), 8 * 300))
    assert cli("verify", tmp_path / "whole", "--policy", policy) == 1
    named = capsys.readouterr().out
    assert "first bad  entry 2\n" in named
    policy.write_bytes(POLICY_OF_LOG)
    assert cli("verify", laboratory, "--policy", policy) == 1
    assert "not believed" in capsys.readouterr().out


def bare(python: Path, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-I", *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False, timeout=120,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )  # fmt: skip


def test_the_verifier_in_the_bundle_needs_nothing_but_cryptography(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    for name, data in (SINGLE | {"verify.py": program().encode()}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    policy = tmp_path / "mine"
    policy.write_bytes(POLICY_TEXT)
    assert "truechimer." not in "".join(line for line in program().splitlines() if "import" in line)
    python = Path(sys.executable)
    done = bare(python, folder / "verify.py", "--policy", policy, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "ok         4 entries are what was signed" in done.stdout
    assert "by w1, which says at 2027-01-15T08:00:00Z" in done.stdout
    assert NOW_S == 1_800_000_000
    suggested = bare(python, "verify.py", cwd=folder)
    assert suggested.returncode == 0
    assert "proves nothing by itself" in suggested.stdout
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name, data in SINGLE.items():
            archive.writestr(name, data.replace(b'"seq":399', b'"seq":398'))
    done = bare(python, folder / "verify.py", tmp_path / "b.zip", "--policy", policy, cwd=tmp_path)
    assert done.returncode == 1
    assert "FIRST BAD  entry 399" in done.stdout
    assert bare(python, folder / "verify.py", "--policy", "absent", cwd=tmp_path).returncode == 2
    policy.write_bytes(POLICY_OF_LOG.replace(b"lab.example", b"lab.exemple"))
    done = bare(python, folder / "verify.py", "--policy", policy, cwd=tmp_path)
    assert (done.returncode, done.stdout[:12]) == (1, "NOT BELIEVED")


@pytest.mark.slow
def test_in_an_environment_that_has_only_cryptography_the_bundle_verifies(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / "bin" / "python"
    import cffi
    import cryptography

    site = next((tmp_path / "bare" / "lib").glob("python*")) / "site-packages"
    found = Path(cryptography.__file__).parent
    for one in (found, Path(cffi.__file__).parent, *found.parent.glob("_cffi_backend*")):
        (site / one.name).symlink_to(one)
    (tmp_path / "verify.py").write_text(program(), encoding="utf-8")
    (tmp_path / "mine").write_bytes(POLICY_TEXT)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name, data in WHOLE.items():
            archive.writestr(name, data)
    done = bare(python, "verify.py", "b.zip", "--policy", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok         400 entries" in done.stdout


def test_entries_that_are_not_there_are_refused(laboratory: Path, tmp_path: Path) -> None:
    cli("publish", laboratory, "--origin", ORIGIN)
    for text in ("", "-1", "5-3", "400", "1-400", "x", "0x1", "1,,2", "²", "0-99999999999999999999999"):
        with pytest.raises(Rejected):
            cli("bundle", laboratory, "--out", tmp_path / "b", f"--entries={text}")
        assert not (tmp_path / "b").exists()


def test_what_holds_no_evidence_is_refused_with_what_to_name(tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    policy.write_bytes(POLICY_TEXT)
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 not a zip")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "no.zip"):
        with pytest.raises(EvidenceFilesRejected):
            verify_evidence(path, policy)
    with pytest.raises(EvidenceFilesRejected):
        verify_evidence(tmp_path, tmp_path / "absent")
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("checkpoint", b"a")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("checkpoint", b"b")
    with pytest.raises(EvidenceFilesRejected, match="twice"):
        verify_evidence(tmp_path / "twice.zip", policy)


def test_a_python_without_the_package_that_it_needs_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "verify.py").write_text(program(), encoding="utf-8")
    (tmp_path / "without.py").write_text(
        "import importlib.util, runpy, sys\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'cryptography' else found(name, *more)\n"
        "runpy.run_path(sys.argv[1], run_name='__main__')\n"
    )
    ran = subprocess.run(
        [sys.executable, "without.py", "verify.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert "pip install cryptography" in ran.stderr
