"""Wrong answers to the VAE assignment: question -> name -> (points, answer)."""

_KL = """
def gaussian_kl(mu, logvar, prior_mu, prior_logvar):
    ratio = logvar - prior_logvar
    distance = (mu - prior_mu).square() / prior_logvar.exp()
    return 0.5 * (ratio.exp() - 1 - ratio + distance).sum(dim=1)
"""
_PRICES = "too_sure = 1.81\ntoo_unsure = 47.2\nequal_widths_are_symmetric = True\n"
_GRADIENTS = """
def pathwise(f, mu, sigma, eps):
    z = (mu + sigma * eps).requires_grad_()
    return torch.autograd.grad((f(z) + 0 * z).sum(), z)[0]
def score(f, mu, sigma, eps):
    return (f(mu + sigma * eps) * eps / sigma).detach()
"""
_SEEN = 'less_noise_for_a_square = "pathwise"\nright_for_a_step = "score"\n'
_LIKELIHOOD = """
def log_likelihood(x, reconstruction, log_sigma):
    sigma = log_sigma.exp()[:, None, None]
    terms = -0.5 * ((x - reconstruction) / sigma).square() - sigma.log()
    return (terms - 0.5 * math.log(2 * math.pi)).flatten(1).sum(dim=1)
"""
_SIGMA = """
def implied_sigma(values, weight):
    return math.sqrt(weight * values / 2)
"""
_BITS = """
def bits_per_value(log_density, values):
    return -(log_density / values + math.log(2 / 255)) / math.log(2)
"""
_IWAE = """
def iwae(log_weights):
    return torch.logsumexp(log_weights, dim=0) - math.log(len(log_weights))
"""
_SAMPLES = """
def effective_samples(log_weights):
    return 1 / torch.softmax(log_weights, dim=0).square().sum(dim=0)
"""

