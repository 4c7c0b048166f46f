"""Orders and policies: proposed, signed, taken in, and turned into effect by the laboratory."""
