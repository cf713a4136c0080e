"""Wrong answers to the VAE assignment: question -> name -> (points, answer, hint)."""

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

MISTAKES: dict[str, dict[str, tuple[float, str, str]]] = {
    "q1": {
        "the chapter's standard normal prior": (
            2,
            """
def gaussian_kl(mu, logvar, prior_mu, prior_logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(dim=1)
"""
            + _PRICES,
            r"this is the KL to N\(0, 1\)",
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
            "this is the mean over the dimensions, not the sum",
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
            "logvar and prior_logvar are logarithms of variances, and a",
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
            "this is twice the KL",
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
            "one number a sample",
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
            "this is the KL of the prior to the posterior",
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
            "the distance of the means is not measured in units of the",
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
            "the prior can be one for all samples",
        ),
        "ten times the variance": (
            4,
            _KL
            + "too_sure = 0.70\ntoo_unsure = 3.35\nequal_widths_are_symmetric = True\n",
            "Being too unsure costs more than 20 times as much",
        ),
        "never symmetric": (
            4,
            _KL
            + "too_sure = 1.81\ntoo_unsure = 47.2\n"
            + "equal_widths_are_symmetric = False\n",
            "once with equal variances and once without",
        ),
        "answers as text": (
            3,
            _KL + 'too_sure = "1.81"\ntoo_unsure = "47.2"\n'
            'equal_widths_are_symmetric = "True"\n',
            "must be a number without quotes; got '1.81', of type str",
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
            "must return one estimate a noise",
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
            "this is the derivative by the noise, not by mu",
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
            "the noise is multiplied by sigma, not divided",
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
            r"the sample is mu \+ sigma squared \* eps here",
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
            "z must be held fixed in the density, too",
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
            "every pathwise estimate is 0 and none is an error",
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
            "The results have no graph",
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
            "a difference quotient is too coarse",
        ),
        "the step the other way round": (
            3,
            _GRADIENTS
            + 'less_noise_for_a_square = "pathwise"\nright_for_a_step = "pathwise"\n',
            "A step is flat, but the share of samples beyond it",
        ),
        "the noise the other way round": (
            3,
            _GRADIENTS
            + 'less_noise_for_a_square = "score"\nright_for_a_step = "score"\n',
            "Print means and standard deviations of both",
        ),
        "capital letters": (
            3,
            _GRADIENTS
            + 'less_noise_for_a_square = "Pathwise"\nright_for_a_step = "Score"\n',
            "in small letters; got 'Pathwise'",
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
            "this is the mean over the values, not the sum",
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
            "both constants are missing",
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
            "the constant with 2 pi is missing",
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
            "the sign of the constants is wrong",
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
            r"log sigma is counted half: log\(sigma squared\) is 2 log",
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
            "log sigma is counted once a channel, not once a value",
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
            "log_sigma belongs to the channels, the second axis of a",
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
            "sigma of the channel",
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
            "gradients must reach log_sigma",
        ),
        "weight of the KL ignored": (
            5,
            _LIKELIHOOD
            + """
def implied_sigma(values, weight):
    return math.sqrt(values / 2)
"""
            + _BITS,
            "Divide the loss by weight",
        ),
        "divided by the weight": (
            5,
            _LIKELIHOOD
            + """
def implied_sigma(values, weight):
    return math.sqrt(values / (2 * weight))
"""
            + _BITS,
            "Divide the loss by weight",
        ),
        "the variance for sigma": (
            5,
            _LIKELIHOOD
            + """
def implied_sigma(values, weight):
    return weight * values / 2
"""
            + _BITS,
            "2 sigma squared",
        ),
        "bits of a density": (
            4,
            _LIKELIHOOD
            + _SIGMA
            + """
def bits_per_value(log_density, values):
    return -log_density / values / math.log(2)
""",
            "the width of a bin is missing",
        ),
        "bins of 2/256": (
            4,
            _LIKELIHOOD
            + _SIGMA
            + """
def bits_per_value(log_density, values):
    return -(log_density / values + math.log(2 / 256)) / math.log(2)
""",
            "a bin is 2/255 wide, because 256 numbers lie 255 steps apart",
        ),
        "nats a value": (
            4,
            _LIKELIHOOD
            + _SIGMA
            + """
def bits_per_value(log_density, values):
    return -(log_density / values + math.log(2 / 255))
""",
            "these are nats",
        ),
    },
    "q4": {
        "averages": (
            0,
            """
def fuse(mus, logvars, present):
    return mus.mean(0), logvars.mean(0)
""",
            "make the precision 1",
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
            "here the prior is counted a second time",
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
            "here the prior is counted a second time",
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
            "the prior, which both posteriors hold, is counted twice",
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
            r"0 \* nan is nan",
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
            "what is absent has nothing to divide out",
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
            "has no Gaussian, so raise ValueError",
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
            "a wide one is allowed as long as the sum is positive",
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
            "the mean is weighed by what the posterior has beyond the",
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
            "this is a precision, not a variance",
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
            "The mean of the logarithms is the ELBO",
        ),
        "log k forgotten": (
            2,
            """
def iwae(log_weights):
    return torch.logsumexp(log_weights, dim=0)
"""
            + _SAMPLES,
            "for 5 equal weights with the logarithms",
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
            "must not overflow or underflow",
        ),
        "only the bound is stable": (
            3,
            _IWAE
            + """
def effective_samples(log_weights):
    w = log_weights.exp()
    return w.sum(0).square() / w.square().sum(0)
""",
            "must not overflow or underflow",
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
            "plus or minus three thousand",
        ),
        "over the wrong axis": (
            2,
            """
def iwae(log_weights):
    return torch.logsumexp(log_weights, dim=1) - math.log(log_weights.shape[1])
"""
            + _SAMPLES,
            "iwae must return one number a picture",
        ),
        "largest weight only": (
            3,
            """
def iwae(log_weights):
    return log_weights.max(0).values
"""
            + _SAMPLES,
            "Compare iwae with the plain formula",
        ),
        "exponential of the entropy": (
            3,
            _IWAE
            + """
def effective_samples(log_weights):
    return torch.special.entr(torch.softmax(log_weights, dim=0)).sum(0).exp()
""",
            "the square of a sum over a sum of squares",
        ),
        "sum of squares without its inverse": (
            2,
            _IWAE
            + """
def effective_samples(log_weights):
    return torch.softmax(log_weights, dim=0).square().sum(dim=0)
""",
            r"effective_samples must be \[5.0, 5.0\]; yours is \[0.2",
        ),
        "a share of the samples": (
            2,
            _IWAE
            + """
def effective_samples(log_weights):
    k = len(log_weights)
    return 1 / torch.softmax(log_weights, dim=0).square().sum(dim=0) / k
""",
            r"effective_samples must be \[5.0, 5.0\]; yours is \[1.0",
        ),
        "one number for the whole batch": (
            2,
            _IWAE
            + """
def effective_samples(log_weights):
    return 1 / torch.softmax(log_weights.flatten(), dim=0).square().sum()
""",
            "effective_samples must return one number a picture",
        ),
    },
}

# The functions as the chapters print them, fitted to the names and shapes asked for.
COPIED: dict[str, str] = {
    "q1": """
def gaussian_kl(mu, logvar, prior_mu, prior_logvar):
    return (0.5 * (mu**2 + logvar.exp() - 1 - logvar)).sum(dim=1)
""",
    "q2": """
def pathwise(f, mu, sigma, eps):
    mu = torch.tensor(mu, requires_grad=True)
    f(mu + sigma * eps).mean().backward()
    return mu.grad
""",
    "q3": """
def log_likelihood(x, mean, log_sigma):
    scaled = (x - mean) / log_sigma.exp()[:, None, None]
    squared = scaled.square().flatten(1).sum(dim=1)
    D = x[0].numel()
    return -squared / 2 - D * (log_sigma.mean() + 0.5 * math.log(2 * math.pi))
def implied_sigma(values, weight):
    return math.sqrt(values / 2)
""",
    "q4": MISTAKES["q4"]["the chapter's product with the prior"][1],
}
