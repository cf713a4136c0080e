"""Wrong answers to the VAE assignment: question -> name -> (points, answer)."""

MISTAKES: dict[str, dict[str, tuple[float, str]]] = {
    "q1": {
        "mean where the sum is asked": (
            2,
            """
def gaussian_kl(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean(dim=1)
def attngan_kl(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean()
factor = 100
""",
        ),
        "logarithm of the variance taken for a variance": (
            0,
            """
def gaussian_kl(mu, logvar):
    return 0.5 * (mu.square() + logvar.square() - 1 - logvar.square().log()).sum(1)
def attngan_kl(mu, logvar):
    return 0.5 * (mu.square() + logvar.square() - 1 - logvar.square().log()).mean()
factor = 10
""",
        ),
        "one half forgotten": (
            1,
            """
def gaussian_kl(mu, logvar):
    return (mu.square() + logvar.exp() - 1 - logvar).sum(dim=1)
def attngan_kl(mu, logvar):
    return (mu.square() + logvar.exp() - 1 - logvar).mean()
factor = 100
""",
        ),
        "summed over the batch as well": (
            1,
            """
def gaussian_kl(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum()
def attngan_kl(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean()
factor = 10_000
""",
        ),
        "mean over the batch only": (
            4,
            """
def gaussian_kl(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(dim=1)
def attngan_kl(mu, logvar):
    return gaussian_kl(mu, logvar).mean()
factor = 100
""",
        ),
    },
    "q2": {
        "variance instead of standard deviation": (
            1,
            """
def reparameterise(mu, logvar, generator):
    return mu + logvar.exp() * torch.randn(mu.shape, generator=generator)
""",
        ),
        "one noise for the whole batch": (
            2,
            """
def reparameterise(mu, logvar, generator):
    return mu + (0.5 * logvar).exp() * torch.randn(mu.shape[-1], generator=generator)
""",
        ),
        "detach where it should not be": (
            3,
            """
def reparameterise(mu, logvar, generator):
    noise = torch.randn(mu.shape, generator=generator)
    return mu + ((0.5 * logvar).exp() * noise).detach()
""",
        ),
        "generator not used": (
            3,
            """
def reparameterise(mu, logvar, generator):
    return mu + (0.5 * logvar).exp() * torch.randn_like(mu)
""",
        ),
        "uniform noise": (
            2,
            """
def reparameterise(mu, logvar, generator):
    noise = torch.rand(mu.shape, generator=generator)
    return mu + (0.5 * logvar).exp() * noise
""",
        ),
    },
    "q3": {
        "mean over the pixels": (
            2,
            """
def elbo(x, reconstruction, mu, logvar, sigma):
    errors = (x - reconstruction).flatten(1).square().mean(1)
    constant = 0.5 * math.log(2 * math.pi * sigma**2)
    return -errors / (2 * sigma**2) - constant, gaussian_kl(mu, logvar)
the_implied_sigma_is_larger_than_1 = True
""",
        ),
        "constant forgotten": (
            1,
            """
def elbo(x, reconstruction, mu, logvar, sigma):
    errors = (x - reconstruction).flatten(1).square().sum(1)
    return -errors / (2 * sigma**2), gaussian_kl(mu, logvar)
the_implied_sigma_is_larger_than_1 = True
""",
        ),
        "sigma for sigma squared": (
            2,
            """
def elbo(x, reconstruction, mu, logvar, sigma):
    errors = (x - reconstruction).flatten(1).square()
    constant = 0.5 * errors.shape[1] * math.log(2 * math.pi * sigma)
    return -errors.sum(1) / (2 * sigma) - constant, gaussian_kl(mu, logvar)
the_implied_sigma_is_larger_than_1 = True
""",
        ),
        "sign of the constant": (
            0,
            """
def elbo(x, reconstruction, mu, logvar, sigma):
    errors = (x - reconstruction).flatten(1).square()
    constant = 0.5 * errors.shape[1] * math.log(2 * math.pi * sigma**2)
    return -errors.sum(1) / (2 * sigma**2) + constant, gaussian_kl(mu, logvar)
the_implied_sigma_is_larger_than_1 = False
""",
        ),
        "two pi forgotten": (
            2,
            """
def elbo(x, reconstruction, mu, logvar, sigma):
    errors = (x - reconstruction).flatten(1).square()
    constant = errors.shape[1] * math.log(sigma)
    return -errors.sum(1) / (2 * sigma**2) - constant, gaussian_kl(mu, logvar)
the_implied_sigma_is_larger_than_1 = True
""",
        ),
    },
    "q4": {
        "averages": (
            0,
            """
def product_of_experts(mus, logvars):
    return mus.mean(0), logvars.mean(0)
""",
        ),
        "prior forgotten": (
            1,
            """
def product_of_experts(mus, logvars):
    precisions = torch.exp(-logvars)
    precision = precisions.sum(0)
    return (precisions * mus).sum(0) / precision, -precision.log()
""",
        ),
        "variances added": (
            2,
            """
def product_of_experts(mus, logvars):
    variances = logvars.exp()
    variance = 1 + variances.sum(0)
    return (variances * mus).sum(0) / variance, -variance.log()
""",
        ),
        "weighed by standard deviations": (
            3,
            """
def product_of_experts(mus, logvars):
    roots = torch.exp(-0.5 * logvars)
    root = 1 + roots.sum(0)
    return (roots * mus).sum(0) / root, -root.log()
""",
        ),
        "variance not divided": (
            2,
            """
def product_of_experts(mus, logvars):
    precisions = torch.exp(-logvars)
    precision = 1 + precisions.sum(0)
    return (precisions * mus).sum(0) / precision, precision.log()
""",
        ),
    },
    "q5": {
        "mean of the logarithms": (
            2,
            """
def iwae(log_weights):
    return log_weights.mean(0)
""",
        ),
        "log k forgotten": (
            1,
            """
def iwae(log_weights):
    return torch.logsumexp(log_weights, dim=0)
""",
        ),
        "exponentials that underflow": (
            3,
            """
def iwae(log_weights):
    return log_weights.exp().mean(0).log()
""",
        ),
        "over the wrong axis": (
            1,
            """
def iwae(log_weights):
    return torch.logsumexp(log_weights, dim=1) - math.log(log_weights.shape[1])
""",
        ),
        "largest weight only": (
            2,
            """
def iwae(log_weights):
    return log_weights.max(0).values
""",
        ),
    },
}
