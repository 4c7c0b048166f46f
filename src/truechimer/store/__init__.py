"""Stores: disks behind small interfaces; but for the history, nothing here knows what a record means."""
