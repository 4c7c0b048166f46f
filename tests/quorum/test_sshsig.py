"""SSH signatures: OpenSSH's own vectors, ssh-keygen both ways, and every byte that is not as it must be."""

import base64
import contextlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.quorum.signers import at, key, order, policy

from truechimer.errors import Misuse
from truechimer.quorum.applier import Applied, OrderEntry, begun, step
from truechimer.quorum.order import SignedOrder
from truechimer.quorum.ssh_keys import SshRejected, key_of_blob, key_of_line, string
from truechimer.quorum.sshsig import SigningKeyRejected, armoured, signature_from, signing_key, signing_key_from
from truechimer.quorum.verified import Refused

VECTORS = Path(__file__).parent.parent / "vectors" / "sshsig"
DATA = (VECTORS / "signed-data").read_bytes()
NAMESPACE = (VECTORS / "namespace").read_text(encoding="ascii")
ED = signing_key(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
EC = signing_key(derive_private_key(0xC0FFEE, SECP256R1()))


def of_openssh(name: str) -> bytes:
    return (VECTORS / f"{name}.sig").read_bytes()


def keygen(
    *words: str | Path, data: bytes | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["ssh-keygen", *map(str, words)], input=data, capture_output=True, cwd=cwd, timeout=120, check=False
    )


@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "ed25519_sk", "ecdsa_sk"])
def test_signatures_that_openssh_tests_itself_with_hold(name: str) -> None:
    signature = signature_from(of_openssh(name))
    stated = signature.check(DATA, NAMESPACE)
    assert signature.key == key_of_line((VECTORS / f"{name}.pub").read_text(encoding="ascii"))
    assert (stated is not None) == name.endswith("_sk")
    if stated is not None:
        assert stated.touched
        assert not stated.verified
        assert stated.counter == 0x12345678


@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "ed25519_sk", "ecdsa_sk"])
def test_they_hold_for_nothing_else(name: str) -> None:
    signature = signature_from(of_openssh(name))
    with pytest.raises(SshRejected) as other_data:
        signature.check(DATA + b" ", NAMESPACE)
    with pytest.raises(SshRejected) as other_purpose:
        signature.check(DATA, "steer@truechimer")
    assert (other_data.value.reason, other_purpose.value.reason) == ("bad-signature", "namespace")
    assert "-n steer@truechimer" in str(other_purpose.value)


@pytest.mark.parametrize(("name", "reason"), [("rsa", "key-kind"), ("ecdsa_sk_webauthn", "wrong-kind")])
def test_kinds_that_are_not_taken_are_refused_by_name(name: str, reason: str) -> None:
    with pytest.raises(SshRejected) as refused:
        signature_from(of_openssh(name)).check(DATA, NAMESPACE)
    assert refused.value.reason == reason


def test_an_rsa_key_is_no_key_of_ours() -> None:
    with pytest.raises(SshRejected, match="ssh-rsa"):
        key_of_line((VECTORS / "rsa.pub").read_text(encoding="ascii"))


@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "ed25519_sk", "ecdsa_sk"])
def test_no_single_bit_of_a_signature_can_be_changed(name: str) -> None:
    blob = base64.b64decode("".join(of_openssh(name).decode().split("\n")[1:-2]))
    for place in range(len(blob)):
        bent = bytearray(blob)
        bent[place] ^= 1 << (place % 8)
        text = b"-----BEGIN SSH SIGNATURE-----\n" + base64.b64encode(bent) + b"\n-----END SSH SIGNATURE-----\n"
        with pytest.raises(SshRejected):
            signature_from(text).check(DATA, NAMESPACE)


@pytest.mark.parametrize("by", [ED, EC], ids=["ed25519", "p256"])
def test_what_is_signed_here_holds_here(by) -> None:
    for message in (b"", b"x" * 5000):
        assert signature_from(by.sign(message, "steer@truechimer")).check(message, "steer@truechimer") is None


