"""Wrong answers to the codes assignment: question -> name -> (points, answer, hint)."""

_ENTROPY = """
def entropy(values):
    counts = torch.unique(values, return_counts=True)[1].double()
    shares = counts / counts.sum()
    return -(shares * shares.log2()).sum().item()
"""
_BITS = """
def picture_bits(codes, size):
    n = codes.shape[1]
    alone = [entropy(codes[:, i]) for i in range(n)]
    pairs = [entropy(codes[:, i - 1] * size + codes[:, i]) for i in range(1, n)]
    fixed, pooled, placed = {fixed}, {pooled}, sum(alone)
    chained = {chained}
    made = dict(fixed=fixed, pooled=pooled, placed=placed, chained=chained)
    return {{name: {value} for name, bits in made.items()}}
"""
_RIGHT_BITS = {
    "fixed": "n * math.log2(size)",
    "pooled": "n * entropy(codes)",
    "chained": "alone[0] + sum(pairs) - sum(alone[:-1])",
    "value": "bits",
}
_WORTH = """
full_use_of_nothing = True
placed_can_be_larger = False
noise_looks_cheap = True
"""


def _bits(answers: str = _WORTH, **changed: str) -> str:
    # The answer begins with the name that finds its cell.
    return _BITS.format(**_RIGHT_BITS | changed) + _ENTROPY + answers


_RESIDUAL = """
def residual(vectors, codebooks):
    left, codes, losses, total = {start}, [], [], 0
    for codebook in codebooks:
        code = torch.cdist(left.detach(), codebook.detach()).argmin(dim=1)
        chosen = codebook[code]
        losses.append({loss})
        left = {left}
        total = {total}
        codes.append(code)
    quantised = {quantised}
    return quantised, {codes}, torch.stack(losses)
"""
_RIGHT_RESIDUAL = {
    "start": "vectors.detach()",
    "loss": "(left - chosen).square().mean()",
    "left": "left - chosen.detach()",
    "total": "total + chosen",
    "quantised": "vectors + (total - vectors).detach()",
    "codes": "torch.stack(codes, dim=1)",
}
_REBUILD = """
def rebuild(codes, codebooks):
    levels = range(codes.shape[1])
    return sum(codebooks[level][codes[:, level]] for level in levels)
"""
_LEVELS = "different_vectors = 256\nsum_is_the_nearest = False\n"


def _residual(rest: str = _REBUILD + _LEVELS, **changed: str) -> str:
    return _RESIDUAL.format(**_RIGHT_RESIDUAL | changed) + rest


_SHARPENED = """
def sharpened(told, untold, scale, temperature, top_p):
    s, tau, p = scale[{rows}, None], temperature[{rows}, None], top_p[{rows}, None]
    logits = {guided}
    shares = {tempered}
    falling, order = shares.sort(dim=1, descending=True)
    falling = falling.masked_fill({cut}, 0.0)
    shares = {back}
    return {result}
"""
_RIGHT_SHARPENED = {
    "rows": ":",
    "guided": "(s * told.log() + (1 - s) * untold.log())"
    ".masked_fill(told == 0, -torch.inf)",
    "tempered": "(logits / tau).softmax(dim=1)",
    "cut": "falling.cumsum(dim=1) - falling >= p",
    "back": "torch.zeros_like(shares).scatter(1, order, falling)",
    "result": "shares / shares.sum(dim=1, keepdim=True)",
}
_COMMUTE = """
either_first = True
nucleus_either_first = False
greedy_is_likeliest = False
"""


def _sharpened(answers: str = _COMMUTE, **changed: str) -> str:
    return _SHARPENED.format(**_RIGHT_SHARPENED | changed) + answers


_FILLINGS = """
def fillings(given, size):
    places = (given == -1).nonzero().flatten().tolist()
    rows = given.repeat(size ** len(places), 1)
    number = torch.arange(len(rows))
    for place in reversed(places):
        rows[:, place] = number % size
        number = number // size
    return rows
"""
_EACH = """
def each(model, rows):
    return model(rows).gather(2, rows[:, :, None]).squeeze(2)
"""
_EXACT = """
def exact(model, given, size):
    return each(model, fillings(given, size)).sum(dim=1).softmax(dim=0)
"""
_FORCED = """
def forced(model, given, size):
    return each(model, fillings(given, size))[:, given == -1].sum(dim=1).exp()
"""
_HALVES = "upper_half_given = True\nlower_half_given = False\n"


