"""Evidence: records in canonical bytes, each chained to the one before; pure, no disk."""
