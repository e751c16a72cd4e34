"""Values and arithmetic: no I/O, no asyncio, no clock, no environment."""
