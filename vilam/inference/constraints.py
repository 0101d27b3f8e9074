"""A task's grammar as a cheap token mask: which tokens may come next, so that every answer can be parsed.

An answer is a sequence of slots. A slot is a trie of token sequences, each with a number (its value), or free words.
A walker remembers the numbers so far, so that x2 lies right of x1 and a polygon ends at its first point. The same tries
serve digits and single coordinate tokens.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

import torch
from torch import Tensor

from vilam.models.coordinate_formats import BOX, NUM_MARKS, POINTS, POINTS_END, Bounds
from vilam.models.interface import Tokens
from vilam.tasks.answers import SCALE
from vilam.tasks.grammar import Box, Element, Grammar, Literal, OneOf, Points, Words


@dataclass(slots=True)
class Node:
    """A prefix of token sequences; ``values`` are the numbers of all sequences below it, sorted."""

    children: dict[int, Node] = field(default_factory=dict)
    value: int | None = None
    values: list[int] = field(default_factory=list)

    def admits(self, low: int, high: int) -> bool:
        """Whether a sequence below has its number in [low, high]."""
        index = bisect_left(self.values, low)
        return index < len(self.values) and self.values[index] <= high


def make_trie(sequences: Iterable[tuple[Sequence[int], int]]) -> Node:
    """The trie of (token ids, number) pairs."""
    root = Node()
    for ids, value in sorted(sequences, key=lambda pair: pair[1]):
        node = root
        root.values.append(value)
        for token in ids:
            node = node.children.setdefault(token, Node())
            node.values.append(value)
        node.value = value
    return root


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot: a trie whose number earlier numbers (by index) may bound, or free words (no trie).

    axis: of a coordinate, 0 for x and 1 for y; its number is remembered for later slots and lies inside the image's
    bounds, ``margin`` below the upper one. columns: of the grid whose cells are its numbers. above: the number must be
    greater than that one; a cell must lie neither left of it nor above it. same: the number must equal that one.
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

    words: ids of the tokens that free words may use. first_words: those with which they may begin, which hold a letter
    or a digit, so that an answer is never blank.
    """

    alternatives: tuple[tuple[Slot, ...], ...]
    words: Tensor
    first_words: Tensor
    eos_id: int


