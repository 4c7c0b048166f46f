"""`python -m truechimer` is the same program as `truechimer`."""

from truechimer.cli.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main())
