"""Tests that share a cluster, a browser or a build run in one process of `make test-slow`."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadGroupScheduling

from tests.conftest import name_group


def test_a_group_is_one_unit_of_work_for_xdist(request: pytest.FixtureRequest) -> None:
    parent = request.node.parent
    tests = [
        pytest.Function.from_parent(parent, name=name, callobj=lambda: None)
        for name in ("one", "other[of-two]", "alone")
    ]
    for one in tests[:2]:
        one.add_marker(pytest.mark.xdist_group("cluster"))
    for one in tests:
        name_group(one)
        name_group(one)
    scopes = [LoadGroupScheduling._split_scope(None, one.nodeid) for one in tests]
    assert scopes[:2] == ["cluster", "cluster"]
    assert scopes[2] == tests[2].nodeid
