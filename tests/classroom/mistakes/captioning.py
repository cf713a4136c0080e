"""Wrong answers on captioning: question -> name -> (points, answer, hint)."""

_FORCING = """
def teacher_forcing(captions, width):
    inputs = torch.full((len(captions), width), PAD)
    targets = inputs.clone()
    for row, words in enumerate(captions):
        told = {told}
        targets[row, : len(told)] = torch.tensor(told)
        read = {read}
        inputs[row, : len(read)] = torch.tensor(read)
    mask = {mask}
    return inputs, targets, mask
"""
_RIGHT_FORCING = {
    "told": "[*words, END][:width]",
    "read": "[START, *words][: len(told)]",
    "mask": "targets != PAD",
}
_LOSS = """
def told_loss(logits, targets, mask):
    costs = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    return {result}
"""
_RIGHT_LOSS = "F.cross_entropy(logits[mask], targets[mask])"
_LEARNED = "predictions = 18\ncaptions_alike = False\nlearns_to_stop = False\n"


def _forcing(answers: str = _LEARNED, **changed: str) -> str:
    loss = _LOSS.format(result=_RIGHT_LOSS)
    return _FORCING.format(**_RIGHT_FORCING | changed) + loss + answers


def _told(result: str) -> str:
    forcing = _FORCING.format(**_RIGHT_FORCING)
    return forcing + _LOSS.format(result=result) + _LEARNED


_LOOK = """
def look(h, regions, there, W, U, w, gate):
    inner = {inner}
    scores = {scores}
    weights = {weights}
    context = {context}
    beta = {beta}
    return {result}
"""
_RIGHT_LOOK = {
    "inner": "(h @ W.T)[:, None] + regions @ U.T",
    "scores": "torch.tanh(inner) @ w",
    "weights": "scores.masked_fill(~there, -torch.inf).softmax(dim=1)",
    "context": "(weights[:, :, None] * regions).sum(dim=1)",
    "beta": "torch.sigmoid(h @ gate)[:, None]",
    "result": "beta * context, weights",
}
_COVERAGE = """
def coverage(weights, counted, there):
    looked = {looked}
    return {penalty}
"""
_RIGHT_COVERAGE = {
    "looked": "(weights * counted[:, :, None]).sum(dim=1)",
    "penalty": "((1 - looked) ** 2 * there).sum(dim=1).mean()",
}
_LIMITS = """
least_penalty = 29.469
state_without_tanh = False
longer_than_regions = False
"""


def _look(answers: str = _LIMITS, **changed: str) -> str:
    coverage = _COVERAGE.format(**_RIGHT_COVERAGE)
    return _LOOK.format(**_RIGHT_LOOK | changed) + coverage + answers


def _coverage(**changed: str) -> str:
    look = _LOOK.format(**_RIGHT_LOOK)
    return look + _COVERAGE.format(**_RIGHT_COVERAGE | changed) + _LIMITS


_WORDS = """
def next_words(logits, never, temperature, top_p, u):
    allowed = {allowed}
    if temperature == 0:
        return {greedy}
    allowed = allowed - {largest}
    shares = {shares}
    falling, order = shares.sort(dim=1, descending={descending})
    before = falling.cumsum(dim=1) - falling
    falling = falling.masked_fill({out}, 0.0)
    falling = {kept}
    sums = falling.cumsum(dim=1)
    place = (sums <= u.double()[:, None] * {total}).sum(dim=1)
    place = torch.minimum(place, (falling > 0).sum(dim=1) - 1).clamp(min=0)
    return {result}
"""
_RIGHT_WORDS = {
    "allowed": "logits.double().masked_fill(never, -torch.inf)",
    "greedy": "allowed.argmax(dim=1)",
    "largest": "allowed.amax(dim=1, keepdim=True)",
    "shares": "(allowed / temperature).softmax(dim=1)",
    "descending": "True",
    "out": "before >= top_p",
    "kept": "falling",
    "total": "sums[:, -1:]",
    "result": "order.gather(1, place[:, None])[:, 0]",
}
_DISTINCT = """
def expected_distinct(shares, n):
    return {expected}
"""
_RIGHT_DISTINCT = "(1 - (1 - shares.double()) ** n).sum().item()"
_KEPT = "kept = 2\nkept_hot = 3\ntiny_p_is_greedy = True\n"


