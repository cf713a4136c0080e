r"""Captioning: from a picture to a caption, word by word, in English or Chinese.

.. math:: \log p(t \mid x, \ell) = \sum_{i} \log p(t_i \mid t_{<i}, x, \ell)

An encoder makes tokens of the picture x, one for the whole and one for each region; a
decoder writes the caption t in the language ℓ. Two decoders stand behind one interface:
an LSTM that looks at the regions anew for every word, and a causal Transformer that
does so in every block.

Vinyals et al., *Show and Tell: A Neural Image Caption Generator*, CVPR 2015.
Xu et al., *Show, Attend and Tell: Neural Image Caption Generation with Visual
Attention*, ICML 2015.
Rennie et al., *Self-critical Sequence Training for Image Captioning*, CVPR 2017.
"""

from mmgen.models.captioning.networks import (
    DECODERS,
    AttentionWriter,
    CaptioningConfig,
    CaptioningNetwork,
    TransformerWriter,
)
from mmgen.models.captioning.sampler import CaptioningSampler
from mmgen.models.captioning.task import CaptioningTask, self_critical_loss

__all__ = [
    "DECODERS",
    "AttentionWriter",
    "CaptioningConfig",
    "CaptioningNetwork",
    "CaptioningSampler",
    "CaptioningTask",
    "TransformerWriter",
    "self_critical_loss",
]
