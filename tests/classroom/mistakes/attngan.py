"""Wrong answers to the AttnGAN capstone: question -> name -> (points, answer)."""

_HEAD = "def discriminator_loss(discriminator, real, fake, sentence):"

MISTAKES: dict[str, dict[str, tuple[float, str]]] = {
    "q1": {
        "halves of the gated unit swapped": (
            3,
            """
def augment(sentence, weight, bias, eps):
    gate, value = F.linear(sentence, weight, bias).chunk(2, dim=1)
    mu, logvar = (value * torch.sigmoid(gate)).chunk(2, dim=1)
    return mu + (0.5 * logvar).exp() * eps, mu, logvar
""",
        ),
        "variance instead of standard deviation": (
            1,
            """
def augment(sentence, weight, bias, eps):
    mu, logvar = F.glu(F.linear(sentence, weight, bias), dim=1).chunk(2, dim=1)
    return mu + logvar.exp() * eps, mu, logvar
""",
        ),
        "mean and variance swapped": (
            1,
            """
def augment(sentence, weight, bias, eps):
    logvar, mu = F.glu(F.linear(sentence, weight, bias), dim=1).chunk(2, dim=1)
    return mu + logvar.exp() * eps, mu, logvar
""",
        ),
        "no gate": (
            0,
            """
def augment(sentence, weight, bias, eps):
    mu, logvar = F.linear(sentence, weight, bias).chunk(2, dim=1)
    return mu + (0.5 * logvar).exp() * eps, mu, logvar
""",
        ),
        "bias forgotten": (
            1,
            """
def augment(sentence, weight, bias, eps):
    mu, logvar = F.glu(F.linear(sentence, weight), dim=1).chunk(2, dim=1)
    return mu + (0.5 * logvar).exp() * eps, mu, logvar
""",
        ),
    },
    "q2": {
        "detach forgotten": (
            6,
            _HEAD
            + """
    yes, no = (lambda l: F.softplus(-l).mean()), (lambda l: F.softplus(l).mean())
    c, u = discriminator(real, sentence)
    fc, fu = discriminator(fake, sentence)
    refused = no(fu) + no(fc)
    if len(real) > 1:
        refused = refused + no(discriminator(real[:-1], sentence[1:])[0])
    return (yes(u) + yes(c)) / 2 + refused / 3
""",
        ),
        "sentences rolled around": (
            4,
            _HEAD
            + """
    yes, no = (lambda l: F.softplus(-l).mean()), (lambda l: F.softplus(l).mean())
    c, u = discriminator(real, sentence)
    fc, fu = discriminator(fake.detach(), sentence)
    refused = no(fu) + no(fc)
    if len(real) > 1:
        refused = refused + no(discriminator(real, sentence.roll(-1, 0))[0])
    return (yes(u) + yes(c)) / 2 + refused / 3
""",
        ),
        "no wrong pairs": (
            1,
            _HEAD
            + """
    yes, no = (lambda l: F.softplus(-l).mean()), (lambda l: F.softplus(l).mean())
    c, u = discriminator(real, sentence)
    fc, fu = discriminator(fake.detach(), sentence)
    return (yes(u) + yes(c)) / 2 + (no(fu) + no(fc)) / 3
""",
        ),
        "all terms with weight one": (
            1,
            _HEAD
            + """
    yes, no = (lambda l: F.softplus(-l).mean()), (lambda l: F.softplus(l).mean())
    c, u = discriminator(real, sentence)
    fc, fu = discriminator(fake.detach(), sentence)
    wrong, _ = discriminator(real[:-1], sentence[1:])
    return yes(u) + yes(c) + no(fu) + no(fc) + no(wrong)
""",
        ),
        "logarithms of sigmoids": (
            5,
            _HEAD
            + """
    yes = lambda l: -torch.sigmoid(l).log().mean()
    no = lambda l: -(1 - torch.sigmoid(l)).log().mean()
    c, u = discriminator(real, sentence)
    fc, fu = discriminator(fake.detach(), sentence)
    refused = no(fu) + no(fc)
    if len(real) > 1:
        refused = refused + no(discriminator(real[:-1], sentence[1:])[0])
    return (yes(u) + yes(c)) / 2 + refused / 3
""",
        ),
        "wrong pairs called right": (
            2,
            _HEAD
            + """
    yes, no = (lambda l: F.softplus(-l).mean()), (lambda l: F.softplus(l).mean())
    c, u = discriminator(real, sentence)
    fc, fu = discriminator(fake.detach(), sentence)
    wrong = yes(discriminator(real[:-1], sentence[1:])[0])
    return (yes(u) + yes(c)) / 2 + (no(fu) + no(fc) + wrong) / 3
""",
        ),
    },
    "q3": {
        "KL summed where the mean is asked": (
            3,
            """
def generator_loss(logits, damsm, mu, logvar, damsm_weight):
    fooling = sum(F.softplus(-c).mean() + F.softplus(-u).mean() for c, u in logits)
    kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1).mean()
    return fooling + damsm_weight * damsm + kl
""",
        ),
        "last stage only": (
            2,
            """
def generator_loss(logits, damsm, mu, logvar, damsm_weight):
    c, u = logits[-1]
    kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).mean()
    return F.softplus(-c).mean() + F.softplus(-u).mean() + damsm_weight * damsm + kl
""",
        ),
        "the weight on the KL as well": (
            3,
            """
def generator_loss(logits, damsm, mu, logvar, damsm_weight):
    fooling = sum(F.softplus(-c).mean() + F.softplus(-u).mean() for c, u in logits)
    kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).mean()
    return fooling + damsm_weight * (damsm + kl)
""",
        ),
        "label 0 for the generator's pictures": (
            1,
            """
def generator_loss(logits, damsm, mu, logvar, damsm_weight):
    fooling = sum(F.softplus(c).mean() + F.softplus(u).mean() for c, u in logits)
    kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).mean()
    return fooling + damsm_weight * damsm + kl
""",
        ),
        "the two heads averaged": (
            2,
            """
def generator_loss(logits, damsm, mu, logvar, damsm_weight):
    fooling = sum(F.softplus(-c).mean() + F.softplus(-u).mean() for c, u in logits) / 2
    kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).mean()
    return fooling + damsm_weight * damsm + kl
""",
        ),
    },
    "q4": {
        "decay the wrong way round": (
            1,
            """
def update_average(average, model, decay):
    with torch.no_grad():
        for mean, parameter in zip(average.parameters(), model.parameters()):
            mean.lerp_(parameter, decay)
        for mean, buffer in zip(average.buffers(), model.buffers()):
            mean.copy_(buffer)
""",
        ),
        "buffers forgotten": (
            3,
            """
def update_average(average, model, decay):
    with torch.no_grad():
        for mean, parameter in zip(average.parameters(), model.parameters()):
            mean.lerp_(parameter, 1 - decay)
""",
        ),
        "weights shared": (
            0,
            """
def update_average(average, model, decay):
    for mean, parameter in zip(average.parameters(), model.parameters()):
        parameter.data.lerp_(mean.data, decay)
        mean.data = parameter.data
""",
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
""",
        ),
        "plain copy": (
            1,
            """
def update_average(average, model, decay):
    average.load_state_dict(model.state_dict())
""",
        ),
    },
    "q5": {
        "another seed after the change": (
            2,
            """
def listening(sampler, caption, old, new, seeds):
    words = caption.split(" ")
    if old not in words:
        raise ValueError(old)
    changed = " ".join(new if word == old else word for word in words)
    before = [sampler.sample([caption], seed=seed) for seed in seeds]
    after = [sampler.sample([changed], seed=seed) for seed in seeds[1:] + seeds[:1]]
    by_word = [(a - b).abs().mean() for a, b in zip(before, after)]
    by_noise = [(a - b).abs().mean() for a, b in zip(before, before[1:])]
    return torch.stack(by_word).mean().item(), torch.stack(by_noise).mean().item()
""",
        ),
        "parts of words replaced": (
            1,
            """
def listening(sampler, caption, old, new, seeds):
    if old not in caption:
        raise ValueError(old)
    changed = caption.replace(old, new)
    before = [sampler.sample([caption], seed=seed) for seed in seeds]
    after = [sampler.sample([changed], seed=seed) for seed in seeds]
    by_word = [(a - b).abs().mean() for a, b in zip(before, after)]
    by_noise = [(a - b).abs().mean() for a, b in zip(before, before[1:])]
    return torch.stack(by_word).mean().item(), torch.stack(by_noise).mean().item() / 2
""",
        ),
        "absolute value forgotten": (
            1,
            """
def listening(sampler, caption, old, new, seeds):
    words = caption.split(" ")
    if old not in words:
        raise ValueError(old)
    changed = " ".join(new if word == old else word for word in words)
    before = [sampler.sample([caption], seed=seed) for seed in seeds]
    after = [sampler.sample([changed], seed=seed) for seed in seeds]
    by_word = [(a - b).mean() for a, b in zip(before, after)]
    by_noise = [(a - b).mean() for a, b in zip(before, before[1:])]
    return torch.stack(by_word).mean().item(), torch.stack(by_noise).mean().item()
""",
        ),
        "missing word not noticed": (
            4,
            """
def listening(sampler, caption, old, new, seeds):
    changed = " ".join(new if word == old else word for word in caption.split(" "))
    before = [sampler.sample([caption], seed=seed) for seed in seeds]
    after = [sampler.sample([changed], seed=seed) for seed in seeds]
    by_word = [(a - b).abs().mean() for a, b in zip(before, after)]
    by_noise = [(a - b).abs().mean() for a, b in zip(before, before[1:])]
    return torch.stack(by_word).mean().item(), torch.stack(by_noise).mean().item()
""",
        ),
        "noise measured with the changed caption too": (
            1,
            """
def listening(sampler, caption, old, new, seeds):
    words = caption.split(" ")
    if old not in words:
        raise ValueError(old)
    changed = " ".join(new if word == old else word for word in words)
    before = [sampler.sample([caption], seed=seed) for seed in seeds]
    after = [sampler.sample([changed], seed=seed) for seed in seeds]
    by_word = [(a - b).abs().mean() for a, b in zip(before, after)]
    by_noise = [(a - b).abs().mean() for a, b in zip(before, after[1:])]
    return torch.stack(by_word).mean().item(), torch.stack(by_noise).mean().item()
""",
        ),
    },
}
