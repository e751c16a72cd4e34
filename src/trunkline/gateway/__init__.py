"""The hot path: one request's walk from authorised to settled."""
