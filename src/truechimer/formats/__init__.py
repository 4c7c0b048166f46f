"""Formats: bytes to (value, findings) and back; nothing here knows what a value is for.

Every reader is `read(bytes) -> (value, findings)`, every writer `write(value) -> bytes`. A broken line never costs
its neighbours, and
no line is dropped without a finding.
"""
