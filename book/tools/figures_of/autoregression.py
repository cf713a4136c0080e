"""The diagram of the chapter on autoregressive and masked generation."""

from diagrams import Diagram


def _architecture() -> Diagram:
    diagram = Diagram(
        "A causal Transformer that writes codes",
        "The words of the caption and the start token followed by all codes but the "
        "last become vectors, (B, T + N, D), with a learned vector of their place "
        "added. They pass through blocks of causal attention and a network for each "
        "token. A linear map gives logits (B, N, K) at the places of the start token "
        "and the codes. Each place's logits are compared with the code that comes "
        "next. In writing, the drawn code is read at the next place, and keys and "
        "values of all tokens before are kept in a cache.",
    )
    diagram.row(
        words=("tensor", "caption c\n(B, T) words"),
        codes=("tensor", "start, all codes\nbut the last: (B, N)", 1.3),
    )
    diagram.row(embed=("network", "tables: a vector for each word, code, place"))
    diagram.row(
        cache=("tensor", "cache, in writing:\nkeys and values of\nall tokens before"),
        block=("network", "blocks: causal attention,\nnetwork for each token", 1.25),
    )
    diagram.row(head=("network", "RMSNorm, linear map"))
    diagram.row(logits=("tensor", "logits of all codes\n(B, N, K)"))
    diagram.row(
        loss=("loss", "in training:\n−log q(kᵢ | k₁ … kᵢ₋₁, c)", 1.7),
        drawn=("tensor", "in writing:\ndrawn kᵢ"),
        gap=12,
    )
    diagram.arrows(("words", "embed"), ("codes", "embed"))
    diagram.arrow("embed", "block", "(B, T + N, D)")
    diagram.arrow("cache", "block")
    diagram.arrow("block", "head", "the last N: (B, N, D)")
    diagram.arrows(("head", "logits"), ("logits", "loss"), ("logits", "drawn"))
    diagram.arrow("drawn", "codes", side="right")
    return diagram


DIAGRAMS = {"autoregression-architecture": _architecture()}
