"""The tamper-evident log's processes: publisher, signer, witnesses, and what the laboratory knows of them."""
