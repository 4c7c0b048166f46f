"""Comparison: clock minus clock, link by link, with uncertainty and quality.

It says what was measured and how sure that is. It does not weigh clocks (`scale`) and does not steer (`steer`).
"""
