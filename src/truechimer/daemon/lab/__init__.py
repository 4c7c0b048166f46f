"""LAB.toml: its tables and keys, the rules between them, and what it comes to on this machine."""
