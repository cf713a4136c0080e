"""Wrong answers on alignment: question -> name -> (points, answer, hint)."""

_LOSS = """
def paired_loss(v, t, owner, scale):
    s = scale * {v} @ {t}.T
    own = owner == torch.arange(len(v))[:, None]
    others = s.masked_fill({out}, -torch.inf).logsumexp(dim=1, keepdim=True)
    costs = ({cost}).masked_fill(~own, 0)
    pictures = {pictures}
    real = {real}
    captions = F.cross_entropy(s[:, real].T, owner[real])
    return {result}
"""
_RIGHT_LOSS = {
    "v": "F.normalize(v, dim=1)",
    "t": "F.normalize(t, dim=1)",
    "out": "own",
    "cost": "torch.logaddexp(s, others) - s",
    "pictures": "(costs.sum(dim=1) / own.sum(dim=1)).mean()",
    "real": "owner >= 0",
    "result": "(pictures + captions) / 2",
}
_CHANCE = "chance_0 = 2.639\nnegatives_in_l1 = False\n"


def _loss(answers: str = _CHANCE, **changed: str) -> str:
    return _LOSS.format(**_RIGHT_LOSS | changed) + answers


_SLOPE = """
def slope(cosines, s):
    c = cosines{precision}
    rows, columns = {rows}, {columns}
    believed = (rows * c).sum(dim=1) + (columns * c).sum(dim=0)
    return {result}
"""
_RIGHT_SLOPE = {
    "precision": ".double()",
    "rows": "(s * c).softmax(dim=1)",
    "columns": "(s * c).softmax(dim=0)",
    "result": "(believed / 2 - c.diagonal()).mean().item()",
}
_SCALE = """
def best_scale(cosines, low, high):
    {before}
    for _ in range({rounds}):
        middle = (low + high) / 2
        if slope(cosines, middle) {sign} 0:
            low = middle
        else:
            high = middle
    return {result}
"""
_RIGHT_SCALE = {
    "before": "if slope(cosines, high) <= 0: return float(high)",
    "rounds": "60",
    "sign": "<",
    "result": "float(low)",
}
_SCALES = """
sorted_has_a_best = False
equal_cosines_care = False
least_loss = 0.767
"""


def _slope(answers: str = _SCALES, **changed: str) -> str:
    scale = _SCALE.format(**_RIGHT_SCALE)
    return _SLOPE.format(**_RIGHT_SLOPE | changed) + scale + answers


def _scale(**changed: str) -> str:
    slope = _SLOPE.format(**_RIGHT_SLOPE)
    return slope + _SCALE.format(**_RIGHT_SCALE | changed) + _SCALES


_CORRELATIONS = """
def correlations(x, y, new_x, new_y, ridge):
    def whitening(z):
        c = z.T @ z / {divisor}
        c = c + {ridge} * torch.eye(len(c), dtype=c.dtype)
        values, vectors = torch.linalg.eigh(c)
        return vectors * {power} @ vectors.T
    x, y, new_x, new_y = (z.double() for z in (x, y, new_x, new_y))
    x, y = {centred}
    wx, wy = whitening(x), whitening(y)
    between = wx @ (x.T @ y / {divisor_xy}) @ wy
    u, found, vt = torch.linalg.svd(between, full_matrices=False)
    a, b = {projected}
    a, b = {minus}
    return found, {held}
"""
_RIGHT_CORRELATIONS = {
    "divisor": "(len(z) - 1)",
    "divisor_xy": "(len(x) - 1)",
    "ridge": "ridge * c.diagonal().mean()",
    "power": "values.rsqrt()",
    "centred": "x - x.mean(dim=0), y - y.mean(dim=0)",
    "projected": "new_x @ wx @ u, new_y @ wy @ vt.T",
    "minus": "a - a.mean(dim=0), b - b.mean(dim=0)",
    "held": "(a * b).sum(dim=0) / (a.norm(dim=0) * b.norm(dim=0))",
}
_RIDGE = """
def best_ridge(x, y, new_x, new_y, ridges):
    def mean(ridge):
        return correlations(x, y, new_x, new_y, ridge)[{which}]{summed}.item()
    return {result}
"""
_RIGHT_RIDGE = {
    "which": "1",
    "summed": ".mean()",
    "result": "max(ridges, key=mean)",
}
_CERTAIN = "certain = 6\nscaled_the_same = True\n"


