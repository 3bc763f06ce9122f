"""Python's garbage collector, told what kind of program this is."""

import gc

# A turn makes some thousand objects, and nearly all of them go by themselves when it ends. At the
# default of 700 the collector would look for cycles among the living several times a turn.
_NEW_OBJECTS, _YOUNG_ROUNDS, _OLDER_ROUNDS = 20_000, 20, 20


def spare_what_stays() -> None:
    """Has the collector pass over all that there is now, and look at what is new less often.

    To be called once everything is loaded: libraries of 80 MB stay until the process ends, and
    walking over them was an eighth of a turn.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _YOUNG_ROUNDS, _OLDER_ROUNDS)
