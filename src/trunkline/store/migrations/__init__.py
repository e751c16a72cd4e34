"""One alembic tree; each branch (`chat`, later `ledger`) has its own version table."""
