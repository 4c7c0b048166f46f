"""The measured coverage of the bound. Until a run has been measured nothing is claimed."""

COVERAGE: float = 0.0