@pytest.mark.needs_ssh_keygen
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_what_ssh_keygen_signs_holds_here(kind: str, tmp_path: Path) -> None:
    assert keygen("-q", "-t", kind, "-N", "", "-f", tmp_path / "key").returncode == 0
    message = b'{"op":"steer-phase"}'
    made = keygen("-Y", "sign", "-n", "steer@truechimer", "-f", tmp_path / "key", data=message)
    assert made.returncode == 0, made.stderr
    signature = signature_from(made.stdout)
    signature.check(message, "steer@truechimer")
    assert signature.key == key_of_line((tmp_path / "key.pub").read_text(encoding="utf-8"))
    listed = keygen("-l", "-f", tmp_path / "key.pub").stdout.decode()
    assert signature.key.fingerprint in listed
    mine = signing_key_from((tmp_path / "key").read_bytes())
    assert mine.public == signature.key
    assert mine.sign(message, "steer@truechimer") == made.stdout or kind == "ecdsa"


@pytest.mark.needs_ssh_keygen
@pytest.mark.parametrize("by", [ED, EC, key("a1")], ids=["ed25519", "p256", "sk-ed25519"])
def test_what_is_signed_here_holds_for_ssh_keygen(by, tmp_path: Path) -> None:
    message = b"an order"
    (tmp_path / "sig").write_bytes(by.sign(message, "steer@truechimer"))
    (tmp_path / "signers").write_text(f'anna namespaces="steer@truechimer" {by.public.line}\n', encoding="ascii")
    words = ("-Y", "verify", "-f", tmp_path / "signers", "-I", "anna", "-s", tmp_path / "sig", "-n")
    good = keygen(*words, "steer@truechimer", data=message)
    assert good.returncode == 0, good.stderr
    assert keygen(*words, "policy@truechimer", data=message).returncode != 0
    assert keygen(*words, "steer@truechimer", data=message + b".").returncode != 0


def test_an_authenticator_that_nobody_touched_is_refused() -> None:
    for flags, reason in ((0, "not-touched"), (4, "not-touched"), (0x41, "malformed")):
        with pytest.raises(SshRejected) as refused:
            signature_from(key("a1").sign(b"x", "n", flags=flags)).check(b"x", "n")
        assert refused.value.reason == reason
    stated = signature_from(key("a1").sign(b"x", "n", flags=5, counter=2**32 - 1)).check(b"x", "n")
    assert stated is not None
    assert stated.verified
    assert stated.counter == 2**32 - 1


def test_a_key_for_another_application_is_another_key() -> None:
    line = key("a1").public.line
    blob = base64.b64decode(line.split()[1])
    other = key_of_blob(blob[: -len(string(b"ssh:"))] + string(b"ssh:other"))
    assert other != key("a1").public
    assert other.fingerprint != key("a1").public.fingerprint


WHOLE = ED.sign(b"x", "n").decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        WHOLE.replace("BEGIN SSH", "BEGIN PGP"),
        WHOLE.replace("-----END SSH SIGNATURE-----\n", ""),
        WHOLE + WHOLE,
        WHOLE.replace("U1NI", "U1N!"),
        WHOLE.replace("\n", "\n\n", 1) + "x",
        "x" + WHOLE,
        WHOLE + "\n" * 5000,
        WHOLE.replace("A", "\u0391"),
    ],
)
def test_armour_that_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(SshRejected) as refused:
        signature_from(text.encode())
    assert refused.value.reason == "malformed"


