"""The version, read by the build and by `truechimer --version`."""

__version__ = "0.1.0"
