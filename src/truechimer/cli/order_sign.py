"""Signing an order: with `ssh-keygen -Y sign` for keys on authenticators, tokens and agents, else in Python.

It shows nothing and decides nothing: `order_verb` has shown what is signed. A signature is one file beside the order,
named by whose key it is, so that several people can sign copies and put them together.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from truechimer.cli.order_place import OrderInputRejected
from truechimer.daemon.orders import policy_files
from truechimer.daemon.orders.proposals import Proposal
from truechimer.quorum.ssh_keys import SshRejected
from truechimer.quorum.sshsig import SigningKeyRejected, signature_from

PATIENCE_S = 120.0


def sign(proposal: Proposal, key: Path) -> Path:
    """Sign with a key and return where the signature lies; raises `OrderInputRejected`."""
    payload, namespace = proposal.signed.payload, proposal.namespace
    try:
        armoured = policy_files.software_key(key).sign(payload, namespace)
    except SigningKeyRejected:
        armoured = _with_ssh_keygen(payload, namespace, key)
    try:
        name = signature_from(armoured).key.fingerprint
    except SshRejected as error:
        raise OrderInputRejected(f"{key}: this key makes no signature that an order can have: {error}") from None
    tail = "".join(letter for letter in name.removeprefix("SHA256:") if letter.isalnum())[:12]
    path = proposal.path.with_name(f"{proposal.path.name}.{tail}.sig")
    beside = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(armoured)
        beside.replace(path)
    except OSError as error:
        raise OrderInputRejected(
            f"{path}: {error.strerror}; copy the order to a folder of your own and sign there"
        ) from None
    return path


def _with_ssh_keygen(payload: bytes, namespace: str, key: Path) -> bytes:
    """Sign with OpenSSH, which knows authenticators, tokens and agents; its own questions reach the terminal."""
    program = shutil.which("ssh-keygen")
    if program is None:
        raise OrderInputRejected(
            f"{key}: not a key in a file without a passphrase, and there is no ssh-keygen here for any other: install "
            "openssh-client"
        )
    with tempfile.TemporaryDirectory(prefix="truechimer-sign-") as folder:
        order = Path(folder) / "order.json"
        order.write_bytes(payload)
        try:
            done = subprocess.run(
                [program, "-Y", "sign", "-f", str(key), "-n", namespace, str(order)],
                check=False,
                timeout=PATIENCE_S,
                stdout=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise OrderInputRejected(f"{key}: nobody touched the authenticator within {PATIENCE_S:.0f} s") from None
        made = order.with_name("order.json.sig")
        if done.returncode != 0 or not made.is_file():
            raise OrderInputRejected(
                f"{key}: ssh-keygen made no signature (status {done.returncode}); it said why above"
            )
        return made.read_bytes()
