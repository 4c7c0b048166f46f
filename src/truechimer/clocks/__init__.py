"""Clocks: who they are (name, kind, BIPM code) and how each kind behaves; not what they read.

Comparison is `compare`'s duty, weighing is `scale`'s.
"""
