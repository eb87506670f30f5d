"""A long run of everything at once: `python -m tests.soak --minutes 20`."""
