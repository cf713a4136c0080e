"""The diagram of the chapter on attention."""

from diagrams import Diagram


def _multi_head() -> Diagram:
    diagram = Diagram(
        "Multi-head attention",
        "One sequence asks, x of shape (B, L, D), and one is asked, m of shape "
        "(B, S, D′). Linear maps turn x into queries and m into keys and values, which "
        "are cut into H heads of size D/H. Each head compares L queries with S keys, "
        "masks the scores, takes a softmax over the keys, and averages the values. The "
        "heads are put side by side again and mapped to the result, (B, L, D).",
    )
    diagram.row(
        28,
        x=("tensor", "x asks\n(B, L, D)"),
        memory=("tensor", "m is asked\n(B, S, D′)", 2.12),
    )
    diagram.row(
        28,
        query=("network", "W_Q"),
        key=("network", "W_K"),
        value=("network", "W_V"),
    )
    diagram.row(
        28,
        queries=("tensor", "queries\n(B, H, L, D/H)"),
        keys=("tensor", "keys\n(B, H, S, D/H)"),
        values=("tensor", "values\n(B, H, S, D/H)"),
    )
    diagram.row(
        28,
        scores=("tensor", "scores: queries · keys / √(D/H)\n(B, H, L, S)", 2.12),
        mask=("tensor", "mask\n(B, 1 or L, S)"),
    )
    diagram.row(
        28, weights=("tensor", "weights: softmax over the S keys\n(B, H, L, S)")
    )
    diagram.row(28, context=("tensor", "context: weights times values\n(B, H, L, D/H)"))
    diagram.row(28, output=("network", "heads side by side, W_O"))
    diagram.row(12, result=("tensor", "result\n(B, L, D)"))
    diagram.arrows(
        *(("x", "query"), ("memory", "key"), ("memory", "value")),
        *(("query", "queries"), ("key", "keys"), ("value", "values")),
        *(("queries", "scores"), ("keys", "scores"), ("scores", "weights")),
        *(("weights", "context"), ("context", "output"), ("output", "result")),
        ("mask", "scores"),
    )
    diagram.arrow("values", "context", side="right")
    return diagram


DIAGRAMS = {"attention-multi-head": _multi_head()}
