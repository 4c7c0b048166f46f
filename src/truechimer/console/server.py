"""The console process: `python -m truechimer.console.server --lab DIR --address A --port P [--parent-pid N]`.

It binds first, says one JSON line on stdout once it serves, and ends on SIGTERM, on SIGINT, or `--orphan-exit-s` after
its parent died, unless another laboratory of the folder answers by then: that one has taken it over. It reads the
laboratory through its control socket only, once a second. Exit status: 0 ended as told, 2 wrong use or the
port is in use, with one line.
"""

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from truechimer.client import ask
from truechimer.console import views
from truechimer.console.api import MAX_WATCHERS, Api
from truechimer.console.evidence_desk import EvidenceDesk
from truechimer.console.laboratory_feed import LaboratoryFeed
from truechimer.console.metrics import MetricsPage
from truechimer.console.orders_page import OrdersPage
from truechimer.daemon import notify
from truechimer.daemon.door.door_program import (
    WRONG_USE,
    OneLineParser,
    add_address_options,
    add_door_options,
    complain,
    say_ready,
)
from truechimer.daemon.door.parenthood import Parenthood, take_away
from truechimer.daemon.door.socket_address import socket_address
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.journal_log import Priority
from truechimer.daemon.lab.listener_settings import MetricNames

LOOK_EVERY_S = 0.25
BACKLOG = 512
MAX_CONNECTIONS = 2 * MAX_WATCHERS + 200
"""A page holds two connections, one for the events and one for its clock."""

FILES_KEPT = 64
"""Open files that are no connections."""

END_WITHIN_S = 1


def parser() -> argparse.ArgumentParser:
    """Return the command line of this process."""
    options = OneLineParser(prog="console", description="serve the live page of a laboratory")
    options.add_argument("--lab", type=Path, required=True, help="the laboratory's directory")
    add_address_options(options, transport="TCP")
    options.add_argument(
        "--metrics",
        type=MetricNames,
        default=MetricNames.ALL,
        help="what /metrics serves: all, own (without chrony_exporter's names), or off",
    )
    add_door_options(options, orphan_exit_s=0.0, while_orphaned="no other laboratory answers")
    return options


def main(argv: list[str] | None = None) -> int:
    """Serve until told to end."""
    options = parser().parse_args(argv)
    notify.configure(options.log)
    logging.getLogger().addHandler(_Notified())
    parent = Parenthood(options.parent_pid, exit_s=options.orphan_exit_s, pidfile=options.pidfile)
    if parent.is_lost:
        return 0  # killed before this door was open: the next laboratory opens its own
    try:
        listener = _bind(options.address, options.port)
    except ValueError:
        complain(
            "console",
            f"--address {options.address!r} is no numeric address, or --port {options.port} no port; "
            "give one such as 127.0.0.1, and 1 to 65535 (0: any)",
        )
        return WRONG_USE
    except OSError as error:
        complain(
            "console",
            f"cannot listen on {options.address} port {options.port} (tcp): {error.strerror}; "
            "stop the program that holds it, or give another --port or --address",
        )
        return WRONG_USE
    # uvicorn raises the signal again when it has ended: here it has been obeyed by then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    loopback = ipaddress.ip_address(options.address).is_loopback
    try:
        if options.pidfile is not None:
            options.pidfile.write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as error:
        listener.close()
        complain("console", f"cannot write {error.filename}: {error.strerror}; check the folder")
        return WRONG_USE
    try:
        with listener:
            _Server(options.lab, listener, parent=parent, loopback=loopback, metrics=options.metrics).run([listener])
    finally:
        take_away(options.pidfile)
    return 0


class _Notified(logging.Handler):
    """What libraries log is said as everything else is."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record."""
        priority = Priority.ERROR if record.levelno >= logging.ERROR else Priority.WARNING
        notify.say_line(f"console: {self.format(record)}", priority=priority)


def application(
    feed: LaboratoryFeed, raw_ns: Any, *, lab: Path, loopback: bool, metrics: MetricsPage, watchers: int
) -> views.Guarded:
    """Return the ASGI application over one feed, which runs as long as the application does."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        asking = asyncio.create_task(feed.run())
        try:
            yield
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    api = Api(feed, raw_ns, watchers=watchers)
    evidence = EvidenceDesk(lab, feed, raw_ns)
    orders = OrdersPage(lambda: ask("orders", lab=lab), feed, raw_ns)
    routes = [*api.routes(), *evidence.routes(), *orders.routes(), *metrics.routes(), *views.routes()]
    return views.Guarded(Starlette(routes=routes, lifespan=lifespan), loopback=loopback, often=api.often())


class _Server(uvicorn.Server):
    """uvicorn, which says when it is ready, lets the event streams go when it ends, and ends with its parent."""

    def __init__(
        self, lab: Path, listener: socket.socket, *, parent: Parenthood, loopback: bool, metrics: MetricNames
    ) -> None:
        raw_ns = self._raw_ns = HostClocks().raw_ns
        self._feed = LaboratoryFeed(lambda: ask("status", lab=lab), raw_ns, lambda: ask("history", lab=lab))
        connections = _connections()
        self._listener = listener
        self._parent = parent
        self._looking: asyncio.Task[None] | None = None
        super().__init__(
            uvicorn.Config(
                application(
                    self._feed,
                    raw_ns,
                    lab=lab,
                    loopback=loopback,
                    metrics=MetricsPage(self._feed, lab, metrics),
                    watchers=min(MAX_WATCHERS, connections // 2),
                ),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,  # it would state the host's wall clock, which is nobody's time here
                proxy_headers=False,
                limit_concurrency=connections,
                timeout_graceful_shutdown=END_WITHIN_S,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, then say so."""
        await super().startup(sockets)
        if self.started:
            self._looking = asyncio.create_task(self._look())
            address, port = self._listener.getsockname()[:2]
            say_ready("console", address=address, port=port)

    async def _look(self) -> None:
        """End with the parent; and let the streams go first, since they never end by themselves."""
        while not self.should_exit:
            if self._parent.must_end(self._raw_ns(), self._feed.current.answered_raw_ns):
                self.should_exit = True
            else:
                await asyncio.sleep(LOOK_EVERY_S)
        self._feed.close()


def _connections() -> int:
    """Return how many connections may be open at once: what we want, or what the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + FILES_KEPT
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(min(MAX_CONNECTIONS, soft - FILES_KEPT), 2)


def _bind(address: str, port: int) -> socket.socket:
    """Return a listening socket. Raises ValueError where address or port is none, OSError where it is taken."""
    version = ipaddress.ip_address(address).version
    if not 0 <= port <= 65_535:
        raise ValueError(port)
    # the protocol is named, or asyncio leaves Nagle's delay on: 40 ms a reply, and half of it in the display's bound
    listener = socket.socket(
        socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(socket_address(address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


if __name__ == "__main__":
    raise SystemExit(main())
