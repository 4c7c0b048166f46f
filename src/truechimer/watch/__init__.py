"""Watching the time itself: monitors that see values and return alerts, and hold no way to act."""