def _words(answers: str = _KEPT, **changed: str) -> str:
    distinct = _DISTINCT.format(expected=_RIGHT_DISTINCT)
    return _WORDS.format(**_RIGHT_WORDS | changed) + distinct + answers


def _distinct(expected: str) -> str:
    words = _WORDS.format(**_RIGHT_WORDS)
    return words + _DISTINCT.format(expected=expected) + _KEPT


_BEAM = """
def beam(next_log_p, width, max_words, power):
    open_ones, done = [((), 0.0)], []
    for length in range(1, max_words + 1):
        longer = []
        for words, log_p in open_ones:
            for word, more in enumerate(next_log_p(words).tolist()):
                if {skip}:
                    continue
                if word != END:
                    longer.append(((*words, word), {longer_p}))
                elif {may_end}:
                    done.append(({ended}, {ended_p}, {ended_n}))
        longer.sort(key=lambda pair: pair[1], reverse=True)
        open_ones = longer[:{room}]
        {then}
    {cut}
    scored = [(words, {score}) for words, log_p, n in done]
    return {result}
"""
_RIGHT_BEAM = {
    "skip": "more == -math.inf",
    "longer_p": "log_p + more",
    "may_end": "words",
    "ended": "words",
    "ended_p": "log_p + more",
    "ended_n": "length",
    "room": "width",
    "then": "pass",
    "cut": "done += [(words, log_p, max_words) for words, log_p in open_ones]",
    "score": "log_p / ((5 + n) / 6) ** power",
    "result": "sorted(scored, key=lambda pair: -pair[1])[:width]",
}
_TIE = """
def tie_power(shorter, longer):
    (short_p, short_n), (long_p, long_n) = shorter, longer
    return {power}
"""
_RIGHT_TIE = "math.log(long_p / short_p) / math.log((5 + long_n) / (5 + short_n))"
_SEARCHES = """
likeliest_words = 1
wider_is_likelier = False
same_length_reordered = False
"""


def _beam(answers: str = _SEARCHES, **changed: str) -> str:
    tie = _TIE.format(power=_RIGHT_TIE)
    return _BEAM.format(**_RIGHT_BEAM | changed) + tie + answers


def _tie(power: str) -> str:
    beam = _BEAM.format(**_RIGHT_BEAM)
    return beam + _TIE.format(power=power) + _SEARCHES


_CIDER = """
def cider_d(captions, references):
    likeness = likeness_by(references)
    rows = [
        [{combined} for n in (1, 2, 3, 4)]
        for caption, texts in zip(captions, references)
    ]
    return {scores}
"""
_LIKENESS = """
def runs_of(text, n):
    return Counter({runs})
def likeness_by(references):
    pictures = Counter({seen})
    def weighed(text, n):
        runs = runs_of(text, n)
        return {{run: {weight} for run, count in runs.items()}}
    def likeness(caption, text, n):
        own, known = weighed(caption, n), weighed(text, n)
        lengths = {lengths}
        if lengths == 0:
            return {nothing}
        shared = sum({shared} for r in own.keys() & known)
        apart = {apart}
        return shared / lengths * {penalty}
    return likeness
"""
_PEOPLE = """
def people(references):
    likeness = likeness_by({rarity})
    found = []
    for texts in references:
        pairs = {pairs}
        total = sum(likeness(a, b, n) for a, b in pairs for n in {orders})
        found.append(total / {mean} / len(pairs))
    return {result}
"""
_RIGHT_CIDER = {
    "combined": "sum(likeness(caption, text, n) for text in texts) / len(texts)",
    "scores": "10 * torch.tensor(rows)",
}
_RIGHT_LIKENESS = {
    "runs": "tuple(text[i : i + n]) for i in range(len(text) - n + 1)",
    "seen": """
        run
        for texts in references
        for run in {r for text in texts for n in (1, 2, 3, 4) for r in runs_of(text, n)}
    """,
    "weight": "count * math.log(len(references) / max(1, pictures[run]))",
    "lengths": "math.hypot(*own.values()) * math.hypot(*known.values())",
    "nothing": "0.0",
    "shared": "min(own[r], known[r]) * known[r]",
    "apart": "len(caption) - len(text)",
    "penalty": "math.exp(-(apart**2) / 72)",
}
_RIGHT_PEOPLE = {
    "rarity": "references",
    "pairs": """[
        (a, b) for i, a in enumerate(texts) for j, b in enumerate(texts) if i != j
    ]""",
    "orders": "(1, 2, 3, 4)",
    "mean": "4",
    "result": "10 * torch.tensor(found)",
}
_MEASURES = "two_words = 5\nalone = 0\nwrong_fact_is_zero = False\n"


