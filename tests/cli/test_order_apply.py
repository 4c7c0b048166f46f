"""An applier on a host of its own: the same checks again, by its own file."""

import json
from pathlib import Path

import pytest
from tests.cli.test_key_ceremony import lab, said  # noqa: F401 - a fixture
from tests.laboratory.test_ordering import an_order, entry, quiet

from truechimer.cli.__main__ import main
from truechimer.daemon.orders.actuating import carry_out
from truechimer.quorum import applier
from truechimer.quorum.applier import Applied, Moment
from truechimer.quorum.verified import Verified, VerifiedMisuse
from truechimer.sim.stepper import SimulatedStepper, StepperRejected


def orders(folder: Path, capsys: pytest.CaptureFixture[str], value: str, out: str) -> str:
    words = ["order", "propose", "calibration-delay", "--target", "H1", "--value", value, "--because", "a test"]
    path = said(capsys, *words, "--lab", folder, "--out", folder / out)["path"]
    said(capsys, "order", "sign", path, "--key", folder / "policy" / "operator.key", "--yes", "--lab", folder)
    return path


def valid_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour has passed since the proposal: its begin is certain."""
    from truechimer.cli import order_place

    later_ns = 1_800 * 10**9
    monkeypatch.setattr(order_place, "ABOUT_TAI_MINUS_UTC_NS", order_place.ABOUT_TAI_MINUS_UTC_NS + later_ns)


def test_an_applier_of_its_own_repeats_every_check_and_forgets_nothing(
    lab: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, wide = orders(lab, capsys, "2e-8", "one.json"), orders(lab, capsys, "2e-7", "wide.json")
    chain = lab / "applier.jsonl"
    assert main(["order", "apply", one, "--chain", str(chain), "--lab", str(lab)]) == 2
    assert "--policy" in capsys.readouterr().err
    valid_now(monkeypatch)
    words = ("--chain", chain, "--policy", lab / "policy" / "policy.json", "--lab", lab)
    assert said(capsys, "order", "apply", wide, *words, status=1)["reason"] == "per-order"
    assert said(capsys, "order", "apply", one, *words)["outcome"] == "applied"
    assert said(capsys, "order", "apply", one, *words, status=1)["reason"] == "replay"
    assert len(chain.read_bytes().splitlines()) == 4
    assert chain.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_edited_is_found(
    lab: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, chain = orders(lab, capsys, "2e-8", "one.json"), lab / "applier.jsonl"
    valid_now(monkeypatch)
    words = ["order", "apply", one, "--chain", str(chain), "--lab", str(lab)]
    assert main([*words, "--policy", str(lab / "policy" / "policy.json")]) == 0
    good = chain.read_bytes()
    last = json.loads(good.splitlines()[-1])
    forged = json.dumps(
        last | {"outcome": "refused", "reason": "x", "says": "y"}, sort_keys=True, separators=(",", ":")
    )
    for data in (
        good[:-2],
        good.replace(b"H1", b"H2"),
        good.splitlines(keepends=True)[0] + forged.encode() + b"\n",
        b"{}\n",
        good.splitlines(keepends=True)[1],
    ):
        chain.write_bytes(data)
        assert main(words) == 2, data[:60]
        assert chain.read_bytes() == data, "nothing is written behind what cannot be believed"
    chain.write_bytes(good)
    assert main(words) == 1


def steers(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    path = said(capsys, "order", "propose", *words, "--because", "a test", "--lab", folder)["path"]
    said(capsys, "order", "sign", path, "--key", folder / "policy" / "operator.key", "--yes", "--lab", folder)
    return path


def test_an_actuator_moves_only_by_what_was_found_lawful_and_written_down_and_never_twice(
    lab: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    phase = steers(lab, capsys, "steer-phase", "--target", "UTC(lab1)", "--value", "1e-9")
    wide = steers(lab, capsys, "steer-phase", "--target", "UTC(lab1)", "--value", "1e-6")
    delay = steers(lab, capsys, "calibration-delay", "--target", "H1", "--value", "1e-9")
    valid_now(monkeypatch)
    chain, stepper = lab / "applier.jsonl", tmp_path / "stepper.json"
    words = ("--chain", chain, "--policy", lab / "policy" / "policy.json", "--lab", lab, "--simulated-stepper", stepper)
    assert said(capsys, "order", "apply", wide, *words, status=1)["done"] == []
    assert not stepper.exists(), "what is refused reaches no actuator"
    # the disk under the stepper refuses: the outcome stands, nothing is done, and the next call does it
    stepper.mkdir()
    assert main(["order", "apply", phase, *map(str, words)]) == 2
    assert "stepper" in capsys.readouterr().err
    stepper.rmdir()
    monkeypatch.setattr(SimulatedStepper, "do", broken)
    assert main(["order", "apply", phase, *map(str, words)]) == 2
    assert "no stepper answers" in capsys.readouterr().err
    monkeypatch.undo()
    valid_now(monkeypatch)
    again = said(capsys, "order", "apply", phase, *words, status=1)
    assert (again["reason"], len(again["done"]), again["simulated_phase_s"]) == ("replay", 1, 1e-9)
    assert said(capsys, "order", "apply", phase, *words, status=1)["done"] == []
    assert json.loads(stepper.read_bytes())["phase_s"] == "1/1000000000"
    assert said(capsys, "order", "apply", delay, *words, status=1)["reason"] == "replay", "its place was taken"
    stepper.write_bytes(b"{}")
    assert main(["order", "apply", phase, *map(str, words)]) == 2
    assert "not a simulated stepper's file" in capsys.readouterr().err


def broken(_self: object, _order: object, *, at_ns: int) -> None:
    raise StepperRejected(f"no stepper answers at {at_ns}")


def test_a_stepper_runs_a_rate_as_long_as_its_order_holds(tmp_path: Path) -> None:
    rig = quiet().fork()
    asked = an_order(rig, "steer-rate", "SIM(rig)", "1e-12")
    outcome = applier.step(rig.state.orders.applier, entry(rig, asked))[1]
    assert isinstance(outcome, Applied)
    stepper, now = SimulatedStepper(tmp_path / "stepper.json"), Moment(rig.state.epoch_ns, rig.state.epoch_ns)
    assert len(carry_out(stepper, [outcome], now)) == 1
    assert carry_out(stepper, [outcome], now) == ()
    again = SimulatedStepper(tmp_path / "stepper.json")
    assert again.phase_s(now.earliest_ns) == 0.0
    assert again.phase_s(now.earliest_ns + 10**12) == pytest.approx(1e-9)
    assert again.phase_s(asked.expires_ns + 10**15) == again.phase_s(asked.expires_ns) == pytest.approx(3.6e-9)
    late = Moment(asked.expires_ns, asked.expires_ns)
    assert carry_out(SimulatedStepper(tmp_path / "other.json"), [outcome], late) == (), "what has expired is not done"
    with pytest.raises(VerifiedMisuse):
        again.do(Verified(asked, ("nobody",)), at_ns=0)
