"""One module per part of the shop."""
