"""Wrong answers to the flow assignment: question -> name -> (points, answer, hint)."""

_ENDS = """
def ends(prediction, kind, points, a, s, a_rate, s_rate):
    a, s, a_rate, s_rate = {columns}
    if kind == "data":
        data, noise = prediction, (points - a * prediction) / s
    elif kind == "noise":
        data, noise = (points - s * prediction) / a, prediction
    else:
        determinant = a * s_rate - s * a_rate
        data = {data}
        noise = {noise}
    return {result}
"""
_RIGHT_ENDS = {
    "columns": "(each[:, None] for each in (a, s, a_rate, s_rate))",
    "data": "(s_rate * points - s * prediction) / determinant",
    "noise": "(a * prediction - a_rate * points) / determinant",
    "result": "data, noise",
}
_WORTH = """
def worth(kind, a, s, a_rate, s_rate):
    if kind == "data":
        return {of_data}
    if kind == "noise":
        return {of_noise}
    return {of_velocity}
"""
_RIGHT_WORTH = {
    "of_data": "(a_rate - s_rate * a / s).square()",
    "of_noise": "(s_rate - a_rate * s / a).square()",
    "of_velocity": "torch.ones_like(a)",
}
_COSTS = "velocity_off = 0.5\nasks_for_little = True\n"


def _ends(answers: str = _COSTS, **changed: str) -> str:
    ends = {name: changed.pop(name) for name in _RIGHT_ENDS if name in changed}
    worth = _WORTH.format(**_RIGHT_WORTH | changed)
    return _ENDS.format(**_RIGHT_ENDS | ends) + worth + answers


_FIELD = """
def posterior(points, time, data, shares):
    t = {time}
    squares = (points[:, None] - {at}).square().sum(dim=2)
    logits = {logits}
    return {result}

def field(points, time, data, shares):
    mean = {mean}
    return {velocity}
"""
_RIGHT_FIELD = {
    "time": "time[:, None, None]",
    "at": "t * data",
    "logits": "shares.log() - squares / (2 * (1 - t[:, :, 0]).square())",
    "result": "logits.softmax(dim=1)",
    "mean": "posterior(points, time, data, shares) @ data",
    "velocity": "(mean - points) / (1 - time[:, None])",
}
_SAID = "ends_at = 1.0\nzero_for_one = True\nzero_for_two = False\n"


def _field(answers: str = _SAID, **changed: str) -> str:
    return _FIELD.format(**_RIGHT_FIELD | changed) + answers


_MARGINAL = """
def marginal(data, noise, joint, time):
    i, j = ({counted}).nonzero(as_tuple=True)
    points = time * data[i] + (1 - time) * noise[j]
    targets, weights = {target}, joint[i, j]
    same = {same}
    first = same.int().argmax(dim=1)
    shares = torch.zeros_like(weights).index_add(0, first, weights)
    sums = torch.zeros_like(targets).index_add(0, first, {summed})
    here = first.unique()
    return points[here], sums[here] / {divided}, shares[here]
"""
_RIGHT_MARGINAL = {
    "counted": "joint > 0",
    "target": "data[i] - noise[j]",
    "same": "(points[:, None] - points).abs().amax(dim=2) < 1e-6",
    "summed": "weights[:, None] * targets",
    "divided": "shares[here, None]",
}
_LEAST = """
def least_loss(data, noise, joint, time):
    _, velocities, shares = marginal(data, noise, joint, time)
    targets = data[:, None] - noise
    whole = (joint * targets.square().{over}(dim=2)).sum()
    explained = {explained}
    return {result}
"""
_RIGHT_LEAST = {
    "over": "sum",
    "explained": "(shares * velocities.square().sum(dim=1)).sum()",
    "result": "(whole - explained).item()",
}
_CROSSING = "independent = 2.0\nequal_pairs = 0.0\ncan_be_worse = True\n"


def _marginal(answers: str = _CROSSING, **changed: str) -> str:
    least = {name: changed.pop(name) for name in _RIGHT_LEAST if name in changed}
    marginal = _MARGINAL.format(**_RIGHT_MARGINAL | changed)
    return marginal + _LEAST.format(**_RIGHT_LEAST | least) + answers


