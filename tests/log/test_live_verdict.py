"""A laboratory that serves, two live witnesses, a console and a judge: what was served while they cosigned is proved by
their word, on the page and in the verdict; what they have not seen is not.
"""

import json
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.console.browser import Browser, a_browser
from tests.daemon_laboratory.laboratories import up
from tests.daemon_laboratory.test_restarts import a_simulated_lab, until_it_serves
from tests.log.test_live_witness import ENVIRONMENT, follow, program, witnesses  # noqa: F401 - a fixture
from tests.waits import until

SERVED_S = 20.0


def page(port: int) -> dict[str, Any]:
    """What the console's page of evidence shows."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/evidence", timeout=120) as answer:
        body: dict[str, Any] = json.loads(answer.read())
    return body


def verdict(folder: Path, *policies: Path) -> tuple[int, dict[str, Any]]:
    """What a judge says of the whole log, by these policies."""
    words = [word for one in policies for word in ("--policy", str(one))]
    ran = subprocess.run(
        program("verdict", "--log", str(folder), *words, "--json"), env=ENVIRONMENT, capture_output=True, check=False
    )
    assert ran.returncode in {0, 1}, ran.stderr
    body: dict[str, Any] = json.loads(ran.stdout)
    return ran.returncode, body


@pytest.mark.acceptance
def test_what_was_served_under_live_witnesses_is_proved_and_the_page_says_so(
    tmp_path: Path,
    witnesses: list[str],  # noqa: F811
) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    a_simulated_lab(lab)
    text = (lab / "LAB.toml").read_text(encoding="utf-8")
    console = int(text.rsplit("port = ", 1)[1].split()[0])
    (lab / "LAB.toml").write_text(f'{text}[evidence]\nwitnesses = "witnesses.policy"\nwitness_every_s = 1.0\n')
    rule = ["group both 2 w1 w2", "quorum both", ""]
    (lab / "witnesses.policy").write_text("\n".join([*witnesses, *rule]), encoding="ascii")
    with up(lab) as running, a_browser(tmp_path / "chromium") as browser:
        until_it_serves(running)
        key = until(lambda: running.ask().get("evidence", {}).get("log_key"))
        assert "unwitnessed_since" in until(lambda: found if (found := page(console)).get("published") else None)
        others = follow(tmp_path, witnesses, key)
        try:
            until(lambda: "unwitnessed_since" not in running.ask("now"))
            size = until(lambda: page(console).get("size"))
            until(lambda: page(console)["size"] > size + 5 * SERVED_S, patience_s=3.0 * SERVED_S)
            told = page(console)
            states = {row["name"]: row["state"] for row in told["says"]["witnesses"]}
            assert set(states) == {"w1", "w2"}
            assert set(states.values()) == {"good"}, states
            looked_at(browser, console)
            assert running.end(signal.SIGTERM) == 0
        finally:
            for one in others:
                one.terminate()
                one.wait(120)
    reader = tmp_path / "reader.policy"
    reader.write_text("\n".join([f"log {key}", *witnesses, *rule]), encoding="ascii")
    _, judged = verdict(lab, reader, lab / "policy" / "policy.json")
    assert (judged["unwitnessed"], judged["replay"]["same"]) == (False, True)
    assert judged["seconds"]["moved"] == 0
    assert judged["seconds"]["proved"] >= SERVED_S / 2.0, judged["seconds"]
    assert "tampering" not in judged
    # without the witnesses' lines the log is not what the policy asks for
    (lab / "evidence" / "log" / "checkpoint").write_bytes(only_the_log(lab))
    ran = subprocess.run(
        program("verdict", "--log", str(lab), "--policy", str(reader), "--json"),
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert ran.returncode != 0


def looked_at(browser: Browser, port: int) -> None:
    """Open the page as a person would: both witnesses stand there, and nothing says that nobody has signed."""
    browser.go(f"http://127.0.0.1:{port}/evidence", 1280)
    for name in ("w1", "w2"):
        browser.until(f"document.querySelector('#witnesses').innerText.includes('{name}')")
    text = browser.text("main")
    assert "UNWITNESSED" not in text
    assert browser.complaints == []


def only_the_log(lab: Path) -> bytes:
    """The published checkpoint without its witnesses' lines."""
    head, _, lines = (lab / "evidence" / "log" / "checkpoint").read_bytes().partition(b"\n\n")
    return head + b"\n\n" + lines.splitlines(keepends=True)[0]
