"""Wrong answers to the attention assignment: question -> name -> (points, answer)."""

MISTAKES: dict[str, dict[str, tuple[float, str]]] = {
    "q1": {
        "softmax over the queries": (
            0,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(~mask[:, None, :], -math.inf)
    return torch.softmax(scores, dim=1)
""",
        ),
        "mask inverted": (
            0,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(mask[:, None, :], -math.inf)
    return torch.softmax(scores, dim=-1)
""",
        ),
        "scale forgotten": (
            4,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2)
    real = mask[:, None, :]
    scores = scores.masked_fill(~real & real.any(-1, keepdim=True), -math.inf)
    return torch.softmax(scores, dim=-1) * real
""",
        ),
        "padding shared out where nothing is real": (
            4,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(~mask[:, None, :], -1e9)
    return torch.softmax(scores, dim=-1)
""",
        ),
        "exponentials without the maximum taken off": (
            5,
            """
def attention_weights(query, key, mask):
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    e = scores.exp() * mask[:, None, :]
    return e / e.sum(-1, keepdim=True).clamp_min(1e-30)
""",
        ),
    },
    "q2": {
        "tanh forgotten": (
            0,
            """
def additive_scores(query, key, W_q, W_k, w):
    return ((query @ W_q.T)[:, :, None] + (key @ W_k.T)[:, None]) @ w
""",
        ),
        "tanh around the sum over A": (
            2,  # bounded it is, and for A = 1 right
            """
def additive_scores(query, key, W_q, W_k, w):
    return torch.tanh(((query @ W_q.T)[:, :, None] + (key @ W_k.T)[:, None]) @ w)
""",
        ),
        "a tanh of each projection": (
            1,  # bounded it is
            """
def additive_scores(query, key, W_q, W_k, w):
    q, k = torch.tanh(query @ W_q.T), torch.tanh(key @ W_k.T)
    return (q[:, :, None] + k[:, None]) @ w / 2
""",
        ),
        "scores transposed": (
            1,
            """
def additive_scores(query, key, W_q, W_k, w):
    return torch.tanh((query @ W_q.T)[:, None] + (key @ W_k.T)[:, :, None]) @ w
""",
        ),
        "weights of one kind of word only": (
            2,
            """
def additive_scores(query, key, W_q, W_k, w):
    hidden = torch.tanh((query @ W_q.T)[:, :, None] + (key @ W_k.T)[:1, None])
    return hidden @ w
""",
        ),
    },
    "q3": {
        "left as it was": (
            0,
            """
def words_to_pixels(pixels, words, mask):
    return words_to_pixels_with_bug(pixels, words, mask)
""",
        ),
        "no mask at all": (
            0,
            """
def words_to_pixels(pixels, words, mask):
    return torch.softmax(pixels @ words.transpose(1, 2), dim=-1) @ words
""",
        ),
        "the first caption's mask for all": (
            0,
            """
def words_to_pixels(pixels, words, mask):
    scores = (pixels @ words.transpose(1, 2)).masked_fill(~mask[:1, None], -math.inf)
    return torch.softmax(scores, dim=-1) @ words
""",
        ),
        "padding zeroed after the softmax": (
            1,
            """
def words_to_pixels(pixels, words, mask):
    words = words * mask[..., None]
    weights = torch.softmax(pixels @ words.transpose(1, 2), dim=-1)
    return (weights * mask[:, None]) @ words
""",
        ),
        "only words that all captions have": (
            1,
            """
def words_to_pixels(pixels, words, mask):
    common = mask.all(dim=0)[None, None]
    scores = (pixels @ words.transpose(1, 2)).masked_fill(~common, -math.inf)
    return torch.softmax(scores, dim=-1) @ words
""",
        ),
    },
    "q4": {
        "mean instead of maximum": (
            1,
            """
def batch_mate_effect(attend, pixels, words, mask):
    alone = [attend(p[None], w[None], m[None]) for p, w, m in zip(pixels, words, mask)]
    return (attend(pixels, words, mask) - torch.cat(alone)).abs().mean().item()
""",
        ),
        "absolute value forgotten": (
            1,
            """
def batch_mate_effect(attend, pixels, words, mask):
    alone = [attend(p[None], w[None], m[None]) for p, w, m in zip(pixels, words, mask)]
    return (attend(pixels, words, mask) - torch.cat(alone)).max().item()
""",
        ),
        "the second sample only": (
            1,
            """
def batch_mate_effect(attend, pixels, words, mask):
    alone = attend(pixels[1:2], words[1:2], mask[1:2])
    return (attend(pixels, words, mask)[1] - alone[0]).abs().max().item()
""",
        ),
        "a tensor returned": (
            2,
            """
def batch_mate_effect(attend, pixels, words, mask):
    alone = [attend(p[None], w[None], m[None]) for p, w, m in zip(pixels, words, mask)]
    return (attend(pixels, words, mask) - torch.cat(alone)).abs().max()
""",
        ),
        "the batch compared with itself": (
            0,
            """
def batch_mate_effect(attend, pixels, words, mask):
    again = attend(pixels.clone(), words.clone(), mask.clone())
    return (attend(pixels, words, mask) - again).abs().max().item()
""",
        ),
    },
    "q5": {
        "nan at zero weights": (
            1,
            """
def effective_words(weights):
    return (-(weights * weights.log()).sum(-1)).exp()
n_falls_with_D_without_the_scale = False
n_hardly_depends_on_D_with_the_scale = True
gradients_are_largest_at_D_256_without_the_scale = False
""",
        ),
        "entropy in bits": (
            1,
            """
def effective_words(weights):
    return (-torch.special.xlogy(weights, weights).sum(-1) / math.log(2)).exp()
n_falls_with_D_without_the_scale = True
n_hardly_depends_on_D_with_the_scale = True
gradients_are_largest_at_D_256_without_the_scale = False
""",
        ),
        "exponential forgotten": (
            0,
            """
def effective_words(weights):
    return -torch.special.xlogy(weights, weights).sum(-1)
n_falls_with_D_without_the_scale = True
n_hardly_depends_on_D_with_the_scale = True
gradients_are_largest_at_D_256_without_the_scale = True
""",
        ),
        "one over the sum of squares": (
            1,
            """
def effective_words(weights):
    return 1 / weights.square().sum(-1)
n_falls_with_D_without_the_scale = "yes"
n_hardly_depends_on_D_with_the_scale = True
gradients_are_largest_at_D_256_without_the_scale = False
""",
        ),
        "number of words counted": (
            2,
            """
def effective_words(weights):
    return (weights > 0).sum(-1).float()
n_falls_with_D_without_the_scale = True
n_hardly_depends_on_D_with_the_scale = True
gradients_are_largest_at_D_256_without_the_scale = False
""",
        ),
    },
}
