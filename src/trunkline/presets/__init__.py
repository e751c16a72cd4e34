"""Data, not code: the providers that need no configuration but a key."""
