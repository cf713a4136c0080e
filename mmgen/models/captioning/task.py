"""Training: to tell each word from those before it, or from what captions are worth."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mmgen.data.batch import Batch, word_mask
from mmgen.interfaces import NOTHING, DataInfo, Step
from mmgen.layers.captions import caption_log_p
from mmgen.layers.validation import require_image_size
from mmgen.models.aligned import AlignedTask, begin_pictures
from mmgen.models.captioning.networks import CaptioningConfig, CaptioningNetwork
from mmgen.models.captioning.sampler import CaptioningSampler


class CaptioningTask(AlignedTask):
    """The training of a captioner: cross-entropy with the true words before each.

    Args:
        config: sizes.
        data: whose pictures are described.
    """

    phases = ("captioning",)

    def __init__(self, config: CaptioningConfig, data: DataInfo) -> None:
        self.config, self.data = config, data
        self.networks: dict[str, nn.Module] = {
            "network": CaptioningNetwork(config, data.vocabulary, data.max_tokens)
        }

    @classmethod
    def build(
        cls, config: CaptioningConfig, data: DataInfo, frozen: Mapping = NOTHING
    ) -> CaptioningTask:
        """A task for a data set, its encoder begun as that of ``frozen["aligned"]``.

        Raises:
            ValueError: pictures of another size, or a model without such an encoder.
        """
        require_image_size(config.image_size, data.image_size)
        task = cls(config, data)
        if config.aligned:
            network = task.networks["network"]
            assert isinstance(network, CaptioningNetwork)
            begin_pictures(network.pictures, frozen["aligned"], config.aligned)
        return task

    def training_step(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Surprise at a word, in nats; every word of a batch counts alike."""
        tokens, lengths = batch.tokens, batch.lengths
        if tokens.device.type == "cpu":  # nothing to tell after the longest's end
            tokens = tokens[:, : int(lengths.max()) + 1]
        logits = self.networks["network"](batch.images, tokens)
        log_p = caption_log_p(logits, tokens, lengths).sum(dim=1)  # (B,)
        told = word_mask(lengths + 1, tokens.shape[1])  # the end is told too
        right = (logits.argmax(dim=2) == tokens) & told
        # of all processes: captions of one share may be longer than another's
        words = step.gather(told.sum(dim=1))  # (N,)
        return {
            "loss": -log_p.mean() * len(words) / words.sum(),
            "word_right": right.sum() / told.sum(),
        }

    def sampler(self, networks: Mapping[str, nn.Module]) -> CaptioningSampler:
        """What describes pictures, with this network."""
        trained = networks["network"]
        data = self.data
        sampler = CaptioningSampler(self.config, data.vocabulary, data.max_tokens)
        sampler.network.load_state_dict(trained.state_dict())
        return sampler.to(next(trained.parameters()).device).eval()


def self_critical_loss(log_p: Tensor, rewards: Tensor, baseline: Tensor) -> Tensor:
    r"""A loss whose gradient is an estimate of that of the expected reward, negated.

    .. math:: L = -\frac1B \sum_b \big(r(\hat t_b) - r(t^*_b)\big)
              \log p(\hat t_b \mid x_b)

    with captions :math:`\hat t` that were drawn from the model and, as a baseline, the
    rewards of its own likeliest captions :math:`t^*`: what is better than these is made
    likelier, what is worse less likely. A caption's end is a choice like its words.

    Args:
        log_p: (B, T), log-probabilities of the drawn words and ends, 0 after them.
        rewards: (B,), of the captions that were drawn.
        baseline: (B,), of the greedy ones.

    Returns:
        Scalar.

    Source:
        Rennie et al. 2017, eqs. 5-8.
    """
    advantage = (rewards - baseline).detach()
    return -(advantage * log_p.sum(dim=1)).mean()
