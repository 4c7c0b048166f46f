"""Answers: what the running laboratory says of itself to whoever asks: `now`, `status`, `sources`.

It changes nothing and steps nothing: each answer is made from one `View`, which the laboratory's own thread replaces
whole, in the thread of
the asker.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from truechimer.alerts import Alert
from truechimer.daemon import notify
from truechimer.daemon.answering import firing, now_document, outside_words, status
from truechimer.daemon.answering.control_socket import ASKS
from truechimer.daemon.door.doors import Door
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab_start import Started
from truechimer.daemon.observed_host import ObservedHost
from truechimer.daemon.orders import orders_desk, proposals
from truechimer.daemon.orders.orders_desk import OrdersDesk
from truechimer.daemon.recent.recent import Recent
from truechimer.daemon.sources.feeds import Feed
from truechimer.daemon.sources.readings_feed import ReadingsFeed
from truechimer.daemon.sources.receiver_feed import ReceiverFeed
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.state import LaboratoryState
from truechimer.quorum.applier import Moment
from truechimer.serve.clock_page import ClockPage, PageUnreadable, ServiceState
from truechimer.serve.ntp import smear

BEFORE_SENTENCE = "serving the last page of the run before, until the first reading of this one; its bound grows"
HELD_SENTENCE = "holding the last recorded time, because records cannot be written; its bound grows"


@dataclass(frozen=True, slots=True)
class View:
    """What is known after an epoch whose records are on the disk: everything that other threads may ask about. `held`:
    later epochs wait for the disk, and `page` says less than was known then.
    """

    state: LaboratoryState
    outcome: EpochOutcome | None
    page: ClockPage | None
    epochs: int
    alerts: tuple[Alert, ...]
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What answers are made from. `seen` gives the present `View`; `max_age_s`: how old the newest epoch may be
    (None: any age); `faults`: the kept refused rows and how many there were; `uptime_s`: since the start; `host_clock`:
    the host's own clock against UTC, None where the laboratory is simulated; `recent`: its past, for plots; `store`:
    what became of the records, `log`: of the signed log over them; `desk`: where orders are brought, `moment`: the
    present, for them; `notices_malformed`: contents of files on leap seconds that are refused at present.
    """

    started: Started
    clocks: HostClocks
    feeds: list[Feed]
    doors: list[Door]
    max_age_s: float | None
    seen: Callable[[], View]
    faults: Callable[[], tuple[list[dict[str, Any]], int]]
    uptime_s: Callable[[], float]
    recent: Recent
    store: Callable[[], dict[str, Any]]
    log: Callable[[], dict[str, Any]]
    desk: OrdersDesk
    moment: Callable[[], Moment]
    notices_malformed: Callable[[], int]
    host_clock: ObservedHost | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request of the control socket."""
        what, view = request.get("ask"), self.seen()
        if what == "now":
            return self.now_document(view)
        if what == "sources":
            against = "simulated-utc" if self.started.config.simulated else "utc"
            clocks = status.clocks(view.state, view.outcome)
            vote = outside_words.selection(view.state, view.outcome)
            return {"sources": self._sources(view), "clocks": clocks, "against": against, "selection": vote}
        if what == "status":
            return self.status_document(view)
        if what == "history":
            return self.recent.document(self.started.config.leaps, until_ns=view.state.epoch_ns)
        if what == "orders":
            return self.orders_document(view)
        if what == "submit":
            return self._submitted(request)
        if what == "holdover":
            return self._holdover(view, request.get("limits_s", []))
        asks = ", ".join(ASKS[:-1])
        return {"error": f"nothing is known about {what!r}; ask {asks} or {ASKS[-1]}"}

    def _holdover(self, view: View, limits_s: Any) -> dict[str, Any]:
        """Return what is foreseen of a holdover, for limits that the request names."""
        usable = isinstance(limits_s, list) and len(limits_s) <= outside_words.MOST_LIMITS
        if not usable or not all(isinstance(each, int | float) and 1e-12 <= each <= 1.0 for each in limits_s):
            most = outside_words.MOST_LIMITS
            return {"error": f"limits_s is a list of at most {most} numbers from 1e-12 to 1 s"}
        own = [door.listener.bound_limit_s for door in self.doors]
        body = outside_words.holdover_document(
            view.state, view.outcome, self.started.config, own, [float(each) for each in limits_s]
        )
        against = "simulated-utc" if self.started.config.simulated else "utc"
        return body | {"scale": self.started.config.scale_name, "against": against}

    def orders_document(self, view: View) -> dict[str, Any]:
        """Return what is ordered: policy, account, what waits, and the last orders."""
        orders = view.state.orders
        if orders is None or self.started.config.observing:
            return {"observing": True, "says": "nothing is steered here, and nothing can be ordered", "last": []}
        folder = self.started.folder / self.started.lab.policy.folder
        leaps = self.started.config.leaps
        return orders_desk.document(orders, self.moment(), leaps, self.desk.done()) | {
            "scale": self.started.config.scale_name,
            "proposals": proposals.listed(folder / proposals.FOLDER, orders, self.moment(), leaps),
        }

    def _submitted(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take an order in, or say what became of one (`number`)."""
        if "number" in request:
            found = self.desk.outcome(request["number"])
            return {"number": request["number"], "outcome": "waits-its-turn"} if found is None else found
        if self.started.config.observing:
            return {"error": "this laboratory only observes: it steers nothing and takes no order"}
        return self.desk.bring(request)

    def now_document(self, view: View) -> dict[str, Any]:
        """Return the time now, as an interval."""
        page: ClockPage | PageUnreadable = view.page if view.page is not None else PageUnreadable.EMPTY
        raw_ns = self.clocks.raw_ns()
        missing, stale = self._missing(view, raw_ns)
        state = ServiceState.FREERUN if view.outcome is None or stale else view.outcome.service
        if view.outcome is None and view.page is not None:
            state = now_document.held_over(view.page)
        body = now_document.time_document(
            page,
            raw_ns=raw_ns,
            leaps=self.started.config.leaps,
            scale=self.started.config.scale_name,
            missing=missing,
            observing=self.started.config.observing,
            state=state,
        )
        body |= outside_words.of_now(view.state)
        if view.page is not None and (smeared := smeared_doors(self.doors, view.page, raw_ns)):
            body["smeared_doors"] = smeared
        since = self.log().get("unwitnessed_since")
        if since is not None:
            body["unwitnessed_since"] = since
        orders = None if self.started.config.observing else view.state.orders
        if orders is not None and orders.applier.policy.insecure_software_keys:
            body["insecure_software_keys"] = True
        return body

    def _missing(self, view: View, raw_ns: int) -> tuple[tuple[str, ...], bool]:
        """Return what is missing for a synchronised answer, and whether fresh epochs are among it."""
        if view.outcome is None:
            since = " since the start: this is the last page of the run before" if view.page is not None else " yet"
            return (f"no reading has come{since}",), False
        if view.held:
            return (*view.outcome.missing, "later records are not on the disk: the last recorded time is held"), False
        oldest = self.max_age_s
        age_s = (self.started.label.at(raw_ns) - view.state.epoch_ns) / 1e9
        if oldest is None or age_s <= oldest:
            return view.outcome.missing, False
        return (
            *view.outcome.missing,
            f"the newest epoch is {age_s:.0f} s old, {oldest:g} s are allowed (max_age_s)",
        ), True

    def status_document(self, view: View) -> dict[str, Any]:
        """Return all that is known."""
        started, body = self.started, self.now_document(view)
        faults, rejected = self.faults()
        body |= status.laboratory_document(
            started.start,
            started.config,
            view.state,
            view.outcome,
            service=ServiceState(body["state"]),
            uptime_s=self.uptime_s(),
            epochs=view.epochs,
            rejected=rejected,
            alerts=view.alerts,
            reading_faults=faults,
        )
        if "notices_refused" in body["leap"]:
            body["leap"]["notices_refused"] += self.notices_malformed()
        body |= outside_words.document(
            view.state, view.outcome, started.config, [door.listener.bound_limit_s for door in self.doors]
        )
        body["state_sentence"] = outside_words.sentence(
            body["state_sentence"], ServiceState(body["state"]), view.state, started.config
        )
        body["store"] = self.store()
        body["evidence"] = self.log()
        if view.held:
            body["state_sentence"] = HELD_SENTENCE
        if view.outcome is None and view.page is not None:
            body["state_sentence"] = BEFORE_SENTENCE
        body["sources"] = self._sources(view)
        chrony = [document for feed in self.feeds if (document := feed.document()) is not None]
        if chrony:
            body["chrony"] = chrony
        body["reading_files"] = [_file_row(feed) for feed in self.feeds if isinstance(feed, ReadingsFeed)]
        receivers = [feed for feed in self.feeds if isinstance(feed, ReceiverFeed)]
        if receivers:
            body["receivers"] = [
                _receiver_row(feed, view, self.started.label.at(self.clocks.raw_ns())) for feed in receivers
            ]
        body["listeners"] = [door.row() for door in self.doors]
        body["firing"] = firing.document(view.state, self.host_clock)
        firing.add_outside_the_fold(body)
        body["notify"] = notify.document()
        if view.page is not None and not started.config.observing:
            body.setdefault("bound_growth", view.page.bound_growth)  # of the page served before the first reading too
            body["ntp"] = status.ntp(view.page, synchronised=body["synchronised"])
        if self.host_clock is not None:
            body["host_clock"] = self.host_clock.document()
        return body

    def _sources(self, view: View) -> list[dict[str, Any]]:
        """Return the rows of `sources`."""
        feeds = {name: server for feed in self.feeds for name, server in feed.servers().items()}
        return status.sources(
            view.state,
            view.outcome,
            feeds,
            {name: server.kind for name, server in feeds.items()},
            epoch_now_ns=self.started.label.at(self.clocks.raw_ns()),
        )


