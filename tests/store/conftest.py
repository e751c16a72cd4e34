"""The fixtures of `databases`, for every test of the store."""

from store.databases import clock, database, history, nowhere, outage, somewhere

__all__ = ["clock", "database", "history", "nowhere", "outage", "somewhere"]
