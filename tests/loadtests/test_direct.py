"""The engine's limit: windows cut as the batcher cuts them, and the best policy taken."""

from hypothesis import given
from hypothesis import strategies as st

from loadtests.bench import direct
from loadtests.bench.samples import Sample
from services.core import batching
from services.core.catalog import BatchPolicy
from services.core.queueing import Entry, Item
from services.core.schema import Request

REQUEST = Request()


@given(st.lists(st.integers(1, 600), max_size=40), st.integers(1, 9), st.integers(1, 2000))
def test_windows_are_cut_as_the_batcher_cuts_them(costs: list[int], items: int, cost: int) -> None:
    policy = BatchPolicy(group_items=items, group_cost=cost)
    work = [Item(number, cost) for number, cost in enumerate(costs)]
    ours = direct.cut([(REQUEST, item) for item in work], policy)
    entries = [Entry(item, None, 0, (0, 0.0, 0, number)) for number, item in enumerate(work)]  # type: ignore[arg-type]
    theirs = batching._groups(entries, policy)
    assert [[item for _, item in group] for group in ours] == [[entry.item for entry in group] for group in theirs]


def test_the_models_own_policy_is_tried_first() -> None:
    own = BatchPolicy(group_items=2, window_items=16, lanes=2)
    found = direct.policies(own, 64)
    assert found[0] == own
    assert {(policy.group_items, policy.lanes) for policy in found} == {(2, 2), (1, 2), (4, 2), (8, 2)}
    assert len(direct.policies(own, 1)) == 2


def test_the_best_policy_is_measured() -> None:
    model = direct.load("echo")
    samples = [Sample("a", ("a", 0.0)), Sample("bb", ("bb", 0.0))]
    seen = direct.best(model, samples, in_flight=16, seconds=0.01).measure(0.02)
    assert seen.requests
    assert not seen.wrong
    assert 0 < seen.p50_ms <= seen.p99_ms
