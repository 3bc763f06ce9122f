"""Generated from protos/turnkeep/v1 by `make protos`: the messages, the stubs and their types."""
