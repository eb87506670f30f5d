"""Tools for a migration. Nothing here is part of serving a request."""
