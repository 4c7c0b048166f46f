"""The page of orders in Chromium: what waits and until when, who has signed, what was refused; nothing to press."""

import copy
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.console.browser import Browser
from tests.console.consoles import Console
from tests.console.waits import FITS, wide
from tests.control.fake_laboratory import FakeLaboratory
from tests.quorum import signers

from truechimer.daemon.orders import orders_desk, proposals
from truechimer.instants import builtin_leap_table
from truechimer.laboratory import orders
from truechimer.quorum import applier
from truechimer.quorum.applier import ChangeRecorded

TOLD = "+document.body.dataset.told > 0"
NS = 1_790_000_000 * 10**9
DIGEST = "ab" * 32


def an_order(sequence: int, op: str = "steer-phase", value: str = "2e-09", **changes: Any) -> dict[str, Any]:
    row = {"op": op, "target": "UTC(lab)", "value": value, "unit": "s", "because": "after the cable was moved"}
    row |= {"sentence": f"moves UTC(lab) by {value} s", "sequence": sequence, "previous": "0" * 64, "sha256": DIGEST}
    return row | {"valid_from_tai_ns": str(NS), "expires_tai_ns": str(NS + 3600 * 10**9)} | changes


def a_document() -> dict[str, Any]:
    limits = {"steer_s": 2e-9, "day_s": 2e-9, "total_s": 1e-8, "delay_s": 5e-8}
    key = {"fingerprint": "SHA256:aaaa", "kind": "sk-ssh-ed25519@openssh.com", "held": "fido2", "verify": True}
    persons = [
        {
            "name": "anna",
            "keys": [key | {"revoked": False}, key | {"held": "software", "verify": False, "revoked": True}],
        }
    ]
    persons += [{"name": name, "keys": [key | {"revoked": False}]} for name in ("bela", "chen")]
    policy = {"laboratory": "lab", "version": 1, "sha256": DIGEST, "sentence": "2 of 3 persons", "persons": persons}
    policy |= {"insecure_software_keys": False, "change_delay_s": 86400.0, "limits": limits, "threshold": 2}
    signed = {"signed_by": ["anna"], "needed": 2, "enough": False, "could_still_sign": ["bela", "chen"]}
    signed |= {"expires": "2026-09-21T16:32:43.000Z", "left_s": 7_384.0, "not_counted": []}
    rate = an_order(5, "steer-rate", "1e-13") | signed | {"file": "order-5.json", "left_s": 59.0}
    rate |= {"signed_by": ["anna", "bela"], "enough": True, "refused": "per-day", "says": "2.1 ns of 2 ns in 24 h"}
    change = {
        "sha256": DIGEST,
        "because": "chen came",
        "by": ["anna", "bela"],
        "version": 2,
        "sentence": "2 of 4 persons",
    }
    change |= {"policy": policy, "recorded": "2026-09-21T15:00:00.000Z", "in_force": "2026-09-22T15:00:00.000Z"}
    return {
        "policy": policy,
        "next": {"sequence": 4, "previous": "0" * 64, "policy": DIGEST},
        "applied": 3,
        "moved_in_a_day_s": 1.5e-9,
        "moved_in_all_s": 4e-9,
        "totals": [{"what": "UTC(lab)", "moved_s": -1.5e-9}],
        "clocks_out": ["caesium2"],
        "timed": [
            {"op": "clock-weight", "target": "H1", "value": 0.2, "sequence": 3, "ends": "2026-10-21T00:00:00.000Z"}
            | {"sentence": "allows the clock H1 at most 0.2 of the scale's weight", "left_s": 7_260.0}
        ],
        "doors": [{"listener": "ntp-123", "allow": ["192.0.2.0/24"], "bound_limit_s": 0.001}],
        "operations_not_applied": ["log-keys"],
        "envelope": {"signed_by": ["anna", "chen"], "valid_until": "2026-12-20T00:00:00Z", "left_s": 7e6}
        | {"per_change": 2.3e-14, "per_day_s": 2e-9, "total_s": 1e-8},
        "policy_change": change | {"left_s": 84_600.0},
        "proposals": [an_order(4) | signed | {"file": "order-4.json"}, rate],
        "last": [
            {"number": 2, "what": "order", "outcome": "refused", "reason": "replay"}
            | {"says": "its place was taken already", "record": 17, "order": an_order(3)},
            {"number": 1, "what": "order", "outcome": "applied", "by": ["anna", "bela"], "record": 16}
            | {"order": an_order(3)},
            {"number": 0, "what": "veto", "outcome": "vetoed", "by": ["chen"], "record": 9},
        ],
    }  # fmt: skip


