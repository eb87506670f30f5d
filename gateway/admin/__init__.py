"""The gateway's own pages, below `admin.prefix`."""
