"""One object for training and inference: a network, its tokenizer, and the answers that a data set allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vilam.data.records import DatasetCard
from vilam.inference.constraints import GrammarCompiler, TokenGrammar
from vilam.models.interface import GroundingModel, Tokens
from vilam.tasks import ALL_TASKS
from vilam.tasks.grammar import Words


@dataclass(frozen=True, slots=True)
class Model:
    """A network with everything that is needed to ask it about the images of a data set.

    card: the data set that is asked about; the network may have been trained on another one. grammars: the
    allowed answers, by task. expression_grammar: of the expressions that the cycle generates, which hold no digits.
    `dataclasses.replace` replaces the network and keeps the grammars.
    """

    network: GroundingModel
    tokenizer: Tokens
    card: DatasetCard
    grammars: Mapping[str, TokenGrammar]
    expression_grammar: TokenGrammar

    @classmethod
    def for_data(cls, network: GroundingModel, tokenizer: Tokens, card: DatasetCard) -> Model:
        """Compiles the grammars of all tasks on a data set."""
        compiler = GrammarCompiler(tokenizer)
        grammars = {name: compiler.compile(task.grammar(card)) for name, task in ALL_TASKS.items()}
        return cls(network, tokenizer, card, grammars, compiler.compile(((Words(digits=False),),)))