def _completed(
    fillings: str = _FILLINGS,
    each: str = _EACH,
    exact: str = _EXACT,
    forced: str = _FORCED,
    answers: str = _HALVES,
) -> str:
    return fillings + each + exact + forced + answers


_SNAKE = """
def column_snake(height, width):
    columns = torch.arange(height * width).view(height, width).T.clone()
    columns[1::2] = columns[1::2].flip(1)
    return columns.flatten()
"""
_MASK = """
def may_use(order):
    step = order.argsort()
    return step[:, None] > step
"""
_LEAKS = """
def leaks(writer, order, size):
    places = len(order)
    inputs = {inputs}
    outputs = writer(inputs)
    reached = torch.zeros(places, places, dtype=torch.bool)
    for i in range(places):
        for number in {numbers}:
            (slope,) = torch.autograd.grad(number, inputs, retain_graph=True)
            reached[{row}] |= (slope[0].abs() > 1e-6).any(dim=1)
    return reached & {forbidden}
"""
_RIGHT_LEAKS = {
    "inputs": "torch.randn(1, places, size, requires_grad=True)",
    "numbers": "outputs[0, i]",
    "row": "i",
    "forbidden": "~may_use(order)",
}
_ORDERS = "sums_to_one = True\nlongest_wait = 14\n"


def _ordered(
    snake: str = _SNAKE, mask: str = _MASK, answers: str = _ORDERS, **changed: str
) -> str:
    return snake + mask + _LEAKS.format(**_RIGHT_LEAKS | changed) + answers


_KEPT = """
def kept_per_pass(gamma, total, passes):
    kept, hidden = [], total
    for i in range({first}, passes + {first}):
        wanted = {wanted}
        after = {after}
        kept.append({kept})
        hidden = after
    return kept
"""
_RIGHT_KEPT = {
    "first": "1",
    "wanted": "math.floor(gamma(i / passes) * total)",
    "after": "max(min(wanted, hidden - 1), passes - i)",
    "kept": "hidden - after",
}
_PASSES = """
def in_passes(joint, groups):
    def of(places):
        others = [axis for axis in range(joint.ndim) if axis not in places]
        return {marginal}
    written, seen = torch.ones_like(joint), []
    for group in groups:
        for place in group:
            written = {factor}
        seen = {seen}
    return written
"""
_RIGHT_PASSES = {
    "marginal": "joint.sum(dim=others, keepdim=True) if others else joint",
    "factor": "written * of([*seen, place]) / of(seen)",
    "seen": "[*seen, *group]",
}
_COST = "one_pass = 0.037\ntwo_passes = 0.333\n"


def _kept(**changed: str) -> str:
    passes = _PASSES.format(**_RIGHT_PASSES)
    return _KEPT.format(**_RIGHT_KEPT | changed) + passes + _COST


def _passes(answers: str = _COST, **changed: str) -> str:
    kept = _KEPT.format(**_RIGHT_KEPT)
    return kept + _PASSES.format(**_RIGHT_PASSES | changed) + answers


