"""PTP as pure cores: what a grandmaster announces, from the one clock page."""
