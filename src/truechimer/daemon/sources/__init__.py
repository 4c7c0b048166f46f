"""Sources: feeds that turn files, receivers, chronyd and NTP servers into readings; none decides anything."""