def _cider(answers: str = _MEASURES, **changed: str) -> str:
    parts = (
        (_CIDER, _RIGHT_CIDER),
        (_LIKENESS, _RIGHT_LIKENESS),
        (_PEOPLE, _RIGHT_PEOPLE),
    )
    unknown = set(changed) - {name for _, right in parts for name in right}
    assert not unknown, unknown
    made = [
        text.format(**right | {k: v for k, v in changed.items() if k in right})
        for text, right in parts
    ]
    return "".join(made) + answers


_CRITICAL = """
def self_critical(logits, tokens, rewards, greedy):
    log_p = {every}.gather(3, {drawn})[..., 0]
    counts = {counts}
    log_p = {summed}
    advantages = {advantages}
    return {loss}
"""
_RIGHT_CRITICAL = {
    "every": "logits.log_softmax(dim=3)",
    "drawn": "tokens[..., None]",
    "counts": "tokens != PAD",
    "summed": "log_p.masked_fill(~counts, 0.0).sum(dim=2)",
    "advantages": "(rewards - greedy[:, None]).detach()",
    "loss": "-(advantages * log_p).mean()",
}
_OTHERS = """
def leave_one_out(rewards):
    others = {others}
    return {result}
"""
_RIGHT_OTHERS = {
    "others": "(rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)",
    "result": "rewards - others",
}
_BASELINES = """
own_included = 0.8
baseline_moves_mean = False
end_may_be_left_out = False
"""


def _critical(answers: str = _BASELINES, **changed: str) -> str:
    others = _OTHERS.format(**_RIGHT_OTHERS)
    return _CRITICAL.format(**_RIGHT_CRITICAL | changed) + others + answers


def _others(**changed: str) -> str:
    critical = _CRITICAL.format(**_RIGHT_CRITICAL)
    return critical + _OTHERS.format(**_RIGHT_OTHERS | changed) + _BASELINES


