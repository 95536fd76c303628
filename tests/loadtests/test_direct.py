"""The engine's limit: the best policy is taken."""

from loadtests.bench import direct
from loadtests.bench.samples import Sample
from services.core.catalog import BatchPolicy


def test_the_models_own_policy_is_tried_first() -> None:
    own = BatchPolicy(group_items=2, window_items=16, lanes=2)
    found = direct.policies(own, 64)
    assert found[0] == own
    assert {(policy.group_items, policy.lanes) for policy in found} == {(2, 2), (1, 2), (4, 2), (8, 2)}
    assert {policy.window_items for policy in found[1:]} == {64}
    assert [policy.group_items for policy in direct.policies(own, 1)] == [2, 2, 1]


def test_the_best_policy_is_measured() -> None:
    model = direct.load("echo")
    samples = [Sample("a", ("a", 0.0)), Sample("bb", ("bb", 0.0))]
    seen = direct.best(model, samples, in_flight=16, seconds=0.01).measure(0.02)
    assert seen.requests
    assert not seen.wrong
    assert 0 < seen.p50_ms <= seen.p99_ms
