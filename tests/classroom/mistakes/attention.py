"""Wrong answers on attention: question -> name -> (points, answer, hint).

The lines of the chapter, copied, are among them.
"""

MISTAKES: dict[str, dict[str, tuple[float, str, str]]] = {
    "q1": {
        "softmax over the queries": (
            0,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(~mask[:, None, :], -math.inf)
    return torch.softmax(scores, dim=1)
""",
            "over which axis is your softmax",
        ),
        "mask inverted": (
            0,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(mask[:, None, :], -math.inf)
    return torch.softmax(scores, dim=-1)
""",
            "is the mask the right way round",
        ),
        "mask inverted, with a finite number": (
            0,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(mask[:, None, :], -1e9)
    return torch.softmax(scores, dim=-1)
""",
            "your mask is inverted",
        ),
        "scale forgotten": (
            2,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2)
    real = mask[:, None, :]
    scores = scores.masked_fill(~real & real.any(-1, keepdim=True), -math.inf)
    return torch.softmax(scores, dim=-1) * real
""",
            "0.88080 without the scale",
        ),
        "divided by D": (
            2,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / query.shape[-1]
    real = mask[:, None, :]
    scores = scores.masked_fill(~real & real.any(-1, keepdim=True), -math.inf)
    return torch.softmax(scores, dim=-1) * real
""",
            "0.62246 divided by D",
        ),
        "cleared after the softmax": (
            1,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    return torch.softmax(scores, dim=-1) * mask[:, None, :]
""",
            "left out of the softmax, not only cleared after it",
        ),
        "the chapter's lines": (
            3,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(~mask[:, None, :], -math.inf)
    return torch.softmax(scores, dim=-1)
""",
            "nothing but minus infinity is nan",
        ),
        "padding shared out where nothing is real": (
            3,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(~mask[:, None, :], -1e9)
    return torch.softmax(scores, dim=-1)
""",
            "shares the weight out among padding",
        ),
        "a mask of minus ten thousand": (
            2,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    weights = torch.softmax(scores - 1e4 * ~mask[:, None, :], dim=-1)
    return weights
""",
            "a mask of -10000 is too small",
        ),
        "nan replaced after the sum": (
            3,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    minus = torch.zeros(mask.shape).masked_fill(~mask, -math.inf)
    return torch.softmax(scores + minus[:, None], dim=-1).nan_to_num()
""",
            "can come back in the gradient",
        ),
        "exponentials without the maximum taken off": (
            3,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    e = scores.exp() * mask[:, None, :]
    return e / e.sum(-1, keepdim=True).clamp_min(1e-30)
""",
            r"exp\(10000\) is infinite",
        ),
        "the lengths in place of the mask": (
            3,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    real = (torch.arange(mask.shape[1]) < mask.sum(1, keepdim=True))[:, None]
    scores = scores.masked_fill(~real & real.any(-1, keepdim=True), -math.inf)
    return torch.softmax(scores, dim=-1) * real
""",
            "padding can stand anywhere",
        ),
    },
    "q2": {
        "the term i = j only": (
            1,
            """
def scores_gradient(weights, upstream):
    return weights * upstream
""",
            "what of the alpha_j that is subtracted",
        ),
        "the diagonal only": (
            1,
            """
def scores_gradient(weights, upstream):
    return weights * (1 - weights) * upstream
""",
            "the diagonal of the derivative only",
        ),
        "a plain mean": (
            1,
            """
def scores_gradient(weights, upstream):
    return weights * (upstream - upstream.mean(-1, keepdim=True))
""",
            "weighted by alpha",
        ),
        "the sign reversed": (
            1,
            """
def scores_gradient(weights, upstream):
    return weights * ((weights * upstream).sum(-1, keepdim=True) - upstream)
""",
            "the sign is reversed",
        ),
        "one sum for all rows": (
            3,
            """
def scores_gradient(weights, upstream):
    return weights * (upstream - (weights * upstream).sum())
""",
            "Each row is by itself",
        ),
        "the first axis": (
            3,
            """
def scores_gradient(weights, upstream):
    return weights * (upstream - (weights * upstream).sum(0, keepdim=True))
""",
            "sum over the last axis only",
        ),
        "a matrix of keys by keys": (
            3,
            """
def scores_gradient(weights, upstream):
    jacobian = torch.diag_embed(weights) - weights[..., :, None] * weights[..., None, :]
    return (jacobian @ upstream[..., None])[..., 0]
""",
            "Simplify until no matrix",
        ),
        "divided by the weights": (
            3,
            """
def scores_gradient(weights, upstream):
    product = weights * upstream
    ratio = product / weights - product.sum(-1, keepdim=True)
    return ratio * weights
""",
            "must get 0, not nan",
        ),
        "a constant is said to matter": (
            3,
            """
a_constant_in_upstream_matters = True
a_row_that_is_decided_learns_nothing = True
a_useful_key_can_be_pushed_away = True
""",
            "Add a constant to all g",
        ),
        "a useful key is always pulled": (
            3,
            """
a_constant_in_upstream_matters = False
a_row_that_is_decided_learns_nothing = True
a_useful_key_can_be_pushed_away = False
""",
            "let the others be even better than a good one",
        ),
        "yes and no": (
            3,
            """
a_constant_in_upstream_matters = "no"
a_row_that_is_decided_learns_nothing = "yes"
a_useful_key_can_be_pushed_away = "yes"
""",
            "one of yours is a str",
        ),
    },
    "q3": {
        "left as it was": (
            0,
            """
def last_places(query, key, value):
    return last_places_with_bug(query, key, value)
""",
            "the mask begins in the upper left corner",
        ),
        "PyTorch's is_causal": (
            0,
            """
def last_places(query, key, value):
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(query, key, value, is_causal=True)
""",
            "uses key 0 only",
        ),
        "no mask at all": (
            0,
            """
def last_places(query, key, value):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[2])
    return scores.softmax(dim=2) @ value
""",
            "for L = S the function was right",
        ),
        "no mask where L is less than S": (
            1,
            """
def last_places(query, key, value):
    if query.shape[1] == key.shape[1]:
        return last_places_with_bug(query, key, value)
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[2])
    return scores.softmax(dim=2) @ value
""",
            "not for L = 1 and L = S only",
        ),
        "one place too many": (
            0,
            """
def last_places(query, key, value):
    L, S = query.shape[1], key.shape[1]
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[2])
    used = torch.ones(L, S, dtype=torch.bool).tril(diagonal=S - L + 1)
    return scores.masked_fill(~used, -math.inf).softmax(dim=2) @ value
""",
            "an error of one place",
        ),
        "one place too few": (
            0,
            """
def last_places(query, key, value):
    L, S = query.shape[1], key.shape[1]
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[2])
    used = torch.ones(L, S, dtype=torch.bool).tril(diagonal=S - L - 1)
    return scores.masked_fill(~used, -math.inf).softmax(dim=2) @ value
""",
            "an error of one place",
        ),
        "only the last L keys": (
            0,
            """
def last_places(query, key, value):
    L = query.shape[1]
    return last_places_with_bug(query, key[:, -L:], value[:, -L:])
""",
            "must use all 4 keys",
        ),
        "cleared after the softmax": (
            1,
            """
def last_places(query, key, value):
    L, S = query.shape[1], key.shape[1]
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[2])
    used = torch.ones(L, S, dtype=torch.bool).tril(diagonal=S - L)
    return (scores.softmax(dim=2) * used) @ value
""",
            "for L = S the function was right",
        ),
        "the scale lost": (
            1,
            """
def last_places(query, key, value):
    L, S = query.shape[1], key.shape[1]
    used = torch.ones(L, S, dtype=torch.bool).tril(diagonal=S - L)
    scores = (query @ key.transpose(1, 2)).masked_fill(~used, -math.inf)
    return scores.softmax(dim=2) @ value
""",
            "for L = S the function was right",
        ),
    },
    "q4": {
        "values only": (
            3,
            """
def reach(attend, query, key, value):
    before, columns = attend(query, key, value), []
    for j in range(key.shape[1]):
        v = value.clone()
        v[:, j] = torch.randn(v[:, j].shape)
        change = (attend(query, key, v) - before).abs()
        columns.append(change.amax(dim=(0, 2)) > 1e-5)
    return torch.stack(columns, dim=1)
""",
            "through its key alone",
        ),
        "keys only": (
            0,
            """
def reach(attend, query, key, value):
    before, columns = attend(query, key, value), []
    for j in range(key.shape[1]):
        k = key.clone()
        k[:, j] = torch.randn(k[:, j].shape)
        change = (attend(query, k, value) - before).abs()
        columns.append(change.amax(dim=(0, 2)) > 1e-5)
    return torch.stack(columns, dim=1)
""",
            "through its value alone",
        ),
        "the first sample only": (
            3,
            """
def reach(attend, query, key, value):
    before, columns = attend(query, key, value)[0], []
    for j in range(key.shape[1]):
        k, v = key.clone(), value.clone()
        k[:, j] += 1
        v[:, j] += 1
        change = (attend(query, k, v)[0] - before).abs()
        columns.append(change.amax(dim=1) > 1e-5)
    return torch.stack(columns, dim=1)
""",
            "Any sample of the batch",
        ),
        "changes that cancel": (
            3,
            """
def reach(attend, query, key, value):
    before, columns = attend(query, key, value), []
    for j in range(key.shape[1]):
        k, v = key.clone(), value.clone()
        k[:, j] = torch.randn(k[:, j].shape)
        v[:, j] = torch.randn(v[:, j].shape)
        change = (attend(query, k, v) - before).sum(dim=(0, 2)).abs()
        columns.append(change > 1e-5)
    return torch.stack(columns, dim=1)
""",
            "do not add up changes that can cancel",
        ),
        "no absolute values": (
            3,
            """
def reach(attend, query, key, value):
    before, columns = attend(query, key, value), []
    for j in range(key.shape[1]):
        k, v = key.clone(), value.clone()
        k[:, j] += 1
        v[:, j] += 3
        change = attend(query, k, v) - before
        columns.append(change.amax(dim=(0, 2)) > 1e-5)
    return torch.stack(columns, dim=1)
""",
            "Take absolute values",
        ),
        "transposed": (
            0,
            """
def reach(attend, query, key, value):
    before, rows = attend(query, key, value), []
    for j in range(key.shape[1]):
        k, v = key.clone(), value.clone()
        k[:, j] = torch.randn(k[:, j].shape)
        v[:, j] = torch.randn(v[:, j].shape)
        change = (attend(query, k, v) - before).abs()
        rows.append(change.amax(dim=(0, 2)) > 1e-5)
    return torch.stack(rows)
""",
            r"must be \(L, S\)",
        ),
        "never put back": (
            0,
            """
def reach(attend, query, key, value):
    before, columns = attend(query, key, value), []
    k, v = key.clone(), value.clone()
    for j in range(key.shape[1]):
        k[:, j] = torch.randn(k[:, j].shape)
        v[:, j] = torch.randn(v[:, j].shape)
        change = (attend(query, k, v) - before).abs()
        columns.append(change.amax(dim=(0, 2)) > 1e-5)
    return torch.stack(columns, dim=1)
""",
            "put back before the next one",
        ),
        "the inputs changed": (
            0,
            """
def reach(attend, query, key, value):
    before, columns = attend(query, key, value), []
    for j in range(key.shape[1]):
        key[:, j] += 1
        value[:, j] += 1
        change = (attend(query, key, value) - before).abs()
        columns.append(change.amax(dim=(0, 2)) > 1e-5)
        before = attend(query, key, value)
    return torch.stack(columns, dim=0)
""",
            "a fresh one for each place",
        ),
        "any difference": (
            3,
            """
def reach(attend, query, key, value):
    before, columns = attend(query, key, value), []
    for j in range(key.shape[1]):
        k, v = key.clone(), value.clone()
        k[:, j] = torch.randn(k[:, j].shape)
        v[:, j] = torch.randn(v[:, j].shape)
        columns.append((attend(query, k, v) != before).any(dim=2).any(dim=0))
    return torch.stack(columns, dim=1)
""",
            "is rounding and reaches nobody",
        ),
        "how much, not whether": (
            0,
            """
def reach(attend, query, key, value):
    before, columns = attend(query, key, value), []
    for j in range(key.shape[1]):
        k, v = key.clone(), value.clone()
        k[:, j] = torch.randn(k[:, j].shape)
        v[:, j] = torch.randn(v[:, j].shape)
        columns.append((attend(query, k, v) - before).abs().amax(dim=(0, 2)))
    return torch.stack(columns, dim=1)
""",
            "must be bool, not how much",
        ),
    },
    "q5": {
        "nan at zero weights": (
            3,
            """
def effective_words(weights):
    return (-(weights * weights.log()).sum(-1)).exp()
""",
            "the limit is 0",
        ),
        "entropy in bits": (
            2,
            """
def effective_words(weights):
    return (-torch.special.xlogy(weights, weights).sum(-1) / math.log(2)).exp()
""",
            "the entropy is in bits",
        ),
        "exponential forgotten": (
            2,
            """
def effective_words(weights):
    return -torch.special.xlogy(weights, weights).sum(-1)
""",
            "yours is the entropy",
        ),
        "one over the sum of squares": (
            3,
            """
def effective_words(weights):
    return 1 / weights.square().sum(-1)
""",
            "nor one over the sum of their squares",
        ),
        "number of words counted": (
            3,
            """
def effective_words(weights):
    return (weights > 0).sum(-1).float()
""",
            "Neither a count of weights",
        ),
        "the first axis": (
            2,
            """
def effective_words(weights):
    return (-torch.special.xlogy(weights, weights).sum(0)).exp()
""",
            "one number a row",
        ),
        "measured with the scale": (
            3,
            """
n_falls_with_D_without_the_scale = True
mean_n_at_D_64_without_the_scale = 10.7
the_median_gradient_at_D_256_is_larger_without_the_scale = False
""",
            "the scores are not divided by anything",
        ),
        "a mean in place of the median": (
            3,
            """
n_falls_with_D_without_the_scale = True
mean_n_at_D_64_without_the_scale = 1.6
the_median_gradient_at_D_256_is_larger_without_the_scale = True
""",
            "a row that is decided sends almost nothing back",
        ),
        "an entropy, below 1": (
            3,
            """
n_falls_with_D_without_the_scale = True
mean_n_at_D_64_without_the_scale = 0.4
the_median_gradient_at_D_256_is_larger_without_the_scale = False
""",
            "n lies between 1 and the number of keys",
        ),
        "the number left out": (
            3,
            """
n_falls_with_D_without_the_scale = True
mean_n_at_D_64_without_the_scale = ...
the_median_gradient_at_D_256_is_larger_without_the_scale = False
""",
            "the line with a number is not answered yet",
        ),
    },
}

# The functions as the chapter prints them, fitted to the names and shapes asked for.
COPIED: dict[str, str] = {
    "q1": MISTAKES["q1"]["the chapter's lines"][1],
    "q3": """
def last_places(query, key, value):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    mask = torch.ones(query.shape[1], key.shape[1], dtype=torch.bool).tril()
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1) @ value
""",
    "q4": """
def reach(attend, query, key, value):
    together = attend(query, key, value)
    parts = zip(query.split(1), key.split(1), value.split(1))
    alone = torch.cat([attend(*part) for part in parts])
    return ((together - alone).norm() / alone.norm()).item()
""",
    "q5": """
def effective_words(weights):
    return weights.amax(-1)
""",
}