class GrammarCompiler:
    """Turns grammars into token grammars; it makes the tries of numbers once."""

    def __init__(self, tokenizer: Tokens) -> None:
        self.tokenizer = tokenizer
        self.coordinate_format = tokenizer.coordinate_format
        bins = tokenizer.bins
        self.bin_width = 1 if bins is None else SCALE // (bins - 1)
        if bins is None or tokenizer.first_coordinate is None:
            spelled = ((self.coordinate_format.spell(n), n) for n in range(self.coordinate_format.largest + 1))
            numbers = make_trie((tokenizer.encode_words(text), n) for text, n in spelled)
            self.axes = (numbers, numbers)
        else:
            first = tokenizer.first_coordinate + NUM_MARKS
            x, y = (make_trie(([first + axis * bins + i], i * self.bin_width) for i in range(bins)) for axis in (0, 1))
            self.axes = (x, y)
        self.words = {digits: self._word_ids(digits) for digits in (True, False)}

    def _word_ids(self, digits: bool) -> tuple[Tensor, Tensor]:
        """All tokens except special tokens, added tokens, and tokens with a square bracket or a forbidden digit."""
        tokenizer = self.tokenizer.tokenizer
        first = self.tokenizer.first_coordinate or len(tokenizer)
        banned = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
        texts = tokenizer.batch_decode([[i] for i in range(first)])
        allowed = [i for i, text in enumerate(texts) if i not in banned and not set(text) & set("[]\n")]
        if not digits:
            allowed = [i for i in allowed if not any(map(str.isnumeric, texts[i]))]
        return torch.tensor(allowed), torch.tensor([i for i in allowed if any(map(str.isalnum, texts[i]))])

    def compile(self, grammar: Grammar) -> TokenGrammar:
        """The token grammar of a task's grammar."""
        alternatives = tuple(self._sequence(elements) for elements in grammar)
        words, first_words = self.words[Words(digits=False) not in chain(*grammar)]
        return TokenGrammar(alternatives, words, first_words, self.tokenizer.eos_id)

    def _sequence(self, elements: tuple[Element, ...]) -> tuple[Slot, ...]:
        start = self.tokenizer.answer_start
        slots = [self._fixed(start)] if start else []
        for index, element in enumerate(elements):
            num_numbers = sum(slot.axis is not None for slot in slots)
            slots += self._slots(self._with_answer_prefix(element) if index == 0 else element, num_numbers)
        return tuple(slots)

    def _with_answer_prefix(self, element: Element) -> Element:
        """The element as it is at the beginning of an answer."""
        match element:
            case Literal(text):
                return Literal(self.tokenizer.add_answer_prefix(text))
            case OneOf(options):
                return OneOf(tuple(map(self.tokenizer.add_answer_prefix, options)))
            case _:
                return element

    def _slots(self, element: Element, num_numbers: int) -> list[Slot]:
        match element:
            case Literal(text):
                return [self._fixed(self.tokenizer.encode(text))]
            case OneOf(options):
                return [Slot(make_trie((self.tokenizer.encode(text), i) for i, text in enumerate(options)))]
            case Words():
                return [Slot(None)]
            case Box():
                return self._box(num_numbers)
            case Points(count, closed):
                return self._points(count, closed, num_numbers)

    def _fixed(self, ids: Sequence[int]) -> Slot:
        return Slot(make_trie([(ids, 0)]))

    def _text(self, text: str) -> list[Slot]:
        """Text between numbers; a space for which the tokenizer has no token needs no slot."""
        ids = self.tokenizer.encode_words(text) if text else ()
        return [self._fixed(ids)] if ids else []

    def _mark(self, mark: int) -> list[Slot]:
        """A mark, which replaces brackets in the token form."""
        first = self.tokenizer.first_coordinate
        assert first is not None
        return [self._fixed([first + mark])]

    def _box(self, num_numbers: int) -> list[Slot]:
        first = self._corner(margin=self.bin_width)
        second = self._corner(above=num_numbers)
        if self.tokenizer.first_coordinate is not None:
            return [*self._mark(BOX), *first, *second]
        return self.coordinate_format.box.around([[slot] for slot in [*first, *second]], self._text)

    def _points(self, count: int, closed: bool, num_numbers: int) -> list[Slot]:
        points = [self._corner() for _ in range(count)]
        if closed:
            points.append(self._corner(same=num_numbers))
        if self.tokenizer.first_coordinate is not None:
            return [*self._mark(POINTS), *chain(*points), *self._mark(POINTS_END)]
        return self.coordinate_format.points.around([[[slot] for slot in point] for point in points], self._text)

    def _corner(self, margin: int = 0, above: int | None = None, same: int | None = None) -> list[Slot]:
        """The slots of one point; ``above`` and ``same`` are indices of the first number of another point."""
        if self.coordinate_format.unit == "cell":
            return [Slot(self.axes[0], 0, self.coordinate_format.bins, above=above, same=same)]
        x, y = self.axes
        axes = [(0, x), (1, y)] if self.coordinate_format.order == "xy" else [(1, y), (0, x)]
        return [
            Slot(trie, axis, margin=margin, above=_after(above, index), same=_after(same, index))
            for index, (axis, trie) in enumerate(axes)
        ]


def _after(number: int | None, index: int) -> int | None:
    return None if number is None else number + index


@dataclass(frozen=True, slots=True)
class Parse:
    """One way to read the tokens so far."""

    slots: tuple[Slot, ...]
    index: int
    node: Node | None
    image_bounds: Bounds
    numbers: tuple[int, ...] = ()

    @property
    def at_end(self) -> bool:
        """Whether all slots are filled."""
        return self.index == len(self.slots)

    def bounds(self) -> tuple[int, int]:
        """The lowest and highest number of the current slot; a cell must also not lie left of the first one."""
        slot = self.slots[self.index]
        if slot.axis is None:
            return 0, sys.maxsize
        if slot.same is not None:
            return self.numbers[slot.same], self.numbers[slot.same]
        if slot.columns is not None:
            return 0 if slot.above is None else self.numbers[slot.above], slot.columns**2 - 1
        lowest, highest = self.image_bounds[slot.axis]
        return lowest if slot.above is None else self.numbers[slot.above] + 1, highest - slot.margin

    def admits(self, child: Node) -> bool:
        """Whether the current slot may continue with this child of its node."""
        slot = self.slots[self.index]
        low, high = self.bounds()
        if slot.columns is None or slot.above is None:
            return child.admits(low, high)
        return any(low <= value <= high and value % slot.columns >= low % slot.columns for value in child.values)

    def tokens(self) -> Iterable[int]:
        """The tokens with which the current slot may continue, one by one."""
        assert self.node is not None
        slot, children = self.slots[self.index], self.node.children
        if len(children) == len(self.node.values) and (slot.columns is None or slot.above is None):
            low, high = self.bounds()  # each child has one value, and they are in their order
            values = self.node.values
            return islice(children, bisect_left(values, low), bisect_right(values, high))
        return (token for token, child in children.items() if self.admits(child))

    def next_slot(self, numbers: tuple[int, ...]) -> Parse:
        """The parse at the beginning of the next slot."""
        return start(self.slots, self.image_bounds, self.index + 1, numbers)


