"""Two short paths between words and regions of an image, beside the attention of the language model.

From a box to words: every text token after a box also gets the mean image token of the patches inside the box, as
region features do for RoI heads and GPT4RoI (arXiv 2307.03601). From words to a box: the hidden state also gets the
image tokens at which the text so far points, and for each box of an answer a loss moves that pointing to the patches
inside the box, as MDETR (arXiv 2104.12763) aligns words with objects. A language model that is trained from scratch
finds neither path by itself in tens of thousands of images (docs/tiny.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vilam.models.coordinate_formats import BOX, NUM_MARKS
from vilam.models.packing import segment_starts
from vilam.models.vilam.text import PackedText

REGION_GAIN = 1.5
"""Weight of the mean image token of a box beside a word of size 1."""
SHARPNESS = 3.0
"""The weight of a patch in a box falls by e^-3 for each patch side that its centre lies outside."""
BOX_TOKENS = 5
"""The mark and four coordinates."""


class Grounder(nn.Module):
    """Points at patches. B images, P image tokens, L text tokens, all of width H.

    pretrained: whether the states are those of a pretrained language model. For these, the image tokens would be noise
    at first, so a matrix that begins at 0 adds them. The coordinates have a matrix of their own.
    """

    def __init__(self, hidden_size: int, pretrained: bool = False) -> None:
        super().__init__()
        # No bias in or before the keys: it would add the same to the scores of all patches and never be trained.
        self.image_norm = nn.LayerNorm(hidden_size, bias=False)
        self.word_norm = nn.LayerNorm(hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size, bias=False)
        self.query = nn.Linear(hidden_size, hidden_size)
        self.word_query = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size, bias=False)
        nn.init.eye_(self.out.weight)
        self.words_out = nn.Linear(hidden_size, hidden_size, bias=False) if pretrained else None
        if self.words_out is not None:
            nn.init.zeros_(self.words_out.weight)

    def keys(self, prefix: Tensor) -> Tensor:
        """The keys (B, P, H) of the image tokens (B, P, H), the same for all questions about an image."""
        keys: Tensor = self.key(self.image_norm(prefix))
        return keys

    def point(self, hidden: Tensor, words: Tensor, keys: Tensor) -> Tensor:
        """Log probabilities (B, L, P) of the patches, from hidden states and mean words (B, L, H) and the keys."""
        query = self.query(hidden) + self.word_query(self.word_norm(words))
        scores = query @ keys.transpose(1, 2) / hidden.shape[-1] ** 0.5
        return torch.log_softmax(scores.float(), dim=-1)

    def attend(self, hidden: Tensor, pointed: Tensor, image: Tensor) -> Tensor:
        """States (B, L, H) plus the image tokens (B, P, H), as large as the states, at which they point."""
        attended: Tensor = self.out(pointed.exp().to(image.dtype) @ image)
        return hidden + attended

    def attend_twice(self, hidden: Tensor, pointed: Tensor, image: Tensor, inside: Tensor, known: Tensor) -> Tensor:
        """Two states (B, L, 2 H) beside a pretrained language model: one for words, then one of size 1 for coordinates.

        The state for words gets the mean image token ``inside`` (B, L, H) of the text's latest box if there is one
        (``known``, (B, L, 1)), else the image tokens at which the text points. Image tokens are of size 1.
        """
        assert self.words_out is not None
        attended = pointed.exp().to(image.dtype) @ image
        of_words = hidden + self.words_out(torch.where(known, inside, attended))
        of_coordinates = nn.functional.rms_norm(hidden, hidden.shape[-1:]) + self.out(attended)
        return torch.cat([of_words, of_coordinates], dim=-1)


def latest_boxes(text: PackedText, first: int, bins: int) -> tuple[Tensor, Tensor]:
    """The latest complete box at each token, in the token's own segment.

    Args:
        text: (B, L) tokens; soft coordinates replace those of their tokens.
        first: the id of the first coordinate token.
        bins: of a side.

    Returns:
        boxes (B, L, 4), x1 y1 x2 y2 in fractions of the image's sides, and whether there is one (B, L).
    """
    ids, segments = text.input_ids, text.segments
    length = ids.shape[1]
    offsets = nn.functional.pad(ids - first, (BOX_TOKENS - 1, 0), value=-1)
    mark, *axes = (offsets[:, i : i + length] - NUM_MARKS - shift for i, shift in enumerate((0, 0, bins, 0, bins)))
    is_end = (mark == BOX - NUM_MARKS) & torch.stack([(axis >= 0) & (axis < bins) for axis in axes]).all(0)
    index = torch.arange(length, device=ids.device)
    last = torch.where(is_end, index, -1).cummax(dim=1).values
    end = last.clamp_min(0)
    known = (last >= 0) & (segments.gather(1, end) == segments)
    coordinates = (ids - first - NUM_MARKS) % bins / (bins - 1)
    if text.soft is not None:
        coordinates = text.soft.put_coordinates(coordinates)
    corners = [coordinates.gather(1, (end - back).clamp_min(0)) for back in range(BOX_TOKENS - 2, -1, -1)]
    return torch.stack(corners, dim=-1), known


def patch_weights(boxes: Tensor, patches: int) -> Tensor:
    """Weights (..., P) of the patches of a square grid in boxes (..., 4): equal inside, almost 0 outside, sum 1.

    Boxes are x1 y1 x2 y2 in fractions of the image's sides.
    """
    side = round(patches**0.5)
    centres = (torch.arange(side, device=boxes.device) + 0.5) / side
    x, y = (
        (boxes[..., axis, None] - centres).clamp_min(0) + (centres - boxes[..., axis + 2, None]).clamp_min(0)
        for axis in (0, 1)
    )
    outside = (y.unsqueeze(-1) + x.unsqueeze(-2)).flatten(-2)
    return torch.softmax(-SHARPNESS * side * outside, dim=-1)


def running_means(values: Tensor, counted: Tensor, segments: Tensor) -> Tensor:
    """Means (B, L, H) of the counted (B, L) values of a token's segment up to the token; 0 if there is none yet."""
    counts = counted.unsqueeze(-1).float()
    sums = torch.cat([values.float() * counts, counts], dim=-1).cumsum(dim=1)
    before = nn.functional.pad(sums, (0, 0, 1, 0))
    sums = sums - before.gather(1, segment_starts(segments).unsqueeze(-1).expand_as(sums))
    return (sums[..., :-1] / sums[..., -1:].clamp_min(1)).to(values.dtype)