MISTAKES: dict[str, dict[str, tuple[float, str, str]]] = {
    "q1": {
        "the end does not count": (
            2,
            _forcing(mask="(targets != PAD) & (targets != END)"),
            "the end counts",
        ),
        "the end is not told": (
            2,
            _forcing(told="words[:width]"),
            "after the last word the end is told",
        ),
        "padding counts": (
            3,
            _forcing(mask="torch.ones_like(targets, dtype=torch.bool)"),
            "one word less than there are places",
        ),
        "the network reads what it is to tell": (
            2,
            _forcing(read="told"),
            "the network would read what it is to tell",
        ),
        "the end is read": (
            3,
            _forcing(read="[START, *words, END][:width]"),
            "Compare with lists that you fill by hand",
        ),
        "a cut caption ends": (
            2,
            _forcing(told="[*words[: width - 1], END]"),
            "a caption that is cut goes on",
        ),
        "a mask of numbers": (
            3,
            _forcing(mask="(targets != PAD).long()"),
            "int64 and mask bool",
        ),
        "the sum": (2, _told("costs[mask].sum()"), "not the sum"),
        "the mean over all places": (
            2,
            _told("costs.masked_fill(~mask, 0).mean()"),
            "over the places that count, not over all",
        ),
        "captions count alike": (
            2,
            _told("((costs * mask).sum(dim=1) / mask.sum(dim=1)).mean()"),
            "not every caption",
        ),
        "the mask is forgotten": (
            2,
            _told("costs.mean()"),
            "places that do not count are in the mean",
        ),
        "times the mask": (
            3,
            _told("(costs * mask).sum() / mask.sum()"),
            "may be infinite or NaN",
        ),
        "a gradient of NaN": (
            3,
            _told("torch.where(mask, costs, 0.0).sum() / mask.sum()"),
            "neither the loss nor its gradient",
        ),
        "the end is forgotten in the count": (
            3,
            _forcing(_LEARNED.replace("18", "16")),
            "A caption of n words tells",
        ),
        "a cut caption is thought to end": (
            3,
            _forcing(_LEARNED.replace("18", "19")),
            "if there is room",
        ),
        "captions are thought to count alike": (
            3,
            _forcing(_LEARNED.replace("alike = False", "alike = True")),
            "A caption of n words tells",
        ),
        "the end is thought to come by itself": (
            3,
            _forcing(_LEARNED.replace("stop = False", "stop = True")),
            "what is never told is never learned",
        ),
        "answers as text": (
            3,
            _forcing(_LEARNED.replace("18", '"18"')),
            "predictions must be a number without quotes; got '18', of type str",
        ),
    },
    "q2": {
        "all places take part": (
            2,
            _look(weights="scores.softmax(dim=1)"),
            "a region that is not there has taken part",
        ),
        "hidden after the softmax": (
            2,
            _look(weights="scores.softmax(dim=1) * there"),
            "a region that is not there has taken part",
        ),
        "hidden with zeros": (
            2,
            _look(weights="scores.masked_fill(~there, 0.0).softmax(dim=1)"),
            "",
        ),
        "no tanh": (2, _look(scores="inner @ w"), "tanh is missing"),
        "w is forgotten": (
            2,
            _look(scores="torch.tanh(inner).sum(dim=2)"),
            "each entry of tanh is multiplied by that of w",
        ),
        "maps exchanged": (
            2,
            _look(inner="(h @ U.T)[:, None] + regions @ W.T"),
            "",
        ),
        "softmax over the batch": (
            2,
            _look(weights="scores.masked_fill(~there, -torch.inf).softmax(dim=0)"),
            "",
        ),
        "no gate": (2, _look(beta="1.0"), "the gate is missing"),
        "weights times gate": (
            2,
            _look(result="beta * context, beta * weights"),
            "the weights themselves are asked for",
        ),
        "a gate of the context": (
            2,
            _look(beta="torch.sigmoid(context @ gate)[:, None]"),
            "the context is",
        ),
        "the mean region": (2, _look(context="regions.mean(dim=1)"), "the context is"),
        "a word's weights are added": (
            2,
            _coverage(
                looked="(weights * counted[:, :, None]).sum(dim=2)",
                penalty="((1 - looked) ** 2 * counted).sum(dim=1).mean()",
            ),
            "not those of a word over the regions",
        ),
        "all places count": (
            2,
            _coverage(looked="weights.sum(dim=1)"),
            "the third place does not count",
        ),
        "all regions count": (
            3,
            _coverage(penalty="((1 - looked) ** 2).sum(dim=1).mean()"),
            "regions that are not there are left out",
        ),
        "the sum of all pictures": (
            3,
            _coverage(penalty="((1 - looked) ** 2 * there).sum()"),
            "pictures are averaged",
        ),
        "the mean of the regions": (
            2,
            _coverage(
                penalty="(((1 - looked) ** 2 * there).sum(1) / there.sum(1)).mean()"
            ),
            "the sum over the regions is asked for",
        ),
        "differences are not squared": (
            2,
            _coverage(penalty="((1 - looked).abs() * there).sum(dim=1).mean()"),
            "the differences are squared",
        ),
        "the end is forgotten": (
            3,
            _look(_LIMITS.replace("29.469", "31.041")),
            "the number of places that are told",
        ),
        "tanh is thought superfluous": (
            3,
            _look(_LIMITS.replace("tanh = False", "tanh = True")),
            "added to all scores of a picture",
        ),
        "answers as text": (
            3,
            _look(_LIMITS.replace("tanh = False", 'tanh = "no"')),
            "state_without_tanh must be True or False without quotes; got 'no'",
        ),
    },
    "q3": {
        "nothing is forbidden": (
            1,
            _words(allowed="logits.double()"),
            "it is forbidden",
        ),
        "forbidden in place": (
            3,
            _words(
                allowed="logits.masked_fill_(never, -torch.inf).double()",
            ),
            "the inputs stay as they are",
        ),
        "forbidden after the nucleus": (
            1,
            _words(
                shares="(logits.double() / temperature).softmax(1)",
                kept="falling.masked_fill(never[order], 0.0)",
            ),
            "",
        ),
        "greedy forgets what is forbidden": (
            2,
            _words(greedy="logits.argmax(dim=1)"),
            "it is forbidden",
        ),
        "times the temperature": (
            1,
            _words(shares="(allowed * temperature).softmax(dim=1)"),
            "at temperature 2",
        ),
        "the temperature after the nucleus": (
            2,
            _words(
                shares="allowed.softmax(dim=1)",
                kept="falling ** (1 / temperature)",
            ),
            "",
        ),
        "exponentials overflow": (
            3,
            _words(
                largest="0.0",
                shares="(allowed / temperature).exp() / "
                "(allowed / temperature).exp().sum(dim=1, keepdim=True)",
            ),
            "temperatures near 0",
        ),
        "the word that reaches top_p is left out": (
            2,
            _words(out="falling.cumsum(dim=1) > top_p"),
            "the word that reaches it is kept too",
        ),
        "the least likely are kept": (1, _words(descending="False"), ""),
        "one word too many": (
            2,
            _words(out="before - falling >= top_p"),
            "",
        ),
        "not divided by what is kept": (
            2,
            _words(total="1.0"),
            "divide by the sum of the words that are kept",
        ),
        "in the order of the numbers": (
            2,
            _words(
                kept="torch.zeros_like(falling).scatter(1, order, falling)",
                result="place",
            ).replace("torch.minimum(place, (falling > 0).sum(dim=1) - 1)", "place"),
            "not in the order of the numbers",
        ),
        "places among the sorted": (
            1,
            _words(result="place"),
            "these are places among the sorted words",
        ),
        "as many as are drawn": (
            2,
            _distinct("float(min(n, len(shares)))"),
            "in half of the cases both are the same",
        ),
        "those that are not drawn": (
            2,
            _distinct("((1 - shares.double()) ** n).sum().item()"),
            "this counts those that are not drawn",
        ),
        "expected numbers": (
            2,
            _distinct("(n * shares.double()).clamp(max=1).sum().item()"),
            "in half of the cases both are the same",
        ),
        "one more is thought to be kept": (
            3,
            _words(_KEPT.replace("kept = 2", "kept = 3")),
            "until 0.75 is reached",
        ),
        "the temperature is thought to keep the nucleus": (
            3,
            _words(_KEPT.replace("hot = 3", "hot = 2")),
            "takes the root of each share",
        ),
        "a tiny nucleus is thought to draw": (
            3,
            _words(_KEPT.replace("True", "False")),
            "",
        ),
        "answers as text": (
            3,
            _words(_KEPT.replace("True", '"True"')),
            "tiny_p_is_greedy must be True or False without quotes; got 'True'",
        ),
    },
    "q4": {
        "the power is forgotten": (1, _beam(score="log_p"), "with power 1"),
        "by the length itself": (
            1,
            _beam(score="log_p / n**power"),
            "by \\(5 \\+ n\\) / 6 is asked for",
        ),
        "the end is no part of the length": (
            1,
            _beam(ended_n="length - 1"),
            "END counts in n",
        ),
        "the end counts where there is none": (
            2,
            _beam(
                cut="done += [(words, log_p, max_words + 1) "
                "for words, log_p in open_ones]"
            ),
            "Captions without END",
        ),
        "the end costs nothing": (
            1,
            _beam(ended_p="log_p"),
            "",
        ),
        "empty captions": (
            2,
            _beam(may_end="True"),
            "At|trying all of them",
        ),
        "what ended takes room": (
            1,
            _beam(room="max(width - len(done), 0)"),
            "takes no room from those that are open",
        ),
        "the search ends with the first": (
            1,
            _beam(then="if done: break", cut="pass"),
            "",
        ),
        "cut captions are forgotten": (
            2,
            _beam(cut="pass"),
            "",
        ),
        "the least likely stay open": (
            3,
            _beam().replace("reverse=True", "reverse=False"),
            "",
        ),
        "all that ended": (
            1,
            _beam(result="sorted(scored, key=lambda pair: -pair[1])"),
            "the best 2 captions are asked for",
        ),
        "captions of probability 0": (
            3,
            _beam(skip="word in (PAD, START)"),
            "",
        ),
        "a tie without the 5": (
            2,
            _tie("math.log(long_p / short_p) / math.log(long_n / short_n)"),
            "with \\(5 \\+ n\\) / 6 in place of n",
        ),
        "a tie with the other sign": (
            2,
            _tie("math.log(short_p / long_p) / math.log((5 + long_n) / (5 + short_n))"),
            "the sign is the other way round",
        ),
        "a tie upside down": (
            2,
            _tie("math.log((5 + long_n) / (5 + short_n)) / math.log(long_p / short_p)"),
            "this is its inverse",
        ),
        "no tie below 0": (
            3,
            _tie(f"max(0.0, {_RIGHT_TIE})"),
            "must tie there",
        ),
        "the longest is thought likeliest": (
            3,
            _beam(_SEARCHES.replace("words = 1", "words = 20")),
            "multiplies by 0.1",
        ),
        "more beams are thought never to harm": (
            3,
            _beam(_SEARCHES.replace("likelier = False", "likelier = True")),
            "may push out the one that turns out best",
        ),
        "the power is thought to reorder": (
            3,
            _beam(_SEARCHES.replace("reordered = False", "reordered = True")),
            "a common divisor keeps an order",
        ),
        "answers as text": (
            3,
            _beam(_SEARCHES.replace("words = 1", 'words = "one"')),
            "likeliest_words must be a number without quotes; got 'one', of type str",
        ),
    },
    "q5": {
        "references are counted": (
            1,
            _cider(
                seen="r for texts in references for text in texts "
                "for n in (1, 2, 3, 4) for r in set(runs_of(text, n))"
            ),
            "",
        ),
        "all runs count alike": (
            1,
            _cider(weight="float(count)"),
            "runs count the more, the fewer pictures have them",
        ),
        "an unknown run divides by 0": (
            2,
            _cider(weight="count * math.log(len(references) / pictures[run])"),
            "",
        ),
        "nothing is clipped": (
            1,
            _cider(shared="own[r] * known[r]"),
            "a run counts at most as often as in the reference",
        ),
        "sets of runs": (
            1,
            _cider(runs="{tuple(text[i : i + n]) for i in range(len(text) - n + 1)}"),
            "how often a run occurs",
        ),
        "the caption's length alone divides": (
            1,
            _cider(lengths="math.hypot(*own.values()) ** 2"),
            "",
        ),
        "no penalty": (1, _cider(penalty="1.0"), "the lengths differ by a word"),
        "the penalty without its 2": (
            1,
            _cider(penalty="math.exp(-(apart**2) / 36)"),
            "exp\\(-d\\^2 / \\(2 \\* 6\\^2\\)\\)",
        ),
        "only what is too long is punished": (
            1,
            _cider(apart="max(0, len(caption) - len(text))"),
            "the lengths differ by a word",
        ),
        "without 10": (
            2,
            _cider(scores="torch.tensor(rows)"),
            "a perfect caption scores 10",
        ),
        "the best reference": (
            3,
            _cider(combined="max(likeness(caption, text, n) for text in texts)"),
            "several references a picture",
        ),
        "the sum over references": (
            3,
            _cider(combined="sum(likeness(caption, text, n) for text in texts)"),
            "several references a picture",
        ),
        "the mean over n": (
            2,
            _cider(scores="10 * torch.tensor(rows).mean(dim=1)"),
            "a row a picture, a column a length of the runs",
        ),
        "an empty caption is perfect": (
            1,
            _cider(nothing="1.0"),
            "a caption of three words has no run of four",
        ),
        "people are scored by themselves": (
            2,
            _cider(pairs="[(a, b) for a in texts for b in texts]"),
            "a caption must not be scored by itself",
        ),
        "equal captions are left out": (
            2,
            _cider(
                pairs="[(a, b) for a in texts for b in texts if a != b] "
                "or [(texts[0], texts[0])]"
            ),
            "",
        ),
        "people without the mean over n": (
            2,
            _cider(mean="1"),
            "the mean over the four lengths of runs is asked for",
        ),
        "people by the runs that they have": (
            3,
            _cider(mean="min(4, max(map(len, texts)))"),
            "captions of two words have 0 for two of them",
        ),
        "two words are thought perfect": (
            3,
            _cider(_MEASURES.replace("5", "10")),
            "a caption of two words fills two",
        ),
        "one picture is thought enough": (
            3,
            _cider(_MEASURES.replace("alone = 0", "alone = 10")),
            "every run is in all pictures",
        ),
        "a wrong fact is thought to cost all": (
            3,
            _cider(_MEASURES.replace("False", "True")),
            "what two captions share counts",
        ),
        "answers as text": (
            3,
            _cider(_MEASURES.replace("5", '"5"')),
            "two_words must be a number without quotes; got '5', of type str",
        ),
    },
    "q6": {
        "the other sign": (
            1,
            _critical(loss="(advantages * log_p).mean()"),
            "the sign is the other way round",
        ),
        "the greedy caption is made likelier": (
            1,
            _critical(advantages="(greedy[:, None] - rewards).detach()"),
            "subtracted from the wrong side",
        ),
        "the end is left out": (
            1,
            _critical(counts="(tokens != PAD) & (tokens != END)"),
            "the end was drawn too",
        ),
        "padding counts": (
            1,
            _critical(counts="torch.ones_like(tokens, dtype=torch.bool)"),
            "what follows the end was not drawn",
        ),
        "the mean over words": (
            1,
            _critical(
                summed="log_p.masked_fill(~counts, 0.0).sum(dim=2) / counts.sum(dim=2)"
            ),
            "this is their mean",
        ),
        "the mean over all words": (
            1,
            _critical(loss="-(advantages * log_p).sum() / counts.sum()"),
            "this is a mean over words",
        ),
        "the sum over captions": (
            1,
            _critical(loss="-(advantages * log_p).sum()"),
            "not the sum",
        ),
        "no baseline": (
            2,
            _critical(advantages="rewards.detach()"),
            "the reward of the greedy caption is subtracted",
        ),
        "the mean of all greedy captions": (
            3,
            _critical(advantages="(rewards - greedy.mean()).detach()"),
            "Compare with loops over pictures and captions",
        ),
        "the baseline of another picture": (
            3,
            _critical(advantages="(rewards - greedy).detach()"),
            "as many of one as of the other",
        ),
        "a path through the rewards": (
            3,
            _critical(advantages="rewards - greedy[:, None]"),
            "Rewards are no path for the gradient",
        ),
        "probabilities": (
            1,
            _critical(every="logits.softmax(dim=3)"),
            "",
        ),
        "a softmax over the places": (
            1,
            _critical(every="logits.log_softmax(dim=2)"),
            "",
        ),
        "what is better only": (
            1,
            _critical(advantages="(rewards - greedy[:, None]).clamp(min=0).detach()"),
            "",
        ),
        "the own reward is included": (
            2,
            _others(others="rewards.mean(dim=1, keepdim=True)"),
            "without the own reward",
        ),
        "the baseline itself": (
            2,
            _others(result="others"),
            "subtract it from the reward",
        ),
        "the mean of the batch": (
            3,
            _others(others="(rewards.sum() - rewards) / (rewards.numel() - 1)"),
            "as many of one as of the other",
        ),
        "divided by the deviation": (
            2,
            _others(result="(rewards - others) / rewards.std(dim=1, keepdim=True)"),
            "",
        ),
        "the own reward is thought harmless": (
            3,
            _critical(_BASELINES.replace("0.8", "1.0")),
            "a fifth of the mean of five",
        ),
        "a baseline is thought to bias": (
            3,
            _critical(_BASELINES.replace("mean = False", "mean = True")),
            "may be subtracted",
        ),
        "the end is thought to be no choice": (
            3,
            _critical(_BASELINES.replace("out = False", "out = True")),
            "stopping has a probability",
        ),
        "answers as text": (
            3,
            _critical(_BASELINES.replace("0.8", '"4/5"')),
            "own_included must be a number without quotes; got '4/5', of type str",
        ),
    },
}

