"""`python -m tests.fuzz.guided TARGET [libFuzzer's options]`: one target under atheris.

Inputs that reach code which none before has reached are kept and changed further. What is new is
made by the same makers as everywhere here. https://github.com/google/atheris; Linux on x86-64 only.
"""

import random
import sys

import atheris

with atheris.instrument_imports(include=["turnkeep_server"]):
    from tests.fuzz import seeds
    from tests.fuzz.targets import TARGETS
    from tests.fuzz.wild import Wild

_NEW_SHARE, _CHANGED_SHARE = 0.3, 0.5


def main() -> None:
    """Fuzzes until libFuzzer's options say that it is enough; never returns."""
    target = sys.argv.pop(1)
    throw = TARGETS[target]

    def mutated(data: bytes, longest: int, seed: int) -> bytes:
        source = random.Random(seed)
        share = source.random()
        if share < _NEW_SHARE:
            return seeds.MAKERS[target](source, [data])[:longest]
        if share < _NEW_SHARE + _CHANGED_SHARE:
            return Wild(source).mutated(data)[:longest]
        changed: bytes = atheris.Mutate(data, longest)
        return changed

    def thrown(data: bytes) -> None:
        throw(data)

    atheris.Setup(sys.argv, thrown, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
