"""The laboratory: the whole line as one fold, `step(state, EpochInput) -> (state, EpochOutcome)`; everything else only
feeds it.
"""