_FOLLOW = """
def follow(field, start, times, matrix, weights):
    points, nodes = start, matrix.sum(dim=1).tolist()
    for now, then in zip(times.tolist(), times[1:].tolist()):
        h, slopes = {h}, []
        for row, node in zip(matrix.tolist(), nodes):
            inner = {inner}
            time = {time}
            slopes.append(field({at}, time))
        points = {points}
    return points
"""
_RIGHT_FOLLOW = {
    "h": "then - now",
    "inner": "sum((a * k for a, k in zip(row, slopes)), torch.zeros_like(points))",
    "time": "points.new_full((len(points),), now + node * h)",
    "at": "points + h * inner",
    "points": "points + h * sum(b * k for b, k in zip(weights.tolist(), slopes))",
}
_ORDER = """
def order(steps, errors):
    x = torch.tensor(steps, dtype=torch.float64).log()
    y = torch.tensor(errors, dtype=torch.float64).log()
    {slope}
    return {result}
"""
_RIGHT_ORDER = {
    "slope": "x, y = x - x.mean(), y - y.mean()",
    "result": "-((x * y).sum() / x.square().sum()).item()",
}
_PROMISED = "heun_steps = 20\nalways_nearer = False\none_step_is_enough = True\n"


def _follow(answers: str = _PROMISED, **changed: str) -> str:
    order = {name: changed.pop(name) for name in _RIGHT_ORDER if name in changed}
    follow = _FOLLOW.format(**_RIGHT_FOLLOW | changed)
    return follow + _ORDER.format(**_RIGHT_ORDER | order) + answers


_COMPOSED = """
def composed(field, points, time, captions, weights):
    terms = [*zip(captions, weights), ("", {left})]
    terms = [(caption, w) for caption, w in terms if {kept}]
    asked = {asked}
    many = len(terms)
    said = field({rows}, {times}, asked)
    parts = said.chunk(many)
    return sum(w * part for (_, w), part in zip(terms, parts))
"""
_RIGHT_COMPOSED = {
    "left": "1 - sum(weights)",
    "kept": "abs(w) >= 1e-9",
    "asked": "[caption for caption, _ in terms for _ in points]",
    "rows": "points.repeat(many, 1)",
    "times": "time.repeat(many)",
}
_RESCALED = """
def rescaled(told, guided, share):
    ratio = {ratio}
    return {result}
"""
_RIGHT_RESCALED = {
    "ratio": "told.std(dim=1, keepdim=True) / guided.std(dim=1, keepdim=True)",
    "result": "share * guided * ratio + (1 - share) * guided",
}
_DRAWN = "negative_weight = -3\nrows = 32\ndrawn_mean = 4.0\n"


def _composed(answers: str = _DRAWN, **changed: str) -> str:
    rescaled = {name: changed.pop(name) for name in _RIGHT_RESCALED if name in changed}
    composed = _COMPOSED.format(**_RIGHT_COMPOSED | changed)
    return composed + _RESCALED.format(**_RIGHT_RESCALED | rescaled) + answers


_CALL_BY_CALL = """
def composed(field, points, time, captions, weights):
    untold = field(points, time, [""] * len(points))
    total = untold
    for caption, w in zip(captions, weights):
        total = total + w * (field(points, time, [caption] * len(points)) - untold)
    return total
"""

_NOISIER = """
def noisier(points, now, earlier, noise):
    kept = {share}
    variance = {variance}
    return kept * points + {new} * noise
"""
_RIGHT_NOISIER = {
    "share": "earlier / now",
    "variance": "(1 - earlier) ** 2 - (kept * (1 - now)) ** 2",
    "new": "max(variance, 0.0) ** 0.5",
}
_REPAINT = """
def repaint(field, known, mask, start, times, tries, draw):
    points = start
    for now, then in zip(times.tolist(), times[1:].tolist()):
        for attempt in range(tries):
            time = points.new_full((len(points),), {asked_at})
            points = points + (then - now) * field(points, time)
            points = {held}
            if {again}:
                points = {back}
    return points
"""
_RIGHT_REPAINT = {
    "asked_at": "now",
    "held": "torch.where(mask, then * known + (1 - then) * draw(), points)",
    "again": "attempt < tries - 1",
    "back": "noisier(points, then, now, draw())",
}
_BOUGHT = "asked = 100\none_try_is_exact = False\nfrom_zero = 0.0\n"


