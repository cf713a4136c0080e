r"""A joint model of captions and pictures: a language model, a fusion, a generator.

M reads words, F fuses what it says of them with the tokens of a picture, and G writes
the codes of a picture. They are trained together on the sum of three likelihoods, of a
caption t of n words and end, and of a picture x with N codes k:

.. math:: L = \lambda_1 L_\mathrm{text} + \lambda_2 L_\mathrm{multi}
          + \lambda_3 L_\mathrm{generate}

.. math:: L_\mathrm{text} = -\frac1n \sum_i \log p_M(t_i \mid t_{<i}), \quad
          L_\mathrm{multi} = -\frac1n \sum_i \log p_{M,F}(t_i \mid t_{<i}, x), \quad
          L_\mathrm{generate} = -\frac1N \sum_j \log p_{M,F,G}(k_j \mid k_{<j}, t)

The first is of captions alone, the second of captions given pictures, the third of
pictures given captions; each is the mean over what is told of one sample, and then over
the samples. All three are exact: so each way to mask a modality is a task with a
likelihood of its own. M is trained on captions first, and then goes on at a smaller
rate, so that it does not forget them.
"""

from mmgen.models.joint.beginning import begin_writer
from mmgen.models.joint.networks import (
    Generator,
    JointConfig,
    JointNetwork,
    Language,
    Parts,
    PictureFusion,
    PictureWriter,
    told_by,
)
from mmgen.models.joint.sampler import JointSampler
from mmgen.models.joint.task import JointTask

__all__ = [
    "Generator",
    "JointConfig",
    "JointNetwork",
    "JointSampler",
    "JointTask",
    "Language",
    "Parts",
    "PictureFusion",
    "PictureWriter",
    "begin_writer",
    "told_by",
]
