"""Console: one live page and a small read-only API on what the laboratory says, in a process of its own.

It makes no time, holds no rule and can change nothing: it asks the control socket, as `truechimer status` does. Nothing
is imported at import time.
"""
