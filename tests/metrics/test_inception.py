"""The inception score against cases whose value is known."""

import pytest
import torch

from mmgen.metrics.inception import inception_logits, inception_score


def test_sure_and_varied_answers_score_the_number_of_classes() -> None:
    logits = 100 * torch.eye(5).repeat(8, 1)
    found = inception_score(logits, splits=1)
    assert found.mean == pytest.approx(5) and found.std == 0 and found.n == 40


def test_unsure_or_uniform_answers_score_one() -> None:
    for logits in (torch.zeros(20, 5), 100 * torch.eye(5)[:1].repeat(20, 1)):
        assert inception_score(logits, splits=2).mean == pytest.approx(1)


def test_equals_the_formula_split_by_split() -> None:
    torch.manual_seed(0)
    logits = torch.randn(30, 7)
    scores = []
    for part in logits.double().softmax(1).split(10):
        divergence = (part * (part / part.mean(0)).log()).sum(1)
        scores.append(divergence.mean().exp())
    found = inception_score(logits, splits=3, seed=None)
    assert found.mean == pytest.approx(torch.stack(scores).mean().item())
    assert found.std == pytest.approx(torch.stack(scores).std(correction=0).item())


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"logits must be of shape.*\(5,\)"):
        inception_score(torch.ones(5))
    with pytest.raises(ValueError, match=r"splits must lie in 1\.\.4.*got 10"):
        inception_score(torch.ones(4, 3))
    with pytest.raises(ValueError, match="logits must be finite"):
        inception_score(torch.full((20, 3), float("inf")))
    with pytest.raises(RuntimeError, match=r"no nowhere\.pth\. Get it from https"):
        inception_logits(torch.zeros(1, 3, 32, 32), "nowhere.pth")
    with pytest.raises(ValueError, match=r"images must be of shape \(N, 3, H, W\)"):
        inception_logits(torch.zeros(3, 32, 32))
