"""Wrong answers to the AttnGAN capstone: question -> name -> (points, answer, hint)."""

_FAULT = """
def fault(augment):
    g = torch.Generator().manual_seed({seed})
    s, w = torch.randn({batch}, 5, generator=g), torch.randn(8, 5, generator=g)
    b, eps = torch.randn(8, generator=g), torch.randn({batch}, 2, generator=g)
    b, eps = {bias} * b, {noise} * eps
    c, mu, logvar = augment(s, w, b, eps)
    same = {same}
    h = F.linear(s, w, b)
    right, features = F.glu(h, dim=1), torch.cat([mu, logvar], dim=1)
    if same(features, right.roll(2, dims=1)):
        return "order"
    if same(features, F.glu(h.roll(4, dims=1), dim=1)):
        return "gate"
    if {bias_test}:
        return "bias"
    sigma = (0.5 * logvar).exp()
    if same(c, mu + sigma * eps):
        return "none"
    return {rest}
"""
_RIGHT = {
    "seed": "0",
    "batch": "4",
    "bias": "1",
    "noise": "1",
    "same": "lambda x, y: torch.allclose(x, y, atol=1e-4)",
    "bias_test": "same(features, F.glu(F.linear(s, w), dim=1))",
    "rest": '"shared" if same(c, mu + sigma * eps[:1]) else "spread"',
}


def _fault(**changed: str) -> str:
    return _FAULT.format(**_RIGHT | changed)


_HEAD = "def discriminator_loss(discriminator, real, fake, sentence, class_ids):"
_COSTS = """
    yes, no = (lambda l: F.softplus(-l).mean()), (lambda l: F.softplus(l).mean())
    c, u = discriminator(real, sentence)
    fc, fu = discriminator(fake.detach(), sentence)
    refused = no(fu) + no(fc)
"""
_REAL_AND_FAKE = "    return (yes(u) + yes(c)) / 2 + refused / 3\n"
_PULLS = """
def pulls(terms, picture):
    found = {}
    for name, term in terms.items():
        gradient = None
        if term.requires_grad:
            (gradient,) = torch.autograd.grad(
                term, picture, retain_graph=True, allow_unused=True
            )
        found[name] = 0.0 if gradient is None else gradient.norm().item()
    return found
"""
_BALANCE = """
def balancing_weight(adversarial, damsm, picture):
    both = pulls({"a": sum(adversarial), "d": damsm}, picture)
    if both["d"] == 0:
        raise ValueError("damsm does not pull")
    return both["a"] / both["d"]
"""
_SEEN = "pulls_add_up = False\ndoubled_batch = 0.5\n"
_AVERAGE = """
def update_average(average, model, decay):
    with torch.no_grad():
        for mean, parameter in zip(average.parameters(), model.parameters()):
            mean.lerp_(parameter, 1 - decay)
        for mean, buffer in zip(average.buffers(), model.buffers()):
            mean.copy_(buffer)
"""
_HALF = "half_way = 693\n"
_LISTENING = """
def listening(sampler, caption, old, new, seeds):
    words = caption.split(" ")
    if old not in words:
        raise ValueError(old)
"""
_DRAWN = """
    before = [sampler.sample([caption], seed=seed) for seed in seeds]
    after = [sampler.sample([changed], seed=seed) for seed in seeds]
"""
_MEANS = """
    by_word = [(a - b).abs().mean() for a, b in zip(before, after)]
    by_noise = [(a - b).abs().mean() for a, b in zip(before, before[1:])]
    return torch.stack(by_word).mean().item(), torch.stack(by_noise).mean().item()
"""
_CHANGED = '    changed = " ".join(new if word == old else word for word in words)\n'

