"""The ensemble time scale: from clocks minus pivot to clocks minus scale, and the weights.

It never steers: UTC(k) = scale + coordination is `steer`'s. Each algorithm is a fold; `replay` runs one over recorded
readings.
"""
