"""The shared inputs of the measures: computed once, charged to every reader."""

import time

import pytest

from baselines.measures.context import MeasureContext, shared


def test_a_shared_value_is_computed_once_and_charged_to_every_reader(relu_network, draw_stack, make_view):
    calls = []

    class Context(MeasureContext):
        @shared
        def base(self) -> list[int]:
            calls.append(self)
            start = time.process_time()
            while time.process_time() - start < 0.02:
                pass
            return [1]

        @shared
        def derived(self) -> int:
            return self.base[0] + 1

    context = Context(make_view([draw_stack(relu_network, 1)]))
    context.base.append(5)
    assert context.base == [1]
    borrowed = context.borrowed
    assert borrowed >= 0.02
    assert context.derived == 2  # computed now, from the cached value of base
    assert context.borrowed - borrowed == pytest.approx(borrowed, rel=0.5)
    borrowed = context.borrowed
    assert context.derived == 2  # borrowed entirely, with base
    assert context.borrowed - borrowed >= 0.02
    assert calls == [context]
