"""Roughtime as pure cores: what a server states of the time, from the one clock page."""
