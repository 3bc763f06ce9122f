"""The simulations keep the rules that they simulate."""

from benchmarks.simulation.hot_session import Times, simulated
from benchmarks.simulation.leases import LEASE_SECONDS, database_away, replicas_killed


def test_one_session_carries_one_turn_at_a_time_through_any_number_of_replicas() -> None:
    seen = simulated(replicas=10, share=0.9, seconds=600.0)
    assert seen.overlaps == 0
    assert sum(seen.turns_of.values()) == len(seen.waits) > 200
    assert 300 < seen.busy_seconds < 600


def test_above_its_limit_a_session_s_callers_time_out_and_the_rest_are_served() -> None:
    times = Times(deadline=10.0)
    seen = simulated(replicas=10, share=2.0, seconds=600.0, times=times)
    assert 0.4 < seen.timeouts / (seen.timeouts + len(seen.waits)) < 0.6
    assert max(seen.waits) < times.deadline + 0.1


def test_a_dead_replica_s_turns_are_all_ended_soon_after_their_lease_and_no_others() -> None:
    ended = replicas_killed(killed=2, turns_each=20, replicas=10)
    assert len(ended.dead) == 40
    assert max(ended.dead) < LEASE_SECONDS + 5
    assert min(ended.dead) > LEASE_SECONDS * 2 / 3
    assert ended.alive == 0


def test_a_database_that_all_find_again_at_once_costs_no_turn() -> None:
    assert database_away(seconds=30.0, turns_each=5, found_within=0.5, replicas=10).alive == 0
