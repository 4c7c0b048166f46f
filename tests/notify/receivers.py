"""Receivers of webhooks for tests: HTTP servers on loopback that behave as they are told, well or badly."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.waits import PATIENCE_S

Behaviour = Callable[[socket.socket, "Request"], None]


@dataclass(frozen=True)
class Request:
    line: str
    headers: dict[str, str]
    body: bytes


def answers(status: int, *headers: str, body: bytes = b"") -> Behaviour:
    """Answer with a status."""

    def behave(stream: socket.socket, _: Request) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        stream.sendall("\r\n".join(lines).encode() + body)

    return behave


def hangs(stream: socket.socket, _: Request) -> None:
    """Take the request and say nothing until the other side hangs up."""
    with contextlib.suppress(OSError):
        stream.recv(1)


def drips(stream: socket.socket, _: Request) -> None:
    """Answer one octet at a time, without end."""
    with contextlib.suppress(OSError):
        stream.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            stream.sendall(b"x")
            time.sleep(0.02)


def floods(stream: socket.socket, _: Request) -> None:
    """Answer with a body that has no end."""
    with contextlib.suppress(OSError):
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            stream.sendall(bytes(65_536))


def talks_nonsense(stream: socket.socket, _: Request) -> None:
    """Answer with something that is no HTTP."""
    stream.sendall(b"\x00\xff SSH-2.0-hello\r\n" * 10)


@dataclass
class Receiver:
    port: int
    behaviours: list[Behaviour]
    """Of the first request, the second, ...; the last goes on for ever."""

    scheme: str = "http"
    requests: list[Request] = field(default_factory=list)
    accepted: int = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook/secret-path?token=secret-query"


def _read(stream: socket.socket) -> Request | None:
    with stream.makefile("rb") as file:
        line = file.readline().decode().strip()
        headers: dict[str, str] = {}
        while (header := file.readline().strip()) != b"":
            name, _, value = header.decode().partition(": ")
            headers[name.lower()] = value
        return Request(line, headers, file.read(int(headers.get("content-length", 0)))) if line else None


@contextmanager
def a_receiver(*behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver."""
    ending = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        found = Receiver(listener.getsockname()[1], list(behaviours), "https" if tls else "http")

        def serve(stream: socket.socket) -> None:
            with contextlib.suppress(OSError), stream:
                stream.settimeout(PATIENCE_S)
                spoken = stream if tls is None else tls.wrap_socket(stream, server_side=True)
                with spoken:
                    request = _read(spoken)
                    if request is not None:
                        found.requests.append(request)
                        number = min(len(found.requests), len(found.behaviours)) - 1
                        found.behaviours[number](spoken, request)

        def run() -> None:
            while not ending.is_set():
                with contextlib.suppress(TimeoutError):
                    stream, _ = listener.accept()
                    found.accepted += 1
                    threading.Thread(target=serve, args=(stream,), daemon=True).start()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            ending.set()
            thread.join()


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a file with a certificate of 127.0.0.1 that signs itself, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver.example")])
    begin = datetime(2000, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "ca.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context
