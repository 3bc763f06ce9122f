"""`python -m benchmarks.simulation`: both simulations, as tables."""

# ruff: noqa: T201 - a simulation talks

from benchmarks.simulation import hot_session, leases

SIMULATED_SECONDS = 4 * 3_600.0
TIMES = hot_session.Times()


def main() -> None:
    """Prints the tables that docs/scaling.md quotes."""
    print(f"One session, model answers in {TIMES.model_mean:g} s on average: it carries at most")
    print(f"{1 / TIMES.model_mean:.2f} turns a second. Deadline {TIMES.deadline:g} s.\n")
    print(
        "| offered | replicas | carried | wait p50 | p99 | timed out | reads a turn | least/most |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for share in (0.3, 0.6, 0.8, 0.95, 1.5):
        for replicas in (1, 10, 100):
            print(_hot_row(share, replicas))
    print("\n100 replicas, lease 15 s: when a dead replica's turns are ended, nobody waiting.\n")
    print("| killed | turns each | first after | p50 | last after | living ended | writes a turn |")
    print("|---|---|---|---|---|---|---|")
    for killed, turns_each in ((1, 10), (1, 100), (10, 100), (33, 100)):
        print(_killed_row(killed, turns_each))
    print("\n100 replicas x 100 turns, the database away; all replicas live.\n")
    print("| away | found again within | living turns ended |")
    print("|---|---|---|")
    for seconds in (5.0, 20.0, 60.0):
        for found_within in (0.5, 2.0, 5.0):
            ended = leases.database_away(seconds=seconds, turns_each=100, found_within=found_within)
            print(f"| {seconds:g} s | {found_within:g} s | {ended.alive} of 10,000 |")


def _hot_row(share: float, replicas: int) -> str:
    seen = hot_session.simulated(replicas=replicas, share=share, seconds=SIMULATED_SECONDS)
    waits = sorted(seen.waits)
    done, calls = len(waits), len(waits) + seen.timeouts
    carried = done / SIMULATED_SECONDS * TIMES.model_mean
    fair = min(seen.turns_of.values()) / max(seen.turns_of.values())
    return (
        f"| {share:.0%} | {replicas} | {carried:.1%} | {waits[done // 2]:.2f} s "
        f"| {waits[int(done * 0.99)]:.1f} s | {seen.timeouts / calls:.1%} "
        f"| {seen.polls / done:.1f} | {fair:.2f} |"
    )


def _killed_row(killed: int, turns_each: int) -> str:
    ended = leases.replicas_killed(killed=killed, turns_each=turns_each)
    times = sorted(ended.dead)
    if len(times) != killed * turns_each:
        raise RuntimeError(f"{killed * turns_each - len(times)} turns were never ended")
    return (
        f"| {killed} | {turns_each} | {times[0]:.1f} s | {times[len(times) // 2]:.1f} s "
        f"| {times[-1]:.1f} s | {ended.alive} | {ended.writes / len(times):.1f} |"
    )


if __name__ == "__main__":
    main()