MISTAKES: dict[str, dict[str, tuple[float, str, str]]] = {
    "q1": {
        "nats": (1, _bits(value="bits * math.log(2)"), "these are nats"),
        "the bits of one code": (
            1,
            _bits(value="bits / n"),
            "these are the bits of one code, and a picture has 2",
        ),
        "the bits of all pictures": (
            1,
            _bits(value="bits * len(codes)"),
            "these are the bits of all 4 pictures",
        ),
        "only codes that occur": (
            1,
            _bits(fixed="n * math.log2(len(codes.unique()))"),
            "a code that does not occur has its number all the same",
        ),
        "one table where each place has its own": (
            1,
            _bits(pooled="sum(alone)"),
            "this is a table for each place; pooled has one for all",
        ),
        "pairs instead of conditions": (
            1,
            _bits(chained="alone[0] + sum(pairs)"),
            "a pair of codes tells the first code once more",
        ),
        "the first code not written": (
            1,
            _bits(chained="sum(pairs) - sum(alone[:-1])"),
            "the first code has to be written, too",
        ),
        "tables after each code not weighed": (
            1,
            _bits(
                chained="alone[0] + sum(entropy(codes[codes[:, i - 1] == k, i]) "
                "for i in range(1, n) for k in codes[:, i - 1].unique())"
            ),
            "must be weighed by how often this value occurs",
        ),
        "one table of pairs for all places": (
            2,
            _bits(
                chained="alone[0] + (n - 1) * (entropy(codes[:, :-1] * size + "
                "codes[:, 1:]) - entropy(codes[:, :-1])) if n > 1 else alone[0]"
            ),
            "Each place has tables of its own in chained, too",
        ),
        "zero times the logarithm of zero": (
            1,
            _bits(
                pooled="n * (lambda p: -(p * p.log2()).sum().item())"
                "(torch.bincount(codes.flatten(), minlength=size) / codes.numel())"
            ),
            "0 log 0 is nan",
        ),
        "tensors in place of numbers": (
            2,
            _bits(value="torch.tensor(bits)"),
            "must be a float; yours is of type Tensor",
        ),
        "full use means many pictures": (
            2,
            _bits(
                _WORTH.replace(
                    "full_use_of_nothing = True", "full_use_of_nothing = False"
                )
            ),
            "Let place i always hold code i",
        ),
        "tables of places cost more": (
            2,
            _bits(_WORTH.replace("larger = False", "larger = True")),
            "Entropy is concave, so mixing tables never saves bits",
        ),
        "a measured number is believed": (
            2,
            _bits(_WORTH.replace("cheap = True", "cheap = False")),
            "such a table is the picture itself",
        ),
        "answers as text": (
            2,
            _bits(_WORTH.replace("larger = False", 'larger = "False"')),
            "placed_can_be_larger must be True or False without quotes; got 'False'",
        ),
    },
    "q2": {
        "every level quantises the vector": (
            1,
            _residual(left="left"),
            "the second level must be given what the first left over",
        ),
        "the chapter's one level": (
            1,
            """
def residual(vectors, codebooks):
    codes = torch.cdist(vectors, codebooks[0]).argmin(dim=1)
    chosen = codebooks[0][codes]
    loss = (vectors.detach() - chosen).square().mean()
    return vectors + (chosen - vectors).detach(), codes[:, None], loss[None]
""",
            r"codes must have the shape \(3, 2\)",
        ),
        "no straight-through": (
            3,
            _residual(quantised="total.detach()"),
            "The first is the identity by the vectors",
        ),
        "the codebooks get the gradient, too": (
            3,
            _residual(quantised="vectors + total - vectors.detach()"),
            "and 0 by the codebooks",
        ),
        "a loss moves the level before": (
            3,
            _residual(left="left - chosen"),
            "what is left over is detached before the next level",
        ),
        "a loss moves the vectors": (
            3,
            _residual(start="vectors"),
            "loss m is 0 by everything but the codes of level m",
        ),
        "no loss moves anything": (
            3,
            _residual(loss="(left - chosen.detach()).square().mean()"),
            "loss m is 0 by everything but the codes of level m",
        ),
        "sums of squares": (
            1,
            _residual(loss="(left - chosen).square().sum()"),
            "these are sums, not means",
        ),
        "roots of the means": (
            1,
            _residual(loss="(left - chosen).square().mean().sqrt()"),
            "these are roots",
        ),
        "losses against the vector": (
            1,
            _residual(loss="(vectors.detach() - chosen).square().mean()"),
            "the second loss compares with what the first level left",
        ),
        "the last level alone": (
            2,
            _residual(total="chosen"),
            "this is the code of the last level",
        ),
        "the code minus the vector": (
            1,
            _residual(left="chosen.detach() - left"),
            "not the code minus the vector",
        ),
        "levels and vectors exchanged": (
            1,
            _residual(codes="torch.stack(codes)"),
            r"codes must have the shape \(3, 2\)",
        ),
        "all levels or an error": (
            3,
            _residual(
                """
def rebuild(codes, codebooks):
    return sum(book[codes[:, i]] for i, book in enumerate(codebooks))
"""
                + _LEVELS
            ),
            "rebuild must take codes of fewer levels",
        ),
        "one codebook for all levels": (
            2,
            _residual(
                """
def rebuild(codes, codebooks):
    return codebooks[0][codes].sum(dim=1)
"""
                + _LEVELS
            ),
            "stand for 3 and 1; yours are",
        ),
        "codes added up": (
            3,
            _residual(_REBUILD + _LEVELS.replace("256", "32")),
            "A sum has one code of each level",
        ),
        "level by level is thought to be best": (
            3,
            _residual(_REBUILD + _LEVELS.replace("False", "True")),
            "the second-nearest code of the first level",
        ),
        "answers as text": (
            3,
            _residual(_REBUILD + _LEVELS.replace("256", '"256"')),
            "must be a number without quotes; got '256', of type str",
        ),
    },
    "q3": {
        "probabilities are mixed": (
            1,
            _sharpened(guided="(untold + s * (told - untold)).clamp(min=0).log()"),
            "this mixes probabilities",
        ),
        "the other convention of the scale": (
            1,
            _sharpened(guided="(1 + s) * told.log() - s * untold.log()"),
            "here s = 1 is the model itself",
        ),
        "told and untold exchanged": (
            1,
            _sharpened(guided="s * untold.log() + (1 - s) * told.log()"),
            "told and untold are exchanged",
        ),
        "powers of the temperature": (
            1,
            _sharpened(tempered="(logits * tau).softmax(dim=1)"),
            "the powers are 1 / temperature",
        ),
        "the nucleus sums to less than p": (
            2,
            _sharpened(cut="falling.cumsum(dim=1) > p + 1e-5"),
            "the code with which the sum passes p belongs to the nucleus",
        ),
        "a code too many where the sum is p": (
            3,
            _sharpened(cut="falling.cumsum(dim=1) - falling > p"),
            "until the sum is at least p",
        ),
        "the nucleus does not sum to one": (
            2,
            _sharpened(result="shares"),
            "the nucleus must sum to 1 again",
        ),
        "sorted and left so": (
            1,
            _sharpened(back="falling"),
            "must go back to the places of their codes",
        ),
        "the nucleus before the temperature": (
            2,
            _sharpened(
                tempered="logits.softmax(dim=1)",
                result="(shares.log() / tau).softmax(dim=1)",
            ),
            "the nucleus comes after guidance and temperature",
        ),
        "zero times infinity": (
            3,
            _sharpened(guided="s * told.log() + (1 - s) * untold.log()"),
            "A code with told = 0 keeps 0",
        ),
        "a small number added": (
            2,
            _sharpened(
                guided="s * (told + 1e-6).log() + (1 - s) * (untold + 1e-6).log()"
            ),
            "without a small number added",
        ),
        "powers without logarithms": (
            3,
            _sharpened(
                guided="torch.where(told == 0, 0, told**s * untold ** (1 - s)).log()"
            ),
            "powers such as 1e-30 to the 10 need logarithms",
        ),
        "the first row's settings for all": (
            2,
            _sharpened(rows=":1"),
            "Each row has its own p",
        ),
        "the order of guidance is thought to matter": (
            3,
            _sharpened(_COMMUTE.replace("either_first = True", "either_first = False")),
            "divided by the temperature both ways",
        ),
        "the order of the nucleus is thought not to": (
            3,
            _sharpened(
                _COMMUTE.replace(
                    "nucleus_either_first = False", "nucleus_either_first = True"
                )
            ),
            "which codes a nucleus of 0.6 holds before and after",
        ),
        "greedy is thought to be best": (
            3,
            _sharpened(_COMMUTE.replace("likeliest = False", "likeliest = True")),
            "the likelier first code be followed by many",
        ),
        "answers as text": (
            3,
            _sharpened(_COMMUTE.replace("likeliest = False", 'likeliest = "no"')),
            "greedy_is_likeliest must be True or False without quotes; got 'no'",
        ),
    },
    "q4": {
        "what is written for what is exact": (
            2,
            _completed(exact=_FORCED.replace("def forced", "def exact")),
            "the code after the hole says something about it, too",
        ),
        "what is exact for what is written": (
            2,
            _completed(forced=_EXACT.replace("def exact", "def forced")),
            "a model that writes the first code has not seen the second",
        ),
        "probabilities of whole pictures": (
            2,
            _completed(exact=_EXACT.replace("softmax(dim=0)", "exp()")),
            "they must sum to 1 over the fillings",
        ),
        "given codes are drawn, too": (
            2,
            _completed(forced=_FORCED.replace("[:, given == -1]", "")),
            "a given code is not drawn",
        ),
        "the first place changes fastest": (
            1,
            _completed(_FILLINGS.replace("reversed(places)", "places")),
            "the first open place changes fastest here, not the last",
        ),
        "a product of one factor": (
            1,
            _completed(
                """
def fillings(given, size):
    is_open = given == -1
    many = int(is_open.sum())
    rows = given.repeat(size**many, 1)
    rows[:, is_open] = torch.cartesian_prod(*[torch.arange(size)] * many)
    return rows
"""
            ),
            r"one open place has fillings \(M, N\) too",
        ),
        "open places given to the model": (
            3,
            _completed(
                forced="""
def forced(model, given, size):
    rows = fillings(given, size)
    logs = model(given[None]).expand(len(rows), -1, -1)
    each = logs.gather(2, rows[:, :, None]).squeeze(2)
    return each[:, given == -1].sum(dim=1).exp()
"""
            ),
            "each given all codes before it",
        ),
        "zeros in place of open codes": (
            3,
            _completed(
                forced="""
def forced(model, given, size):
    rows = fillings(given, size)
    logs = model(given.clamp(min=0)[None]).expand(len(rows), -1, -1)
    each = logs.gather(2, rows[:, :, None]).squeeze(2)
    return each[:, given == -1].sum(dim=1).exp()
"""
            ),
            "each given all codes before it",
        ),
        "out of the logarithms too early": (
            3,
            _completed(
                exact="""
def exact(model, given, size):
    whole = each(model, fillings(given, size)).sum(dim=1).exp()
    return whole / whole.sum()
"""
            ),
            "divide before you leave the logarithms",
        ),
        "told one place late": (
            1,
            _completed(
                each="""
def each(model, rows):
    logs = model(rows).roll(1, dims=1)
    return logs.gather(2, rows[:, :, None]).squeeze(2)
"""
            ),
            r"exact with given = \[1, -1\] is \[0.1, 0.9\]; yours is \[0.5, 0.5\]",
        ),
        "logarithms": (
            1,
            _completed(
                exact=_EXACT.replace("softmax", "log_softmax"),
                forced=_FORCED.replace(".exp()", ""),
            ),
            "these are logarithms",
        ),
        "the probability of a mean": (
            1,
            _completed(
                exact=_EXACT.replace("sum(dim=1)", "mean(dim=1)"),
                forced=_FORCED.replace("sum(dim=1)", "mean(dim=1)"),
            ),
            r"exact with given = \[1, -1\] is \[0.1, 0.9\]; yours is \[0.25, 0.75\]",
        ),
        "a hole at the end is thought to matter": (
            3,
            _completed(answers="upper_half_given = False\nlower_half_given = False\n"),
            "In reading order the upper half is before the lower one",
        ),
        "a hole at the beginning is thought not to": (
            3,
            _completed(answers="upper_half_given = True\nlower_half_given = True\n"),
            "holes at the end and at the beginning",
        ),
        "answers as text": (
            3,
            _completed(
                answers='upper_half_given = "True"\nlower_half_given = "False"\n'
            ),
            "upper_half_given must be True or False without quotes; got 'True'",
        ),
    },
    "q5": {
        "a snake along the rows": (
            3,
            _ordered(
                """
def column_snake(height, width):
    rows = torch.arange(height * width).view(height, width)
    rows[1::2] = rows[1::2].flip(1)
    return rows.flatten()
"""
            ),
            "this snake goes along the rows",
        ),
        "every column downwards": (
            3,
            _ordered(
                """
def column_snake(height, width):
    return torch.arange(height * width).view(height, width).T.flatten()
"""
            ),
            "every column goes down here",
        ),
        "the step of each place": (
            3,
            _ordered(
                _SNAKE.replace("columns.flatten()", "columns.flatten().argsort()")
            ),
            "this is the step of each place, not the place of each step",
        ),
        "the order for the steps": (
            2,
            _ordered(
                mask="""
def may_use(order):
    return order[:, None] > order
"""
            ),
            "at which step each place is written",
        ),
        "a code that tells itself": (
            1,
            _ordered(mask=_MASK.replace(">", ">=")),
            "a code cannot be used to tell itself",
        ),
        "who is written later": (
            1,
            _ordered(mask=_MASK.replace(">", "<")),
            "this is the mask of who is written later",
        ),
        "the mask of reading order": (
            2,
            _ordered(
                mask="""
def may_use(order):
    return torch.ones(len(order), len(order), dtype=torch.bool).tril(-1)
"""
            ),
            "this is the mask of reading order",
        ),
        "the gradient of a row's sum": (
            4,
            _ordered(numbers="[outputs[0, i].sum()]"),
            "probabilities, whose sum never changes",
        ),
        "the gradient of a row's first number": (
            4,
            _ordered(numbers="outputs[0, i, :1]"),
            "some peek into one number of a row alone",
        ),
        "at zero inputs": (
            4,
            _ordered(inputs="torch.zeros(1, places, size, requires_grad=True)"),
            "so that nothing moves at zero",
        ),
        "at equal inputs": (
            4,
            _ordered(inputs="torch.ones(1, places, size, requires_grad=True)"),
            "or at one",
        ),
        "gradients that add up": (
            4,
            _ordered()
            + """
def leaks(writer, order, size):
    inputs = torch.randn(1, len(order), size, requires_grad=True)
    reached = []
    for row in writer(inputs)[0]:
        for number in row:
            number.backward(retain_graph=True)
        reached.append((inputs.grad[0].abs() > 1e-6).any(dim=1))
    return torch.stack(reached) & ~may_use(order)
""",
            "Try writers of your own with other orders",
        ),
        "all that reaches": (
            3,
            _ordered(forbidden="True"),
            "what the order allows is no leak",
        ),
        "the own place does not count": (
            3,
            _ordered(forbidden="~may_use(order) & ~torch.eye(places).bool()"),
            "a place that reaches its own row is a leak, too",
        ),
        "rows and places exchanged": (
            3,
            _ordered(row=":, i"),
            r"leaks \[\[0, 0, 0\], \[0, 0, 0\], \[0, 0, 0\]\] in reading order",
        ),
        "the order is thought to change the sum": (
            4,
            _ordered(answers="sums_to_one = False\nlongest_wait = 14\n"),
            "this works in every order",
        ),
        "the way of a plain column": (
            4,
            _ordered(answers="sums_to_one = True\nlongest_wait = 7\n"),
            "from the top of the first column to the top of the second",
        ),
        "both ends counted": (
            4,
            _ordered(answers="sums_to_one = True\nlongest_wait = 15\n"),
            "from the top of the first column to the top of the second",
        ),
        "answers as text": (
            4,
            _ordered(answers='sums_to_one = True\nlongest_wait = "14"\n'),
            "longest_wait must be a number without quotes; got '14', of type str",
        ),
    },
    "q6": {
        "how many stay hidden": (
            2,
            _kept(kept="after"),
            "this is how many stay hidden, not how many are kept",
        ),
        "rounded up": (
            2,
            _kept(wanted="math.ceil(gamma(i / passes) * total)"),
            "rounded down, not up",
        ),
        "rounded to the nearest": (
            2,
            _kept(wanted="round(gamma(i / passes) * total)"),
            "rounded down, not to the nearest",
        ),
        "a pass late": (
            2,
            _kept(first="0", after="min(wanted, hidden)"),
            "with i from 1, so the first pass keeps codes",
        ),
        "kept altogether": (
            2,
            _kept(kept="total - after"),
            "this is how many are kept altogether, not in each pass",
        ),
        "even shares": (
            2,
            _kept(wanted="total - i * total // passes"),
            "this takes no notice of gamma",
        ),
        "nothing is held to one code": (
            3,
            _kept(after="wanted"),
            "none is below 1, also for as many passes as codes",
        ),
        "passes to come are not thought of": (
            3,
            _kept(after="min(max(wanted, 1), hidden - 1) if i < passes else 0"),
            "a code is left for each pass to come",
        ),
        "everything in one pass": (
            2,
            _passes(seen="[]"),
            "the second pass has seen the first",
        ),
        "the true distribution": (
            2,
            """
def in_passes(joint, groups):
    return joint.clone()
"""
            + _KEPT.format(**_RIGHT_KEPT)
            + _COST,
            "codes of one pass do not see each other",
        ),
        "only the pass before": (
            3,
            _passes(seen="group"),
            "each code depends on all passes before its own",
        ),
        "not divided by what was seen": (
            2,
            _passes(factor="written * of([*seen, place])"),
            "this sums to 0.500",
        ),
        "a sum over no axis": (
            2,
            _passes(marginal="joint.sum(dim=others, keepdim=True)"),
            "sums over all",
        ),
        "divided by one code too few": (
            2,
            _passes(factor="written * of([*seen, place]) / of(seen[:-1])"),
            "this sums to 0.500",
        ),
        "one picture is right": (
            3,
            _passes("one_pass = 0.012\ntwo_passes = 0.333\n"),
            "Three of the 81 pictures are right",
        ),
        "the second pair by chance, too": (
            3,
            _passes("one_pass = 0.037\ntwo_passes = 0.111\n"),
            "each code of the second pass is certain",
        ),
        "answers as text": (
            3,
            _passes('one_pass = "1/27"\ntwo_passes = 0.333\n'),
            "one_pass must be a number without quotes; got '1/27', of type str",
        ),
    },
}