def _correlations(answers: str = _CERTAIN, **changed: str) -> str:
    ridge = _RIDGE.format(**_RIGHT_RIDGE)
    return _CORRELATIONS.format(**_RIGHT_CORRELATIONS | changed) + ridge + answers


def _ridge(**changed: str) -> str:
    made = _CORRELATIONS.format(**_RIGHT_CORRELATIONS)
    return made + _RIDGE.format(**_RIGHT_RIDGE | changed) + _CERTAIN


_MOVE = """
def move(v, t, share):
    middle = {middle}
    moved = [{moved} for z in (v, t)]
    return {result}
"""
_RIGHT_MOVE = {
    "middle": "(v.mean(dim=0) + t.mean(dim=0)) / 2",
    "moved": "z - share * (z.mean(dim=0) - middle)",
    "result": "tuple(F.normalize(z, dim=1) for z in moved)",
}
_UNSEEN = """
def unseen(v):
    flat = {flat}
    _, _, vt = torch.linalg.svd(flat.double(){full})
    d = vt[{which}].to(v.dtype)
    return {result}
"""
_RIGHT_UNSEEN = {
    "flat": "v - v.mean(dim=0)",
    "full": "",
    "which": "-1",
    "result": "d if (flat @ d).abs().max() < 5e-5 else None",
}
_GAP = """
picture_choice_changes = False
caption_choice_changes = True
gap_needs_closing = False
"""


def _move(answers: str = _GAP, **changed: str) -> str:
    unseen = _UNSEEN.format(**_RIGHT_UNSEEN)
    return _MOVE.format(**_RIGHT_MOVE | changed) + unseen + answers


def _unseen(**changed: str) -> str:
    move = _MOVE.format(**_RIGHT_MOVE)
    return move + _UNSEEN.format(**_RIGHT_UNSEEN | changed) + _GAP


_BAG = """
def same_bag(a, b):
    width = max(a.shape[1], b.shape[1])
    a, b = (F.pad(z, (0, width - z.shape[1])) for z in (a, b))
    return (a.sort(dim=1).values == b.sort(dim=1).values).all(dim=1)
"""
_BINDING = """
def binding(right, wrong, kinds):
    {check}
    difference = right.double() - wrong.double()
    won = {won}
    shares = {{}}
    for kind in set(kinds):
        shares[kind] = won[[k == kind for k in kinds]].mean().item()
    shares["overall"] = {overall}
    return {result}
"""
_RIGHT_BINDING = {
    "check": """if not (right.isfinite().all() and wrong.isfinite().all()):
        raise ValueError("not finite")""",
    "won": "(difference > 1e-6).double() + 0.5 * (difference.abs() <= 1e-6)",
    "overall": "won.mean().item()",
    "result": "shares",
}
_ORDER = "pairs_of_words = True\nnoise_helps = 0.5\n"


def _binding(bag: str = _BAG, answers: str = _ORDER, **changed: str) -> str:
    return bag + _BINDING.format(**_RIGHT_BINDING | changed) + answers


_ALIGNMENTS = """
def alignments(x, y, known):
    x, y = x.double(), y.double()
    far_x = {far_x}
    far_y = (y[:, None] - y[None]).norm(dim=2)
    found = []
    for p in itertools.permutations(range(len(x))):
        if all({fits} for i, j in known):
            rows = list(p)
            if ({difference}).abs().max() <= 1e-4:
                found.append({kept})
    return {result}
"""
_RIGHT_ALIGNMENTS = {
    "far_x": "(x[:, None] - x[None]).norm(dim=2)",
    "fits": "p[i] == j",
    "difference": "far_x - far_y[rows][:, rows]",
    "kept": "p",
    "result": "found",
}
_NEEDED = """
def pairs_needed(x):
    every = alignments(x, x, [])
    for count in range({first}, len(x) + 1):
        for chosen in {chosen}:
            if sum(all(p[i] == i for i in chosen) for p in every) == 1:
                return count
"""
_RIGHT_NEEDED = {
    "first": "0",
    "chosen": "itertools.combinations(range(len(x)), count)",
}
_CLOUDS = "unequal_clouds = 1\nloss_says_it = False\n"