def _noisier(answers: str = _BOUGHT, **changed: str) -> str:
    repaint = {name: changed.pop(name) for name in _RIGHT_REPAINT if name in changed}
    noisier = _NOISIER.format(**_RIGHT_NOISIER | changed)
    return noisier + _REPAINT.format(**_RIGHT_REPAINT | repaint) + answers


MISTAKES: dict[str, dict[str, tuple[float, str, str]]] = {
    "q1": {
        "the linear path for all": (
            2,
            _ends(data="points + s * prediction", noise="points - a * prediction"),
            "this holds on the linear path, where the rates are 1 and -1",
        ),
        "data and noise exchanged": (
            2,
            _ends(result="noise, data"),
            "data and noise are exchanged",
        ),
        "coefficients along the columns": (
            3,
            _ends(columns="a, s, a_rate, s_rate"),
            r"Rows of several numbers need their coefficients as \(B, 1\)",
        ),
        "the other sign of the determinant": (
            2,
            _ends(data="(s * prediction - s_rate * points) / determinant"),
            "from the velocity 5 follow the data 2 and the noise -1",
        ),
        "not squared": (
            2,
            _ends(of_data="(a_rate - s_rate * a / s).abs()"),
            "this is not squared",
        ),
        "the other way round": (
            2,
            _ends(of_noise="1 / (s_rate - a_rate * s / a).square()"),
            "this is the other way round",
        ),
        "the other end is forgotten": (
            2,
            _ends(of_data="a_rate.square()"),
            "the other of the two ends changes with the answer",
        ),
        "the other end changes with the other sign": (
            2,
            _ends(of_data="(a_rate + s_rate * a / s).square()"),
            "mind the sign with which the other end changes",
        ),
        "worth on the linear path": (
            2,
            _ends(of_data="1 / s.square()"),
            "this holds on the linear path",
        ),
        "the velocity's own worth as one number": (
            2,
            _ends(of_velocity="1.0"),
            r"worth must return a tensor \(B,\) = \(1,\); yours is of type float",
        ),
        "an error of the noise is multiplied": (
            3,
            _ends(_COSTS.replace("0.5", "0.02")),
            "the squared error of the noise is t squared times",
        ),
        "near the noise it is thought to ask much": (
            3,
            _ends(_COSTS.replace("True", "False")),
            "the squared error of the noise is t squared times",
        ),
        "answers as text": (
            3,
            _ends(_COSTS.replace("0.5", '"0.5"')),
            "velocity_off must be a number without quotes; got '0.5', of type str",
        ),
    },
    "q2": {
        "all data alike": (
            2,
            _field(logits="-squares / (2 * (1 - t[:, :, 0]).square())"),
            "the shares are missing",
        ),
        "half the variance": (
            2,
            _field(logits="shares.log() - squares / (1 - t[:, :, 0]).square()"),
            "the square over 2 times the variance",
        ),
        "the data as they are": (
            2,
            _field(at="data"),
            "the path is at t times the data, plus noise",
        ),
        "the deviation in place of the variance": (
            2,
            _field(logits="shares.log() - squares / (2 * (1 - t[:, :, 0]))"),
            "divide by the variance, the square of the deviation",
        ),
        "the likelier the farther": (
            1,
            _field(logits="shares.log() + squares / (2 * (1 - t[:, :, 0]).square())"),
            "the nearer point is the likelier one|the probability of the data 1 is",
        ),
        "powers before the sum": (
            3,
            _field(result="logits.exp() / logits.exp().sum(dim=1, keepdim=True)"),
            "Subtract before you take powers",
        ),
        "a small number against nan": (
            2,
            _field(
                result="(logits.exp() + 1e-9) "
                "/ (logits.exp() + 1e-9).sum(dim=1, keepdim=True)"
            ),
            "Subtract before you take powers",
        ),
        "one time for all rows": (
            3,
            _field(time="time[:1, None, None]"),
            "Each row has its own time",
        ),
        "the mean of the data alone": (
            1,
            _field(velocity="mean"),
            "this is the mean of the data",
        ),
        "not divided by the rest of the time": (
            1,
            _field(velocity="mean - points"),
            "the rest of the way is to be gone in the rest of the time",
        ),
        "divided by the time": (
            1,
            _field(velocity="(mean - points) / time[:, None]"),
            "the rest of the time is 1 - t, not t",
        ),
        "to the likeliest point": (
            2,
            _field(mean="data[posterior(points, time, data, shares).argmax(dim=1)]"),
            "this goes to the likeliest point alone, and v is a mean",
        ),
        "the step goes to the nearest data": (
            3,
            _field(_SAID.replace("ends_at = 1.0", "ends_at = 0")),
            "At t = 0 the point tells nothing of the data",
        ),
        "the loss of a perfect network is thought to be zero": (
            3,
            _field(_SAID.replace("False", "True")),
            "ask what is still uncertain",
        ),
        "answers as text": (
            3,
            _field(_SAID.replace("= True", '= "True"')),
            "zero_for_one must be True or False without quotes; got 'True'",
        ),
    },
    "q3": {
        "pairs are not put together": (
            1,
            _marginal(same="torch.eye(len(points), dtype=torch.bool)"),
            "pairs that are at one point count as one point",
        ),
        "pairs that never occur": (
            1,
            _marginal(counted="joint >= 0"),
            "no pair of positive probability is at 3",
        ),
        "noise minus data": (
            2,
            _marginal(target="noise[j] - data[i]"),
            "the velocity is data minus noise",
        ),
        "a plain mean of those that meet": (
            1,
            _marginal(
                summed="targets",
                divided="torch.bincount(first)[here, None]",
            ),
            "pairs that meet are weighted with their probabilities",
        ),
        "not divided by the share": (
            1,
            _marginal(divided="1"),
            "divide by the probability of being there",
        ),
        "one coordinate is enough": (
            3,
            _marginal(same="(points[:, None] - points).abs().amin(dim=2) < 1e-6"),
            "agree in one coordinate only",
        ),
        "equal to the last digit": (
            2,
            _marginal(same="(points[:, None] == points).all(dim=2)"),
            "Points that should be equal may differ in the last digit",
        ),
        "what is explained": (
            2,
            _marginal(result="explained.item()"),
            "this is what the marginal velocity explains",
        ),
        "the loss of a network that says nothing": (
            2,
            _marginal(result="whole.item()"),
            "this is the loss of a network that says 0",
        ),
        "a root": (
            2,
            _marginal(result="(whole - explained).sqrt().item()"),
            "this is a root",
        ),
        "one velocity for all points": (
            2,
            _marginal(
                explained="(shares[:, None] * velocities).sum(dim=0).square().sum()"
            ),
            "the velocity depends on the point; this takes one for all",
        ),
        "a mean over the coordinates": (
            3,
            _marginal(
                over="mean",
                explained="(shares * velocities.square().mean(dim=1)).sum()",
            ),
            "summed over the coordinates",
        ),
        "a tensor in place of a number": (
            3,
            _marginal(result="whole - explained"),
            "least_loss must return a float; yours is of type Tensor",
        ),
        "all four pairs are thought to be certain": (
            3,
            _marginal(_CROSSING.replace("2.0", "0.0")),
            "Of the four pairs two meet at 0",
        ),
        "independent pairs are thought to be the worst": (
            3,
            _marginal(_CROSSING.replace("True", "False")),
            "Then let all pairs meet",
        ),
        "answers as text": (
            3,
            _marginal(_CROSSING.replace("2.0", '"2.0"')),
            "independent must be a number without quotes; got '2.0'",
        ),
    },
    "q4": {
        "Euler whatever the matrix says": (
            2,
            _follow(points="points + h * slopes[0]"),
            "this is Euler's method",
        ),
        "one time a step": (
            2,
            _follow(time="points.new_full((len(points),), now)"),
            "each slope has a time of its own",
        ),
        "inner points without the step": (
            2,
            _follow(at="points + inner"),
            "after two steps of Heun's method the point is at 3.2812",
        ),
        "slopes added up": (
            2,
            _follow(points="points + h * sum(slopes)"),
            "the weights of the slopes are b|the sum of the slopes is weighted",
        ),
        "one time for all rows": (
            2,
            _follow(time="torch.tensor(now + node * h)"),
            "the field takes a time for each row",
        ),
        "the first step's length for all": (
            3,
            _follow(h="(times[1] - times[0]).item()"),
            "with uneven times and several rows",
        ),
        "only the last slope leads on": (
            3,
            _follow(inner="sum(row) * slopes[-1] if slopes else 0 * points"),
            "Slopes of later stages use all earlier ones",
        ),
        "the chapter's two methods": (
            3,
            """
def follow(field, start, times, matrix, weights):
    points = start
    for now, then in zip(times.tolist(), times[1:].tolist()):
        at = lambda t: points.new_full((len(points),), t)
        here = field(points, at(now))
        if len(weights) > 1:
            guess = points + (then - now) * here
            here = (here + field(guess, at(then))) / 2
        points = points + (then - now) * here
    return points
"""
            + _ORDER.format(**_RIGHT_ORDER)
            + _PROMISED,
            "Compare with Euler, the midpoint method",
        ),
        "the slope's sign": (
            2,
            _follow(result="((x * y).sum() / x.square().sum()).item()"),
            "errors fall, and p is positive",
        ),
        "the other regression": (
            3,
            _follow(result="-(y.square().sum() / (x * y).sum()).item()"),
            "the least-squares line through all of them",
        ),
        "first and last run only": (
            3,
            _follow(result="-((y[-1] - y[0]) / (x[-1] - x[0])).item()"),
            "the least-squares line through all of them",
        ),
        "a line through the origin": (
            2,
            _follow(slope="pass"),
            "the order is 2; yours is",
        ),
        "two passes a step": (
            3,
            _follow(_PROMISED.replace("20", "40")),
            "A step of Heun costs two answers, four passes",
        ),
        "the order is thought to decide": (
            3,
            _follow(_PROMISED.replace("False", "True")),
            "Think of steps that are as long as the curves",
        ),
        "answers as text": (
            3,
            _follow(_PROMISED.replace("20", '"20"')),
            "heun_steps must be a number without quotes; got '20'",
        ),
    },
    "q5": {
        "call by call": (
            2,
            _CALL_BY_CALL + _RESCALED.format(**_RIGHT_RESCALED) + _DRAWN,
            "the field is called once; you called it 3 times",
        ),
        "the empty caption always": (
            2,
            _composed(kept="True"),
            "and -1.0. need the rows|need the rows",
        ),
        "the other convention": (
            2,
            _composed(left="-sum(weights)"),
            "this is the other convention|make -8.0; yours are",
        ),
        "nothing for the empty caption": (
            2,
            _composed(left="0"),
            "the empty caption has the weight 1 - 1.5",
        ),
        "all of the empty caption": (
            2,
            _composed(left="1"),
            "each caption adds its difference from the empty one",
        ),
        "only exact zeros are left out": (
            3,
            _composed(kept="w != 0"),
            "differs from 1 in the last digit",
        ),
        "rows and captions in different orders": (
            3,
            _composed(rows="points.repeat_interleave(many, 0)"),
            "Points and times of a row go together with each of its captions",
        ),
        "one time for all rows": (
            3,
            _composed(times="time[:1].repeat(len(asked))"),
            "Points and times of a row go together with each of its captions",
        ),
        "a variance": (
            2,
            _composed(
                ratio="told.var(dim=1, keepdim=True) / guided.var(dim=1, keepdim=True)"
            ),
            "a deviation, not a variance",
        ),
        "the ratio the other way round": (
            2,
            _composed(
                ratio="guided.std(dim=1, keepdim=True) / told.std(dim=1, keepdim=True)"
            ),
            "divide by the deviation of guided",
        ),
        "one deviation for all rows": (
            3,
            _composed(ratio="told.std() / guided.std()"),
            "Every row has a ratio of its own",
        ),
        "mixed with what was told": (
            2,
            _composed(result="share * told + (1 - share) * guided"),
            "share times the scaled velocity of guided, not told's",
        ),
        "scaled round its mean": (
            2,
            _composed(
                result="share * ((guided - guided.mean(1, keepdim=True)) * ratio"
                " + guided.mean(1, keepdim=True)) + (1 - share) * guided"
            ),
            "nothing is moved; the row is only scaled",
        ),
        "share left out": (
            2,
            _composed(result="guided * ratio"),
            "this is share 1",
        ),
        "the negative caption's sign": (
            3,
            _composed(_DRAWN.replace("-3", "3")),
            "as a sum of two velocities",
        ),
        "three velocities for two captions": (
            3,
            _composed(_DRAWN.replace("32", "48")),
            "as a sum of two velocities",
        ),
        "guidance is thought to stay with its caption": (
            3,
            _composed(_DRAWN.replace("4.0", "2.0")),
            "guidance only moves the mean",
        ),
        "answers as text": (
            3,
            _composed(_DRAWN.replace("-3", '"-3"')),
            "negative_weight must be a number without quotes; got '-3'",
        ),
    },
    "q6": {
        "a point is taken for data": (
            1,
            _noisier(share="earlier", variance="(1 - earlier) ** 2"),
            "this mixes the point with noise as if it were data",
        ),
        "all noise is new": (
            1,
            _noisier(variance="(1 - earlier) ** 2"),
            "the point has noise in it already",
        ),
        "deviations are subtracted": (
            1,
            _noisier(new="(1 - earlier - kept * (1 - now))"),
            "variances add up, deviations do not",
        ),
        "the old noise does not shrink": (
            1,
            _noisier(variance="(1 - earlier) ** 2 - (1 - now) ** 2"),
            "the old noise shrinks together with the data",
        ),
        "the point stays as it is": (
            1,
            _noisier(
                share="1",
                variance="(1 - earlier) ** 2 - (earlier / now * (1 - now))**2",
            ),
            "of the data earlier / now is left",
        ),
        "True is drawn": (
            2,
            _noisier(
                held="torch.where(mask, points, then * known + (1 - then) * draw())"
            ),
            "True is known and stays; False is drawn",
        ),
        "nothing is held": (
            2,
            _noisier(held="points"),
            "the known part is put back",
        ),
        "held before the step": (
            2,
            _noisier(
                held="points",
                asked_at="now); points = torch.where(mask, now * known + (1 - now) "
                "* draw(), points",
            ),
            "the known part is put back after the last step, too",
        ),
        "the known part without noise": (
            3,
            _noisier(held="torch.where(mask, known, points)"),
            "Noise is drawn once for the known part in every try",
        ),
        "back after the last try, too": (
            2,
            _noisier(again="True"),
            r"the end is \[5, 1\]",
        ),
        "never back": (
            3,
            _noisier(again="False"),
            "Write down the order of events",
        ),
        "back with the same noise": (
            3,
            _noisier(back="noisier(points, then, now, start)"),
            "Noise is drawn once for the known part in every try",
        ),
        "asked at the end of the step": (
            2,
            _noisier(asked_at="then"),
            "the field is asked at 0 and 0.5",
        ),
        "tries are thought to be free": (
            3,
            _noisier(_BOUGHT.replace("100", "20")),
            "Each try is one Euler step",
        ),
        "putting back is thought to be enough": (
            3,
            _noisier(_BOUGHT.replace("False", "True")),
            "moves by a mean over all that the known one could be",
        ),
        "answers as text": (
            3,
            _noisier(_BOUGHT.replace("100", '"100"')),
            "asked must be a number without quotes; got '100'",
        ),
    },
}

