"""What the console answers about orders: the laboratory's own document of them, asked for once however many look.

It can give no order, sign none and veto none: it asks one question and passes the answer on. Orders go through
`truechimer order submit` on the laboratory's host.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from truechimer.client import ServiceReplyRejected
from truechimer.console.laboratory_feed import NS_PER_S, LaboratoryFeed
from truechimer.errors import Rejected

KEPT_NS = 2 * NS_PER_S
"""For so long an answer stands for all who ask."""


class OrdersPage:
    """The route of orders; `ask_orders` asks the laboratory, `raw_ns` reads the raw counter."""

    def __init__(
        self, ask_orders: Callable[[], dict[str, Any]], feed: LaboratoryFeed, raw_ns: Callable[[], int]
    ) -> None:
        self._ask = ask_orders
        self._feed = feed
        self._raw_ns = raw_ns
        self._asking = asyncio.Lock()
        self._kept: dict[str, Any] | None = None
        self._kept_at_ns = 0

    def routes(self) -> list[Route]:
        """Return what is served."""
        return [Route("/api/orders", self.orders, methods=["GET"])]

    async def orders(self, _: Request) -> Response:
        """Return the document; always 200. `answering` False: the laboratory is silent, `says` why; `orders` False: it
        answers, and knows no orders.
        """
        async with self._asking:
            if self._kept is None or not 0 <= self._raw_ns() - self._kept_at_ns < KEPT_NS:
                self._kept = await asyncio.to_thread(self._asked)
                self._kept_at_ns = self._raw_ns()
            told = dict(self._kept)
        told["old_for_s"] = max(0, self._raw_ns() - self._kept_at_ns) / NS_PER_S
        snapshot = self._feed.current
        if snapshot.document is not None:
            told |= {key: snapshot.document[key] for key in ("lab", "against") if key in snapshot.document}
        return JSONResponse(told)

    def _asked(self) -> dict[str, Any]:
        try:
            return {"answering": True, "orders": True} | self._ask()
        except ServiceReplyRejected as error:
            return {"answering": True, "orders": False, "says": str(error)}
        except (Rejected, ValueError) as error:
            return {"answering": False, "orders": False, "says": str(error)}
