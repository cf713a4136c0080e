"""Emoji: 3,944 small pictures with their names in English and Chinese.

The pictures are Twemoji's (72 px), the names Unicode's; both come from Python
packages, so that nothing is downloaded when the data set is used. They are art, not
photographs: flags can only be learnt by heart, few names contain a colour, and some
Chinese names say what a sign means rather than what it looks like.

What makes them a test of generalisation is that 83 roles (artist, judge, old, ...) are
each drawn as woman and man in five skin tones: hold some of these combinations out, and
ask for them afterwards.
"""

from mmgen.data.emoji.art import CREDIT, cache_path, load_art
from mmgen.data.emoji.dataset import EmojiDataset
from mmgen.data.emoji.meaning import (
    GROUPS,
    PERSONS,
    SKIN_TONES,
    SPLIT_BY,
    SPLITS,
    SUBSETS,
    Emoji,
)

__all__ = [
    "CREDIT",
    "GROUPS",
    "PERSONS",
    "SKIN_TONES",
    "SPLITS",
    "SPLIT_BY",
    "SUBSETS",
    "Emoji",
    "EmojiDataset",
    "cache_path",
    "load_art",
]
