"""A family: what proves who calls. Static keys, JWTs, client certificates; identity.py asks them."""
