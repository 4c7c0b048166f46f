"""The page of evidence in Chromium: what the log says, verified in the browser; and the page that runs from a disk."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest
from tests.console.browser import Browser
from tests.console.consoles import Console
from tests.console.waits import FITS, wide
from tests.control.fake_laboratory import FakeLaboratory
from tests.evidence.logs import LOG, ORIGIN, Tree
from tests.evidence.test_audit import files_of, rewritten

from truechimer.console.verify_page import page as page_of_a_bundle
from truechimer.evidence.cosignature import public_key
from truechimer.evidence.log import Edge
from truechimer.evidence.record import Chain, seal
from truechimer.store.evidence_files import verify_evidence

pytestmark = [pytest.mark.needs_chromium, pytest.mark.slow]

ATTACK = "<img src=x onerror=document.title='taken'><script>document.title='taken'</script>\u202e"
TOLD = "+document.body.dataset.told > 0"
JUDGED = "!document.querySelector('#verdict').hidden"
SIZE = 600
KEY = public_key(LOG).text


def records() -> list[bytes]:
    chain, out = Chain(), []
    for n in range(SIZE):
        kind = ("readings", "served-time", "alert")[n % 3]
        body = {
            "epoch_tai_ns": str(1_790_000_000 * 10**9 + n * 10**9),
            "state": "steered",
            "says": f"said {n} {ATTACK}",
        }
        one, chain = seal(kind, body, chain)
        out.append(one.data)
    return out


def tree() -> Tree:
    made = Tree(Edge(), {}, [])
    made.append(records())
    return made


TREE = tree()


def publish(lab: FakeLaboratory, files: dict[str, bytes]) -> Path:
    folder = lab.folder / "evidence" / "log"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    from tests.console.test_verifier import POLICY

    (tmp_path / "policy").write_bytes(POLICY)
    return tmp_path / "policy"


@pytest.fixture
def log(lab: FakeLaboratory) -> Path:
    return publish(lab, files_of(TREE))


@pytest.fixture
def type_policy(browser: Browser, policy: Path) -> Callable[[], None]:
    text = json.dumps(policy.read_text(encoding="utf-8"))
    return lambda: browser.evaluate(f"void (document.querySelector('#policy').value = {text})")


def looked_at_again(browser: Browser, expression: str) -> None:
    """Wait for what the page shows when somebody comes back to it, without waiting for its next question."""
    browser.until(f"window.dispatchEvent(new Event('focus')) && {expression}")


def verify(browser: Browser) -> str:
    browser.evaluate("document.querySelector('#verdict').hidden = true; document.querySelector('#verify-log').click()")
    browser.until(JUDGED)
    return browser.text("#verdict")


def choose(browser: Browser, field: str, *files: Path) -> str:
    browser.evaluate("void (document.querySelector('#verdict').hidden = true)")
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    node = browser.call("DOM.querySelector", nodeId=root, selector=field)["nodeId"]
    browser.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])
    browser.until(JUDGED)
    return browser.text("#verdict")


def test_the_page_tells_the_log_and_verifies_it_here(
    browser: Browser, console: Console, log: Path, type_policy: Callable[[], None]
) -> None:
    browser.go(f"{console.url}evidence", 390)
    browser.until(TOLD)
    page = browser.text("main")
    for words in (
        ORIGIN, "600 entries", TREE.edge.root.hex(), "witness.example/1", "the log itself", "2027-01-15 08:00:00Z",
        "alert", "said 599", "truechimer evidence replay", "No result was kept",
    ):  # fmt: skip
        assert words in page.replace("\u202f", " "), words
    assert "UNWITNESSED" not in browser.text("body")
    assert "Say first whom you believe" in verify(browser)
    type_policy()
    said = verify(browser)
    assert said.startswith("OK")
    assert "600 entries: every one is what was signed" in said
    assert "by w1, which says at 2027-01-15 08:00:00Z" in said
    assert browser.evaluate(FITS)
    wide(browser)
    assert browser.evaluate(FITS)
    assert browser.evaluate("document.title") != "taken"
    assert browser.evaluate("document.images.length") == 0
    assert "\u202e" not in browser.text("body")
    assert browser.complaints == []
    assert all(url.startswith(console.url) for url in browser.requested)


def test_a_changed_entry_is_named_and_so_is_a_history_that_was_begun_anew(
    browser: Browser, console: Console, log: Path, lab: FakeLaboratory, type_policy: Callable[[], None]
) -> None:
    browser.go(f"{console.url}evidence", 1280)
    browser.until(TOLD)
    type_policy()
    browser.evaluate("document.querySelector('#keep').checked = true")
    assert verify(browser).startswith("OK")
    bundle = log / "tile" / "entries" / "001"
    whole = bundle.read_bytes()
    at = whole.index(b"said 300") + 5
    bundle.write_bytes(whole[:at] + b"9" + whole[at + 1 :])
    said = verify(browser)
    assert said.startswith("FIRST BAD entry 300 is the first")
    bundle.write_bytes(bytes(17_000_000))
    said = verify(browser)
    assert said.startswith("NOT JUDGED")
    assert "longer than any file of a log" in said
    bundle.unlink()
    assert "entry 256 is the first" in verify(browser)
    anew = Tree(Edge(), {}, [])
    anew.append([*TREE.all[:-1], b'{"kind":"alert","says":"another"}', *TREE.all[:50]])
    publish(lab, files_of(anew))
    browser.go("about:blank", 1280)
    browser.go(f"{console.url}evidence", 1280)
    browser.until(TOLD)
    assert browser.evaluate("document.querySelector('#policy').value") != ""
    said = verify(browser)
    assert said.startswith("WRONG")
    assert "two histories" in said
    publish(lab, {"checkpoint": TREE.note("w1", "w2").replace(b"\n600\n", b"\n601\n")})
    assert verify(browser).startswith("NOT BELIEVED the signature of")
    assert browser.complaints == [] or all("404" in one for one in browser.complaints)


def test_without_witnesses_without_a_log_and_without_a_laboratory_it_is_said_aloud(
    browser: Browser, console: Console, lab: FakeLaboratory
) -> None:
    browser.go(f"{console.url}evidence", 390)
    browser.until(TOLD)
    assert "No log was published here yet" in browser.text("main")
    publish(lab, files_of(TREE) | {"checkpoint": TREE.note()})
    (lab.folder / "evidence" / "replay.json").write_text(
        '{"records_compared":599,"difference":{"seq":599,"why":"<b>other</b>"}}', encoding="utf-8"
    )
    looked_at_again(browser, "document.querySelector('#unwitnessed').innerText.includes('UNWITNESSED: nobody outside')")
    assert "the first difference is record 599: <b>other</b>" in browser.text("#replay-last")
    since = "2026-11-22T10:00:00Z"
    row = {"name": f"w1{ATTACK}", "state": "silent", "says": f"nothing came{ATTACK}", "at": since, "size": 500}
    says = {"state": "published", "says": f"unwitnessed since {since}: w1 is silent{ATTACK}", "witnesses": [row]}
    says["log_key"] = KEY
    lab.status |= {"unwitnessed_since": since, "evidence": says}
    looked_at_again(browser, f"document.querySelector('#unwitnessed').innerText.includes('UNWITNESSED since {since}')")
    assert "nothing came" in browser.text("#witnesses") or browser.evaluate("innerWidth") < 640
    assert KEY in browser.text("#log")
    browser.evaluate("document.querySelector('#take-offered').click()")
    assert verify(browser).startswith("OK")
    fork = {"witness": "w1", "what": "fork", "size": 9, "seen": since, "says": "it saw another tree"}
    says |= {"state": "contradicted", "contradictions": [fork]}
    looked_at_again(browser, "document.querySelector('#contradicted').innerText.includes('CONTRADICTED by w1')")
    lab.socket.close()
    looked_at_again(browser, "document.querySelector('#silent').innerText.includes('silent')")
    assert browser.evaluate("document.title") != "taken"
    assert browser.complaints == []


@pytest.mark.usefixtures("log")
def test_a_bundle_is_taken_away_and_judged_from_a_disk_without_a_network(
    browser: Browser, console: Console, policy: Path, type_policy: Callable[[], None]
) -> None:
    tmp_path = policy.parent
    taken = tmp_path / "taken.zip"
    with urlopen(f"{console.url}evidence/bundle.zip") as reply:
        taken.write_bytes(reply.read())
    found = verify_evidence(taken, policy)
    assert (found.holds, found.entries) == (True, SIZE)
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(taken) as archive:
        archive.extractall(folder)
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                archive.write(one, one.relative_to(folder))
    browser.requested.clear()
    browser.go((folder / "verify.html").as_uri(), 390)
    type_policy()
    assert browser.evaluate("document.querySelector('#verify-log').hidden")
    for field, chosen in (("#choose-zip", taken), ("#choose-zip", packed), ("#choose-folder", folder)):
        assert choose(browser, field, chosen).startswith("OK 600 entries"), chosen
    forged = rewritten(TREE, 400, b'{"kind":"alert"}')
    for name in ("tile/entries/001", "tile/0/001"):
        (folder / name).write_bytes(forged[name])
    assert "FIRST BAD" in choose(browser, "#choose-folder", folder)
    data = bytearray(taken.read_bytes())
    data[data.index(b"said 17 ") + 5] ^= 1
    taken.write_bytes(bytes(data))
    assert "entry 17 is the first" in choose(browser, "#choose-zip", taken)
    taken.write_bytes(bytes(data[:-30]))
    assert choose(browser, "#choose-zip", taken).startswith("NOT JUDGED")
    assert browser.evaluate(FITS)
    assert browser.complaints == []
    assert {url.partition(":")[0] for url in browser.requested} <= {"file", "blob"}
    assert browser.evaluate(f"fetch('{console.url}api/evidence').then(() => 'sent', () => 'refused')") == "refused"
    browser.complaints.clear()


def test_the_page_of_a_bundle_holds_no_end_of_its_own_script() -> None:
    text = page_of_a_bundle()
    assert text.count("</script>") == 1
    assert "{{" not in text.replace("${{", "")
    assert "import " not in text[text.index('<pre id="worker"') :].replace("importKey", "")