def test_armour_with_the_line_ends_of_another_system_is_read() -> None:
    assert signature_from(WHOLE.replace("\n", "\r\n").encode()) == signature_from(WHOLE.encode())


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    wrapped = (
        b"-----BEGIN SSH SIGNATURE-----\n" + base64.b64encode(b"SSHSIG" + data) + b"\n-----END SSH SIGNATURE-----\n"
    )
    for text in (data, wrapped):
        with contextlib.suppress(SshRejected):
            signature_from(text)
    with contextlib.suppress(SshRejected):
        key_of_blob(data)
    with contextlib.suppress(SshRejected):
        key_of_line(data.decode("latin-1"))
    with contextlib.suppress(SshRejected):
        ED.public.checked(data, b"x")
    with contextlib.suppress(SshRejected):
        EC.public.checked(string(b"ecdsa-sha2-nistp256") + string(data), b"x")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 !",
        "ecdsa-sha2-nistp256 " + ED.public.line.split()[1],
        ED.public.line[:-4],
        ED.public.line + "\n" + ED.public.line,
    ],
)
def test_a_line_that_is_no_key_is_refused(line: str) -> None:
    with pytest.raises(SshRejected):
        key_of_line(line)


def test_a_point_off_the_curve_is_no_key() -> None:
    blob = bytearray(EC.public.blob)
    blob[-1] ^= 1
    with pytest.raises(SshRejected, match="no valid point"):
        key_of_blob(bytes(blob))


@pytest.mark.parametrize("sign", [0, 0x80])
@pytest.mark.parametrize(
    "low",
    [
        "00" * 32,
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ],
)
def test_a_key_for_which_anybody_can_sign_is_no_key(low: str, sign: int) -> None:
    point = bytearray.fromhex(low)
    point[31] |= sign
    for head, tail in ((b"ssh-ed25519", b""), (b"sk-ssh-ed25519@openssh.com", string(b"ssh:"))):
        with pytest.raises(SshRejected, match="no valid point"):
            key_of_blob(string(head) + string(bytes(point)) + tail)


@pytest.mark.parametrize("data", [b"", b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"\xff" * 100])
def test_a_file_that_is_no_private_key_is_refused(data: bytes) -> None:
    with pytest.raises(SigningKeyRejected, match="ssh-keygen -Y sign"):
        signing_key_from(data)


def test_no_signature_is_made_for_an_empty_purpose_or_on_another_curve() -> None:
    with pytest.raises(Misuse):
        ED.sign(b"x", "")
    with pytest.raises(Misuse):
        signing_key(derive_private_key(5, SECP384R1()))
    assert armoured(ED.public, "n", b"").startswith(b"-----BEGIN")


@pytest.mark.needs_ssh_keygen
def test_two_persons_with_nothing_but_ssh_keygen_give_a_lawful_order(tmp_path: Path) -> None:
    persons = []
    for name, kind in (("anna", "ed25519"), ("ben", "ecdsa"), ("cleo", "ed25519")):
        assert keygen("-q", "-t", kind, "-N", "", "-f", tmp_path / name).returncode == 0
        line = (tmp_path / f"{name}.pub").read_text(encoding="utf-8").strip()
        persons.append({"name": name, "keys": [{"held": "software", "verify": False, "key": line}]})
    under = policy("A1", 2, persons=persons)
    (tmp_path / "order.json").write_bytes(order(under).canonical())
    signatures = []
    for name in ("anna", "ben"):
        words = ("-Y", "sign", "-n", "steer@truechimer", "-f", tmp_path / name, tmp_path / "order.json")
        assert keygen(*words).returncode == 0
        signatures.append((tmp_path / "order.json.sig").read_bytes())
        (tmp_path / "order.json.sig").rename(tmp_path / f"{name}.sig")
    _, alone = step(begun(under), OrderEntry(SignedOrder(order(under).canonical(), (signatures[0],)), at()))
    assert isinstance(alone, Refused)
    _, outcome = step(begun(under), OrderEntry(SignedOrder(order(under).canonical(), tuple(signatures)), at()))
    assert isinstance(outcome, Applied)
    assert outcome.order.by == ("anna", "ben")
    (tmp_path / "signers").write_text(under.allowed_signers(["steer@truechimer"]), encoding="ascii")
    for name in ("anna", "ben"):
        words = ("-Y", "verify", "-f", tmp_path / "signers", "-I", name, "-n", "steer@truechimer")
        checked = keygen(*words, "-s", tmp_path / f"{name}.sig", data=order(under).canonical())
        assert checked.returncode == 0, checked.stderr
