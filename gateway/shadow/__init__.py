"""Two answers to one request: what is compared, what is expected, what differs by itself. Pure."""
