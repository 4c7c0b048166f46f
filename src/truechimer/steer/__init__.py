"""Steering: UTC(k) = scale + coordination, its prediction, its orders, its realization for the host, and the bound. It
never weighs clocks.
"""
