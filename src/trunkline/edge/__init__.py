"""HTTP in: raw ASGI for the hot routes, Litestar for the rest."""
