"""A laboratory's own turn at the desk over the day that a change of the policy waits, and the guide's ceremony of a
lost key: with every command as it stands on the page but the last one, whose bytes go onto the desk that a control
socket would lay them on. The moment is the test's own; no day passes.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cli.test_key_ceremony import LIMITS, PAGE, keygen, persons, refused, said
from tests.daemon_laboratory.test_orders_and_edits import started
from tests.daemon_laboratory.test_starts_and_ends import a_host_lab

from truechimer.alerts import AlertKind
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.laboratory_process import Laboratory
from truechimer.daemon.orders import orders_turn, policy_files, proposals
from truechimer.quorum.applier import Moment

HOUR_NS = 3_600 * 10**9


@dataclass
class Desk:
    """A laboratory that takes its turn when it is told to, at a moment of the test's."""

    laboratory: Laboratory
    now_ns: int

    @property
    def folder(self) -> Path:
        return self.laboratory.started.folder

    def bring(self, path: str) -> dict:
        """Give a proposal to the desk, and let the laboratory take its turn."""
        number = self.laboratory.desk.bring(proposals.read(Path(path)).request())["number"]
        self.turn()
        outcome = self.laboratory.desk.outcome(number)
        assert outcome is not None
        return outcome

    def turn(self) -> None:
        orders_turn.take_all(self.laboratory)

    def alerts(self, kind: AlertKind) -> list[str]:
        return [one.says for one in self.laboratory.alerts if one.kind is kind]


@pytest.fixture
def people(tmp_path: Path) -> dict[str, Path]:
    return {name: keygen(tmp_path, name) for name in ("anna", "ben", "carla")}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    folder = tmp_path / "lab"
    folder.mkdir()
    a_host_lab(folder)
    with started(folder) as run:
        made = Desk(Laboratory(run, HostClocks()), run.label.tai_ns + 10**9)
        monkeypatch.setattr(orders_turn, "moment", lambda _laboratory: Moment(made.now_ns, made.now_ns + 1000))
        yield made


def signed(capsys: pytest.CaptureFixture[str], desk: Desk, *words: object, by: tuple[Path, ...]) -> str:
    made = said(capsys, "order", *words, "--because", "a test", "--lab", desk.folder)
    for key in by:
        said(capsys, "order", "sign", made["path"], "--key", key, "--yes", "--lab", desk.folder)
    path: str = made["path"]
    return path


def two_of_three(capsys: pytest.CaptureFixture[str], desk: Desk, people: dict[str, Path]) -> dict:
    """Bring the policy of step 4 of the page, signed by the old key and two new persons."""
    new, own = desk.folder / "policy2.json", desk.folder / "policy" / "operator.key"
    words = ["policy", "make", "--threshold", "2", *persons(people), "--insecure-software-keys", "--out", new]
    said(capsys, *words, "--lab", desk.folder)
    by = (own, people["anna"], people["ben"])
    # the command line's own clock is this machine's: its begin is certain a little later
    desk.now_ns += 2 * HOUR_NS // 60
    return desk.bring(signed(capsys, desk, "propose", "policy-change", "--file", new, by=by))


def test_a_policy_comes_into_force_after_its_day_is_said_and_written_and_the_old_key_is_worth_nothing(
    desk: Desk, people: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    waits = two_of_three(capsys, desk, people)
    assert waits["outcome"] == "waits"
    begun = desk.now_ns
    for hours in (1, 12, 23):
        desk.now_ns = begun + hours * HOUR_NS
        desk.turn()
        assert policy_files.load_policy(desk.folder / "policy").version == 1
    desk.now_ns = begun + 24 * HOUR_NS - 10**9
    desk.turn()
    assert not [one for one in desk.alerts(AlertKind.ORDER_TAKEN) if "version 2" in one and "is in force" in one]
    desk.now_ns = begun + 24 * HOUR_NS + 10**9
    for _ in range(2):
        desk.turn()
    told = [one for one in desk.alerts(AlertKind.ORDER_TAKEN) if "version 2 of the policy is in force" in one]
    assert len(told) == 1, "said once"
    assert policy_files.load_policy(desk.folder / "policy").version == 2
    own = desk.folder / "policy" / "operator.key"
    alone = signed(capsys, desk, "propose", "clock-membership", "--target", "host", "--value", "out", by=(own,))
    assert desk.bring(alone)["reason"] in {"policy", "expired"}


def test_the_ceremony_of_a_lost_key_as_the_page_has_it(
    desk: Desk, people: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert two_of_three(capsys, desk, people)["outcome"] == "waits"
    # the waiting policy names anna's key: its revocation takes the policy with it
    command = ["ssh-keygen", "-l", "-E", "sha256", "-f", f"{people['anna']}.pub"]
    fingerprint = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]
    (line,) = (one.strip() for one in PAGE.splitlines() if "propose key-revoke" in one)
    words = line.removeprefix("truechimer order ").partition(' --because "')
    asked = [word if word != "SHA256:..." else fingerprint for word in words[0].split()]
    own = desk.folder / "policy" / "operator.key"
    taken = desk.bring(signed(capsys, desk, *asked, by=(own,)))
    assert (taken["outcome"], taken["by"]) == ("applied", ["operator"])
    state = desk.laboratory.started.state.orders.applier
    assert state.revoked_keys == {fingerprint}
    assert state.pending is None
    again = desk.bring(signed(capsys, desk, *asked, by=(own,)))
    assert again["reason"] == "revoked-key"
    # and the last person's last key cannot be taken: nobody could order anything
    command = ["ssh-keygen", "-l", "-E", "sha256", "-f", str(desk.folder / "policy" / "operator.pub")]
    last = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]
    lost = desk.bring(signed(capsys, desk, "propose", "key-revoke", "--target", last, by=(own,)))
    assert lost["reason"] == "quorum-lost"
    with_it = ["policy", "make", "--threshold", "1", "--person", f"anna={people['anna']}.pub", *LIMITS]
    back = [*with_it, "--insecure-software-keys", "--lab", desk.folder, "--out", tmp_path / "back.json"]
    capsys.readouterr()
    assert "is revoked" in refused(capsys, *back), "a revoked key never comes back"
