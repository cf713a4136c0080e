"""The diagram of the chapter on conditional GANs."""

from diagrams import Diagram


def _architecture() -> Diagram:
    diagram = Diagram(
        "A conditional GAN with a projection discriminator",
        "Noise z and condition c go into the generator, which makes a 4 x 4 map and "
        "doubles it three times, with conditional batch normalisation at every size. "
        "Generated and real pictures go through the convolutions of the discriminator "
        "to features phi; the condition goes through a matrix W. Both together give a "
        "B x B matrix of logits, one for every picture with every condition, and the "
        "losses of discriminator and generator are computed from it.",
    )
    diagram.row(
        noise=("tensor", "noise z\n(B, 32)"),
        condition=("tensor", "condition c\n(B, 19)"),
    )
    diagram.row(
        generator=("network", "G: 4×4 → 8×8 → 16×16 → 32×32\nz and c set every norm")
    )
    diagram.row(
        fake=("tensor", "generated G(z, c)\n(B, 3, 32, 32)"),
        real=("tensor", "real x\n(B, 3, 32, 32)"),
    )
    diagram.row(
        convolutions=("network", "D: 32×32 → 16×16 → 8×8 → 4×4", 3),
        project=("network", "W", 0.6),
    )
    diagram.row(
        phi=("tensor", "φ(x)  (B, 256)"),
        projected=("tensor", "W c  (B, 256)"),
    )
    diagram.row(
        logits=("tensor", "S = ψ·φ(x) + φ(x)·W c  (B, B)"),
    )
    diagram.row(
        d_loss=("loss", "loss of D"),
        g_loss=("loss", "loss of G"),
        gap=12,
    )
    diagram.arrows(
        *(("noise", "generator"), ("condition", "generator"), ("generator", "fake")),
        *(("fake", "convolutions"), ("real", "convolutions"), ("convolutions", "phi")),
        *(("project", "projected"), ("phi", "logits"), ("projected", "logits")),
        *(("logits", "d_loss"), ("logits", "g_loss")),
    )
    diagram.arrow("condition", "project", side="right")
    return diagram


DIAGRAMS = {"cgan-architecture": _architecture()}
