"""The diagram of the chapter on multimodal variational autoencoders."""

from diagrams import Diagram


def _architecture() -> Diagram:
    diagram = Diagram(
        "A multimodal variational autoencoder",
        "A picture and a caption go through an encoder each, which gives a Gaussian "
        "over codes: its expert. A fusion of the experts that are there, with the "
        "prior as one more, gives one Gaussian, and from it one code z. Two decoders "
        "turn the same code into a picture and into a caption. The loss has three "
        "parts: the negative log-likelihoods of picture and caption, and the KL "
        "divergence of the fused Gaussian from the prior.",
    )
    diagram.row(
        x=("tensor", "picture x\n(B, 3, 32, 32)"),
        t=("tensor", "caption t\n(B, T) tokens"),
    )
    diagram.row(
        see=("network", "picture encoder\nconvolutions"),
        read=("network", "caption encoder\nmean of word vectors"),
    )
    diagram.row(
        qx=("tensor", "expert of x\nμ, log σ² (B, Z)"),
        prior=("tensor", "N(0, I)", 0.6),
        qt=("tensor", "expert of t\nμ, log σ² (B, Z)"),
    )
    diagram.row(
        fuse=("tensor", "product of the experts that are seen\nμ, log σ² (B, Z)")
    )
    diagram.row(z=("tensor", "z = μ + σ ⊙ ε\n(B, Z)"))
    diagram.row(
        draw=("network", "picture decoder\ntransposed conv."),
        write=("network", "caption decoder\nrecurrent"),
    )
    diagram.row(
        fit=("loss", "−log p(x|z)"),
        say=("loss", "−λ log p(t|z)"),
        gap=30,
    )
    diagram.row(kl=("loss", "KL(q ‖ p(z)), of the product above"), gap=12)
    diagram.arrows(
        *(("x", "see"), ("t", "read"), ("see", "qx"), ("read", "qt")),
        *(("qx", "fuse"), ("prior", "fuse"), ("qt", "fuse"), ("fuse", "z")),
        *(("z", "draw"), ("z", "write"), ("draw", "fit"), ("write", "say")),
    )
    diagram.arrow("fuse", "kl", side="left")
    return diagram


DIAGRAMS = {"multimodal-vae-architecture": _architecture()}
