"""The past of a laboratory that starts: a simulated history, or the backlog of its readings files, in order of epoch.

It takes nothing in: the laboratory's process does.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import merge

from truechimer.daemon.lab_start import Started
from truechimer.daemon.sources.feeds import Batch, Feed
from truechimer.daemon.sources.gathering import in_order
from truechimer.daemon.sources.readings_feed import ReadingsFeed
from truechimer.daemon.sources.receiver_feed import ReceiverFeed

TELL_EVERY_EPOCHS = 200


def has_clocks(started: Started) -> bool:
    """Return True for a laboratory with clocks beside its host."""
    return any(clock.name != "host" for clock in started.state.register.clocks)


def batches(started: Started, feeds: Iterable[Feed], progress: Callable[[int, int], None]) -> Iterator[Batch]:
    """Yield what lies in the past; `progress` is called with how much is done, of how much."""
    if started.world is not None and not started.resumed:
        run = started.world.scenario.run
        total = round(run.days * 86_400.0 / run.interval_s) + 1
        for number, past in enumerate(started.world.history()):
            if number % TELL_EVERY_EPOCHS == 0:
                progress(number, total)
            yield Batch(past.epoch_tai_ns, None, past.readings, 0, past)
        progress(total, total)
    files: list[ReadingsFeed | ReceiverFeed] = [feed for feed in feeds if isinstance(feed, ReadingsFeed)]
    receivers = [feed for feed in feeds if isinstance(feed, ReceiverFeed)]
    if files and has_clocks(started):
        files += receivers
    else:  # nothing of the past is there that their word would judge
        for feed in receivers:
            feed.skip_past()
    size = sum(feed.size() for feed in files)
    backlogs = merge(*(feed.backlog() for feed in files), key=lambda batch: batch.epoch_tai_ns)
    for number, batch in enumerate(in_order(backlogs) if has_clocks(started) else backlogs):
        if number % TELL_EVERY_EPOCHS == 0:
            progress(sum(feed.offset for feed in files), size)
        yield batch
    if files:
        progress(size, size)
