"""Wrong answers to the CGAN assignment: question -> name -> (points, answer, hint)."""

_FORCE = """
def force(loss, logits):
    own = logits.detach().clone().requires_grad_()
    return -torch.autograd.grad((loss(own) + 0 * own).sum(), own)[0]
"""
_NUMBERS = "force_of_the_sum = 1.0\nhundred_times = -4.605\n"
_BEST = """
def optimal_logit(p, q, alpha):
    logit = (alpha * p).log() - ((1 - alpha) * p + q).log()
    return torch.where(p + q == 0, torch.zeros_like(p), logit)
def game_value(p, q, alpha):
    x, y, xlogy = alpha * p, (1 - alpha) * p + q, torch.special.xlogy
    return (xlogy(x, x) + xlogy(y, y) - xlogy(x + y, x + y)).sum()
"""
_DIVERSITY = """
def diversity(modes, possible):
    counts = torch.bincount(modes[modes >= 0], minlength=possible).double()
    if counts.sum() == 0:
        return 0.0, 0.0
    shares = counts / counts.sum()
    effective = torch.special.entr(shares).sum().exp().item()
    return (counts > 0).double().mean().item(), effective
"""
_LOPSIDED = "lopsided = [991] + [1] * 9\n"

MISTAKES: dict[str, dict[str, tuple[float, str, str]]] = {
    "q1": {
        "logarithm of a sigmoid": (
            4,
            """
def discriminator_loss(real, fake, alpha):
    d, f = torch.sigmoid(real), torch.sigmoid(fake)
    cost = alpha * d.log() + (1 - alpha) * (1 - d).log()
    return -(cost.mean() + (1 - f).log().mean())
def generator_loss(fake, weight):
    if not 0 <= weight <= 1:
        raise ValueError(weight)
    d = torch.sigmoid(fake)
    return (weight * (1 - d).log() - (1 - weight) * d.log()).mean()
""",
            "look for a logarithm of a sigmoid",
        ),
        "the chapter's plain losses": (
            0,
            """
def discriminator_loss(real, fake, alpha):
    return F.softplus(-real).mean() + F.softplus(fake).mean()
def generator_loss(fake, weight):
    return F.softplus(-fake).mean()
""",
            "this is the loss of the plain game, with alpha = 1",
        ),
        "labels swapped": (
            2,
            """
def discriminator_loss(real, fake, alpha):
    cost = alpha * F.softplus(real) + (1 - alpha) * F.softplus(-real)
    return cost.mean() + F.softplus(-fake).mean()
def generator_loss(fake, weight):
    if not 0 <= weight <= 1:
        raise ValueError(weight)
    return ((1 - weight) * F.softplus(fake) - weight * F.softplus(-fake)).mean()
""",
            "the labels of real and generated pictures are exchanged",
        ),
        "sum instead of mean": (
            1,
            """
def discriminator_loss(real, fake, alpha):
    cost = alpha * F.softplus(-real) + (1 - alpha) * F.softplus(real)
    return cost.sum() + F.softplus(fake).sum()
def generator_loss(fake, weight):
    if not 0 <= weight <= 1:
        raise ValueError(weight)
    return ((1 - weight) * F.softplus(-fake) - weight * F.softplus(fake)).sum()
""",
            "the losses are added up where a mean is asked",
        ),
        "any weight is taken": (
            4,
            """
def discriminator_loss(real, fake, alpha):
    cost = alpha * F.softplus(-real) + (1 - alpha) * F.softplus(real)
    return cost.mean() + F.softplus(fake).mean()
def generator_loss(fake, weight):
    return ((1 - weight) * F.softplus(-fake) - weight * F.softplus(fake)).mean()
""",
            "weight -0.1 must raise ValueError; yours returns a loss",
        ),
        "an assertion for a ValueError": (
            4,
            """
def discriminator_loss(real, fake, alpha):
    cost = alpha * F.softplus(-real) + (1 - alpha) * F.softplus(real)
    return cost.mean() + F.softplus(fake).mean()
def generator_loss(fake, weight):
    assert 0 <= weight <= 1
    return ((1 - weight) * F.softplus(-fake) - weight * F.softplus(fake)).mean()
""",
            "yours raises AssertionError",
        ),
        "sign of the minimax loss": (
            2,
            """
def discriminator_loss(real, fake, alpha):
    cost = alpha * F.softplus(-real) + (1 - alpha) * F.softplus(real)
    return cost.mean() + F.softplus(fake).mean()
def generator_loss(fake, weight):
    if not 0 <= weight <= 1:
        raise ValueError(weight)
    return ((1 - weight) * F.softplus(-fake) + weight * F.softplus(fake)).mean()
""",
            "with weight 1.0 this makes -0.69315, yours is 0.69315",
        ),
        "weight on the other term": (
            2,
            """
def discriminator_loss(real, fake, alpha):
    cost = alpha * F.softplus(-real) + (1 - alpha) * F.softplus(real)
    return cost.mean() + F.softplus(fake).mean()
def generator_loss(fake, weight):
    if not 0 <= weight <= 1:
        raise ValueError(weight)
    return (weight * F.softplus(-fake) - (1 - weight) * F.softplus(fake)).mean()
""",
            "with weight 1.0 this makes -0.69315, yours is 0.69315",
        ),
        "soft labels on both sides": (
            2,
            """
def discriminator_loss(real, fake, alpha):
    cost = lambda l: alpha * F.softplus(-l) + (1 - alpha) * F.softplus(l)
    return cost(real).mean() + cost(-fake).mean()
def generator_loss(fake, weight):
    if not 0 <= weight <= 1:
        raise ValueError(weight)
    return ((1 - weight) * F.softplus(-fake) - weight * F.softplus(fake)).mean()
""",
            "the labels of the generated pictures are soft, too",
        ),
        "the loss of real pictures scaled by alpha": (
            1,
            """
def discriminator_loss(real, fake, alpha):
    return alpha * F.softplus(-real).mean() + F.softplus(fake).mean()
def generator_loss(fake, weight):
    if not 0 <= weight <= 1:
        raise ValueError(weight)
    return ((1 - weight) * F.softplus(-fake) - weight * F.softplus(fake)).mean()
""",
            "the term with 1 - alpha is missing",
        ),
        "logits clamped to twenty": (
            4,
            """
def discriminator_loss(real, fake, alpha):
    real, fake = real.clamp(-20, 20), fake.clamp(-20, 20)
    cost = alpha * F.softplus(-real) + (1 - alpha) * F.softplus(real)
    return cost.mean() + F.softplus(fake).mean()
def generator_loss(fake, weight):
    if not 0 <= weight <= 1:
        raise ValueError(weight)
    return ((1 - weight) * F.softplus(-fake) - weight * F.softplus(fake)).mean()
""",
            "or a clamp",
        ),
    },
    "q2": {
        "the chapter's plain game": (
            0,
            """
def optimal_logit(p, q, alpha):
    return p.log() - q.log()
def game_value(p, q, alpha):
    d = p / (p + q)
    return (p * d.log() + q * (1 - d).log()).sum()
largest_probability = 1.0
equal_is_still_best = True
""",
            "this is the answer of the plain game",
        ),
        "a probability instead of a logit": (
            1,
            """
def optimal_logit(p, q, alpha):
    return alpha * p / (p + q)
def game_value(p, q, alpha):
    x, y, xlogy = alpha * p, (1 - alpha) * p + q, torch.special.xlogy
    return (xlogy(x, x) + xlogy(y, y) - xlogy(x + y, x + y)).sum()
largest_probability = 0.9
equal_is_still_best = True
""",
            "this is a probability, not its logit",
        ),
        "p and q swapped": (
            0,
            """
def optimal_logit(p, q, alpha):
    return (alpha * q).log() - ((1 - alpha) * q + p).log()
def game_value(p, q, alpha):
    d = alpha * q / (p + q)
    return (p * d.log() + q * (1 - d).log()).sum()
largest_probability = 0.9
equal_is_still_best = False
""",
            "some term has the weight of another",
        ),
        "zero times infinity": (
            4,
            """
def optimal_logit(p, q, alpha):
    return (alpha * p).log() - ((1 - alpha) * p + q).log()
def game_value(p, q, alpha):
    d = alpha * p / (p + q)
    return (alpha * p * d.log() + ((1 - alpha) * p + q) * (1 - d).log()).sum()
largest_probability = 0.9
equal_is_still_best = True
""",
            "nothing is ever nan",
        ),
        "only what neither has is forgotten": (
            4,
            """
def optimal_logit(p, q, alpha):
    return (alpha * p).log() - ((1 - alpha) * p + q).log()
def game_value(p, q, alpha):
    x, y, xlogy = alpha * p, (1 - alpha) * p + q, torch.special.xlogy
    return (xlogy(x, x) + xlogy(y, y) - xlogy(x + y, x + y)).sum()
largest_probability = 0.9
equal_is_still_best = True
""",
            "where neither has it, 0",
        ),
        "logarithms of base two": (
            1,
            """
def optimal_logit(p, q, alpha):
    return (alpha * p).log2() - ((1 - alpha) * p + q).log2()
def game_value(p, q, alpha):
    x, y, xlogy = alpha * p, (1 - alpha) * p + q, torch.special.xlogy
    return (xlogy(x, x) + xlogy(y, y) - xlogy(x + y, x + y)).sum() / math.log(2)
largest_probability = 0.9
equal_is_still_best = True
""",
            r"is this a logarithm to base 2\?",
        ),
        "probabilities held away from zero": (
            4,
            """
def optimal_logit(p, q, alpha):
    d = (alpha * p / (p + q)).clamp(1e-6, 1 - 1e-6)
    return d.log() - (1 - d).log()
def game_value(p, q, alpha):
    d = (alpha * p / (p + q)).clamp(1e-6, 1 - 1e-6)
    return (alpha * p * d.log() + ((1 - alpha) * p + q) * (1 - d).log()).sum()
largest_probability = 0.9
equal_is_still_best = True
""",
            "the logit plus infinity",
        ),
        "alpha on both sides": (
            1,
            """
def optimal_logit(p, q, alpha):
    x, y = alpha * p + (1 - alpha) * q, (1 - alpha) * p + alpha * q
    return torch.where(p + q == 0, torch.zeros_like(p), x.log() - y.log())
def game_value(p, q, alpha):
    x, y = alpha * p + (1 - alpha) * q, (1 - alpha) * p + alpha * q
    xlogy = torch.special.xlogy
    return (xlogy(x, x) + xlogy(y, y) - xlogy(x + y, x + y)).sum()
largest_probability = 0.9
equal_is_still_best = True
""",
            "this is the answer of the plain game",
        ),
        "probability at the end of the game": (
            5,
            _BEST + "largest_probability = 0.45\nequal_is_still_best = True\n",
            "a thing that the generator never makes",
        ),
        "the solution is said to move": (
            5,
            _BEST + "largest_probability = 0.9\nequal_is_still_best = False\n",
            "V is smallest where nothing can be told",
        ),
        "answers as text": (
            5,
            _BEST + 'largest_probability = "0.9"\nequal_is_still_best = "True"\n',
            "must be a number without quotes; got '0.9', of type str",
        ),
        "value with the sign of a loss": (
            1,
            """
def optimal_logit(p, q, alpha):
    logit = (alpha * p).log() - ((1 - alpha) * p + q).log()
    return torch.where(p + q == 0, torch.zeros_like(p), logit)
def game_value(p, q, alpha):
    x, y, xlogy = alpha * p, (1 - alpha) * p + q, torch.special.xlogy
    return (xlogy(x + y, x + y) - xlogy(x, x) - xlogy(y, y)).sum()
largest_probability = 0.9
equal_is_still_best = True
""",
            "this is a loss, minus the value",
        ),
    },
    "q3": {
        "always the minimax force": (
            2,
            """
def force(loss, logits):
    return torch.sigmoid(logits)
"""
            + _NUMBERS
            + 'what_the_sum_minimises = "b"\n',
            "did you use the loss that was given",
        ),
        "sign of a derivative": (
            1,
            """
def force(loss, logits):
    own = logits.detach().clone().requires_grad_()
    return torch.autograd.grad((loss(own) + 0 * own).sum(), own)[0]
force_of_the_sum = -1.0
hundred_times = -4.605
what_the_sum_minimises = "b"
""",
            "this is the derivative; a force is minus the derivative",
        ),
        "derivatives of the mean": (
            2,
            """
def force(loss, logits):
    own = logits.detach().clone().requires_grad_()
    return -torch.autograd.grad((loss(own) + 0 * own).mean(), own)[0]
"""
            + _NUMBERS
            + 'what_the_sum_minimises = "b"\n',
            "this is the force of a mean over the batch of 3",
        ),
        "logits are changed": (
            3,
            """
def force(loss, logits):
    logits.requires_grad_()
    loss(logits).sum().backward()
    return -logits.grad
"""
            + _NUMBERS
            + 'what_the_sum_minimises = "b"\n',
            "logits stay as they were",
        ),
        "a difference quotient": (
            3,
            """
def force(loss, logits):
    h = 1e-3
    return -(loss(logits + h) - loss(logits - h)) / (2 * h)
"""
            + _NUMBERS
            + 'what_the_sum_minimises = "b"\n',
            "a difference quotient is too coarse",
        ),
        "a loss that ignores the logits is an error": (
            3,
            """
def force(loss, logits):
    own = logits.detach().clone().requires_grad_()
    return -torch.autograd.grad(loss(own).sum(), own)[0]
"""
            + _NUMBERS
            + 'what_the_sum_minimises = "b"\n',
            "a loss that ignores the logits has force 0",
        ),
        "the graph is kept": (
            3,
            """
def force(loss, logits):
    own = logits.detach().clone().requires_grad_()
    total = (loss(own) + 0 * own.square()).sum()
    return -torch.autograd.grad(total, own, create_graph=True)[0]
"""
            + _NUMBERS
            + 'what_the_sum_minimises = "b"\n',
            "The result has no graph",
        ),
        "one force for the whole batch": (
            2,
            """
def force(loss, logits):
    own = logits.detach().clone().requires_grad_()
    return -torch.autograd.grad((loss(own) + 0 * own).sum(), own)[0].sum()
"""
            + _NUMBERS
            + 'what_the_sum_minimises = "b"\n',
            "one force a logit",
        ),
        "ratio the wrong way round": (
            4,
            _FORCE
            + "force_of_the_sum = 1.0\nhundred_times = 4.605\n"
            + 'what_the_sum_minimises = "b"\n',
            "Their ratio is",
        ),
        "the sum is thought to vanish": (
            4,
            _FORCE
            + "force_of_the_sum = 0.0\nhundred_times = -4.605\n"
            + 'what_the_sum_minimises = "b"\n',
            "forces of both losses and of their sum",
        ),
        "the divergence the other way round": (
            4,
            _FORCE + _NUMBERS + 'what_the_sum_minimises = "a"\n',
            "the mean over q, not over p",
        ),
        "a capital letter and numbers as text": (
            3,
            _FORCE
            + 'force_of_the_sum = "1"\nhundred_times = "-4.605"\n'
            + 'what_the_sum_minimises = "B"\n',
            "must be a number without quotes; got '1', of type str",
        ),
    },
    "q4": {
        "the next sample": (
            0,
            """
def wrong_partners(class_ids, generator):
    return torch.arange(len(class_ids)).roll(-1)
""",
            "sample 0 got partner 1, of the same class",
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
            "of the same class",
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
            "drawn equally often",
        ),
        "one class not noticed": (
            3,
            """
def wrong_partners(class_ids, generator):
    others = (class_ids[:, None] != class_ids[None, :]).float()
    others = others + (others.sum(dim=1, keepdim=True) == 0)
    return torch.multinomial(others, 1, generator=generator)[:, 0]
""",
            "must raise ValueError; yours returns",
        ),
        "the error of multinomial": (
            3,
            """
def wrong_partners(class_ids, generator):
    others = (class_ids[:, None] != class_ids[None, :]).float()
    return torch.multinomial(others, 1, generator=generator)[:, 0]
""",
            "must raise ValueError; yours raises RuntimeError",
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
            "Every position of another class must be drawn equally often",
        ),
        "the generator is not used": (
            3,
            """
def wrong_partners(class_ids, generator):
    others = class_ids[:, None] != class_ids[None, :]
    if not others.any(dim=1).all():
        raise ValueError("one class only")
    return torch.multinomial(others.float(), 1)[:, 0]
""",
            "the given generator decides the draw",
        ),
        "ids compared as floating-point numbers": (
            3,
            """
def wrong_partners(class_ids, generator):
    ids = class_ids.float()
    others = (ids[:, None] - ids[None, :]).abs() > 0.5
    if not others.any(dim=1).all():
        raise ValueError("one class only")
    return torch.multinomial(others.float(), 1, generator=generator)[:, 0]
""",
            "compare them as whole numbers",
        ),
        "one draw for a whole class": (
            3,
            """
def wrong_partners(class_ids, generator):
    partners = torch.empty_like(class_ids)
    for own in class_ids.unique().tolist():
        places = (class_ids != own).nonzero()[:, 0]
        if not len(places):
            raise ValueError("one class only")
        pick = places[torch.randint(len(places), (1,), generator=generator)]
        partners[class_ids == own] = pick
    return partners
""",
            "for each sample by itself",
        ),
        "classes instead of positions": (
            1,
            """
def wrong_partners(class_ids, generator):
    others = class_ids[:, None] != class_ids[None, :]
    if not others.any(dim=1).all():
        raise ValueError("one class only")
    places = torch.multinomial(others.float(), 1, generator=generator)[:, 0]
    return class_ids[places]
""",
            "a partner is a position from 0 to 4, not a class",
        ),
        "a column": (
            1,
            """
def wrong_partners(class_ids, generator):
    others = class_ids[:, None] != class_ids[None, :]
    if not others.any(dim=1).all():
        raise ValueError("one class only")
    return torch.multinomial(others.float(), 1, generator=generator)
""",
            "one partner a sample",
        ),
    },
    "q5": {
        "entropy in bits": (
            2,
            """
def diversity(modes, possible):
    counts = torch.bincount(modes[modes >= 0], minlength=possible).double()
    shares = counts / counts.sum().clamp_min(1)
    entropy = torch.special.entr(shares).sum() / math.log(2)
    effective = entropy.exp().item() if counts.sum() else 0.0
    return (counts > 0).double().mean().item(), effective
"""
            + _LOPSIDED,
            "Use the natural logarithm",
        ),
        "unreadable pictures as a mode": (
            2,
            """
def diversity(modes, possible):
    counts = torch.bincount(modes + 1, minlength=possible + 1).double()
    shares = counts / counts.sum()
    return (
        (counts > 0).sum().item() / possible,
        torch.special.entr(shares).sum().exp().item(),
    )
"""
            + _LOPSIDED,
            "neither a mode nor part of the total",
        ),
        "unreadable pictures in the total": (
            3,
            """
def diversity(modes, possible):
    counts = torch.bincount(modes[modes >= 0], minlength=possible).double()
    if counts.sum() == 0:
        return 0.0, 0.0
    shares = counts / len(modes)
    effective = torch.special.entr(shares).sum().exp().item()
    return (counts > 0).double().mean().item(), effective
"""
            + _LOPSIDED,
            "neither a mode nor part of the total",
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
"""
            + _LOPSIDED,
            "not nan or an error",
        ),
        "number of modes instead of their share": (
            2,
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
"""
            + _LOPSIDED,
            r"expected \(1, 4\), got \(4.000, 4.000\)",
        ),
        "share of the modes that were drawn": (
            1,
            """
def diversity(modes, possible):
    counts = torch.bincount(modes[modes >= 0]).double()
    if counts.sum() == 0:
        return 0.0, 0.0
    shares = counts / counts.sum()
    effective = torch.special.entr(shares).sum().exp().item()
    return (counts > 0).double().mean().item(), effective
lopsided = [990] + [1] * 9
""",
            "Possible things that never occur count",
        ),
        "entropy without its exponential": (
            2,
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
"""
            + _LOPSIDED,
            r"expected \(1, 4\), got \(1.000, 1.386\)",
        ),
        "one mode left out of the counterexample": (
            3,
            _DIVERSITY + "lopsided = [992] + [1] * 8 + [0]\n",
            "coverage 1 needs each thing at least once",
        ),
        "a counterexample that is too even": (
            3,
            _DIVERSITY + "lopsided = [910] + [10] * 9\n",
            "the effective number must be below 1.1",
        ),
        "a counterexample as text": (
            3,
            _DIVERSITY + 'lopsided = "[991, 1, 1, 1, 1, 1, 1, 1, 1, 1]"\n',
            "yours is of type str",
        ),
        "tensors instead of numbers": (
            3,
            """
def diversity(modes, possible):
    counts = torch.bincount(modes[modes >= 0], minlength=possible).double()
    if counts.sum() == 0:
        return 0.0, 0.0
    shares = counts / counts.sum()
    return (counts > 0).double().mean(), torch.special.entr(shares).sum().exp()
"""
            + _LOPSIDED,
            "one of yours is of type Tensor",
        ),
    },
}

# The functions as the chapter prints them, fitted to the names and shapes asked for.
COPIED: dict[str, str] = {
    "q1": """
def discriminator_loss(real, fake, alpha):
    return F.softplus(-real).mean() + F.softplus(fake).mean()
def generator_loss(fake, weight):
    return -F.softplus(fake).mean() if weight == 1 else F.softplus(-fake).mean()
""",
    "q2": MISTAKES["q2"]["the chapter's plain game"][1],
    "q3": """
def force(loss, logits):
    return torch.sigmoid(-logits)
""",
    "q4": """
def wrong_partners(class_ids, generator):
    same = class_ids[:, None] == class_ids
    return (~same).int().argmax(dim=1)
""",
    "q5": """
def diversity(modes, possible):
    share = F.one_hot(modes, possible).sum(dim=0) / len(modes)
    effective = torch.special.entr(share).sum().exp().item()
    return int((share > 0.01).sum()), effective
""",
}
