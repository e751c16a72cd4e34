"""Which targets, in which order, and why."""
