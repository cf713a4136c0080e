"""Wrong answers to the CGAN assignment: question -> name -> (points, answer)."""

MISTAKES: dict[str, dict[str, tuple[float, str]]] = {
    "q1": {
        "logarithm of a sigmoid": (
            4,
            """
def discriminator_loss(real, fake):
    d, f = torch.sigmoid(real), torch.sigmoid(fake)
    return -(d.log().mean() + (1 - f).log().mean())
def generator_loss(fake, kind):
    d = torch.sigmoid(fake)
    if kind == "minimax":
        return (1 - d).log().mean()
    if kind == "non-saturating":
        return -d.log().mean()
    raise ValueError(kind)
""",
        ),
        "labels swapped": (
            2,
            """
def discriminator_loss(real, fake):
    return F.softplus(real).mean() + F.softplus(-fake).mean()
def generator_loss(fake, kind):
    if kind == "minimax":
        return -F.softplus(-fake).mean()
    if kind == "non-saturating":
        return F.softplus(fake).mean()
    raise ValueError(kind)
""",
        ),
        "sum instead of mean": (
            1,
            """
def discriminator_loss(real, fake):
    return F.softplus(-real).sum() + F.softplus(fake).sum()
def generator_loss(fake, kind):
    if kind == "minimax":
        return -F.softplus(fake).sum()
    if kind == "non-saturating":
        return F.softplus(-fake).sum()
    raise ValueError(kind)
""",
        ),
        "any other kind is minimax": (
            5,
            """
def discriminator_loss(real, fake):
    return F.softplus(-real).mean() + F.softplus(fake).mean()
def generator_loss(fake, kind):
    if kind == "non-saturating":
        return F.softplus(-fake).mean()
    return -F.softplus(fake).mean()
""",
        ),
        "sign of the minimax loss": (
            1,
            """
def discriminator_loss(real, fake):
    return F.softplus(-real).mean() + F.softplus(fake).mean()
def generator_loss(fake, kind):
    if kind == "minimax":
        return F.softplus(fake).mean()
    if kind == "non-saturating":
        return F.softplus(-fake).mean()
    raise ValueError(kind)
""",
        ),
    },
    "q2": {
        "a probability instead of a logit": (
            0,
            """
def optimal_logit(p, q):
    return p / (p + q)
def game_value(p, q):
    d = p / (p + q)
    return (p * d.log()).sum() + (q * (1 - d).log()).sum()
""",
        ),
        "p and q swapped": (
            1,
            """
def optimal_logit(p, q):
    return q.log() - p.log()
def game_value(p, q):
    d = q / (p + q)
    return (p * d.log()).sum() + (q * (1 - d).log()).sum()
""",
        ),
        "zero times infinity": (
            3,
            """
def optimal_logit(p, q):
    return p.log() - q.log()
def game_value(p, q):
    d = p / (p + q)
    return (p * d.log()).sum() + (q * (1 - d).log()).sum()
""",
        ),
        "logarithms of base two": (
            0,
            """
def optimal_logit(p, q):
    return p.log2() - q.log2()
def game_value(p, q):
    xlogy = torch.special.xlogy
    value = xlogy(p, p) + xlogy(q, q) - xlogy(p, p + q) - xlogy(q, p + q)
    return value.sum() / math.log(2)
""",
        ),
        "probabilities held away from zero": (
            3,
            """
def optimal_logit(p, q):
    return p.clamp_min(1e-3).log() - q.clamp_min(1e-3).log()
def game_value(p, q):
    d = (p / (p + q)).clamp(1e-12, 1 - 1e-7)
    return (p * d.log()).sum() + (q * (1 - d).log()).sum()
""",
        ),
    },
    "q3": {
        "both the same": (
            2,
            """
def logit_gradients(logits):
    return -torch.sigmoid(logits), -torch.sigmoid(logits)
minimax_learns_most_when_it_loses = False
non_saturating_learns_most_when_it_loses = True
both_push_the_logit_in_the_same_direction = True
""",
        ),
        "the two swapped": (
            1,
            """
def logit_gradients(logits):
    return -torch.sigmoid(-logits), -torch.sigmoid(logits)
minimax_learns_most_when_it_loses = True
non_saturating_learns_most_when_it_loses = False
both_push_the_logit_in_the_same_direction = True
""",
        ),
        "derivatives of the means": (
            1,
            """
def logit_gradients(logits):
    n = len(logits)
    return -torch.sigmoid(logits) / n, -torch.sigmoid(-logits) / n
minimax_learns_most_when_it_loses = False
non_saturating_learns_most_when_it_loses = True
both_push_the_logit_in_the_same_direction = True
""",
        ),
        "derivative with respect to D": (
            1,
            """
def logit_gradients(logits):
    d = torch.sigmoid(logits)
    return -1 / (1 - d), -1 / d
minimax_learns_most_when_it_loses = False
non_saturating_learns_most_when_it_loses = True
both_push_the_logit_in_the_same_direction = True
""",
        ),
        "sign forgotten": (
            0,
            """
def logit_gradients(logits):
    return torch.sigmoid(logits), torch.sigmoid(-logits)
minimax_learns_most_when_it_loses = False
non_saturating_learns_most_when_it_loses = True
both_push_the_logit_in_the_same_direction = False
""",
        ),
    },
    "q4": {
        "the next sample": (
            0,
            """
def wrong_partners(class_ids, generator):
    return torch.arange(len(class_ids)).roll(-1)
""",
        ),
        "another sample, whatever its class": (
            0,
            """
def wrong_partners(class_ids, generator):
    n = len(class_ids)
    if n < 2:
        raise ValueError("too few")
    step = torch.randint(1, n, (n,), generator=generator)
    return (torch.arange(n) + step) % n
""",
        ),
        "always the first that fits": (
            3,
            """
def wrong_partners(class_ids, generator):
    others = class_ids[:, None] != class_ids[None, :]
    if not others.any(dim=1).all():
        raise ValueError("one class only")
    return others.int().argmax(dim=1)
""",
        ),
        "one class not noticed": (
            4,
            """
def wrong_partners(class_ids, generator):
    others = (class_ids[:, None] != class_ids[None, :]).float()
    others = others + (others.sum(dim=1, keepdim=True) == 0)
    return torch.multinomial(others, 1, generator=generator)[:, 0]
""",
        ),
        "a class first, then one of its samples": (
            3,
            """
def wrong_partners(class_ids, generator):
    classes = class_ids.unique()
    if len(classes) < 2:
        raise ValueError("one class only")
    partners = []
    for own in class_ids.tolist():
        allowed = classes[classes != own]
        pick = allowed[torch.randint(len(allowed), (1,), generator=generator)]
        places = (class_ids == pick).nonzero()[:, 0]
        partners.append(places[torch.randint(len(places), (1,), generator=generator)])
    return torch.cat(partners)
""",
        ),
    },
    "q5": {
        "entropy in bits": (
            1,
            """
def diversity(modes, possible):
    counts = torch.bincount(modes[modes >= 0], minlength=possible).double()
    shares = counts / counts.sum().clamp_min(1)
    entropy = torch.special.entr(shares).sum() / math.log(2)
    effective = entropy.exp().item() if counts.sum() else 0.0
    return (counts > 0).double().mean().item(), effective
""",
        ),
        "unreadable pictures as a mode": (
            1,
            """
def diversity(modes, possible):
    counts = torch.bincount(modes + 1, minlength=possible + 1).double()
    shares = counts / counts.sum()
    return (
        (counts > 0).sum().item() / possible,
        torch.special.entr(shares).sum().exp().item(),
    )
""",
        ),
        "nothing readable forgotten": (
            3,
            """
def diversity(modes, possible):
    counts = torch.bincount(modes[modes >= 0], minlength=possible).double()
    shares = counts / counts.sum()
    return (
        (counts > 0).double().mean().item(),
        torch.special.entr(shares).sum().exp().item(),
    )
""",
        ),
        "number of modes instead of their share": (
            1,
            """
def diversity(modes, possible):
    counts = torch.bincount(modes[modes >= 0], minlength=possible).double()
    if counts.sum() == 0:
        return 0.0, 0.0
    shares = counts / counts.sum()
    return (
        float((counts > 0).sum().item()),
        torch.special.entr(shares).sum().exp().item(),
    )
""",
        ),
        "entropy without its exponential": (
            1,
            """
def diversity(modes, possible):
    counts = torch.bincount(modes[modes >= 0], minlength=possible).double()
    if counts.sum() == 0:
        return 0.0, 0.0
    shares = counts / counts.sum()
    return (
        (counts > 0).double().mean().item(),
        torch.special.entr(shares).sum().item(),
    )
""",
        ),
    },
}
