"""What no two-core machine can show: sessions that are too busy, and a hundred replicas that fail.

    .venv/bin/python -m benchmarks.simulation

Discrete-event simulations (SimPy) of Turnkeep's own rules, with the constants of its own modules:
`hot_session.py` of how requests wait for one session, `leases.py` of how a dead replica's turns are
found. They say what the rules lead to, not how fast a machine is: what a read, a write and a model
take is given. docs/scaling.md quotes what they print.
"""