# The functions of chapter and package, fitted to the names and shapes asked for.
COPIED: dict[str, str] = {
    "q1": """
def teacher_forcing(captions, width):
    tokens = torch.zeros(len(captions), width, dtype=torch.int64)
    for row, words in enumerate(captions):
        tokens[row, : len(words[:width])] = torch.tensor(words[:width])
    lengths = torch.tensor([len(words) for words in captions])
    start = torch.full((len(tokens), 1), START)
    inputs = torch.cat([start, tokens[:, :-1]], dim=1)
    return inputs, tokens, torch.arange(width) < lengths[:, None] + 1
def told_loss(logits, targets, mask):
    wrong = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    return (wrong * mask).sum() / mask.sum()
""",
    "q2": """
def look(h, regions, there, W, U, w, gate):
    hidden = torch.tanh((h @ W.T)[:, None] + regions @ U.T)
    weights = (hidden @ w).masked_fill(~there, -torch.inf).softmax(dim=-1)
    context = (weights[:, None] @ regions)[:, 0]
    return torch.sigmoid(h @ gate)[:, None] * context, weights
def coverage(weights, counted, there):
    ...
""",
    "q3": """
def next_words(logits, never, temperature, top_p, u):
    logits = logits.masked_fill(never, -torch.inf)
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits - logits.amax(dim=-1, keepdim=True)
    shares = (logits / max(temperature, torch.finfo(logits.dtype).tiny)).softmax(-1)
    falling, order = shares.sort(dim=-1, descending=True)
    before = falling.cumsum(dim=-1) - falling
    falling = falling.masked_fill(before >= top_p, 0.0)
    shares = torch.zeros_like(shares).scatter_(-1, order, falling)
    shares = shares / shares.sum(dim=-1, keepdim=True)
    sums = shares.cumsum(dim=-1)
    return (sums <= u.to(shares)[..., None] * sums[..., -1:]).sum(dim=-1)
def expected_distinct(shares, n):
    ...
""",
    "q4": """
def beam(next_log_p, width, max_words, power):
    beams, done = [((), 0.0)], []
    for at in range(max_words):
        grown = []
        for words, log_p in beams:
            told = next_log_p(words).clone()
            if at == 0:
                told[END] = -torch.inf  # at least one word
            for word, more in enumerate(told.tolist()):
                grown.append(((*words, word), log_p + more))
        grown.sort(key=lambda each: -each[1])
        done += [each for each in grown if each[0][-1] == END]
        beams = [each for each in grown if each[0][-1] != END][:width]
    done += beams
    return sorted(done, key=lambda each: -each[1] / len(each[0]) ** power)[:width]
def tie_power(shorter, longer):
    ...
""",
    "q5": """
def cider_d(captions, references):
    def runs_of(words):
        return Counter(
            tuple(words[start : start + n])
            for n in range(1, 5)
            for start in range(len(words) - n + 1)
        )
    counted = [[runs_of(text) for text in texts] for texts in references]
    pictures = Counter(run for runs in counted for run in set().union(*runs))
    log_count = math.log(len(references))
    def weigh(runs):
        weights = [{}, {}, {}, {}]
        for run, count in runs.items():
            weights[len(run) - 1][run] = count * (
                log_count - math.log(max(1, pictures[run]))
            )
        length = sum(count for run, count in runs.items() if len(run) == 1)
        return weights, [math.hypot(*each.values()) for each in weights], length
    def likeness(one, other):
        total = 0.0
        for n in range(4):
            if one[1][n] and other[1][n]:
                known = other[0][n]
                dot = sum(
                    min(weight, known[run]) * known[run]
                    for run, weight in one[0][n].items()
                    if run in known
                )
                total += dot / (one[1][n] * other[1][n])
        return total / 4 * math.exp(-((one[2] - other[2]) ** 2) / 72)
    found = []
    for caption, texts in zip(captions, counted):
        own = weigh(runs_of(caption))
        found.append(10 * sum(likeness(own, weigh(t)) for t in texts) / len(texts))
    return torch.tensor(found)
def people(references):
    ...
""",
    "q6": """
def self_critical(logits, tokens, rewards, greedy):
    wrong = F.cross_entropy(logits.flatten(0, 2), tokens.flatten(), reduction="none")
    lengths = (tokens > END).sum(dim=2, keepdim=True)
    log_p = -wrong.view_as(tokens) * (torch.arange(tokens.shape[2]) < lengths + 1)
    advantage = (rewards - greedy[:, None]).detach()
    return -(advantage * log_p.sum(dim=2)).mean()
def leave_one_out(rewards):
    ...
""",
}
