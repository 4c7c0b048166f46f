"""The browser's verifier says what `truechimer evidence verify` says, of good evidence and of any that was changed."""

import io
import json
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.conftest import SHARED_DATA
from tests.console.browser import Browser
from tests.console.consoles import Console, a_console
from tests.console.judging import HAS_NODE, Case, Files, in_node, in_page, text
from tests.evidence.logs import NOW_S, ORIGIN, POLICY_TEXT
from tests.evidence.test_audit import files_of, flipped, log_of, rewritten
from tests.evidence.test_bundle import LOG_FILES, SINGLE, TREE, WHOLE, bundle_of

from truechimer.errors import Rejected
from truechimer.evidence.bundle import judged_bundle
from truechimer.evidence.log_policy import CheckpointDistrusted, log_policy

pytestmark = [pytest.mark.needs_chromium, pytest.mark.slow]

Judge = Callable[[Mapping[str, Files], Sequence[Case]], list[dict[str, Any]]]
POLICY = "".join(
    line for line in POLICY_TEXT.decode().replace("2 w1 w2 w3", "2 w1 w2").splitlines(keepends=True) if "w3" not in line
).encode()
"""Of two witnesses, without the one whose signatures not every browser can check."""
OURS = {"README.md", "policy", "verify.py", "verify.html"}
SMALL = log_of(700)
BASES: dict[str, Files] = {"single": SINGLE, "whole": WHOLE, "small": files_of(SMALL)}


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console's page, from which the module is taken; its laboratory does not matter."""
    with a_console(tmp_path_factory.mktemp("page")) as running:
        browser.go(f"{running.url}evidence", 1280)
        yield running


@pytest.fixture
def judge(browser: Browser, page: Console) -> Judge:
    return lambda bases, cases: in_page(browser, bases, cases)


@pytest.fixture(params=["chromium", *(["node"] if HAS_NODE else [])])
def each_judge(request: pytest.FixtureRequest, judge: Judge) -> Judge:
    return in_node if request.param == "node" else judge


def again(browser: Browser, page: Console) -> None:
    """Load the page anew: modules and the browser's own functions are as they were."""
    browser.go("about:blank", 1280)
    browser.go(f"{page.url}evidence", 1280)


def by_python(files: Files, policy: bytes) -> dict[str, Any]:
    """What the program itself says, in the words of the browser's outcome."""
    try:
        found = judged_bundle(files, files.get, log_policy(policy))
    except CheckpointDistrusted as error:
        return {"believed": False, "reason": error.reason}
    except Rejected:
        return {"believed": False, "reason": "policy"}
    head = found.trusted.checkpoint
    return {
        "believed": True,
        "holds": found.holds,
        "firstBad": None if found.first_bad is None else str(found.first_bad),
        "faults": len(found.faults),
        "entries": str(found.entries),
        "head": (head.origin, str(head.size), head.root.hex()),
        "witnessed": dict(found.trusted.witnessed),
    }


def in_same_words(said: dict[str, Any]) -> dict[str, Any]:
    if not said["believed"]:
        return {"believed": False, "reason": said["reason"]}
    return {
        **{key: said[key] for key in ("believed", "holds", "firstBad", "entries")},
        "faults": len(said["faults"]),
        "head": (said["origin"], said["size"], said["root"]),
        "witnessed": {one["name"]: one["seconds"] for one in said["witnessed"]},
    }


def changed(rng: Random, each: int) -> Iterator[Case]:
    """Every file with bits flipped, cut, grown and missing; policies with bits flipped; exchanged entries."""
    for base, files in BASES.items():
        for name in files.keys() - OURS:
            data = files[name]
            bits = rng.sample(range(8 * len(data)), each)
            ways = [*(flipped(data, bit) for bit in bits), data[:-1], data + b"\0", None]
            yield from (Case(base, POLICY, {name: way}) for way in ways)
    for bit in rng.sample(range(8 * len(POLICY)), 40 * each):
        yield Case("whole", flipped(POLICY, bit))
    for index in rng.sample(range(700), 4):
        yield Case("small", POLICY, rewritten(SMALL, index, b'{"n":"another"}'))


