"""Radio time codes as pure encoders: a minute in, its symbols out."""