def start(slots: tuple[Slot, ...], image_bounds: Bounds, index: int = 0, numbers: tuple[int, ...] = ()) -> Parse:
    """The parse at the beginning of a slot."""
    return Parse(slots, index, slots[index].trie if index < len(slots) else None, image_bounds, numbers)


class Walker:
    """Follows one answer through its grammar. ``done`` is set when nothing may follow.

    image_bounds: the smallest and largest coordinates of the image, in the model's format.
    """

    def __init__(self, grammar: TokenGrammar, max_tokens: int, image_bounds: Bounds = ((0, SCALE), (0, SCALE))) -> None:
        self.grammar = grammar
        self.max_tokens = max_tokens
        self.num_tokens = 0
        self.parses = [start(slots, image_bounds) for slots in grammar.alternatives]
        self.done = False

    @property
    def in_words(self) -> bool:
        """Whether the answer is in free words (a slot that always comes last)."""
        return any(not parse.at_end and parse.slots[parse.index].trie is None for parse in self.parses)

    @property
    def coordinate(self) -> int | None:
        """The index of the coordinate that comes next, from 0 on; None if something else comes next."""
        open_parses = (parse for parse in self.parses if not parse.at_end)
        return next((len(one.numbers) for one in open_parses if one.slots[one.index].axis is not None), None)

    @property
    def state(self) -> Hashable:
        """What `allowed` depends on: two answers of one grammar in the same state have the same allowed tokens."""
        if self.in_words:
            return self.num_tokens == 0, self.num_tokens >= self.max_tokens
        return tuple(None if parse.node is None else (id(parse.node), *parse.bounds()) for parse in self.parses)

    def take_forced(self) -> list[int]:
        """Takes the tokens without an alternative, and returns them; none if the answer begins freely."""
        taken: list[int] = []
        while (token := self.only) is not None:
            taken.append(token)
            self.advance(token)
        return taken

    @property
    def only(self) -> int | None:
        """The token that must come next; None if there are several, or none."""
        if self.done or self.in_words:
            return None
        first = None
        for token in chain.from_iterable(map(self._next_tokens, self.parses)):
            if first not in (None, token):
                return None
            first = token
        return first

    def allowed(self) -> Tensor:
        """Ids of the tokens that may come next; never empty unless done."""
        if not self.in_words:
            return torch.tensor(sorted({token for parse in self.parses for token in self._next_tokens(parse)}))
        if self.num_tokens == 0:
            return self.grammar.first_words
        end = torch.tensor([self.grammar.eos_id])
        return end if self.num_tokens >= self.max_tokens else torch.cat([self.grammar.words, end])

    def advance(self, token: int) -> None:
        """Takes one of the allowed tokens."""
        if self.in_words:
            self.num_tokens += 1
            self.done = token == self.grammar.eos_id
            return
        self.parses = [after for parse in self.parses for after in _advanced(parse, token)]
        # A name may begin like a longer one ("car", "carrot"): it ends with the end of the sequence.
        self.done = all(parse.at_end for parse in self.parses)

    def _next_tokens(self, parse: Parse) -> Iterable[int]:
        return [self.grammar.eos_id] if parse.node is None else parse.tokens()


def _advanced(parse: Parse, token: int) -> list[Parse]:
    if parse.node is None:
        return []
    child = parse.node.children.get(token)
    if child is None or not parse.admits(child):
        return []
    after = []
    if child.children:
        after.append(replace(parse, node=child))
    low, high = parse.bounds()
    if child.value is not None and low <= child.value <= high:
        is_coordinate = parse.slots[parse.index].axis is not None
        after.append(parse.next_slot((*parse.numbers, child.value) if is_coordinate else parse.numbers))
    return after
