"""The client side of Turnkeep, a gRPC conversation service.

`turnkeep.v1` holds the generated messages and stubs of `turnkeep.v1.ConversationService`.
"""

__version__ = "0.1.0"
