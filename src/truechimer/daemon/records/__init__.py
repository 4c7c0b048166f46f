"""Records on the disk: the journal, snapshots of the fold, what was lost, and what the last page said."""