def _alignments(answers: str = _CLOUDS, **changed: str) -> str:
    needed = _NEEDED.format(**_RIGHT_NEEDED)
    return _ALIGNMENTS.format(**_RIGHT_ALIGNMENTS | changed) + needed + answers


def _needed(**changed: str) -> str:
    made = _ALIGNMENTS.format(**_RIGHT_ALIGNMENTS)
    return made + _NEEDED.format(**_RIGHT_NEEDED | changed) + _CLOUDS


MISTAKES: dict[str, dict[str, tuple[float, str, str]]] = {
    "q1": {
        "other captions of the picture stay in the sum": (
            1,
            _loss(cost="s.logsumexp(dim=1, keepdim=True) - s"),
            "other captions of the same picture are right",
        ),
        "every caption counts alike": (
            1,
            _loss(pictures="costs.sum() / own.sum()"),
            "this counts every caption alike",
        ),
        "lengths are kept": (
            1,
            _loss(v="v", t="t"),
            "vectors must be divided by their lengths",
        ),
        "the sum of both losses": (
            1,
            _loss(result="pictures + captions"),
            "half the sum of the two losses is asked for",
        ),
        "captions of nobody choose the last picture": (
            2,
            _loss(real="slice(None)").replace("owner[real])", "owner[real] % len(v))"),
            "captions of no picture",
        ),
        "exponentials overflow": (
            2,
            _loss(cost="(s.exp() + others.exp()).log() - s"),
            "a scale of 10,000",
        ),
        "own captions are forgotten in the number of chances": (
            3,
            _loss(_CHANCE.replace("2.639", "2.773")),
            "nine of others and four of nobody",
        ),
        "captions of nobody are thought to choose": (
            3,
            _loss(_CHANCE.replace("False", "True")),
            "L_1 has no row for a caption of nobody",
        ),
        "answers as text": (
            3,
            _loss(_CHANCE.replace("2.639", '"ln 14"')),
            "chance_0 must be a number without quotes; got 'ln 14', of type str",
        ),
    },
    "q2": {
        "the other sign": (
            1,
            _slope(result="(c.diagonal() - believed / 2).mean().item()"),
            "the sign is the other way round",
        ),
        "the slope of the sum": (
            1,
            _slope(result="(believed - 2 * c.diagonal()).mean().item()"),
            "L is half the sum of the two losses",
        ),
        "rows alone": (
            1,
            _slope(columns="(s * c).softmax(dim=1).T"),
            "",
        ),
        "exponentials overflow": (
            2,
            _slope(rows="(s * c).exp() / (s * c).exp().sum(dim=1, keepdim=True)"),
            "where exponentials overflow",
        ),
        "a tensor in place of a number": (
            3,
            _slope(result="(believed / 2 - c.diagonal()).mean()"),
            "slope must return a float; yours is of type Tensor",
        ),
        "few halvings": (
            1,
            _scale(rounds="6"),
            "the best scale is 6.901",
        ),
        "the wrong half": (
            1,
            _scale(sign=">", before="pass"),
            "the loss rises there",
        ),
        "low is forgotten": (
            2,
            _scale(before="low = 0.0"),
            "rises from low on",
        ),
        "sorted batches are thought to have a best scale": (
            3,
            _slope(_SCALES.replace("a_best = False", "a_best = True")),
            "the believed mean never passes them",
        ),
        "the least loss forgets the other captions": (
            3,
            _slope(_SCALES.replace("0.767", "0.018")),
            "the believed mean never passes them",
        ),
        "answers as text": (
            3,
            _slope(_SCALES.replace("care = False", 'care = "no"')),
            "equal_cosines_care must be True or False without quotes",
        ),
    },
    "q3": {
        "the ridge is not relative": (
            1,
            _correlations(ridge="ridge"),
            "the ridge is counted in mean variances",
        ),
        "no ridge": (
            1,
            _correlations(ridge="0"),
            "without the ridge",
        ),
        "divided by N in one place": (
            2,
            _correlations(divisor="len(z)"),
            "the fit finds 0.6",
        ),
        "other samples with the means of the first": (
            2,
            _correlations(
                minus="a - (x @ wx @ u).mean(0), b - (y @ wy @ vt.T).mean(0)"
            ),
            "means far from 0",
        ),
        "the first samples once more": (
            2,
            _correlations(projected="x @ wx @ u, y @ wy @ vt.T"),
            "On other samples noise has no correlation",
        ),
        "u and v are not whitened": (
            2,
            _correlations(projected="new_x @ u, new_y @ vt.T"),
            "On other samples noise has no correlation",
        ),
        "the ridge that fits best": (
            3,
            _ridge(which="0"),
            "the fit itself always prefers the smallest",
        ),
        "the position instead of the ridge": (
            2,
            _ridge(result="max(range(len(ridges)), key=lambda i: mean(ridges[i]))"),
            "of one ridge, 0.5, it is the best",
        ),
        "all dimensions are certain": (
            3,
            _correlations(_CERTAIN.replace("6", "20")),
            "share at least Dx",
        ),
        "the ridge is thought to stay": (
            3,
            _correlations(_CERTAIN.replace("True", "False")),
            "a ridge in mean variances grows with the variances",
        ),
        "answers as text": (
            3,
            _correlations(_CERTAIN.replace("6", '"6"')),
            "certain must be a number without quotes; got '6', of type str",
        ),
    },
    "q4": {
        "the whole way to the others": (
            2,
            _move(moved="z - 2 * share * (z.mean(dim=0) - middle)"),
            "this goes the whole way",
        ),
        "the whole mean": (
            2,
            _move(moved="z - share * z.mean(dim=0)"),
            "this takes the whole mean away",
        ),
        "apart": (
            2,
            _move(moved="z + share * (z.mean(dim=0) - middle)"),
            "the pictures move away",
        ),
        "lengths are left": (
            2,
            _move(result="tuple(moved)"),
            "must have length 1 again",
        ),
        "the mean of all rows": (
            3,
            _move(middle="torch.cat([v, t]).mean(dim=0)"),
            "Numbers of pictures and captions may differ",
        ),
        "at right angles to all": (
            2,
            _unseen(flat="v"),
            "unseen: not answered yet, or None",
        ),
        "the direction of most": (
            2,
            _unseen(which="0", result="d"),
            "all pictures must have the same product with d",
        ),
        "a direction where there is none": (
            3,
            _unseen(result="d"),
            "do not span all D dimensions",
        ),
        "counts pictures": (
            3,
            _unseen(result="d if len(v) <= v.shape[1] else None"),
            "sometimes with more",
        ),
        "captions are thought not to see": (
            3,
            _move(
                _GAP.replace(
                    "caption_choice_changes = True", "caption_choice_changes = False"
                )
            ),
            "does on the picture",
        ),
        "the gap is thought to need closing": (
            3,
            _move(_GAP.replace("closing = False", "closing = True")),
            "does not depend on the caption",
        ),
        "answers as text": (
            3,
            _move(_GAP.replace("closing = False", 'closing = "False"')),
            "gap_needs_closing must be True or False without quotes; got 'False'",
        ),
    },
    "q5": {
        "a tie is won": (
            2,
            _binding(won="(difference >= -1e-6).double()"),
            "or a tie counts as won",
        ),
        "a tie is lost": (
            2,
            _binding(won="(difference > 1e-6).double()"),
            "a tie counts half, not as lost",
        ),
        "the mean of the kinds": (
            2,
            _binding(overall="sum(shares.values()) / len(shares)"),
            "this is the mean of the kinds",
        ),
        "only exact ties": (
            3,
            _binding(won="(difference > 0).double() + 0.5 * (difference == 0)"),
            "up to a millionth are ties",
        ),
        "NaN is lost": (3, _binding(check="pass"), "refused as NaN is"),
        "one side is looked at": (
            3,
            _binding(
                check="""if not right.isfinite().all():
        raise ValueError("not finite")"""
            ),
            "on either side",
        ),
        "tensors in place of numbers": (
            3,
            _binding(result="{k: torch.tensor(share) for k, share in shares.items()}"),
            "must be a float; yours is of type Tensor",
        ),
        "sets of words": (
            2,
            _binding(
                """
def same_bag(a, b):
    rows = zip(a.tolist(), b.tolist())
    return torch.tensor([set(p) - {0} == set(q) - {0} for p, q in rows])
"""
            ),
            "how often a word occurs counts",
        ),
        "sums of numbers": (
            3,
            _binding(
                """
def same_bag(a, b):
    alike = (a > 0).sum(dim=1) == (b > 0).sum(dim=1)
    return alike & (a.sum(dim=1) == b.sum(dim=1))
"""
            ),
            "is no bag",
        ),
        "one width": (
            2,
            _binding(
                """
def same_bag(a, b):
    return (a.sort(dim=1).values == b.sort(dim=1).values).all(dim=1)
"""
            ),
            "",
        ),
        "neighbours are thought to be a bag": (
            3,
            _binding(answers=_ORDER.replace("True", "False")),
            "red stands before star",
        ),
        "noise is thought to lose": (
            3,
            _binding(answers=_ORDER.replace("0.5", "0")),
            "breaks a tie either way",
        ),
        "answers as text": (
            3,
            _binding(answers=_ORDER.replace("True", '"True"')),
            "pairs_of_words must be True or False without quotes; got 'True'",
        ),
    },
    "q6": {
        "no distances": (
            1,
            _alignments(difference="torch.zeros(1)"),
            "a permutation must keep all distances",
        ),
        "places, not distances": (
            1,
            _alignments(difference="x - y[rows]"),
            "centres may be shifted",
        ),
        "pairs the other way round": (
            3,
            _alignments(fits="p[j] == i"),
            "",
        ),
        "lists in place of tuples": (
            2,
            _alignments(kept="rows"),
            "alignments must return a list of tuples",
        ),
        "the first that is found": (
            1,
            _alignments(result="found[:1]"),
            "the four permutations are",
        ),
        "the identity needs a pair at least": (
            3,
            _needed(first="1"),
            "none where there is no symmetry",
        ),
        "the first corners": (
            3,
            _needed(chosen="[tuple(range(count))]"),
            "Count by hand",
        ),
        "all sizes of clusters are alike": (
            3,
            _alignments(_CLOUDS.replace("unequal_clouds = 1", "unequal_clouds = 8")),
            "must lie on a cluster of 10 %",
        ),
        "the loss is trusted": (
            3,
            _alignments(_CLOUDS.replace("False", "True")),
            "whichever samples lie where",
        ),
        "answers as text": (
            3,
            _alignments(_CLOUDS.replace("1", '"one"')),
            "unequal_clouds must be a number without quotes; got 'one', of type str",
        ),
    },
}