def test_whatever_was_changed_the_browser_says_what_the_program_says(each_judge: Judge) -> None:
    cases = [Case(base, POLICY) for base in BASES] + list(changed(Random(6), 1))
    sizes = {str(size): files_of(log_of(size)) for size in (0, 1, 2, 255, 256, 257, 511, 513)}
    cases += [Case(size, POLICY) for size in sizes]
    bases = BASES | sizes
    for case, said in zip(cases, each_judge(bases, cases), strict=True):
        files = {name: data for name, data in {**bases[case.base], **case.changes}.items() if data is not None}
        assert in_same_words(said) == by_python(files, case.policy), (case.base, list(case.changes), said)


def test_both_of_entry_and_tile_changed_is_narrowed_down_to_the_first_bad_one(judge: Judge) -> None:
    """Files are asked for by name here, as a page asks its console."""
    cases = []
    for index in (0, 300, 699):
        forged = rewritten(SMALL, index, b'{"n":"another"}')
        cases.append(
            Case("small", POLICY, {name: data for name, data in forged.items() if name != "checkpoint"}, asked=True)
        )
    for case, said in zip(cases, judge(BASES, cases), strict=True):
        files = {**BASES["small"], **case.changes}
        found = judged_bundle(files, files.get, log_policy(POLICY))
        assert (said["believed"], said["firstBad"]) == (True, str(found.first_bad))
        assert [one.replace("octets", "bytes") for one in said["faults"]] == list(found.faults)


def test_a_log_that_was_verified_before_must_go_on_from_there(judge: Judge) -> None:
    before = {str(size): {"size": str(size), "root": log_of(size).edge.root.hex()} for size in (0, 300, 700, 800)}
    other = {"size": "300", "root": "00" * 32}
    held = [{ORIGIN: before["0"]}, {ORIGIN: before["300"]}, {ORIGIN: before["700"]}, {"another.example": other}]
    held += [{ORIGIN: other}, {ORIGIN: before["800"]}]
    said = judge(BASES, [Case("small", POLICY, heads=heads) for heads in held])
    assert [(one["continues"], one["holds"]) for one in said] == [
        (True, True), (True, True), (True, True), (None, True), (False, False), (False, False),
    ]  # fmt: skip
    assert "two histories" in said[4]["faults"][0]
    assert "taken back" in said[5]["faults"][0]


def test_two_histories_in_one_bundle_are_not_believed(judge: Judge) -> None:
    forged = [*TREE.all[:7], b'{"n":"other"}', *TREE.all[8:]]
    other = log_of(0)
    other.append(forged)
    of_other = bundle_of(7, read=files_of(other).get)
    both = {name: of_other[name] for name in ("proofs/7.tlog-proof", "entries/7.json")}
    assert judge(BASES, [Case("single", POLICY, both)])[0]["reason"] == "fork"


@pytest.mark.shared_data
def test_the_inclusion_proofs_of_others_are_judged_as_their_authors_say(browser: Browser, page: Console) -> None:
    with tarfile.open(SHARED_DATA / "guard" / "tlog" / "merkle_inclusion" / "inclusion.tar.gz") as archive:
        opened = [archive.extractfile(one) for one in archive.getmembers() if one.name.endswith(".json")]
        cases = [json.loads(one.read()) for one in opened if one is not None]
    assert len(cases) > 90
    program = """(async (cases) => {
      const { rootByInclusion } = await import('/static/evidence/log_verifier.js');
      const octets = (text) => Uint8Array.from(atob(text ?? ''), (letter) => letter.charCodeAt(0));
      return cases.map(({ leafIdx, treeSize, root, leafHash, proof }) => {
        try {
          const found = rootByInclusion(octets(leafHash), BigInt(leafIdx), BigInt(treeSize), (proof ?? []).map(octets));
          return found.length === octets(root).length && found.every((octet, n) => octet === octets(root)[n]);
        } catch (error) { return error.reason === 'proof' ? false : String(error); }
      });
    })"""
    as_text = [case | {key: str(case[key]) for key in ("leafIdx", "treeSize")} for case in cases]
    assert browser.evaluate(f"{program}({json.dumps(as_text)})") == [not case["wantErr"] for case in cases]


