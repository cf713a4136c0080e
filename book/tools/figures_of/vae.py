"""The diagram of the chapter on variational autoencoders."""

from diagrams import Diagram


def _architecture() -> Diagram:
    diagram = Diagram(
        "A variational autoencoder, with and without a condition",
        "The encoder turns a picture, and a condition if there is one, into the mean "
        "and the log-variance of a Gaussian over codes. Standard normal noise and "
        "these two make one code z. The decoder turns the code, and the same "
        "condition, into a mean picture. The loss has two parts: the KL divergence of "
        "the Gaussian from the prior, and the negative log-likelihood of the picture.",
    )
    diagram.row(
        x=("tensor", "picture x\n(B, 3, 32, 32)"),
        y=("tensor", "condition y\n(B, C), or none"),
    )
    diagram.row(encoder=("network", "encoder: convolutions"))
    diagram.row(
        q=("tensor", "μ and log σ² of q(z|x)\n(B, Z) each", 1.3),
        noise=("tensor", "ε ~ N(0, I)\n(B, Z)"),
    )
    diagram.row(z=("tensor", "z = μ + σ ⊙ ε\n(B, Z)"), gap=34)
    diagram.row(decoder=("network", "decoder: transposed convolutions"))
    diagram.row(mean=("tensor", "mean picture x̂ of p(x|z)\n(B, 3, 32, 32)"))
    diagram.row(
        kl=("loss", "KL(q(z|x) ‖ p(z))\n(B,) nats"),
        fit=("loss", "−log p(x|z)\n(B,) nats"),
        gap=12,
    )
    diagram.arrows(
        *(("x", "encoder"), ("y", "encoder"), ("encoder", "q")),
        *(("q", "z"), ("noise", "z"), ("z", "decoder"), ("decoder", "mean")),
    )
    diagram.arrow("mean", "fit", "compared with x")
    diagram.arrow("q", "kl", side="left")
    diagram.arrow("y", "decoder", side="right")
    return diagram


DIAGRAMS = {"vae-architecture": _architecture()}