def a_real_document(folder: Path) -> dict[str, Any]:
    """What a laboratory tells while a change of its policy waits, an order is half signed, and one was refused."""
    old = signers.policy("a1 b1 c1")
    new = signers.policy("a1 b1 d1", version=2).canonical()
    change = signers.order(old, op="policy-change", target="lab", unit="sha256", value=sha256(new).hexdigest())
    begun = orders.begun(old)
    state, outcome = applier.step(begun.applier, signers.entry(change, "a1 b1", file=new))
    assert isinstance(outcome, ChangeRecorded), outcome
    now = replace(begun, applier=state)
    asked = signers.signed(signers.order(state), "a1")
    (folder / "0002-steer.json").write_bytes(asked.payload)
    (folder / "0002-steer.json.a.sig").write_bytes(asked.signatures[0])
    leaps = builtin_leap_table()
    desk = orders_desk.OrdersDesk()
    brought = orders_desk.Brought(1, is_veto=False, signed=asked, file=None)
    desk.tell(brought, {"outcome": "refused", "reason": "signatures", "says": "too few", "record": 5})
    told = orders_desk.document(now, signers.at(), leaps, desk.done())
    return told | {"proposals": proposals.listed(folder, now, signers.at(), leaps)}


def test_the_documents_of_these_tests_have_the_keys_that_a_laboratory_tells(tmp_path: Path) -> None:
    ours, real = a_document(), a_real_document(tmp_path)
    assert set(ours) - set(real) <= {"envelope"}
    for key in ("policy", "next", "policy_change"):
        assert set(ours[key]) <= set(real[key]), key
    assert set(ours["proposals"][1]) <= set(real["proposals"][0])
    assert set(ours["last"][0]) <= set(real["last"][0])
    assert set(ours["policy"]["persons"][0]["keys"][0]) <= set(real["policy"]["persons"][0]["keys"][0])


@pytest.mark.needs_chromium
@pytest.mark.slow
def test_what_a_laboratory_tells_is_drawn(
    browser: Browser, console: Console, lab: FakeLaboratory, tmp_path: Path
) -> None:
    (tmp_path / "proposals").mkdir()
    lab.orders = a_real_document(tmp_path / "proposals")
    browser.go(f"{console.url}orders", 1280)
    browser.until(TOLD)
    page = " ".join(browser.text("main").split())
    for words in (
        "version 2 waits",
        "Order 2 1 signature missing",
        "0002-steer.json",
        "too few (signatures)",
        "REFUSED",
    ):
        assert words in page, words
    assert "undefined" not in page
    assert "NaN" not in page
    assert browser.complaints == []


