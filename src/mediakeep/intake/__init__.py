"""What comes in: what it truly is, what it may be called, where it may come from, how much fits."""
