"""The demo: a whole laboratory told as a story, measured against runs without what was injected."""