MISTAKES: dict[str, dict[str, tuple[float, str, str]]] = {
    "q1": {
        "always right": (
            0,
            "def fault(augment):\n    return 'none'\n",
            "the fault is \"gate\"; yours says 'none' of it",
        ),
        "no noise": (2, _fault(noise="0"), "noise of zero shows none of them"),
        "a batch of one": (
            3,
            _fault(batch="1"),
            "A batch of one cannot show shared noise",
        ),
        "a bias of zero": (
            0,
            _fault(bias="0"),
            "a bias of zero cannot show a missing bias",
        ),
        "no tolerance": (
            4,
            _fault(same="lambda x, y: torch.equal(x, y)"),
            "compare with a tolerance",
        ),
        "a tolerance that forgives everything": (
            0,
            _fault(same="lambda x, y: torch.allclose(x, y, atol=10)"),
            "yours says 'order' of it",
        ),
        "shared noise taken for a spread": (
            3,
            _fault(rest='"spread"'),
            "the faults bias, order and shared is not found",
        ),
        "spread taken for shared noise": (
            4,
            _fault(rest='"shared"'),
            "A wrong spread is not found, or is taken for another fault",
        ),
        "the missing bias not looked for": (
            3,
            _fault(bias_test="False"),
            "the faults bias, order and shared is not found",
        ),
        "capital letters": (
            0,
            """
def fault(augment):
    return "Gate" if augment is None else "None"
""",
            "in small letters; got 'None'",
        ),
        "True or False": (
            0,
            """
def fault(augment):
    s, w = torch.randn(4, 5), torch.randn(8, 5)
    b, eps = torch.randn(8), torch.randn(4, 2)
    c, mu, logvar = augment(s, w, b, eps)
    h = F.glu(F.linear(s, w, b), dim=1)
    return bool(torch.allclose(torch.cat([mu, logvar], dim=1), h, atol=1e-4))
""",
            "a name, a text; yours is of type bool",
        ),
    },
    "q2": {
        "detach forgotten": (
            4,
            _HEAD
            + """
    yes, no = (lambda l: F.softplus(-l).mean()), (lambda l: F.softplus(l).mean())
    c, u = discriminator(real, sentence)
    fc, fu = discriminator(fake, sentence)
    refused, differs = no(fu) + no(fc), class_ids[:-1] != class_ids[1:]
    if differs.any():
        refused = refused + no(discriminator(real[:-1], sentence[1:])[0][differs])
"""
            + _REAL_AND_FAKE,
            "where is the detach",
        ),
        "the chapter's wrong pairs": (
            2,
            _HEAD
            + _COSTS
            + """
    if len(real) > 1:
        refused = refused + no(discriminator(real[:-1], sentence[1:])[0])
"""
            + _REAL_AND_FAKE,
            "a pair of one class is counted as wrong, or the other terms",
        ),
        "sentences rolled around": (
            3,
            _HEAD
            + _COSTS
            + """
    differs = class_ids != class_ids.roll(-1)
    if differs.any():
        wrong = discriminator(real, sentence.roll(-1, 0))[0]
        refused = refused + no(wrong[differs])
"""
            + _REAL_AND_FAKE,
            "the last picture has no next",
        ),
        "every pair of two classes": (
            3,
            _HEAD
            + _COSTS
            + """
    i, j = (class_ids[:, None] != class_ids).nonzero(as_tuple=True)
    if len(i):
        refused = refused + no(discriminator(real[i], sentence[j])[0])
"""
            + _REAL_AND_FAKE,
            r"picture i with sentence i \+ 1",
        ),
        "no wrong pairs": (
            2,
            _HEAD + _COSTS + _REAL_AND_FAKE,
            "= 1.38629; yours is 1.15525",
        ),
        "a mean over no pair": (
            3,
            _HEAD
            + _COSTS
            + """
    differs = class_ids[:-1] != class_ids[1:]
    refused = refused + no(discriminator(real[:-1], sentence[1:])[0][differs])
"""
            + _REAL_AND_FAKE,
            "a mean over no pair is nan",
        ),
        "a mean over all B - 1 pairs": (
            3,
            _HEAD
            + _COSTS
            + """
    if len(real) > 1:
        differs = class_ids[:-1] != class_ids[1:]
        wrong = F.softplus(discriminator(real[:-1], sentence[1:])[0]) * differs
        refused = refused + wrong.sum() / (len(real) - 1)
"""
            + _REAL_AND_FAKE,
            "the mean over these pairs alone",
        ),
        "all terms with weight one": (
            2,
            _HEAD
            + _COSTS
            + """
    differs = class_ids[:-1] != class_ids[1:]
    if differs.any():
        refused = refused + no(discriminator(real[:-1], sentence[1:])[0][differs])
    return yes(u) + yes(c) + refused
""",
            "each with its own weight",
        ),
        "logarithms of sigmoids": (
            4,
            _HEAD
            + """
    yes = lambda l: -torch.sigmoid(l).log().mean()
    no = lambda l: -(1 - torch.sigmoid(l)).log().mean()
    c, u = discriminator(real, sentence)
    fc, fu = discriminator(fake.detach(), sentence)
    refused, differs = no(fu) + no(fc), class_ids[:-1] != class_ids[1:]
    if differs.any():
        refused = refused + no(discriminator(real[:-1], sentence[1:])[0][differs])
"""
            + _REAL_AND_FAKE,
            "must not overflow",
        ),
        "wrong pairs called right": (
            3,
            _HEAD
            + _COSTS
            + """
    differs = class_ids[:-1] != class_ids[1:]
    if differs.any():
        refused = refused + yes(discriminator(real[:-1], sentence[1:])[0][differs])
"""
            + _REAL_AND_FAKE,
            "each with its own weight and label",
        ),
        "drawn pictures with the wrong sentence": (
            3,
            _HEAD
            + _COSTS
            + """
    differs = class_ids[:-1] != class_ids[1:]
    if differs.any():
        wrong = discriminator(fake.detach()[:-1], sentence[1:])[0]
        refused = refused + no(wrong[differs])
"""
            + _REAL_AND_FAKE,
            "Three kinds of pairs",
        ),
        "the sentence before": (
            3,
            _HEAD
            + _COSTS
            + """
    differs = class_ids[:-1] != class_ids[1:]
    if differs.any():
        refused = refused + no(discriminator(real[1:], sentence[:-1])[0][differs])
"""
            + _REAL_AND_FAKE,
            r"picture i with sentence i \+ 1",
        ),
    },
    "q3": {
        "the graph is freed": (
            2,
            """
def pulls(terms, picture):
    found = {}
    for name, term in terms.items():
        gradient = None
        if term.requires_grad:
            (gradient,) = torch.autograd.grad(term, picture, allow_unused=True)
        found[name] = 0.0 if gradient is None else gradient.norm().item()
    return found
"""
            + _BALANCE
            + _SEEN,
            "keep the graph for the real backward pass",
        ),
        "backward instead of grad": (
            3,
            """
def pulls(terms, picture):
    picture.retain_grad()
    found = {}
    for name, term in terms.items():
        picture.grad = None
        if term.requires_grad:
            term.backward(retain_graph=True)
        found[name] = 0.0 if picture.grad is None else picture.grad.norm().item()
    return found
"""
            + _BALANCE
            + _SEEN,
            "Leave all .grad as they are",
        ),
        "sum of absolute values": (
            1,
            """
def pulls(terms, picture):
    found = {}
    for name, term in terms.items():
        gradient = None
        if term.requires_grad:
            (gradient,) = torch.autograd.grad(
                term, picture, retain_graph=True, allow_unused=True
            )
        found[name] = 0.0 if gradient is None else gradient.abs().sum().item()
    return found
"""
            + _BALANCE
            + _SEEN,
            "this is a sum of absolute values, not a norm",
        ),
        "a term without the picture is an error": (
            3,
            """
def pulls(terms, picture):
    found = {}
    for name, term in terms.items():
        gradient = None
        if term.requires_grad:
            (gradient,) = torch.autograd.grad(term, picture, retain_graph=True)
        found[name] = 0.0 if gradient is None else gradient.norm().item()
    return found
"""
            + _BALANCE
            + _SEEN,
            "a term may depend on the network's weights without the picture",
        ),
        "a constant is an error": (
            1,
            """
def pulls(terms, picture):
    found = {}
    for name, term in terms.items():
        (gradient,) = torch.autograd.grad(
            term, picture, retain_graph=True, allow_unused=True
        )
        found[name] = 0.0 if gradient is None else gradient.norm().item()
    return found
"""
            + _BALANCE
            + _SEEN,
            "a term that needs no gradient",
        ),
        "tensors instead of numbers": (
            4,
            """
def pulls(terms, picture):
    found = {}
    for name, term in terms.items():
        gradient = None
        if term.requires_grad:
            (gradient,) = torch.autograd.grad(
                term, picture, retain_graph=True, allow_unused=True
            )
        found[name] = torch.tensor(0.0) if gradient is None else gradient.norm()
    return found
"""
            + """
def balancing_weight(adversarial, damsm, picture):
    both = pulls({"a": sum(adversarial), "d": damsm}, picture)
    if both["d"] == 0:
        raise ValueError("damsm does not pull")
    return float(both["a"] / both["d"])
"""
            + _SEEN,
            "must be a float; yours is of type Tensor",
        ),
        "norms are added up": (
            3,
            _PULLS
            + """
def balancing_weight(adversarial, damsm, picture):
    named = dict(enumerate(adversarial))
    pull = pulls({"d": damsm}, picture)["d"]
    if pull == 0:
        raise ValueError("damsm does not pull")
    return sum(pulls(named, picture).values()) / pull
pulls_add_up = True
doubled_batch = 0.5
""",
            "not the sum of norms",
        ),
        "the ratio the other way round": (
            3,
            _PULLS
            + """
def balancing_weight(adversarial, damsm, picture):
    both = pulls({"a": sum(adversarial), "d": damsm}, picture)
    if both["d"] == 0:
        raise ValueError("damsm does not pull")
    return both["d"] / both["a"]
"""
            + _SEEN,
            "for lambda = 0.5; yours is 2.0000",
        ),
        "the ratio of the losses": (
            3,
            _PULLS
            + """
def balancing_weight(adversarial, damsm, picture):
    if pulls({"d": damsm}, picture)["d"] == 0:
        raise ValueError("damsm does not pull")
    return (sum(adversarial) / damsm).item()
"""
            + _SEEN,
            "terms with the gradients 1 and 2",
        ),
        "divided by zero": (
            4,
            _PULLS
            + """
def balancing_weight(adversarial, damsm, picture):
    both = pulls({"a": sum(adversarial), "d": damsm}, picture)
    return both["a"] / (both["d"] + 1e-12)
"""
            + _SEEN,
            "a DAMSM that does not pull must raise ValueError",
        ),
        "pulls are thought to add up": (
            4,
            _PULLS + _BALANCE + "pulls_add_up = True\ndoubled_batch = 0.5\n",
            "two terms that pull in opposite directions",
        ),
        "the batch is thought not to matter": (
            4,
            _PULLS + _BALANCE + "pulls_add_up = False\ndoubled_batch = 1\n",
            "a mean over twice as many pictures",
        ),
        "answers as text": (
            4,
            _PULLS + _BALANCE + 'pulls_add_up = "False"\ndoubled_batch = "1/2"\n',
            "must be True or False without quotes; got 'False', of type str",
        ),
    },
    "q4": {
        "decay the wrong way round": (
            2,
            """
def update_average(average, model, decay):
    with torch.no_grad():
        for mean, parameter in zip(average.parameters(), model.parameters()):
            mean.lerp_(parameter, decay)
        for mean, buffer in zip(average.buffers(), model.buffers()):
            mean.copy_(buffer)
"""
            + _HALF,
            "decay is the share that stays, not the share that moves",
        ),
        "buffers forgotten": (
            3,
            """
def update_average(average, model, decay):
    with torch.no_grad():
        for mean, parameter in zip(average.parameters(), model.parameters()):
            mean.lerp_(parameter, 1 - decay)
"""
            + _HALF,
            "Buffers are copied",
        ),
        "weights shared": (
            1,
            """
def update_average(average, model, decay):
    for mean, parameter in zip(average.parameters(), model.parameters()):
        parameter.data.lerp_(mean.data, decay)
        mean.data = parameter.data
"""
            + _HALF,
            "the model that trains must stay as it is",
        ),
        "buffers averaged like weights": (
            3,
            """
def update_average(average, model, decay):
    with torch.no_grad():
        for mean, parameter in zip(average.parameters(), model.parameters()):
            mean.lerp_(parameter, 1 - decay)
        for mean, buffer in zip(average.buffers(), model.buffers()):
            mean.copy_(decay * mean + (1 - decay) * buffer)
"""
            + _HALF,
            "not averaged",
        ),
        "buffers shared": (
            3,
            """
def update_average(average, model, decay):
    with torch.no_grad():
        for mean, parameter in zip(average.parameters(), model.parameters()):
            mean.lerp_(parameter, 1 - decay)
    average._buffers = model._buffers
"""
            + _HALF,
            "later changes of them do not reach the average",
        ),
        "plain copy": (
            2,
            """
def update_average(average, model, decay):
    average.load_state_dict(model.state_dict())
"""
            + _HALF,
            "this is a copy of the model",
        ),
        "new parameters with a graph": (
            3,
            """
def update_average(average, model, decay):
    for mean, parameter in zip(average.modules(), model.modules()):
        for name in list(mean._parameters):
            p, q = mean._parameters[name], parameter._parameters[name]
            del mean._parameters[name]
            setattr(mean, name, decay * p + (1 - decay) * q)
    for mean, buffer in zip(average.buffers(), model.buffers()):
        mean.copy_(buffer)
"""
            + _HALF,
            "must stay leaves without a graph",
        ),
        "weights that can no longer be trained": (
            3,
            """
def update_average(average, model, decay):
    average.requires_grad_(False)
    for mean, parameter in zip(average.parameters(), model.parameters()):
        mean.lerp_(parameter.detach(), 1 - decay)
    for mean, buffer in zip(average.buffers(), model.buffers()):
        mean.copy_(buffer)
"""
            + _HALF,
            "that can still be trained",
        ),
        "half of the decay's steps": (
            3,
            _AVERAGE + "half_way = 500\n",
            "0.999 to the power n",
        ),
        "one update less": (
            3,
            _AVERAGE + "half_way = 692\n",
            "one update less is not enough",
        ),
        "a number as text": (
            3,
            _AVERAGE + 'half_way = "693"\n',
            "must be a whole number without quotes; got '693', of type str",
        ),
    },
    "q5": {
        "another seed after the change": (
            3,
            _LISTENING
            + _CHANGED
            + """
    before = [sampler.sample([caption], seed=seed) for seed in seeds]
    after = [sampler.sample([changed], seed=seed) for seed in seeds[1:] + seeds[:1]]
"""
            + _MEANS,
            "The same noise on both sides of a word's change",
        ),
        "both captions in one call": (
            3,
            _LISTENING
            + _CHANGED
            + """
    drawn = [sampler.sample([caption, changed], seed=seed) for seed in seeds]
    before, after = [pair[:1] for pair in drawn], [pair[1:] for pair in drawn]
"""
            + _MEANS,
            "needs one call a caption",
        ),
        "parts of words replaced": (
            3,
            """
def listening(sampler, caption, old, new, seeds):
    if old not in caption:
        raise ValueError(old)
    changed = caption.replace(old, new)
"""
            + _DRAWN
            + _MEANS,
            "the word 'red' does not stand in 'a bored star'",
        ),
        "replace after a check for the word": (
            4,
            _LISTENING + "    changed = caption.replace(old, new)\n" + _DRAWN + _MEANS,
            "Replace whole words only",
        ),
        "first occurrence only": (
            4,
            _LISTENING
            + "    words[words.index(old)] = new\n    changed = ' '.join(words)\n"
            + _DRAWN
            + _MEANS,
            "every occurrence of the word",
        ),
        "absolute value forgotten": (
            2,
            _LISTENING
            + _CHANGED
            + _DRAWN
            + """
    by_word = [(a - b).mean() for a, b in zip(before, after)]
    by_noise = [(a - b).mean() for a, b in zip(before, before[1:])]
    return torch.stack(by_word).mean().item(), torch.stack(by_noise).mean().item()
""",
            "so by_word is 3; yours is -3",
        ),
        "root of the mean square": (
            3,
            _LISTENING
            + _CHANGED
            + _DRAWN
            + """
    by_word = [(a - b).square().mean().sqrt() for a, b in zip(before, after)]
    by_noise = [(a - b).square().mean().sqrt() for a, b in zip(before, before[1:])]
    return torch.stack(by_word).mean().item(), torch.stack(by_noise).mean().item()
""",
            "absolute values, then means",
        ),
        "all pairs of seeds": (
            3,
            _LISTENING
            + _CHANGED
            + _DRAWN
            + """
    by_word = [(a - b).abs().mean() for a, b in zip(before, after)]
    by_noise = [
        (a - b).abs().mean() for i, a in enumerate(before) for b in before[i + 1 :]
    ]
    return torch.stack(by_word).mean().item(), torch.stack(by_noise).mean().item()
""",
            "for each seed and the next one of the list",
        ),
        "the first seed only": (
            3,
            _LISTENING
            + _CHANGED
            + """
    first, second = (sampler.sample([caption], seed=seed) for seed in seeds[:2])
    other = sampler.sample([changed], seed=seeds[0])
    return (first - other).abs().mean().item(), (first - second).abs().mean().item()
""",
            "for each seed and the next one of the list",
        ),
        "missing word not noticed": (
            4,
            """
def listening(sampler, caption, old, new, seeds):
    words = caption.split(" ")
"""
            + _CHANGED
            + _DRAWN
            + _MEANS,
            "must raise ValueError; yours returns numbers",
        ),
        "an error of another kind": (
            4,
            """
def listening(sampler, caption, old, new, seeds):
    words = caption.split(" ")
    assert old in words
"""
            + _CHANGED
            + _DRAWN
            + _MEANS,
            "must raise ValueError; yours raises AssertionError",
        ),
        "noise measured with the changed caption too": (
            2,
            _LISTENING
            + _CHANGED
            + _DRAWN
            + """
    by_word = [(a - b).abs().mean() for a, b in zip(before, after)]
    by_noise = [(a - b).abs().mean() for a, b in zip(before, after[1:])]
    return torch.stack(by_word).mean().item(), torch.stack(by_noise).mean().item()
""",
            "is the caption kept for it",
        ),
    },
}

# The functions as the chapter prints them, fitted to the names and shapes asked for.
COPIED: dict[str, str] = {
    "q2": """
def discriminator_loss(discriminator, real, fake, sentence, class_ids):
    ell = lambda s, y: F.binary_cross_entropy_with_logits(s, torch.full_like(s, y))
    real_c, real_u = discriminator(real, sentence)
    wrong_c, _ = discriminator(real[:-1], sentence[1:])
    fake_c, fake_u = discriminator(fake.detach(), sentence)
    false = ell(fake_u, 0) + ell(fake_c, 0) + ell(wrong_c, 0)
    return (ell(real_u, 1) + ell(real_c, 1)) / 2 + false / 3
""",
    "q5": """
def listening(sampler, caption, old, new, seeds):
    alone = torch.cat([sampler.sample([caption], seed=seed) for seed in seeds])
    words = caption.replace(old, new)
    mixed = torch.cat([sampler.sample([words], seed=seed) for seed in seeds])
    change = (mixed - alone).abs().flatten(1).max(dim=1).values
    return change.mean().item(), change.max().item()
""",
}
