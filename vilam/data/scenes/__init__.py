"""Generated scenes: coloured, textured shapes on plain and noisy backgrounds, with expressions that fit exactly one."""

from vilam.data.scenes.generate import CATEGORIES, LICENCE, generate_scene
from vilam.data.scenes.shapes import keypoint_schemas

__all__ = ["CATEGORIES", "LICENCE", "generate_scene", "keypoint_schemas"]
