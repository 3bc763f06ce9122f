"""A family: what proves who calls. Keys, JWTs, certificates; identity.py asks them."""