@pytest.mark.needs_chromium
@pytest.mark.slow
def test_a_tired_engineer_reads_what_waits_who_is_missing_and_until_when(
    browser: Browser, console: Console, lab: FakeLaboratory, tmp_path: Path
) -> None:
    lab.orders = a_document()
    browser.go(f"{console.url}orders", 390)
    browser.until(TOLD)
    page = browser.text("main")
    for words in (
        "it can give none, sign none and veto none",
        "Order 4 1 signature missing", "the time moves by +2.00 ns at once, once", "after the cable was moved",
        "2026-09-21 16:32:43 UTC in 2 h 0", "anna: 1 of 2 persons needed", "1 more of: bela, chen",
        "nothing changes; after its end this order is worth nothing",
        "truechimer order sign policy/orders/order-4.json --key YOUR_KEY",
        "Order 5 signed, would be refused", "the time moves by up to +360 ps until it ends",
        "refused (per-day): 2.1 ns of 2 ns in 24 h",
        "allows the clock H1 at most 0.2 of the scale's weight", "ends in 2 h",
        "answers 192.0.2.0/24, up to a bound of 1.00 ms",
        "Change of the policy version 2 waits", "in 23 h 29 min", "any one key of the policy in force can veto it",
        "its place was taken already (replay)", "entry 17", "in force", "vetoed a change",
        "at most 2.30e-14 of rate", "1.50 ns of at most 2.00 ns", "4.00 ns of at most 10.0 ns",
        "−1.50 ns", "caesium2", "log-keys",
        "Version 1 of lab: 2 of 3 persons", "IN A FILE, can be copied unseen, REVOKED", "FIDO2, asks for PIN or finger",
    ):  # fmt: skip
        assert " ".join(words.split()) in " ".join(page.split()), words
    every = "[...document.querySelectorAll('.countdown')].map((one) => one.innerText).join()"
    browser.until(f"{every} !== {json.dumps(browser.evaluate(every))}")
    assert browser.evaluate("document.querySelectorAll('main button, main input, main form').length") == 0
    assert browser.evaluate("document.querySelector('#insecure').hidden")
    assert browser.evaluate(FITS)
    wide(browser)
    assert browser.evaluate(FITS)
    assert browser.complaints == []
    browser.picture(tmp_path / "orders.png")


@pytest.mark.needs_chromium
@pytest.mark.slow
def test_software_keys_are_said_aloud_on_both_pages_and_a_silent_laboratory_counts_nothing_down(
    browser: Browser, console: Console, lab: FakeLaboratory
) -> None:
    lab.orders = a_document()
    lab.orders["policy"]["insecure_software_keys"] = True
    lab.status["policy"] = {"insecure_software_keys": True}
    browser.go(console.url, 390)
    browser.until("document.body.dataset.events > 0 && !document.querySelector('#insecure').hidden")
    browser.go(f"{console.url}orders", 390)
    browser.until(f"{TOLD} && !document.querySelector('#insecure').hidden")
    lab.socket.close()
    browser.until("window.dispatchEvent(new Event('focus')) && !document.querySelector('#silent').hidden")
    browser.until("document.querySelector('.countdown').innerText.startsWith('not known')")
    assert not browser.evaluate("document.querySelector('#insecure').hidden")
    assert browser.complaints == []


@pytest.mark.needs_chromium
@pytest.mark.slow
def test_what_an_order_says_is_never_markup_and_any_document_is_drawn(
    browser: Browser, console: Console, lab: FakeLaboratory
) -> None:
    attack = "<img src=x onerror=document.title='taken'><script>document.title='taken'</script>\u202e"

    def attacked(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: attacked(inner) for key, inner in value.items()}
        return [attacked(inner) for inner in value] if isinstance(value, list) else attack

    whole = a_document()
    broken = [{key: value} for key in whole for value in (None, 7, "x", [7, None, []], {"x": []})]
    lab.orders = attacked(whole)
    browser.go(f"{console.url}orders", 390)
    browser.until(f"{TOLD} && document.querySelector('#waiting').innerText.includes('<img src=x')")
    assert browser.evaluate("document.title") != "taken"
    assert browser.evaluate("document.images.length") == 0
    assert "\u202e" not in browser.text("body")
    assert browser.evaluate(FITS)
    program = """(async (documents) => {
      const { draw } = await import('/static/orders/orders_page.js');
      return documents.map((one) => { try { draw(one); return ''; } catch (error) { return String(error.stack); } });
    })"""
    documents = [copy.deepcopy(whole) | one | {"orders": True} for one in broken]
    assert set(browser.evaluate(f"{program}({json.dumps(documents)})")) == {""}
    assert browser.complaints == []


@pytest.mark.needs_chromium
@pytest.mark.slow
def test_a_laboratory_without_orders_says_so(browser: Browser, console: Console, lab: FakeLaboratory) -> None:
    browser.go(f"{console.url}orders", 1280)
    browser.until(f"{TOLD} && document.querySelector('#none').innerText.includes('No orders are known here')")
    assert browser.evaluate("document.querySelector('#waiting-section').hidden")
    status, said = console.json("/api/orders")
    assert (status, said["answering"], said["orders"]) == (200, True, False)
    assert "old_for_s" in said