# The functions as the chapters print them, fitted to the names and shapes asked for.
COPIED: dict[str, str] = {
    "q1": """
def picture_bits(codes, size):
    shares = torch.bincount(codes.flatten(), minlength=size).double() / codes.numel()
    bits = torch.special.entr(shares).sum().item() / math.log(2)
    fixed = codes.shape[1] * math.log2(size)
    return dict(fixed=fixed, pooled=bits, placed=bits, chained=bits)
""",
    "q2": MISTAKES["q2"]["the chapter's one level"][1],
    "q3": """
def sharpened(told, untold, scale, temperature, top_p):
    told, untold = told.log(), untold.log()
    logits = untold + scale[:, None] * (told - untold)
    shares = (logits / temperature[:, None]).softmax(dim=-1)
    falling, order = shares.sort(dim=-1, descending=True)
    before = falling.cumsum(dim=-1) - falling
    falling = falling.masked_fill(before >= top_p[:, None], 0.0)
    shares = torch.zeros_like(shares).scatter_(-1, order, falling)
    return shares / shares.sum(dim=-1, keepdim=True)
""",
    "q4": """
def exact(model, given, size):
    return model(given[None]).gather(2, given[None, :, None]).sum(dim=(1, 2))
""",
    "q5": """
def may_use(order):
    return torch.ones(len(order), len(order), dtype=torch.bool).tril(-1)
def leaks(writer, order, size):
    places, reached = len(order), []
    for i in range(places):
        inputs = torch.randn(1, places, size, requires_grad=True)
        (slope,) = torch.autograd.grad(writer(inputs)[0, i].sum(), inputs)
        reached.append((slope[0] != 0).any(dim=1))
    return torch.stack(reached) & ~may_use(order)
""",
    "q6": """
def kept_per_pass(gamma, total, passes):
    kept, hidden = [], total
    for i in range(passes):
        again = max(math.floor(gamma((i + 1) / passes) * total), 1)
        again = min(again, hidden - 1) if i < passes - 1 else 0
        kept.append(hidden - again)
        hidden = again
    return kept
""",
}
