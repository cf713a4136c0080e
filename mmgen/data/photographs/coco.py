"""COCO 2014: 123,287 photographs of everyday scenes, five captions each.

Source: Lin et al., Microsoft COCO: Common Objects in Context (ECCV 2014); Chen et al.,
Microsoft COCO Captions (2015). As text-to-image papers use it, the 2014 training set
trains (82,783) and the validation set tests (40,504).
"""

from __future__ import annotations

from pathlib import Path

from mmgen.data.photographs.dataset import Photographs


class COCODataset(Photographs):
    """Everyday scenes. There are no classes: ``Batch.class_ids`` are all different.

    Args:
        split: "train" or "test".
        image_size: H = W, pixels.
        language: "en".
        root: folder with the layout of ``COCODataset.layout``.
        captions_per_image: captions that each picture has.
        max_tokens: longer captions lose words, others in every epoch. The original has
            15 for its matching model and 12 for the generator.
        augment: random crops, mirroring and captions; by default in training only.
        vocabulary: JSON file of the vocabulary to number the words by.

    Raises:
        FileNotFoundError: no such folder, or a part of it is missing.
        ValueError: parts that do not belong together, or a bad argument.
    """

    name = "coco"
    image_folder = "images"
    pictures_from = "train2014.zip and val2014.zip"
    layout = """\
Expected below root (by default data/coco):
  captions.pickle, or text/<picture>.txt with one caption a line
  train/filenames.pickle, test/filenames.pickle
  images/<picture>.jpg, of both splits
Pictures: https://cocodataset.org/#download (train2014.zip, val2014.zip).
Captions and lists: "coco.zip", linked at https://github.com/taoxugit/AttnGAN#data"""

    def __init__(
        self,
        split: str = "train",
        image_size: int = 256,
        language: str = "en",
        *,
        root: str | Path = "data/coco",
        captions_per_image: int = 5,
        max_tokens: int = 15,
        augment: bool | None = None,
        vocabulary: str | Path | None = None,
    ) -> None:
        super().__init__(
            split,
            image_size,
            language,
            root=root,
            captions_per_image=captions_per_image,
            max_tokens=max_tokens,
            augment=augment,
            vocabulary=vocabulary,
        )
