"""A task's grammar as a cheap token mask: which tokens may come next, so that every answer can be read.

An answer is a sequence of slots. A slot is a trie of token sequences, each with a number (its value), or free words.
Walking keeps the numbers seen, so that x2 lies right of x1 and a polygon ends where it began. The same tries serve
digits and single coordinate tokens.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import torch
from torch import Tensor

from vilam.models.conventions import Bounds
from vilam.models.coordinates import BOX, NUM_MARKS, POINTS, POINTS_END, SCALE
from vilam.models.family import Tokens
from vilam.tasks.grammar import Box, Element, Grammar, Literal, OneOf, Points, Words


@dataclass(slots=True)
class Node:
    """A prefix of token sequences; ``values`` are the numbers of all sequences below it, sorted."""

    children: dict[int, Node] = field(default_factory=dict)
    value: int | None = None
    values: list[int] = field(default_factory=list)

    def admits(self, low: int, high: int) -> bool:
        """Whether some sequence below has its number in [low, high]."""
        index = bisect_left(self.values, low)
        return index < len(self.values) and self.values[index] <= high


def make_trie(sequences: Iterable[tuple[Sequence[int], int]]) -> Node:
    """The trie of (token ids, number) pairs."""
    root = Node()
    for ids, value in sorted(sequences, key=lambda pair: pair[1]):
        node = root
        for token in ids:
            node = node.children.setdefault(token, Node())
            node.values.append(value)
        node.value = value
    return root


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot: a trie whose number may be bound by numbers seen before (by index), or free words (no trie).

    axis: of a coordinate, 0 for x and 1 for y, which is remembered for later slots. It lies between the picture's
    bounds there, ``margin`` below the upper one. columns: of the grid whose cells are its numbers. above: greater than
    that number; of cells, neither left of it nor above it. same: equal to it.
    """

    trie: Node | None
    axis: int | None = None
    columns: int | None = None
    margin: int = 0
    above: int | None = None
    same: int | None = None


@dataclass(frozen=True, slots=True)
class TokenGrammar:
    """A grammar compiled for one tokenizer.

    words: ids of the tokens that free words may use. first_words: those that they may begin with, which hold a letter
    or a digit, so that an answer is never blank.
    """

    alternatives: tuple[tuple[Slot, ...], ...]
    words: Tensor
    first_words: Tensor
    eos_id: int


