"""Daemons: sockets, tasks and clocks; the rooms below are pure and are only carried here.

At this level stand the laboratory's process, its turns and what all daemons share (host clocks, the clock page, what is
said to operators); each of the rooms says in its first line what it is for.

Nothing is imported at import time: the serve process must stay small, and the laboratory process must not pay for
doors.
"""
