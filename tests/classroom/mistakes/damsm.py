"""Wrong answers to the DAMSM assignment: question -> name -> (points, answer, hint)."""

MISTAKES: dict[str, dict[str, tuple[float, str, str]]] = {
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
            "is your first softmax over the words",
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
            "second softmax runs over the regions",
        ),
        "gamma1 inside the first softmax": (
            1,
            """
def attend(words, regions, length, gamma1):
    scores = words[:length] @ regions.T
    weights = torch.softmax(torch.softmax(gamma1 * scores, dim=0), dim=1)
    padding = (0, 0, 0, len(words) - length)
    return F.pad(weights @ regions, padding), F.pad(weights, padding)
""",
            "gamma1 multiply the normalised scores",
        ),
        "padding takes part in the competition": (
            1,
            """
def attend(words, regions, length, gamma1):
    competing = torch.softmax(words @ regions.T, dim=0)
    weights = torch.softmax(gamma1 * competing, dim=1).clone()
    weights[length:] = 0
    return weights @ regions, weights
""",
            "padding takes part in the competition",
        ),
        "padding is set to zero, and then competes": (
            1,
            """
def attend(words, regions, length, gamma1):
    real = (torch.arange(len(words)) < length)[:, None]
    competing = torch.softmax((words * real) @ regions.T, dim=0)
    weights = torch.softmax(gamma1 * competing, dim=1) * real
    return weights @ regions, weights
""",
            "a word of zeros still competes",
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
            "must not overflow",
        ),
        "padding cut off": (
            2,
            """
def attend(words, regions, length, gamma1):
    competing = torch.softmax(words[:length] @ regions.T, dim=0)
    weights = torch.softmax(gamma1 * competing, dim=1)
    return weights @ regions, weights
""",
            "the shapes of contexts and weights",
        ),
        "gamma1 divides": (
            1,
            """
def attend(words, regions, length, gamma1):
    competing = torch.softmax(words[:length] @ regions.T, dim=0)
    weights = torch.softmax(competing / gamma1, dim=1)
    padding = (0, 0, 0, len(words) - length)
    return F.pad(weights @ regions, padding), F.pad(weights, padding)
""",
            "gamma1 multiply the normalised scores",
        ),
        "contexts only": (
            0,
            """
def attend(words, regions, length, gamma1):
    competing = torch.softmax(words[:length] @ regions.T, dim=0)
    return torch.softmax(gamma1 * competing, dim=1) @ regions
""",
            "return two tensors.*Tensor",
        ),
    },
    "q2": {
        "the chapter's R": (
            0,
            """
def fair_score(words, contexts, length, gamma2):
    cosines = F.cosine_similarity(contexts[:length], words[:length], dim=1)
    return torch.logsumexp(gamma2 * cosines, dim=0)
""",
            "yours is 5 . log 4, the chapter's R",
        ),
        "the sum in place of the mean": (
            0,
            """
def fair_score(words, contexts, length, gamma2):
    cosines = F.cosine_similarity(contexts[:length], words[:length], dim=1)
    return torch.logsumexp(gamma2 * cosines, dim=0) / gamma2
""",
            "take the mean inside the logarithm",
        ),
        "mean of the cosines": (
            0,
            """
def fair_score(words, contexts, length, gamma2):
    return F.cosine_similarity(contexts[:length], words[:length], dim=1).mean()
""",
            "a plain mean would be 0.5",
        ),
        "the largest cosine": (
            0,
            """
def fair_score(words, contexts, length, gamma2):
    return F.cosine_similarity(contexts[:length], words[:length], dim=1).amax()
""",
            "a maximum 1",
        ),
        "padding counted": (
            0,
            """
def fair_score(words, contexts, length, gamma2):
    cosines = F.cosine_similarity(contexts, words, dim=1)
    total = torch.logsumexp(gamma2 * cosines, dim=0)
    return (total - math.log(len(words))) / gamma2
""",
            "sum over the real words only",
        ),
        "divided by the length with padding": (
            0,
            """
def fair_score(words, contexts, length, gamma2):
    cosines = F.cosine_similarity(contexts[:length], words[:length], dim=1)
    total = torch.logsumexp(gamma2 * cosines, dim=0)
    return (total - math.log(len(words))) / gamma2
""",
            "divide by their number",
        ),
        "dot product instead of cosine": (
            0,
            """
def fair_score(words, contexts, length, gamma2):
    dots = (contexts * words)[:length].sum(1)
    return (torch.logsumexp(gamma2 * dots, dim=0) - math.log(length)) / gamma2
""",
            "however long the vectors are",
        ),
        "logarithm of a mean that overflows": (
            2,
            """
def fair_score(words, contexts, length, gamma2):
    cosines = F.cosine_similarity(contexts[:length], words[:length], dim=1)
    return (gamma2 * cosines).exp().mean().log() / gamma2
""",
            r"exp\(2000\) is infinite",
        ),
        "a number, no tensor": (
            0,
            """
def fair_score(words, contexts, length, gamma2):
    cosines = F.cosine_similarity(contexts[:length], words[:length], dim=1)
    total = torch.logsumexp(gamma2 * cosines, dim=0)
    return ((total - math.log(length)) / gamma2).item()
""",
            "return a scalar tensor; yours is a float",
        ),
    },
    "q3": {
        "the chapter's loss": (
            3,  # for one class it is the same, and the lines after it are right
            """
def class_loss(scores, class_ids, gamma3):
    same = class_ids[:, None] == class_ids[None, :]
    same.fill_diagonal_(False)
    logits = (gamma3 * scores).masked_fill(same, -math.inf)
    target = torch.arange(len(scores))
    return F.cross_entropy(logits, target), F.cross_entropy(logits.T, target)
""",
            "yours is the chapter's loss",
        ),
        "classes ignored": (
            2,
            """
def class_loss(scores, class_ids, gamma3):
    target, logits = torch.arange(len(scores)), gamma3 * scores
    return F.cross_entropy(logits, target), F.cross_entropy(logits.T, target)
""",
            "as if all five classes differed",
        ),
        "mean of the logarithms of the right ones": (
            2,
            """
def class_loss(scores, class_ids, gamma3):
    same = (class_ids[:, None] == class_ids[None, :]).to(scores.dtype)
    share = same / same.sum(1, keepdim=True)
    logits = gamma3 * scores
    return F.cross_entropy(logits, share), F.cross_entropy(logits.T, share)
""",
            "add up the probabilities of all right captions before",
        ),
        "one direction twice": (
            4,
            """
def class_loss(scores, class_ids, gamma3):
    logits = gamma3 * scores
    wrong = class_ids[:, None] != class_ids[None, :]
    right = logits.masked_fill(wrong, -math.inf)
    loss = (logits.logsumexp(1) - right.logsumexp(1)).mean()
    return loss, loss
""",
            r"L_1 over the pictures of a caption \(a column\)",
        ),
        "sum instead of mean": (
            3,
            """
def class_loss(scores, class_ids, gamma3):
    logits = gamma3 * scores
    wrong = class_ids[:, None] != class_ids[None, :]
    right = logits.masked_fill(wrong, -math.inf)
    rows = logits.logsumexp(1) - right.logsumexp(1)
    columns = logits.logsumexp(0) - right.logsumexp(0)
    return rows.sum(), columns.sum()
""",
            "a mean over the batch",
        ),
        "logarithm of a probability of zero": (
            4,
            """
def class_loss(scores, class_ids, gamma3):
    same = class_ids[:, None] == class_ids[None, :]
    rows = (torch.softmax(gamma3 * scores, 1) * same).sum(1)
    columns = (torch.softmax(gamma3 * scores, 0) * same).sum(0)
    return -rows.log().mean(), -columns.log().mean()
""",
            "difference of two logsumexps",
        ),
        "left out counts as raised": (
            4,
            """
leaving_out_raises_the_other = True
counting_as_right_raises_the_other = True
counting_as_right_can_neglect_its_own = True
""",
            "A pair that is left out has none",
        ),
        "its own must fit": (
            4,
            """
leaving_out_raises_the_other = False
counting_as_right_raises_the_other = True
counting_as_right_can_neglect_its_own = False
""",
            "a sum is large when one of its terms is",
        ),
        "a line forgotten": (
            4,
            """
leaving_out_raises_the_other = False
counting_as_right_raises_the_other = ...
counting_as_right_can_neglect_its_own = True
""",
            "not answered yet",
        ),
        "zero and one": (
            4,
            """
leaving_out_raises_the_other = 0
counting_as_right_raises_the_other = 1
counting_as_right_can_neglect_its_own = 1
""",
            "one of yours is a int",
        ),
    },
    "q4": {
        "everything passes": (
            1,
            """
def passes(candidate):
    return True
""",
            "weights of zero passed",
        ),
        "nothing passes": (
            1,
            """
def passes(candidate):
    return False
""",
            "A right attend must pass",
        ),
        "only that weights sum to one": (
            2,
            """
def passes(candidate):
    _, weights = candidate(torch.randn(5, 4), torch.randn(6, 4), 3, 4.0)
    return torch.allclose(weights[:3].sum(1), torch.ones(3))
""",
            "Version 1 or 2 passed(.|\n)*Version 3 passed(.|\n)*Version 4 passed",
        ),
        "sums and one word in padding, not gamma1": (
            4,
            """
def passes(candidate):
    words, regions = torch.randn(5, 4), torch.randn(6, 4)
    _, weights = candidate(words, regions, 3, 4.0)
    _, one = candidate(words, regions, 1, 4.0)
    sums = torch.allclose(weights[:3].sum(1), torch.ones(3), atol=1e-5)
    return sums and torch.allclose(one[0], torch.full((6,), 1 / 6), atol=1e-5)
""",
            "^Version 3 passed",
        ),
        "sums, one word and gamma1, no padding": (
            4,
            """
def passes(candidate):
    regions = torch.randn(6, 4)
    _, weights = candidate(torch.randn(3, 4), regions, 3, 4.0)
    _, one = candidate(torch.randn(1, 4), regions, 1, 4.0)
    _, sure = candidate(20 * torch.eye(2), torch.eye(2), 2, 1.0)
    sums = torch.allclose(weights.sum(1), torch.ones(3), atol=1e-5)
    alone = torch.allclose(one[0], torch.full((6,), 1 / 6), atol=1e-5)
    _, twice = candidate(20 * torch.eye(2), torch.eye(2), 2, 2.0)
    ratio = (twice[0, 0] / twice[0, 1]) / (sure[0, 0] / sure[0, 1])
    return sums and alone and abs(float(ratio) - math.e) < 0.01
""",
            "^Version 4 passed",
        ),
        "compared with one's own": (
            0,
            """
def passes(candidate):
    inputs = torch.randn(5, 4), torch.randn(6, 4), 3, 4.0
    return torch.allclose(candidate(*inputs)[1], attend(*inputs)[1])
""",
            "without your own attend",
        ),
        "a tensor returned": (
            4,
            """
def passes(candidate):
    words, regions = torch.randn(5, 4), torch.randn(6, 4)
    _, weights = candidate(words, regions, 3, 4.0)
    _, short = candidate(words[:3], regions, 3, 4.0)
    _, one = candidate(words[:1], regions, 1, 4.0)
    _, sure = candidate(20 * torch.eye(2), torch.eye(2), 2, 2.0)
    sums = torch.isclose(weights[:3].sum(1), torch.ones(3)).all()
    alone = torch.isclose(one[0], torch.full((6,), 1 / 6)).all()
    unmoved = torch.isclose(short, weights[:3], atol=1e-5).all()
    return sums & alone & unmoved & ((sure[0, 0] / sure[0, 1] - 7.389).abs() < 0.01)
""",
            "yours is a Tensor",
        ),
        "equal to the last digit": (
            1,
            """
def passes(candidate):
    _, weights = candidate(torch.randn(99, 4), torch.randn(7, 4), 99, 4.0)
    return torch.equal(weights.sum(1), torch.ones(99))
""",
            "whose last digits differ",
        ),
    },
    "q5": {
        "ties won": (
            2,
            """
def fair_r_precision(scores, true):
    shares = []
    for row, right in zip(scores, true):
        taken = int(right.sum())
        border = row.sort(descending=True).values[taken - 1]
        shares.append(min(1.0, int((right & (row >= border)).sum()) / taken))
    return sum(shares) / len(shares)
""",
            "you count every tie as won",
        ),
        "ties lost": (
            2,
            """
def fair_r_precision(scores, true):
    shares = []
    for row, right in zip(scores, true):
        hits = [int((row >= row[j]).sum()) <= int(right.sum()) for j in right.nonzero()]
        shares.append(sum(hits) / len(hits))
    return sum(shares) / len(shares)
""",
            "you count every tie as lost",
        ),
        "topk": (
            1,
            """
def fair_r_precision(scores, true):
    shares = []
    for row, right in zip(scores, true):
        best = row.topk(int(right.sum())).indices
        shares.append(right[best].double().mean().item())
    return sum(shares) / len(shares)
""",
            "topk, sort and argmax take the first of those that tie",
        ),
        "the best caption only": (
            2,
            """
def fair_r_precision(scores, true):
    best = scores == scores.max(dim=1, keepdim=True).values
    return ((best & true).sum(1) / best.sum(1)).double().mean().item()
""",
            "take as many as are true, not the best one only",
        ),
        "all captions in one pot": (
            1,
            """
def fair_r_precision(scores, true):
    hits = 0.0
    for row, right in zip(scores, true):
        taken = int(right.sum())
        border = row.sort(descending=True).values[taken - 1]
        above, tied = row > border, row == border
        seats = taken - int(above.sum())
        hits += float((right & above).sum() + (right & tied).sum() * seats / tied.sum())
    return hits / int(true.sum())
""",
            "take the share of each picture first",
        ),
        "per cent": (
            0,
            """
def fair_r_precision(scores, true):
    taken = true.sum(1)
    borders = scores.sort(descending=True).values.gather(1, taken[:, None] - 1)
    above, tied = scores > borders, scores == borders
    seats = (taken - above.sum(1)) / tied.sum(1)
    hits = (true & above).sum(1) + (true & tied).sum(1) * seats
    return 100 * (hits / taken).mean().item()
""",
            "not per cent",
        ),
        "a tensor": (
            3,
            """
def fair_r_precision(scores, true):
    taken = true.sum(1)
    borders = scores.sort(descending=True).values.gather(1, taken[:, None] - 1)
    above, tied = scores > borders, scores == borders
    seats = (taken - above.sum(1)) / tied.sum(1)
    hits = (true & above).sum(1) + (true & tied).sum(1) * seats
    return (hits / taken).mean()
""",
            "return a float.*yours is a Tensor",
        ),
        "everyone at the border is in the draw": (
            3,
            """
def fair_r_precision(scores, true):
    shares = []
    for row, right in zip(scores, true):
        taken = int(right.sum())
        border = row.sort(descending=True).values[taken - 1]
        entitled = row >= border
        shares.append(float((right & entitled).sum() / entitled.sum()))
    return sum(shares) / len(shares)
""",
            "what scores more is taken for sure",
        ),
        "one lot is drawn": (
            1,
            """
def fair_r_precision(scores, true):
    shares, generator = [], torch.Generator().manual_seed(0)
    for row, right in zip(scores, true):
        listed = torch.randperm(len(row), generator=generator)
        order = row[listed].argsort(descending=True, stable=True)
        best = listed[order[: int(right.sum())]]
        shares.append(right[best].double().mean().item())
    return sum(shares) / len(shares)
""",
            "the lot gives each the same chance",
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
""",
            "add the gradient, it points uphill",
        ),
        "clamped only once, at the end": (
            1,
            """
def please(images, score, steps, size):
    x = images.detach().clone()
    for _ in range(steps):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(score(x).sum(), x)
        x = x.detach() + size * gradient
    return x.detach().clamp(-1, 1)
""",
            "clamp after every step, not once at the end",
        ),
        "never clamped": (
            1,
            """
def please(images, score, steps, size):
    x = images.detach().clone()
    for _ in range(steps):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(score(x).sum(), x)
        x = x.detach() + size * gradient
    return x.detach()
""",
            "clamp to",
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
""",
            "still carries a graph",
        ),
        "the input changed in place": (
            1,
            """
def please(images, score, steps, size):
    for _ in range(steps):
        x = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(x).sum(), x)
        images.data.add_(size * gradient).clamp_(-1, 1)
    return images.detach()
""",
            "work on a copy",
        ),
        "one step only": (
            1,
            """
def please(images, score, steps, size):
    x = images.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(x).sum(), x)
    return (x.detach() + steps * size * gradient).clamp(-1, 1)
""",
            "take the gradient anew at every picture",
        ),
        "sign of the gradient": (
            1,
            """
def please(images, score, steps, size):
    x = images.detach().clone()
    for _ in range(steps):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(score(x).sum(), x)
        x = (x.detach() + size * gradient.sign()).clamp(-1, 1)
    return x.detach()
""",
            "neither its sign nor a mean over the batch",
        ),
        "gradient of the mean score": (
            2,
            """
def please(images, score, steps, size):
    x = images.detach().clone()
    for _ in range(steps):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(score(x).mean(), x)
        x = (x.detach() + size * gradient).clamp(-1, 1)
    return x.detach()
""",
            "a mean over the batch",
        ),
        "independent scorers share no blind spot": (
            3,
            """
the_scorer_that_was_climbed_is_pleased = True
the_scorer_drawn_independently_is_pleased_too = False
two_networks_trained_on_the_same_data_share_no_blind_spot = True
""",
            "networks that learned from the same data can share blind spots",
        ),
        "nobody is pleased": (
            3,
            """
the_scorer_that_was_climbed_is_pleased = False
the_scorer_drawn_independently_is_pleased_too = False
two_networks_trained_on_the_same_data_share_no_blind_spot = False
""",
            "Compare each number with that of guessing",
        ),
    },
}

# The functions as the chapter prints them, fitted to the names and shapes asked for.
COPIED: dict[str, str] = {
    "q1": """
def attend(words, regions, length, gamma1):
    s = words[:length] @ regions.T
    competed = s.softmax(dim=0)
    alpha = (gamma1 * competed).softmax(dim=1)
    padding = (0, 0, 0, len(words) - length)
    return F.pad(alpha @ regions, padding), F.pad(alpha, padding)
""",
    "q2": MISTAKES["q2"]["the chapter's R"][1],
    "q3": MISTAKES["q3"]["the chapter's loss"][1],
    "q5": """
def fair_r_precision(scores, true):
    rows = torch.arange(len(scores))[:, None]
    order = true.int().argsort(dim=1, descending=True)  # a true caption in column 0
    scores = scores[rows, order]
    return (scores[:, :1] > scores[:, 1:]).all(dim=1).float().mean().item()
""",
    "q6": """
def please(images, score, steps, size):
    pixels = images.clone().requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=size)
    for _ in range(steps):
        loss = -score(pixels.clamp(-1, 1)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return pixels.detach().clamp(-1, 1)
""",
}