class GrammarCompiler:
    """Turns grammars into token grammars; number tries are made once."""

    def __init__(self, tokenizer: Tokens) -> None:
        self.tokenizer = tokenizer
        self.convention = tokenizer.convention
        bins = tokenizer.bins
        self.step = 1 if bins is None else SCALE // (bins - 1)
        if bins is None or tokenizer.first_coordinate is None:
            spelled = ((self.convention.spell(n), n) for n in range(self.convention.largest + 1))
            numbers = make_trie((tokenizer.encode_words(text), n) for text, n in spelled)
            self.axes = (numbers, numbers)
        else:
            first = tokenizer.first_coordinate + NUM_MARKS
            x, y = (make_trie(([first + axis * bins + i], i * self.step) for i in range(bins)) for axis in (0, 1))
            self.axes = (x, y)
        self.words = {digits: self._word_ids(digits) for digits in (True, False)}

    def _word_ids(self, digits: bool) -> tuple[Tensor, Tensor]:
        """All tokens but special and added ones and whatever writes a square bracket or a forbidden digit."""
        tokenizer = self.tokenizer.tokenizer
        first = self.tokenizer.first_coordinate or len(tokenizer)
        banned = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
        texts = tokenizer.batch_decode([[i] for i in range(first)])
        fine = [i for i, text in enumerate(texts) if i not in banned and not set(text) & set("[]\n")]
        if not digits:
            fine = [i for i in fine if not any(map(str.isnumeric, texts[i]))]
        return torch.tensor(fine), torch.tensor([i for i in fine if any(map(str.isalnum, texts[i]))])

    def compile(self, grammar: Grammar) -> TokenGrammar:
        """Token grammar of a task's grammar."""
        alternatives = tuple(self._sequence(elements) for elements in grammar)
        words, first_words = self.words[Words(digits=False) not in chain(*grammar)]
        return TokenGrammar(alternatives, words, first_words, self.tokenizer.eos_id)

    def _sequence(self, elements: tuple[Element, ...]) -> tuple[Slot, ...]:
        slots: list[Slot] = []
        for index, element in enumerate(elements):
            seen = sum(slot.axis is not None for slot in slots)
            slots += self._slots(self._led_in(element) if index == 0 else element, seen)
        return tuple(slots)

    def _led_in(self, element: Element) -> Element:
        """The element as it stands at the beginning of an answer."""
        match element:
            case Literal(text):
                return Literal(self.tokenizer.lead_in(text))
            case OneOf(options):
                return OneOf(tuple(map(self.tokenizer.lead_in, options)))
            case _:
                return element

    def _slots(self, element: Element, seen: int) -> list[Slot]:
        match element:
            case Literal(text):
                return [self._fixed(self.tokenizer.encode(text))]
            case OneOf(options):
                return [Slot(make_trie((self.tokenizer.encode(text), i) for i, text in enumerate(options)))]
            case Words():
                return [Slot(None)]
            case Box():
                return self._box(seen)
            case Points(count, closed):
                return self._points(count, closed, seen)

    def _fixed(self, ids: Sequence[int]) -> Slot:
        return Slot(make_trie([(ids, 0)]))

    def _text(self, text: str) -> list[Slot]:
        """Text between numbers; spaces that the tokenizer has no token for need no slot."""
        ids = self.tokenizer.encode_words(text) if text else ()
        return [self._fixed(ids)] if ids else []

    def _mark(self, mark: int) -> list[Slot]:
        """The token form has marks where the text form has brackets."""
        first = self.tokenizer.first_coordinate
        assert first is not None
        return [self._fixed([first + mark])]

    def _box(self, seen: int) -> list[Slot]:
        first = self._corner(margin=self.step)
        second = self._corner(above=seen)
        if self.tokenizer.first_coordinate is not None:
            return [*self._mark(BOX), *first, *second]
        return self.convention.box.around([[slot] for slot in [*first, *second]], self._text)

    def _points(self, count: int, closed: bool, seen: int) -> list[Slot]:
        points = [self._corner() for _ in range(count)]
        if closed:
            points.append(self._corner(same=seen))
        if self.tokenizer.first_coordinate is not None:
            return [*self._mark(POINTS), *chain(*points), *self._mark(POINTS_END)]
        spelled = [self.convention.point.around([[slot] for slot in point], self._text) for point in points]
        return self.convention.points.around(spelled, self._text)

    def _corner(self, margin: int = 0, above: int | None = None, same: int | None = None) -> list[Slot]:
        """The numbers of one point; ``above`` and ``same`` number the first of another point's."""
        if self.convention.unit == "cell":
            return [Slot(self.axes[0], 0, self.convention.steps, above=above, same=same)]
        x, y = self.axes
        axes = [(0, x), (1, y)] if self.convention.order == "xy" else [(1, y), (0, x)]
        return [
            Slot(trie, axis, margin=margin, above=_after(above, index), same=_after(same, index))
            for index, (axis, trie) in enumerate(axes)
        ]


def _after(number: int | None, index: int) -> int | None:
    return None if number is None else number + index


@dataclass(frozen=True, slots=True)
class Thread:
    """One way in which the tokens so far can be read."""

    slots: tuple[Slot, ...]
    index: int
    node: Node | None
    picture: Bounds
    numbers: tuple[int, ...] = ()

    @property
    def at_end(self) -> bool:
        """Whether all slots are filled."""
        return self.index == len(self.slots)

    def bounds(self) -> tuple[int, int]:
        """The numbers that the present slot admits; of cells, they must also not lie left of the first."""
        slot = self.slots[self.index]
        if slot.axis is None:
            return 0, sys.maxsize
        if slot.same is not None:
            return self.numbers[slot.same], self.numbers[slot.same]
        if slot.columns is not None:
            return 0 if slot.above is None else self.numbers[slot.above], slot.columns**2 - 1
        lowest, highest = self.picture[slot.axis]
        return lowest if slot.above is None else self.numbers[slot.above] + 1, highest - slot.margin

    def admits(self, child: Node) -> bool:
        """Whether the present slot may go on with this child of its node."""
        slot = self.slots[self.index]
        low, high = self.bounds()
        if slot.columns is None or slot.above is None:
            return child.admits(low, high)
        return any(low <= value <= high and value % slot.columns >= low % slot.columns for value in child.values)

    def next_slot(self, numbers: tuple[int, ...]) -> Thread:
        """The thread at the beginning of the next slot."""
        return start(self.slots, self.picture, self.index + 1, numbers)


