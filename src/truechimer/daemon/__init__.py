"""Daemons: sockets, tasks and clocks; the rooms below are pure and are only carried here.

Nothing is imported at import time: the serve process must stay small, and the laboratory process must not pay for
doors.
"""
