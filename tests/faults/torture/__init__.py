"""The torture suite: real processes, real faults, and a checker that reads what is left.

    python -m tests.faults.torture --quick            # what `.ci/run` does, a few minutes
    python -m tests.faults.torture --full             # the evidence, about an hour
    python -m tests.faults.torture --only kills --seed 7
    python -m tests.faults.torture --service stock-aio

A *section* (`sections.py`) is one kind of fault under load: it starts its own processes, makes
faults while a workload calls, reads everything back, has the history checked, and ends what it
started. What it found is an `Outcome` (`outcome.py`); all of them make the report (`report.py`).
"""