@pytest.mark.shared_data
def test_the_example_of_the_specification_is_signed_by_its_key(judge: Judge) -> None:
    folder = SHARED_DATA / "guard" / "tlog" / "c2sp_example"
    note, key = (folder / "example.note").read_bytes(), (folder / "example.vkey").read_text(encoding="utf-8").strip()
    policy = f"log {key}\nquorum none\n".encode()
    said = judge({"": {"checkpoint": note}}, [Case("", policy), Case("", policy, {"checkpoint": flipped(note, 13)})])
    assert [one["reason"] for one in said] == ["malformed", "bad-signature"], "its text is no checkpoint"


def test_cosignatures_of_ml_dsa_are_checked_where_the_browser_can_and_never_counted_where_it_cannot(
    browser: Browser, page: Console
) -> None:
    with_third = {"checkpoint": SMALL.note("w1", "w3")}
    at = with_third["checkpoint"].rindex(b"\xe2\x80\x94") + 200
    damaged = {"checkpoint": with_third["checkpoint"][:at] + b"AAAA" + with_third["checkpoint"][at + 4 :]}
    cases = [Case("small", POLICY_TEXT, with_third), Case("small", POLICY_TEXT, damaged), Case("small", POLICY_TEXT)]
    can = browser.evaluate("import('/static/evidence/signed_note.js').then(({ canCheck }) => canCheck())")
    assert can["Ed25519"]
    if can["ML-DSA-44"]:
        good, bad, without = in_page(browser, BASES, cases)
        assert {one["name"]: one["seconds"] for one in good["witnessed"]} == {"w1": NOW_S, "w3": NOW_S}
        assert bad["reason"] == "bad-signature"
        assert without["holds"]
    browser.evaluate("""(() => {
      const real = SubtleCrypto.prototype.importKey;
      window.missing = ['ML-DSA-44'];
      SubtleCrypto.prototype.importKey = function (form, key, how, ...rest) {
        if (window.missing.includes(how.name)) return Promise.reject(new Error('none'));
        return real.call(this, form, key, how, ...rest);
      };
    })()""")
    good, bad, without = in_page(browser, BASES, cases)
    assert [good["reason"], bad["reason"]] == ["quorum", "quorum"]
    assert "no ML-DSA-44" in good["says"]
    assert without["holds"]
    enough = in_page(browser, BASES, [Case("small", POLICY_TEXT, {"checkpoint": SMALL.note("w1", "w2", "w3")})])[0]
    assert (enough["holds"], enough["unchecked"]) == (True, ["witness.example/3"])
    browser.evaluate("window.missing.push('Ed25519')")
    assert in_page(browser, BASES, cases)[0]["reason"] == "browser"
    again(browser, page)


def test_a_browser_that_hashes_otherwise_judges_nothing(browser: Browser, page: Console) -> None:
    again(browser, page)
    browser.evaluate("""(() => {
      window.realDigest = SubtleCrypto.prototype.digest;
      SubtleCrypto.prototype.digest = () => Promise.resolve(new ArrayBuffer(32));
    })()""")
    said = in_page(browser, BASES, [Case("small", POLICY)])[0]
    again(browser, page)
    assert (said["believed"], said["reason"]) == (False, "browser")


