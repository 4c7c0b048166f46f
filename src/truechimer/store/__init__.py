"""Stores: disks behind small interfaces; nothing here knows what a record means."""
