"""How windows are cut: everything once, within bounds, and never worse than a run for each item."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.core.catalog import BatchPolicy
from services.core.grouping import cut

costs = st.lists(st.integers(0, 600), max_size=60)
policies = st.builds(
    BatchPolicy,
    group_items=st.integers(1, 9),
    group_cost=st.integers(1, 2000),
    run_cost=st.integers(0, 200),
)


def groups(window: list[int], policy: BatchPolicy) -> list[list[int]]:
    return list(cut(window, int, policy))


def work(found: list[list[int]], run_cost: int) -> int:
    """What the engine computes, and what its runs cost beside it."""
    return sum(len(group) * max(group) + run_cost for group in found)


@given(costs, policies)
def test_every_item_is_in_one_group_within_the_bounds_cheapest_first(window: list[int], policy: BatchPolicy) -> None:
    found = groups(window, policy)
    assert [cost for group in found for cost in group] == sorted(window)
    for group in found:
        assert len(group) <= policy.group_items
        if len(group) > 1:
            assert len(group) * group[-1] <= policy.group_cost
            assert len(group) * group[-1] - sum(group) <= policy.run_cost


@given(costs, policies)
def test_padding_never_costs_more_than_the_runs_it_saves(window: list[int], policy: BatchPolicy) -> None:
    alone = [[cost] for cost in window]
    assert work(groups(window, policy), policy.run_cost) <= work(alone, policy.run_cost)


@given(costs, policies)
def test_a_group_ends_only_for_a_reason(window: list[int], policy: BatchPolicy) -> None:
    for group, after in pairwise(groups(window, policy)):
        padded = (len(group) + 1) * after[0]
        assert (
            len(group) == policy.group_items
            or padded > policy.group_cost
            or padded - sum(group) - after[0] > policy.run_cost
        )


def test_like_costs_share_a_run_and_a_long_one_stays_alone() -> None:
    policy = BatchPolicy(group_items=16, run_cost=10)
    assert groups([50, 9, 10, 8, 10, 11], policy) == [[8, 9, 10, 10, 11], [50]]
    assert groups([50, 50, 50], policy) == [[50, 50, 50]]


def test_nothing_is_cut_into_nothing() -> None:
    assert groups([], BatchPolicy()) == []
