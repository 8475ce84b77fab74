from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.training.losses import preference_loss

logps = st.floats(-300, 0, allow_nan=False)


def loss(*values: float, beta: float = 0.3, dpop_lambda: float = 0.0) -> float:
    tensors = [torch.tensor([value], dtype=torch.float64) for value in values]
    return float(preference_loss(*tensors, beta=beta, dpop_lambda=dpop_lambda))


def by_hand(pc: float, pr: float, rc: float, rr: float, beta: float, dpop_lambda: float) -> float:
    """Equation 3 of the paper, word for word."""
    inside = math.log(math.exp(pc - rc)) - math.log(math.exp(pr - rr)) - dpop_lambda * max(0.0, rc - pc)
    return -math.log(1 / (1 + math.exp(-beta * inside)))


def test_worked_examples() -> None:
    assert loss(-10, -12, -11, -11) == pytest.approx(math.log(1 + math.exp(-0.3 * 2)))
    assert loss(-10, -12, -11, -11, dpop_lambda=50) == pytest.approx(loss(-10, -12, -11, -11))  # chosen became likelier
    # chosen fell by 1: the margin of 2 - 1 loses 5 * 1 inside the sigmoid and inside beta
    assert loss(-12, -13, -11, -11, dpop_lambda=5) == pytest.approx(math.log(1 + math.exp(-0.3 * (1 - 5))))
    assert loss(-11, -11, -11, -11) == pytest.approx(math.log(2))


@given(st.floats(-5, 0), st.floats(-5, 0), st.floats(-5, 0), st.floats(-5, 0), st.floats(0.05, 1), st.floats(0, 20))
def test_it_is_the_papers_equation(pc: float, pr: float, rc: float, rr: float, beta: float, dpop_lambda: float) -> None:
    found = loss(pc, pr, rc, rr, beta=beta, dpop_lambda=dpop_lambda)
    assert found == pytest.approx(by_hand(pc, pr, rc, rr, beta, dpop_lambda), rel=1e-9)


@given(logps, logps, logps, logps)
def test_the_penalty_only_adds_and_nothing_overflows(pc: float, pr: float, rc: float, rr: float) -> None:
    plain, positive = loss(pc, pr, rc, rr), loss(pc, pr, rc, rr, dpop_lambda=50)
    assert math.isfinite(plain) and math.isfinite(positive)
    assert positive >= plain >= 0
    if pc >= rc:
        assert positive == plain


def test_where_the_preferred_completion_fell_its_gradient_is_larger_by_lambda() -> None:
    values = [torch.tensor([value], dtype=torch.float64) for value in (-12.0, -13.0, -11.0, -11.0)]
    policy = values[0].requires_grad_()
    preference_loss(*values, beta=0.3, dpop_lambda=5).sum().backward()
    weight = 0.3 / (1 + math.exp(0.3 * (1 - 5)))
    assert policy.grad is not None
    assert float(policy.grad) == pytest.approx(-weight * (1 + 5))


def test_each_pair_has_its_own_loss() -> None:
    pairs = torch.linspace(-3, 0, 7)
    found = preference_loss(pairs, pairs.flip(0), pairs * 0, pairs * 0, beta=0.1)
    assert found.shape == (7,)