# The functions as the chapter prints them, fitted to the names and shapes asked for.
COPIED: dict[str, str] = {
    "q1": """
def ends(prediction, kind, points, a, s, a_rate, s_rate):
    t = a[:, None]
    return points + (1 - t) * prediction, points - t * prediction
""",
    "q2": """
def posterior(points, time, data, shares):
    squares = (points[:, None] - time[:, None, None] * data).square().sum(dim=2)
    return (-squares / (2 * (1 - time[:, None]).square())).softmax(dim=1)
def field(points, time, data, shares):
    mean = posterior(points, time, data, shares) @ data
    return (mean - points) / (1 - time[:, None])
""",
    "q3": """
def marginal(data, noise, joint, time):
    points = time * data + (1 - time) * noise
    return points, data - noise, joint
""",
    "q4": """
def follow(field, start, times, matrix, weights):
    points = start
    for now, then in zip(times.tolist(), times[1:].tolist()):
        here = field(points, points.new_full((len(points),), now))
        guess = points + (then - now) * here
        if then == 1:
            points = guess
        else:
            there = field(guess, points.new_full((len(points),), then))
            points = points + (then - now) * (here + there) / 2
    return points
""",
    "q5": """
def composed(field, points, time, captions, weights):
    told = field(points, time, captions * len(points))
    untold = field(points, time, [""] * len(points))
    return untold + weights[0] * (told - untold)
""",
    "q6": """
def noisier(points, now, earlier, noise):
    return earlier * points + (1 - earlier) * noise
def repaint(field, known, mask, start, times, tries, draw):
    points = start
    for now, then in zip(times.tolist(), times[1:].tolist()):
        time = points.new_full((len(points),), now)
        points = points + (then - now) * field(points, time)
        points = torch.where(mask, then * known + (1 - then) * start, points)
    return points
""",
}
