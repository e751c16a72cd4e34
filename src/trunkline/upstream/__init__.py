"""Everything that dials out: the HTTP client, the scripted upstream, the local model."""