def _receiver_row(feed: ReceiverFeed, view: View, now_ns: int) -> dict[str, Any]:
    """Return one receiver's row of `status`: how far its link is believed, and what stands against it."""
    row: dict[str, Any] = {"name": feed.status.name, "link": feed.status.operator, "epochs": feed.status.answers}
    known = view.state.receivers
    if feed.number < len(known):
        now = known[feed.number]
        row["level"] = now.level.value
        row["reasons"] = [{"reason": reason.value, "level": level.value} for reason, level in now.reasons]
        row["antenna"] = "surveyed" if now.judge.surveyed else "learned"
        if now.last_ns:
            row["age_s"] = (now_ns - now.last_ns) / 1e9
    if feed.status.says:
        row["says"] = feed.status.says
    return row


def _file_row(feed: ReadingsFeed) -> dict[str, Any]:
    """Return one readings file's row of `status`."""
    row: dict[str, Any] = {
        "name": feed.status.name,
        "kind": feed.status.kind,
        "file": feed.path.name,
        "accepted": feed.file.accepted,
        "refused": feed.file.refused,
        "host_unwatched": feed.file.host_unwatched,
    }
    return row | ({"says": feed.status.says} if feed.status.says else {})


def smeared_doors(doors: list[Door], page: ClockPage, raw_ns: int) -> list[dict[str, Any]]:
    """Return the doors that give something else than UTC at this moment, and how far ahead of it."""
    off_s = smear.bent(page, raw_ns).served_minus_utc_s
    return [
        {"door": f"ntp {door.where}", "smear": door.listener.smear.value, "served_minus_utc_s": off_s}
        for door in doors
        if off_s and door.listener.rules.smears
    ]
