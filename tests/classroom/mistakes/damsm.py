"""Wrong answers to the DAMSM assignment: question -> name -> (points, answer)."""

MISTAKES: dict[str, dict[str, tuple[float, str]]] = {
    "q1": {
        "one softmax only, over the regions": (
            1,
            """
def attend(words, regions, length, gamma1):
    scores = words[:length] @ regions.T
    weights = torch.softmax(gamma1 * scores, dim=1)
    padding = (0, 0, 0, len(words) - length)
    return F.pad(weights @ regions, padding), F.pad(weights, padding)
""",
        ),
        "the two softmaxes in the other order": (
            1,
            """
def attend(words, regions, length, gamma1):
    scores = words[:length] @ regions.T
    weights = torch.softmax(gamma1 * torch.softmax(scores, dim=1), dim=0)
    padding = (0, 0, 0, len(words) - length)
    return F.pad(weights @ regions, padding), F.pad(weights, padding)
""",
        ),
        "gamma1 inside the first softmax": (
            2,
            """
def attend(words, regions, length, gamma1):
    scores = words[:length] @ regions.T
    weights = torch.softmax(torch.softmax(gamma1 * scores, dim=0), dim=1)
    padding = (0, 0, 0, len(words) - length)
    return F.pad(weights @ regions, padding), F.pad(weights, padding)
""",
        ),
        "padding takes part in the competition": (
            0,
            """
def attend(words, regions, length, gamma1):
    competing = torch.softmax(words @ regions.T, dim=0)
    weights = torch.softmax(gamma1 * competing, dim=1).clone()
    weights[length:] = 0
    return weights @ regions, weights
""",
        ),
        "exponentials without the maximum taken off": (
            2,
            """
def attend(words, regions, length, gamma1):
    e = (words[:length] @ regions.T).exp()
    weights = torch.softmax(gamma1 * e / e.sum(0), dim=1)
    padding = (0, 0, 0, len(words) - length)
    return F.pad(weights @ regions, padding), F.pad(weights, padding)
""",
        ),
    },
    "q2": {
        "mean of the cosines": (
            0,
            """
def word_score(words, contexts, length, gamma2):
    cosines = F.cosine_similarity(contexts[:length], words[:length], dim=1)
    return gamma2 * cosines.mean()
""",
        ),
        "padding counted": (
            0,
            """
def word_score(words, contexts, length, gamma2):
    cosines = F.cosine_similarity(contexts, words, dim=1)
    return torch.logsumexp(gamma2 * cosines, dim=0)
""",
        ),
        "dot product instead of cosine": (
            0,
            """
def word_score(words, contexts, length, gamma2):
    return torch.logsumexp(gamma2 * (contexts * words)[:length].sum(1), dim=0)
""",
        ),
        "divided by gamma2": (
            0,
            """
def word_score(words, contexts, length, gamma2):
    cosines = F.cosine_similarity(contexts[:length], words[:length], dim=1)
    return torch.logsumexp(gamma2 * cosines, dim=0) / gamma2
""",
        ),
        "logarithm of a sum that overflows": (
            2,
            """
def word_score(words, contexts, length, gamma2):
    cosines = F.cosine_similarity(contexts[:length], words[:length], dim=1)
    return (gamma2 * cosines).exp().sum().log()
""",
        ),
    },
    "q3": {
        "no class mask": (
            1,
            """
def matching_loss(scores, class_ids, gamma3):
    target = torch.arange(len(scores))
    logits = gamma3 * scores
    return F.cross_entropy(logits, target), F.cross_entropy(logits.T, target)
""",
        ),
        "the diagonal masked, too": (
            0,
            """
def matching_loss(scores, class_ids, gamma3):
    same = class_ids[:, None] == class_ids[None, :]
    logits = (gamma3 * scores).masked_fill(same, -math.inf)
    target = torch.arange(len(scores))
    return F.cross_entropy(logits, target), F.cross_entropy(logits.T, target)
""",
        ),
        "one direction twice": (
            3,
            """
def matching_loss(scores, class_ids, gamma3):
    same = class_ids[:, None] == class_ids[None, :]
    same.fill_diagonal_(False)
    logits = (gamma3 * scores).masked_fill(same, -math.inf)
    loss = F.cross_entropy(logits, torch.arange(len(scores)))
    return loss, loss
""",
        ),
        "sum instead of mean": (
            2,
            """
def matching_loss(scores, class_ids, gamma3):
    same = class_ids[:, None] == class_ids[None, :]
    same.fill_diagonal_(False)
    logits = (gamma3 * scores).masked_fill(same, -math.inf)
    target = torch.arange(len(scores))
    return (
        F.cross_entropy(logits, target, reduction="sum"),
        F.cross_entropy(logits.T, target, reduction="sum"),
    )
""",
        ),
        "masked scores set to zero": (
            2,  # no gradient flows to them
            """
def matching_loss(scores, class_ids, gamma3):
    same = class_ids[:, None] == class_ids[None, :]
    same.fill_diagonal_(False)
    logits = gamma3 * scores * ~same
    target = torch.arange(len(scores))
    return F.cross_entropy(logits, target), F.cross_entropy(logits.T, target)
""",
        ),
    },
    "q4": {
        "everything passes": (
            1,
            """
def passes(candidate):
    return True
""",
        ),
        "nothing passes": (
            1,
            """
def passes(candidate):
    return False
""",
        ),
        "only that weights sum to one": (
            2,
            """
def passes(candidate):
    _, weights = candidate(torch.randn(5, 4), torch.randn(6, 4), 3, 4.0)
    return torch.allclose(weights[:3].sum(1), torch.ones(3))
""",
        ),
        "sums and one word, not gamma1": (
            3,
            """
def passes(candidate):
    words, regions = torch.randn(5, 4), torch.randn(6, 4)
    _, weights = candidate(words, regions, 3, 4.0)
    _, one = candidate(words, regions, 1, 4.0)
    sums = torch.allclose(weights[:3].sum(1), torch.ones(3), atol=1e-5)
    return sums and torch.allclose(one[0], torch.full((6,), 1 / 6), atol=1e-5)
""",
        ),
        "compared with one's own": (
            0,
            """
def passes(candidate):
    inputs = torch.randn(5, 4), torch.randn(6, 4), 3, 4.0
    return torch.allclose(candidate(*inputs)[1], attend(*inputs)[1])
""",
        ),
    },
    "q5": {
        "ties counted as right": (
            2,
            """
def r_precision(scores):
    return (scores[:, 0] >= scores.max(dim=1).values).double().mean().item()
""",
        ),
        "ties counted as wrong": (
            2,
            """
def r_precision(scores):
    return (scores[:, 0] > scores[:, 1:].max(dim=1).values).double().mean().item()
""",
        ),
        "the first of the largest": (
            2,
            """
def r_precision(scores):
    return (scores.argmax(dim=1) == 0).double().mean().item()
""",
        ),
        "per cent": (
            0,
            """
def r_precision(scores):
    winners = (scores == scores.max(dim=1, keepdim=True).values).double()
    return 100 * (winners[:, 0] / winners.sum(dim=1)).mean().item()
""",
        ),
        "better than the average": (
            0,
            """
def r_precision(scores):
    return (scores[:, 0] > scores.mean(dim=1)).double().mean().item()
""",
        ),
    },
    "q6": {
        "downhill": (
            1,
            """
def please(images, score, steps, size):
    x = images.detach().clone()
    for _ in range(steps):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(score(x).sum(), x)
        x = (x.detach() - size * gradient).clamp(-1, 1)
    return x.detach()
the_scorer_that_was_climbed_gives_full_marks = True
the_independent_scorer_agrees = False
""",
        ),
        "detach forgotten": (
            3,
            """
def please(images, score, steps, size):
    x = images.clone().requires_grad_()
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(score(x).sum(), x)
        x = (x + size * gradient).clamp(-1, 1)
    return x
the_scorer_that_was_climbed_gives_full_marks = True
the_independent_scorer_agrees = False
""",
        ),
        "the input changed in place": (
            0,
            """
def please(images, score, steps, size):
    for _ in range(steps):
        x = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(x).sum(), x)
        images.data.add_(size * gradient).clamp_(-1, 1)
    return images.detach()
the_scorer_that_was_climbed_gives_full_marks = True
the_independent_scorer_agrees = True
""",
        ),
        "one step only": (
            2,
            """
def please(images, score, steps, size):
    x = images.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(x).sum(), x)
    return (x.detach() + steps * size * gradient).clamp(-1, 1)
the_scorer_that_was_climbed_gives_full_marks = True
the_independent_scorer_agrees = False
""",
        ),
        "sign of the gradient": (
            2,
            """
def please(images, score, steps, size):
    x = images.detach().clone()
    for _ in range(steps):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(score(x).sum(), x)
        x = (x.detach() + size * gradient.sign()).clamp(-1, 1)
    return x.detach()
the_scorer_that_was_climbed_gives_full_marks = True
the_independent_scorer_agrees = False
""",
        ),
    },
}
