"""Turnkeep's server: a gRPC conversation service in which every turn is a transaction."""

__version__ = "0.1.0"