# The functions as the chapter prints them, fitted to the names and shapes asked for.
COPIED: dict[str, str] = {
    "q1": """
def paired_loss(v, t, owner, scale):
    logits = scale * F.normalize(v, dim=1) @ F.normalize(t, dim=1).T
    own = torch.arange(len(v))
    back = logits[:, : len(v)].T
    return (F.cross_entropy(logits, own) + F.cross_entropy(back, own)) / 2
""",
    "q3": """
def correlations(x, y, new_x, new_y, ridge):
    def whitening(z):
        C = z.T @ z / (len(z) - 1)
        values, vectors = torch.linalg.eigh(C)
        values = values.clamp(min=0) + ridge * C.diagonal().mean()
        return vectors * values.rsqrt() @ vectors.T
    x, y = (z - z.mean(dim=0) for z in (x, y))
    Wx, Wy = whitening(x), whitening(y)
    U, rho, Vt = torch.linalg.svd(Wx @ (x.T @ y / (len(x) - 1)) @ Wy)
    A, B = Wx @ U[:, : len(rho)], Wy @ Vt.T[:, : len(rho)]
    p, q = x @ A, y @ B
    return rho, (p * q).sum(0) / (p.norm(dim=0) * q.norm(dim=0))
def best_ridge(x, y, new_x, new_y, ridges):
    return ridges[0]
""",
}
