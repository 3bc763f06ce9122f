"""Clients nobody here wrote, in other languages, against a real server: `make interop`."""
