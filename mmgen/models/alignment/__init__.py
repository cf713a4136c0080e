"""Alignment: pictures and captions in one space.

``cca`` is the linear alignment in closed form; ``maps`` are learned between features
that are there already, with pairs, few pairs or none; ``towers`` are networks of pixels
and words, trained end to end. The losses stand in ``mmgen.objectives.contrastive``.
"""

from mmgen.models.alignment.cca import CCA, canonical_correlations
from mmgen.models.alignment.maps import (
    AlignmentNetwork,
    AlignmentTerms,
    Maps,
    ModalityDiscriminator,
)
from mmgen.models.alignment.towers import (
    AlignmentConfig,
    AlignmentMatcher,
    AlignmentTask,
)

__all__ = [
    "CCA",
    "AlignmentConfig",
    "AlignmentMatcher",
    "AlignmentNetwork",
    "AlignmentTask",
    "AlignmentTerms",
    "Maps",
    "ModalityDiscriminator",
    "canonical_correlations",
]
