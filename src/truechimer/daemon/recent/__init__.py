"""The laboratory's own near and far past in bounded memory, for plots and curves."""