@pytest.mark.acceptance
def test_ten_thousand_changes_are_judged_alike(each_judge: Judge, tmp_path: Path) -> None:
    seen = 0
    for seed in range(12):
        cases = list(changed(Random(seed), 12))
        for case, said in zip(cases, each_judge(BASES, cases), strict=True):
            files = {name: data for name, data in {**BASES[case.base], **case.changes}.items() if data is not None}
            assert in_same_words(said) == by_python(files, case.policy), (seed, case.base, list(case.changes), said)
        seen += len(cases)
    assert seen > 10_000


def archive_of(files: Mapping[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def from_zip(browser: Browser, archives: Sequence[bytes]) -> list[dict[str, Any]]:
    program = """(async (archives, policy) => {
      const { judge } = await import('/static/evidence/log_verifier.js');
      const { zipOf } = await import('/static/evidence/zip_reader.js');
      const octets = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      const out = [];
      for (const one of archives) {
        try {
          out.push(await judge({ ...(await zipOf(new Blob([octets(one)]))), policy: octets(policy) }));
        } catch (error) { out.push({ believed: false, holds: false, reason: error.reason ?? String(error.stack) }); }
      }
      return out;
    })"""
    told = json.dumps([text(one) for one in archives])
    return list(browser.evaluate(f"{program}({told}, {json.dumps(text(POLICY))})"))


def test_a_zip_file_of_any_making_is_read_within_its_bounds_or_refused(browser: Browser, page: Console) -> None:
    whole = archive_of(SINGLE)
    place = whole.rindex(b"PK\x05\x06")
    directory = int.from_bytes(whole[place + 16 : place + 20], "little")

    def field(at: int, value: bytes) -> bytes:
        return whole[:at] + value + whole[at + len(value) :]

    first = whole.index(b"PK\x01\x02", directory)
    names = whole.replace(b"entries/399.json", b"entries/3xx.json")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of a name that stands twice, and writes it
        twice = io.BytesIO()
        with zipfile.ZipFile(twice, "w") as archive:
            for name in ("checkpoint", "checkpoint"):
                archive.writestr(name, LOG_FILES["checkpoint"])
    good = [whole, archive_of(SINGLE, zipfile.ZIP_STORED), whole[:-2] + b"\x05\x00" + b"x" * 5]
    assert [one["holds"] for one in from_zip(browser, good)] == [True] * 3
    none = [b"", b"nothing of a zip", whole[:-40]]
    assert [one["reason"] for one in from_zip(browser, none)] == ["zip"] * 3
    refused = [
        twice.getvalue(),
        field(place + 10, b"\xff\xff"),  # ZIP64
        field(place + 16, b"\xf0\xff\xff\xff"),  # a directory beyond the file
        field(place + 10, b"\xff\x00"),  # more files than there are
        field(first + 28, b"\xff\xff"),  # a name that is longer than all
        field(first, b"PK\x01\x09"),
    ]
    assert {one["reason"] for one in from_zip(browser, refused)} == {"zip"}
    entry = whole.index(b"PK\x01\x02", whole.index(b"entries/0.json", directory) - 46)
    lies = [
        field(entry + 24, b"\x05\x00\x00\x00"),  # it unpacks to more than it says
        field(entry + 24, b"\xff\xff\xff\x7f"),  # ... says 2 GiB
        field(entry + 20, b"\x01\x00\x00\x00"),  # ... is cut short
        field(entry + 10, b"\x63\x00"),  # ... another method
        field(entry + 8, b"\x01\x00"),  # ... encrypted
        field(entry + 42, b"\xff\xff\xff\x7e"),  # ... begins elsewhere
        names,
    ]
    for one in from_zip(browser, lies):
        assert not one["holds"]
        assert len(one.get("reason", "")) < 40
    rng = Random(9)
    for one in from_zip(browser, [flipped(whole, rng.randrange(8 * len(whole))) for _ in range(150)]):
        assert one["holds"] or len(one.get("reason", "")) < 40, one
