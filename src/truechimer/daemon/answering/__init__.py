"""Answers to whoever asks the laboratory: `now`, `status`, standing alerts, and the words they are told in."""
