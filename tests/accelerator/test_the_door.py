"""A door with an accelerator, as processes in a network namespace; and which interface it belongs to."""

import ipaddress
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from truechimer.daemon.door.door_rules import DoorRules
from truechimer.daemon.door.privileges import BELOW_THE_SOCKETS
from truechimer.daemon.ntp import accelerator_state, bpf_calls
from truechimer.daemon.ntp.accelerator import Accelerator, Settings, place_of, why_not
from truechimer.daemon.ntp.bpf_calls import BpfRejected
from truechimer.daemon.ntp.interfaces import Interface
from truechimer.serve.ntp.smear import Smear

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.needs_netns
def test_a_door_answers_below_its_sockets_and_leaves_nothing_behind(tmp_path: Path) -> None:
    why = why_not()
    if why is not None:
        pytest.skip(why)
    lived = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.accelerator.in_a_namespace", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        check=False,
    )
    assert lived.returncode == 0, lived.stderr
    says = json.loads(lived.stdout)
    assert says["open"]
    assert says["attached"]
    assert says["counted"]
    assert says["sockets_had"] <= 10, "of 100 none, but the door's own client asks the sockets once a second"
    assert abs(says["offset_ns"]) < 50_000  # a loaded machine; what is served otherwise is whole seconds off
    assert bytes.fromhex(says["answers"][0])[:2] == b"\x24\x01"
    assert says["rights"] == [sum(1 << number for number in BELOW_THE_SOCKETS)], "of every thread"
    assert says["workers_without_rights"] or find_spec("numba") is None
    assert says["is_urgent"] or not says["may_be_urgent"]
    assert says["denied"] == ""
    assert len(bytes.fromhex(says["with_a_field"])) == 48
    assert says["sockets_had_the_field"]
    assert says["shut"]
    assert says["shut_because"]
    assert says["open_again"]
    assert says["second"]["attached"] is False
    assert "another program" in says["second"]["because"]
    assert says["second_answers"]
    assert says["second_follows"]
    assert says["after_a_kill"]
    assert says["open_after_a_kill"]
    assert bytes.fromhex(says["over_ipv6"])[:2] == b"\x24\x01"
    assert says["exit"] == 0
    assert not says["attached_after_the_end"]
    assert says["state_after_the_end"] == {}
    assert says["natively"] == {"answered": 40, "wrong": [], "is_native": True, "counted": 40}
    assert says["log"].count("answers plain requests on lo port 12") == 3
    assert says["log"].count("the sockets serve") == 1


def an_interface(*addresses: str, is_loopback: bool = False) -> Interface:
    return Interface(7, "x0", bytes(6), is_loopback, tuple(map(ipaddress.ip_interface, addresses)))


def test_a_program_knows_the_addresses_of_its_interface_that_the_door_has() -> None:
    card = an_interface("192.0.2.1/24", "198.51.100.9/31", "2001:db8::1/64", "fe80::1/64")
    every = {ipaddress.ip_address(text).packed for text in ("192.0.2.1", "198.51.100.9", "2001:db8::1", "fe80::1")}
    assert set(place_of(card, "::").addresses) == every
    assert set(place_of(card, "0.0.0.0").addresses) == {one for one in every if len(one) == 4}
    assert place_of(card, "2001:db8::1").addresses == (ipaddress.ip_address("2001:db8::1").packed,)
    assert place_of(card, "fe80::1%x0").addresses == (ipaddress.ip_address("fe80::1").packed,)
    assert place_of(card, "192.0.2.2").addresses == ()
    assert place_of(card, "0.0.0.0").broadcasts == (bytes([192, 0, 2, 0]), bytes([192, 0, 2, 255]))
    lo = an_interface("127.0.0.1/8", "::1/128", is_loopback=True)
    assert place_of(lo, "127.0.0.53").addresses == (bytes([127, 0, 0, 53]),)
    assert place_of(card, "127.0.0.53").addresses == ()


def test_a_kernel_that_refuses_says_why_and_what_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf_calls.platform, "release", lambda: "5.10.0-28-amd64")
    assert "older than 6.1" in str(why_not())
    monkeypatch.setattr(bpf_calls.platform, "machine", lambda: "riscv64")
    assert "riscv64" in str(why_not())
    assert "CAP_BPF" in str(BpfRejected("making a BPF map", 1))
    assert str(BpfRejected("loading the program", 13, "0: R1=ctx\nR9 !read_ok\nprocessed 3 insns")).endswith(
        "(R9 !read_ok)"
    )


def test_a_door_that_smears_is_served_by_its_sockets_alone(tmp_path: Path) -> None:
    state = tmp_path / "ntp-123.accelerator"
    settings = Settings(
        page=tmp_path / "page",
        address="127.0.0.1",
        port=123,
        bound_limit_s=1e-3,
        precision_log2=-20,
        simulated_allowed=True,
        rules=DoorRules(smear=next(one.value for one in Smear if one is not Smear.NONE)),
        state=state,
    )
    smearing = Accelerator(settings)
    assert not smearing.begin()
    assert "smears" in accelerator_state.read(state, is_alive=True)["because"]
    smearing.close()
    assert not state.exists()


def test_what_a_dead_or_silent_door_said_is_not_believed(tmp_path: Path) -> None:
    path = accelerator_state.path_of(tmp_path, "ntp-123")
    assert accelerator_state.beside(path.with_suffix(".counters")) == path
    path.parent.mkdir()
    assert "not said anything" in accelerator_state.read(path, is_alive=True)["because"]
    accelerator_state.write(path, {"attached": True, "answering": True, "interfaces": ["x0"]})
    assert accelerator_state.read(path, is_alive=True)["attached"] is True
    assert accelerator_state.read(path, is_alive=False)["attached"] is False
    path.write_bytes(b"{")
    assert accelerator_state.read(path, is_alive=True)["attached"] is False
    path.write_bytes(b"[]")
    assert accelerator_state.read(path, is_alive=True)["attached"] is False
