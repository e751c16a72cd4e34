"""Where the built page lands (its source is in web/ at the root of the repository)."""