def start(slots: tuple[Slot, ...], picture: Bounds, index: int = 0, numbers: tuple[int, ...] = ()) -> Thread:
    """The thread that stands at the beginning of a slot."""
    return Thread(slots, index, slots[index].trie if index < len(slots) else None, picture, numbers)


class Walker:
    """Follows one answer through its grammar. ``done`` is set when nothing may follow.

    picture: the bounds of the picture that is asked about.
    """

    def __init__(self, grammar: TokenGrammar, max_words: int, picture: Bounds = ((0, SCALE), (0, SCALE))) -> None:
        self.grammar = grammar
        self.max_words = max_words
        self.num_words = 0
        self.threads = [start(slots, picture) for slots in grammar.alternatives]
        self.done = False

    @property
    def in_words(self) -> bool:
        """Whether the answer stands in free words (a slot that always comes last)."""
        return any(not thread.at_end and thread.slots[thread.index].trie is None for thread in self.threads)

    @property
    def coordinate(self) -> int | None:
        """Which coordinate of the answer comes next, from 0 on; None where it is something else."""
        places = (thread for thread in self.threads if not thread.at_end)
        return next((len(one.numbers) for one in places if one.slots[one.index].axis is not None), None)

    @property
    def place(self) -> Hashable:
        """What `allowed` depends on: two answers of one grammar at the same place may go on alike."""
        if self.in_words:
            return self.num_words == 0, self.num_words >= self.max_words
        return tuple(None if thread.node is None else (id(thread.node), *thread.bounds()) for thread in self.threads)

    def take_forced(self) -> list[int]:
        """Take the tokens in whose place nothing else may stand, and return them; none where the answer is free."""
        taken: list[int] = []
        while not self.done and not self.in_words and len(allowed := self.allowed()) == 1:
            taken.append(int(allowed))
            self.advance(taken[-1])
        return taken

    def allowed(self) -> Tensor:
        """Ids of the tokens that may come next; never empty while not done."""
        if not self.in_words:
            return torch.tensor(sorted({token for thread in self.threads for token in self._next_tokens(thread)}))
        if self.num_words == 0:
            return self.grammar.first_words
        end = torch.tensor([self.grammar.eos_id])
        return end if self.num_words >= self.max_words else torch.cat([self.grammar.words, end])

    def advance(self, token: int) -> None:
        """Take one of the allowed tokens."""
        if self.in_words:
            self.num_words += 1
            self.done = token == self.grammar.eos_id
            return
        self.threads = [after for thread in self.threads for after in _step(thread, token)]
        # A name may begin like a longer one ("car", "carrot"): it ends with the end of the sequence.
        self.done = all(thread.at_end for thread in self.threads)

    def _next_tokens(self, thread: Thread) -> list[int]:
        if thread.node is None:
            return [self.grammar.eos_id]
        return [token for token, child in thread.node.children.items() if thread.admits(child)]


def _step(thread: Thread, token: int) -> list[Thread]:
    if thread.node is None:
        return []
    child = thread.node.children.get(token)
    if child is None or not thread.admits(child):
        return []
    after = []
    if child.children:
        after.append(replace(thread, node=child))
    low, high = thread.bounds()
    if child.value is not None and low <= child.value <= high:
        is_place = thread.slots[thread.index].axis is not None
        after.append(thread.next_slot((*thread.numbers, child.value) if is_place else thread.numbers))
    return after
