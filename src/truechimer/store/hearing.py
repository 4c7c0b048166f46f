"""Who listens to what within one process: a subject's listeners, each with a queue that drops its oldest.

Nothing is stored, nothing crosses a process.
"""

from collections import defaultdict, deque
from threading import Condition

KEPT = 1_024
"""How many one listener may be behind before it misses the oldest."""


class Ear:
    """One listener (`fabric.Hearing`)."""

    def __init__(self, leave: "Hall", subject: str) -> None:
        """Listen to a subject of a hall."""
        self._hall, self._subject = leave, subject
        self._queue: deque[bytes] = deque()
        self._told = Condition()
        self._closed = False
        self._missed = 0

    @property
    def missed(self) -> int:
        """How many were dropped."""
        return self._missed

    def put(self, data: bytes) -> None:
        """Keep one; the oldest goes where there are too many."""
        with self._told:
            if self._closed:
                return
            if len(self._queue) == KEPT:
                self._queue.popleft()
                self._missed += 1
            self._queue.append(data)
            self._told.notify()

    def next(self, *, wait_s: float) -> bytes | None:
        """Return the next, waiting up to `wait_s`; None where nothing came."""
        with self._told:
            # A wait longer than the platform's largest is as good as for ever.
            self._told.wait_for(lambda: self._queue or self._closed, timeout=min(wait_s, 1e6))
            return self._queue.popleft() if self._queue else None

    def close(self) -> None:
        """Stop listening; who waits is let go."""
        self._hall.leave(self._subject, self)
        with self._told:
            self._closed = True
            self._told.notify_all()


class Hall:
    """All listeners of one fabric."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lock = Condition()
        self._ears: defaultdict[str, list[Ear]] = defaultdict(list)

    def tell(self, subject: str, data: bytes) -> None:
        """Give it to everybody who listens now."""
        with self._lock:
            ears = tuple(self._ears.get(subject, ()))
        for ear in ears:
            ear.put(data)

    def hear(self, subject: str) -> Ear:
        """Return a new listener."""
        ear = Ear(self, subject)
        with self._lock:
            self._ears[subject].append(ear)
        return ear

    def leave(self, subject: str, ear: Ear) -> None:
        """Forget a listener; one that has left already is harmless."""
        with self._lock:
            if ear in self._ears.get(subject, ()):
                self._ears[subject].remove(ear)
                if not self._ears[subject]:
                    del self._ears[subject]

    def close(self) -> None:
        """Let everybody go."""
        with self._lock:
            ears = [ear for several in self._ears.values() for ear in several]
        for ear in ears:
            ear.close()
