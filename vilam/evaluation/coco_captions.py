"""BLEU-4, METEOR, ROUGE-L and CIDEr as COCO's own caption evaluation computes them, if it is installed.

It is the package pycocoevalcap (the extra ``captions``), Chen et al., arXiv 1504.00325; its tokeniser and METEOR run in
Java. Nothing of it is reimplemented here, so that the numbers compare with published ones.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

logger = logging.getLogger(__name__)

PACKAGE = "pycocoevalcap"

Captions = dict[int, list[str]]


def coco_caption_metrics(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """``coco_bleu_4``, ``coco_meteor``, ``coco_rouge_l`` (0 to 1) and ``coco_cider`` (0 to 10) over all candidates.

    Each candidate has one reference or more. Returns {} if the package is not installed, and {} with a warning if there
    is no Java.
    """
    if find_spec(PACKAGE) is None or not candidates:
        return {}
    if shutil.which("java") is None:
        logger.warning("BLEU, METEOR and ROUGE of captions are left out: %s needs Java, which was not found", PACKAGE)
        return {}
    true, written = _tokenised(references), _tokenised([[each] for each in candidates])
    bleu = import_module(f"{PACKAGE}.bleu.bleu").Bleu(4).compute_score(true, written, verbose=0)[0]
    others = {
        "meteor": import_module(f"{PACKAGE}.meteor.meteor").Meteor(),
        "rouge_l": import_module(f"{PACKAGE}.rouge.rouge").Rouge(),
        "cider": import_module(f"{PACKAGE}.cider.cider").Cider(),
    }
    scores = {f"coco_{name}": float(scorer.compute_score(true, written)[0]) for name, scorer in others.items()}
    return {"coco_bleu_4": float(bleu[3]), **scores}


def _tokenised(texts: Sequence[Sequence[str]]) -> Captions:
    """Texts by number, in lower case and without punctuation; an empty text becomes a token that nothing matches."""
    tokenizer = import_module(f"{PACKAGE}.tokenizer.ptbtokenizer").PTBTokenizer()
    listed = {number: [{"caption": text or "."} for text in own] for number, own in enumerate(texts)}
    found: Captions = tokenizer.tokenize(listed)
    return found
