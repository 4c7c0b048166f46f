"""Quorum: orders and envelopes that k of n persons have signed; `Verified` is the only thing an actuator accepts."""
