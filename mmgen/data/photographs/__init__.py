"""Photographs with captions: the real layouts of CUB-200-2011 and COCO."""

from mmgen.data.photographs.coco import COCODataset
from mmgen.data.photographs.cub import CUBDataset
from mmgen.data.photographs.dataset import Photographs

__all__ = ["COCODataset", "CUBDataset", "Photographs"]
