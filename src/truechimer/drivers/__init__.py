"""Drivers: devices and other people's sockets; open, write or read one thing, close. They decide nothing about time."""
