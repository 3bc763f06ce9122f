"""What was found to hold; the first that does not ends the script."""

passed: list[str] = []


def check(condition: object, claim: str) -> None:
    """Counts a claim that holds. SystemExit when it does not."""
    if not condition:
        raise SystemExit(f"image: FAILED: {claim}")
    passed.append(claim)
    print(f"image: ok: {claim}", flush=True)
