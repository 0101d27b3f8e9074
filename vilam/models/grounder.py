"""Two short roads between words and places of an image, beside the attention of the language model.

From a box to words: every text token after a box also gets the mean image token of the patches inside the box, as
region features do for RoI heads and GPT4RoI (arXiv 2307.03601). From words to a box: the hidden state also gets the
image tokens that the text so far points at, and for each box of an answer that pointing is held to the patches inside
it, as MDETR (arXiv 2104.12763) aligns words with objects. A language model that learns from nothing finds neither road
by itself in tens of thousands of pictures (docs/tiny.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vilam.models.coordinates import BOX, NUM_MARKS
from vilam.models.packing import segment_starts
from vilam.models.soft import Softened

REGION_GAIN = 1.5
"""How much the mean image token of a box weighs beside a word of size 1."""
SHARPNESS = 3.0
"""A patch's share in a box falls by e^-3 for each patch's side that its centre lies outside."""
BOX_TOKENS = 5
"""The mark and four places."""


class Grounder(nn.Module):
    """Which patches the text points at. P image tokens, L text tokens, all of one width.

    pretrained: whether the states are those of a language model that knew words before. What is looked at would be
    noise to these: it joins them by a matrix that begins at 0, apart from the one for places.
    """

    def __init__(self, hidden_size: int, pretrained: bool = False) -> None:
        super().__init__()
        # No bias in the keys, nor before them: it would move the scores of all patches alike and so never be trained.
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
        """What the patches are known by: (B, P, H), made once for all that is asked about an image."""
        keys: Tensor = self.key(self.image_norm(prefix))
        return keys

    def point(self, hidden: Tensor, words: Tensor, keys: Tensor) -> Tensor:
        """Log shares (B, L, P) of the patches, from hidden states and means of words (B, L, H) and the image's keys."""
        query = self.query(hidden) + self.word_query(self.word_norm(words))
        scores = query @ keys.transpose(1, 2) / hidden.shape[-1] ** 0.5
        return torch.log_softmax(scores.float(), dim=-1)

    def look(self, hidden: Tensor, pointed: Tensor, image: Tensor) -> Tensor:
        """States (B, L, H) with what the patches hold that are pointed at, of image tokens (B, P, H) as large."""
        looked: Tensor = self.out(pointed.exp().to(image.dtype) @ image)
        return hidden + looked

    def look_apart(self, hidden: Tensor, pointed: Tensor, image: Tensor, inside: Tensor, known: Tensor) -> Tensor:
        """Two states beside a pretrained language model, one for words and then one of size 1 for places: (B, L, 2 H).

        Its words look into the box that the text named last, where it is known (B, L, 1) and its mean image token is
        ``inside`` (B, L, H), and else where the text points. Image tokens are of size 1.
        """
        assert self.words_out is not None
        looked = pointed.exp().to(image.dtype) @ image
        of_words = hidden + self.words_out(torch.where(known, inside, looked))
        of_places = nn.functional.rms_norm(hidden, hidden.shape[-1:]) + self.out(looked)
        return torch.cat([of_words, of_places], dim=-1)


def latest_boxes(
    input_ids: Tensor, segments: Tensor, first: int, bins: int, softened: Softened | None = None
) -> tuple[Tensor, Tensor]:
    """The last box that is whole at each token, in its own segment.

    input_ids, segments (B, L), ``first`` the id of the first coordinate token -> boxes (B, L, 4), x1 y1 x2 y2 in shares
    of the image's sides, and whether there is one (B, L). Softened places stand for those of their tokens.
    """
    length = input_ids.shape[1]
    offsets = nn.functional.pad(input_ids - first, (BOX_TOKENS - 1, 0), value=-1)
    mark, *axes = (offsets[:, i : i + length] - NUM_MARKS - shift for i, shift in enumerate((0, 0, bins, 0, bins)))
    is_end = (mark == BOX - NUM_MARKS) & torch.stack([(axis >= 0) & (axis < bins) for axis in axes]).all(0)
    index = torch.arange(length, device=input_ids.device)
    last = torch.where(is_end, index, -1).cummax(dim=1).values
    at = last.clamp_min(0)
    known = (last >= 0) & (segments.gather(1, at) == segments)
    places = (input_ids - first - NUM_MARKS) % bins / (bins - 1)
    if softened is not None:
        places = softened.place(places)
    corners = [places.gather(1, (at - back).clamp_min(0)) for back in range(BOX_TOKENS - 2, -1, -1)]
    return torch.stack(corners, dim=-1), known


def box_shares(boxes: Tensor, patches: int) -> Tensor:
    """Shares (..., P) that the patches of a square grid have in boxes (..., 4): even inside, next to none outside."""
    side = round(patches**0.5)
    centres = (torch.arange(side, device=boxes.device) + 0.5) / side
    x, y = (
        (boxes[..., axis, None] - centres).clamp_min(0) + (centres - boxes[..., axis + 2, None]).clamp_min(0)
        for axis in (0, 1)
    )
    outside = (y.unsqueeze(-1) + x.unsqueeze(-2)).flatten(-2)
    return torch.softmax(-SHARPNESS * side * outside, dim=-1)


def running_means(values: Tensor, counted: Tensor, segments: Tensor) -> Tensor:
    """Mean (B, L, H) of the counted (B, L) values of a token's segment up to the token; 0 before the first of them."""
    counts = counted.unsqueeze(-1).float()
    sums = torch.cat([values.float() * counts, counts], dim=-1).cumsum(dim=1)
    before = nn.functional.pad(sums, (0, 0, 1, 0))
    sums = sums - before.gather(1, segment_starts(segments).unsqueeze(-1).expand_as(sums))
    return (sums[..., :-1] / sums[..., -1:].clamp_min(1)).to(values.dtype)