MISTAKES: dict[str, dict[str, tuple[float, str]]] = {
    "q1": {
        "the chapter's standard normal prior": (
            2,
            """
def gaussian_kl(mu, logvar, prior_mu, prior_logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(dim=1)
"""
            + _PRICES,
        ),
        "mean where the sum is asked": (
            2,
            """
def gaussian_kl(mu, logvar, prior_mu, prior_logvar):
    ratio = logvar - prior_logvar
    distance = (mu - prior_mu).square() / prior_logvar.exp()
    return 0.5 * (ratio.exp() - 1 - ratio + distance).mean(dim=1)
"""
            + _PRICES,
        ),
        "logarithm of the variance taken for a variance": (
            2,
            """
def gaussian_kl(mu, logvar, prior_mu, prior_logvar):
    ratio = logvar / prior_logvar
    distance = (mu - prior_mu).square() / prior_logvar
    return 0.5 * (ratio - 1 - ratio.log() + distance).sum(dim=1)
"""
            + _PRICES,
        ),
        "one half forgotten": (
            1,
            """
def gaussian_kl(mu, logvar, prior_mu, prior_logvar):
    ratio = logvar - prior_logvar
    distance = (mu - prior_mu).square() / prior_logvar.exp()
    return (ratio.exp() - 1 - ratio + distance).sum(dim=1)
too_sure = 3.62
too_unsure = 94.39
equal_widths_are_symmetric = True
""",
        ),
        "summed over the batch as well": (
            2,
            """
def gaussian_kl(mu, logvar, prior_mu, prior_logvar):
    ratio = logvar - prior_logvar
    distance = (mu - prior_mu).square() / prior_logvar.exp()
    return 0.5 * (ratio.exp() - 1 - ratio + distance).sum()
"""
            + _PRICES,
        ),
        "the prior to the posterior": (
            1,
            """
def gaussian_kl(mu, logvar, prior_mu, prior_logvar):
    ratio = prior_logvar - logvar
    distance = (mu - prior_mu).square() / logvar.exp()
    return 0.5 * (ratio.exp() - 1 - ratio + distance).sum(dim=1)
too_sure = 47.2
too_unsure = 1.81
equal_widths_are_symmetric = True
""",
        ),
        "distance not in units of the prior": (
            2,
            """
def gaussian_kl(mu, logvar, prior_mu, prior_logvar):
    ratio = logvar - prior_logvar
    distance = (mu - prior_mu).square()
    return 0.5 * (ratio.exp() - 1 - ratio + distance).sum(dim=1)
"""
            + _PRICES,
        ),
        "the same prior for all is not allowed for": (
            3,
            """
def gaussian_kl(mu, logvar, prior_mu, prior_logvar):
    ratio = logvar - prior_logvar[: len(logvar)]
    distance = (mu - prior_mu).square() / prior_logvar.exp()[:, :1]
    return 0.5 * (ratio.exp() - 1 - ratio + distance).sum(dim=1)
"""
            + _PRICES,
        ),
        "ten times the variance": (
            4,
            _KL
            + "too_sure = 0.70\ntoo_unsure = 3.35\nequal_widths_are_symmetric = True\n",
        ),
        "never symmetric": (
            4,
            _KL
            + "too_sure = 1.81\ntoo_unsure = 47.2\n"
            + "equal_widths_are_symmetric = False\n",
        ),
        "answers as text": (
            3,
            _KL + 'too_sure = "1.81"\ntoo_unsure = "47.2"\n'
            'equal_widths_are_symmetric = "True"\n',
        ),
    },
    "q2": {
        "the mean of the estimates": (
            2,
            """
def pathwise(f, mu, sigma, eps):
    z = (mu + sigma * eps).requires_grad_()
    return torch.autograd.grad((f(z) + 0 * z).sum(), z)[0].mean()
def score(f, mu, sigma, eps):
    return (f(mu + sigma * eps) * eps / sigma).mean()
"""
            + _SEEN,
        ),
        "derivative by the noise": (
            2,
            """
def pathwise(f, mu, sigma, eps):
    own = eps.clone().requires_grad_()
    return torch.autograd.grad((f(mu + sigma * own) + 0 * own).sum(), own)[0]
def score(f, mu, sigma, eps):
    return f(mu + sigma * eps) * eps / sigma
"""
            + _SEEN,
        ),
        "noise times deviation": (
            1,
            """
def pathwise(f, mu, sigma, eps):
    z = (mu + sigma * eps).requires_grad_()
    return torch.autograd.grad((f(z) + 0 * z).sum(), z)[0]
def score(f, mu, sigma, eps):
    return f(mu + sigma * eps) * eps * sigma
"""
            + _SEEN,
        ),
        "variance for deviation": (
            1,
            """
def pathwise(f, mu, sigma, eps):
    z = (mu + sigma**2 * eps).requires_grad_()
    return torch.autograd.grad((f(z) + 0 * z).sum(), z)[0]
def score(f, mu, sigma, eps):
    return f(mu + sigma**2 * eps) * eps / sigma**2
"""
            + _SEEN,
        ),
        "z moves in the score": (
            0,
            """
def pathwise(f, mu, sigma, eps):
    z = (mu + sigma * eps).requires_grad_()
    return torch.autograd.grad((f(z) + 0 * z).sum(), z)[0]
def score(f, mu, sigma, eps):
    mu = torch.full_like(eps, mu).requires_grad_()
    z = mu + sigma * eps
    log_density = -0.5 * ((z - mu) / sigma).square()
    return torch.autograd.grad((f(z) * log_density).sum() + 0 * mu.sum(), mu)[0]
"""
            + 'less_noise_for_a_square = "score"\nright_for_a_step = "score"\n',
        ),
        "a step is an error": (
            3,
            """
def pathwise(f, mu, sigma, eps):
    z = (mu + sigma * eps).requires_grad_()
    return torch.autograd.grad(f(z).sum(), z)[0]
def score(f, mu, sigma, eps):
    return f(mu + sigma * eps) * eps / sigma
"""
            + _SEEN,
        ),
        "the graph is kept": (
            3,
            """
def pathwise(f, mu, sigma, eps):
    z = (mu + sigma * eps).requires_grad_()
    return torch.autograd.grad((f(z) + 0 * z).sum(), z, create_graph=True)[0]
def score(f, mu, sigma, eps):
    return f(mu + sigma * eps) * eps / sigma
"""
            + _SEEN,
        ),
        "a wide difference quotient": (
            2,
            """
def pathwise(f, mu, sigma, eps):
    z = mu + sigma * eps
    return (f(z + 0.05) - f(z - 0.05)) / 0.1
def score(f, mu, sigma, eps):
    return f(mu + sigma * eps) * eps / sigma
"""
            + _SEEN,
        ),
        "the step the other way round": (
            3,
            _GRADIENTS
            + 'less_noise_for_a_square = "pathwise"\nright_for_a_step = "pathwise"\n',
        ),
        "the noise the other way round": (
            3,
            _GRADIENTS
            + 'less_noise_for_a_square = "score"\nright_for_a_step = "score"\n',
        ),
        "capital letters": (
            3,
            _GRADIENTS
            + 'less_noise_for_a_square = "Pathwise"\nright_for_a_step = "Score"\n',
        ),
    },
    "q3": {
        "mean over the values": (
            3,
            """
def log_likelihood(x, reconstruction, log_sigma):
    sigma = log_sigma.exp()[:, None, None]
    terms = -0.5 * ((x - reconstruction) / sigma).square() - sigma.log()
    return (terms - 0.5 * math.log(2 * math.pi)).flatten(1).mean(dim=1)
"""
            + _SIGMA
            + _BITS,
        ),
        "constant forgotten": (
            2,
            """
def log_likelihood(x, reconstruction, log_sigma):
    sigma = log_sigma.exp()[:, None, None]
    terms = -0.5 * ((x - reconstruction) / sigma).square()
    return terms.flatten(1).sum(dim=1)
"""
            + _SIGMA
            + _BITS,
        ),
        "two pi forgotten": (
            3,
            """
def log_likelihood(x, reconstruction, log_sigma):
    sigma = log_sigma.exp()[:, None, None]
    terms = -0.5 * ((x - reconstruction) / sigma).square() - sigma.log()
    return terms.flatten(1).sum(dim=1)
"""
            + _SIGMA
            + _BITS,
        ),
        "sign of the constant": (
            2,
            """
def log_likelihood(x, reconstruction, log_sigma):
    sigma = log_sigma.exp()[:, None, None]
    terms = -0.5 * ((x - reconstruction) / sigma).square() + sigma.log()
    return (terms + 0.5 * math.log(2 * math.pi)).flatten(1).sum(dim=1)
"""
            + _SIGMA
            + _BITS,
        ),
        "log sigma taken for the log of the variance": (
            2,
            """
def log_likelihood(x, reconstruction, log_sigma):
    log_sigma = log_sigma[:, None, None]
    terms = -0.5 * (x - reconstruction).square() / log_sigma.exp() - 0.5 * log_sigma
    return (terms - 0.5 * math.log(2 * math.pi)).flatten(1).sum(dim=1)
"""
            + _SIGMA
            + _BITS,
        ),
        "log sigma once a channel": (
            2,
            """
def log_likelihood(x, reconstruction, log_sigma):
    sigma = log_sigma.exp()[:, None, None]
    errors = 0.5 * ((x - reconstruction) / sigma).square().flatten(1)
    constant = 0.5 * errors.shape[1] * math.log(2 * math.pi)
    return -errors.sum(dim=1) - log_sigma.sum() - constant
"""
            + _SIGMA
            + _BITS,
        ),
        "channels along the width": (
            2,
            """
def log_likelihood(x, reconstruction, log_sigma):
    sigma = log_sigma.exp()
    terms = -0.5 * ((x - reconstruction) / sigma).square() - sigma.log()
    return (terms - 0.5 * math.log(2 * math.pi)).flatten(1).sum(dim=1)
"""
            + _SIGMA
            + _BITS,
        ),
        "one sigma for all channels": (
            2,
            """
def log_likelihood(x, reconstruction, log_sigma):
    sigma = log_sigma.exp().mean()
    terms = -0.5 * ((x - reconstruction) / sigma).square() - sigma.log()
    return (terms - 0.5 * math.log(2 * math.pi)).flatten(1).sum(dim=1)
"""
            + _SIGMA
            + _BITS,
        ),
        "no gradient for sigma": (
            5,
            """
def log_likelihood(x, reconstruction, log_sigma):
    sigma = log_sigma.detach().exp()[:, None, None]
    terms = -0.5 * ((x - reconstruction) / sigma).square() - sigma.log()
    return (terms - 0.5 * math.log(2 * math.pi)).flatten(1).sum(dim=1)
"""
            + _SIGMA
            + _BITS,
        ),
        "weight of the KL ignored": (
            5,
            _LIKELIHOOD
            + """
def implied_sigma(values, weight):
    return math.sqrt(values / 2)
"""
            + _BITS,
        ),
        "divided by the weight": (
            5,
            _LIKELIHOOD
            + """
def implied_sigma(values, weight):
    return math.sqrt(values / (2 * weight))
"""
            + _BITS,
        ),
        "the variance for sigma": (
            5,
            _LIKELIHOOD
            + """
def implied_sigma(values, weight):
    return weight * values / 2
"""
            + _BITS,
        ),
        "bits of a density": (
            4,
            _LIKELIHOOD
            + _SIGMA
            + """
def bits_per_value(log_density, values):
    return -log_density / values / math.log(2)
""",
        ),
        "bins of 2/256": (
            4,
            _LIKELIHOOD
            + _SIGMA
            + """
def bits_per_value(log_density, values):
    return -(log_density / values + math.log(2 / 256)) / math.log(2)
""",
        ),
        "nats a value": (
            4,
            _LIKELIHOOD
            + _SIGMA
            + """
def bits_per_value(log_density, values):
    return -(log_density / values + math.log(2 / 255))
""",
        ),
    },
    "q4": {
        "averages": (
            0,
            """
def fuse(mus, logvars, present):
    return mus.mean(0), logvars.mean(0)
""",
        ),
        "the chapter's product with the prior": (
            0,
            """
def fuse(mus, logvars, present):
    zero = torch.zeros_like(mus[:1])
    precisions = torch.exp(-torch.cat([zero, logvars]))
    total = precisions.sum(dim=0)
    weighed = (precisions * torch.cat([zero, mus])).sum(dim=0)
    return weighed / total, -total.log()
""",
        ),
        "the prior once more": (
            1,
            """
def fuse(mus, logvars, present):
    there = present[:, :, None]
    precisions = torch.where(there, torch.exp(-logvars), 0.0)
    precision = 1 + precisions.sum(0)
    weighed = torch.where(there, torch.exp(-logvars) * mus, 0.0).sum(0)
    return weighed / precision, -precision.log()
""",
        ),
        "the prior as often as there are posteriors": (
            0,
            """
def fuse(mus, logvars, present):
    precisions = torch.where(present[:, :, None], torch.exp(-logvars), 0.0)
    precision = precisions.sum(0)
    weighed = torch.where(present[:, :, None], torch.exp(-logvars) * mus, 0.0).sum(0)
    return weighed / precision, -precision.log()
""",
        ),
        "zero times nan": (
            2,
            """
def fuse(mus, logvars, present):
    there = present[:, :, None].to(mus.dtype)
    precisions = torch.exp(-logvars) * there
    precision = 1 + (precisions - there).sum(0)
    if not (precision > 0).all():
        raise ValueError("too wide")
    return (precisions * mus).sum(0) / precision, -precision.log()
""",
        ),
        "the prior divided out for absent ones, too": (
            1,
            """
def fuse(mus, logvars, present):
    there = present[:, :, None]
    precisions = torch.where(there, torch.exp(-logvars), 0.0)
    precision = precisions.sum(0) - (len(mus) - 1)
    if not (precision > 0).all():
        raise ValueError("too wide")
    weighed = torch.where(there, torch.exp(-logvars) * mus, 0.0).sum(0)
    return weighed / precision, -precision.log()
""",
        ),
        "a precision that is held positive": (
            4,
            """
def fuse(mus, logvars, present):
    there = present[:, :, None]
    precisions = torch.where(there, torch.exp(-logvars) - 1, 0.0)
    precision = (1 + precisions.sum(0)).clamp(min=1e-6)
    weighed = torch.where(there, torch.exp(-logvars) * mus, 0.0).sum(0)
    return weighed / precision, -precision.log()
""",
        ),
        "every wide posterior refused": (
            4,
            """
def fuse(mus, logvars, present):
    there = present[:, :, None]
    if (logvars[present] > 0).any():
        raise ValueError("too wide")
    precisions = torch.where(there, torch.exp(-logvars) - 1, 0.0)
    precision = 1 + precisions.sum(0)
    weighed = torch.where(there, torch.exp(-logvars) * mus, 0.0).sum(0)
    return weighed / precision, -precision.log()
""",
        ),
        "the means weighed by what is beyond the prior": (
            1,
            """
def fuse(mus, logvars, present):
    there = present[:, :, None]
    added = torch.where(there, torch.exp(-logvars) - 1, 0.0)
    precision = 1 + added.sum(0)
    if not (precision > 0).all():
        raise ValueError("too wide")
    mean = torch.where(there, (torch.exp(-logvars) - 1) * mus, 0.0).sum(0)
    return mean / precision, -precision.log()
""",
        ),
        "variance not divided": (
            1,
            """
def fuse(mus, logvars, present):
    there = present[:, :, None]
    precisions = torch.where(there, torch.exp(-logvars) - 1, 0.0)
    precision = 1 + precisions.sum(0)
    if not (precision > 0).all():
        raise ValueError("too wide")
    weighed = torch.where(there, torch.exp(-logvars) * mus, 0.0).sum(0)
    return weighed / precision, precision.log()
""",
        ),
    },
    "q5": {
        "mean of the logarithms": (
            3,
            """
def iwae(log_weights):
    return log_weights.mean(0)
"""
            + _SAMPLES,
        ),
        "log k forgotten": (
            2,
            """
def iwae(log_weights):
    return torch.logsumexp(log_weights, dim=0)
"""
            + _SAMPLES,
        ),
        "exponentials that underflow": (
            3,
            """
def iwae(log_weights):
    return log_weights.exp().mean(0).log()
def effective_samples(log_weights):
    w = log_weights.exp()
    return w.sum(0).square() / w.square().sum(0)
""",
        ),
        "only the bound is stable": (
            3,
            _IWAE
            + """
def effective_samples(log_weights):
    w = log_weights.exp()
    return w.sum(0).square() / w.square().sum(0)
""",
        ),
        "a constant taken off": (
            3,
            """
def iwae(log_weights):
    w = (log_weights + 3000).exp()
    return w.mean(0).log() - 3000 if log_weights.mean() < -500 else (
        log_weights.exp().mean(0).log()
    )
"""
            + _SAMPLES,
        ),
        "over the wrong axis": (
            2,
            """
def iwae(log_weights):
    return torch.logsumexp(log_weights, dim=1) - math.log(log_weights.shape[1])
"""
            + _SAMPLES,
        ),
        "largest weight only": (
            3,
            """
def iwae(log_weights):
    return log_weights.max(0).values
"""
            + _SAMPLES,
        ),
        "exponential of the entropy": (
            3,
            _IWAE
            + """
def effective_samples(log_weights):
    return torch.special.entr(torch.softmax(log_weights, dim=0)).sum(0).exp()
""",
        ),
        "sum of squares without its inverse": (
            2,
            _IWAE
            + """
def effective_samples(log_weights):
    return torch.softmax(log_weights, dim=0).square().sum(dim=0)
""",
        ),
        "a share of the samples": (
            2,
            _IWAE
            + """
def effective_samples(log_weights):
    k = len(log_weights)
    return 1 / torch.softmax(log_weights, dim=0).square().sum(dim=0) / k
""",
        ),
        "one number for the whole batch": (
            2,
            _IWAE
            + """
def effective_samples(log_weights):
    return 1 / torch.softmax(log_weights.flatten(), dim=0).square().sum()
""",
        ),
    },
}
