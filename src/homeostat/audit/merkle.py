"""The Merkle tree of RFC 6962, section 2: roots, proofs, and what a proof shows.

A leaf is hashed after a byte 0 and a pair of nodes after a byte 1, so that none can be taken for the other. The tree
over n entries is split at the greatest power of two below n; the tree over a stretch of the entries is the
same, and where the stretch begins at a multiple of its size (rounded up to a power of two) it is a *subtree* that can
be shown to be part of the whole, as in draft-ietf-plants-merkle-tree-certs, section 4.

Proofs are lists of SHA-256 hashes, from the bottom to the top. What does not hold raises `IntegrityFailure`
``merkle-proof-fails``; nothing else is raised for numbers and hashes of any size.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from homeostat.core.errors import Bug, IntegrityFailure

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1
"""Entries of the largest tree that is considered, as in the protocols that carry sizes."""

EMPTY_ROOT = hashlib.sha256().digest()
"""The root over no entries."""

_LEAF, _NODE = b"\x00", b"\x01"

CompleteHash = Callable[[int, int], bytes]
"""Of a level and an index: the hash over the entries ``index << level`` up to the next, of which all are there."""

_sha256 = hashlib.sha256


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of one entry as a leaf."""
    return _sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two nodes beside each other."""
    return _sha256(_NODE + left + right).digest()


def root_hash(entries: Iterable[bytes]) -> bytes:
    """Return the root over entries, given as bytes and in order."""
    growing = GrowingTree()
    for entry in entries:
        growing.append(leaf_hash(entry))
    return growing.root


class GrowingTree:
    """The right edge of a tree: all that is needed to append to it. Not for several threads at once."""

    __slots__ = ("_edge", "size")

    def __init__(self, size: int = 0, edge: Sequence[bytes] = ()) -> None:
        """Begin with the complete trees, the largest first, that make up `size`; see `edge`."""
        if len(edge) != size.bit_count():
            raise Bug("merkle-edge", f"{len(edge)} hashes do not make up {size} entries")
        self.size = size
        self._edge = list(edge)

    @property
    def edge(self) -> tuple[bytes, ...]:
        """The roots of the complete trees that the entries fall into, the largest first: one for each bit of `size`."""
        return tuple(self._edge)

    @property
    def root(self) -> bytes:
        """The root over all that was appended."""
        return _fold(self._edge)

    def append(self, leaf: bytes, on_complete: Callable[[int, int, bytes], None] | None = None) -> None:
        """Add a leaf's hash; `on_complete` is told level, index and hash of every tree that this completes."""
        edge, level, index = self._edge, 0, self.size
        if on_complete is not None:
            on_complete(0, index, leaf)
        while index & 1:
            leaf, level, index = _sha256(_NODE + edge.pop() + leaf).digest(), level + 1, index >> 1
            if on_complete is not None:
                on_complete(level, index, leaf)
        edge.append(leaf)
        self.size += 1


def stretch_root(start: int, end: int, complete: CompleteHash) -> bytes:
    """Return the root over the entries from `start` to before `end`, where `start` begins a subtree."""
    return _fold(_complete_parts(start, end, complete))


def edge_of(size: int, complete: CompleteHash) -> list[bytes]:
    """Return what `GrowingTree` begins with to go on after `size` entries."""
    return _complete_parts(0, size, complete)


def _complete_parts(start: int, end: int, complete: CompleteHash) -> list[bytes]:
    parts = []
    while start < end:
        level = (end - start).bit_length() - 1
        parts.append(complete(level, start >> level))
        start += 1 << level
    return parts


def inclusion_proof(index: int, size: int, complete: CompleteHash) -> list[bytes]:
    """Return the proof that the entry of this index is in the tree over the first `size` entries."""
    if not 0 <= index < size:
        raise Bug("merkle-range", f"there is no entry {index} among {size}")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(stretch_root(middle, end, complete))
            end = middle
        else:
            proof.append(stretch_root(start, middle, complete))
            start = middle
    return proof[::-1]


def consistency_proof(size1: int, size2: int, complete: CompleteHash) -> list[bytes]:
    """Return the proof that the tree over the first `size1` entries is the beginning of that over `size2`."""
    return subtree_consistency_proof(0, size1, size2, complete)


def subtree_consistency_proof(start: int, end: int, size: int, complete: CompleteHash) -> list[bytes]:
    """Return the proof that the subtree over the entries from `start` to before `end` is part of that over `size`."""
    if not (_is_subtree(start, end) and start < end <= size):
        raise Bug("merkle-range", f"from {start} to {end} is no subtree of a tree over {size}")
    proof: list[bytes] = []
    low, high, known = 0, size, True
    while not (start == low and end == high):
        middle = low + _split(high - low)
        if end <= middle:
            proof.append(stretch_root(middle, high, complete))
            high = middle
        else:
            proof.append(stretch_root(low, middle, complete))
            if start < middle:  # it lies across: what is left of it is no tree that anybody has the root of
                start, known = middle, False
            low = middle
    if not known:
        proof.append(stretch_root(low, high, complete))
    return proof[::-1]


def verify_inclusion(leaf_index: int, tree_size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bytes:
    """Check that a leaf, given as its hash, is entry `leaf_index` of the tree with this size and root.

    Returns the root, which then holds the leaf.
    """
    return verify_subtree_inclusion(leaf_index, 0, tree_size, leaf, proof, root)


def verify_subtree_inclusion(
    leaf_index: int, start: int, end: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> bytes:
    """Check that a leaf is entry `leaf_index` of the subtree from `start` to before `end`; return its root."""
    if not (_is_subtree(start, end) and start <= leaf_index < end):
        raise _fails(f"entry {leaf_index} is not in a tree from {start} to {end}")
    left = _Left(proof)
    if _root_with(left, leaf_index - start, end - start, _checked(leaf)) != root or left.any:
        raise _fails(f"entry {leaf_index} is not shown to be in the tree from {start} to {end}")
    return root


def verify_consistency(size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> bytes:
    """Check that the tree of `size1` and `root1` is the beginning of that of `size2` and `root2`; return `root2`.

    The empty tree is the beginning of every other, which says nothing of it: a `size1` of 0 is refused.
    """
    if not size1:
        raise _fails("that a tree goes on from an empty one shows nothing")
    return verify_subtree_consistency(0, size1, size2, proof, root1, root2)


def verify_subtree_consistency(
    start: int, end: int, size: int, proof: Sequence[bytes], root1: bytes, root2: bytes
) -> bytes:
    """Check that the subtree from `start` to before `end`, of `root1`, is part of the tree of `size` and `root2`.

    An empty subtree is part of every tree: only its root is looked at. Returns `root2`.
    """
    if not (_is_subtree(start, end) and end <= size <= MAX_SIZE):
        raise _fails(f"from {start} to {end} is no subtree of a tree over {size}")
    left = _Left(proof)
    if start == end:
        if root1 != EMPTY_ROOT or left.any:
            raise _fails("an empty subtree has another root, and no proof")
        return root2
    if end - start < size:  # the whole tree leads to itself, whatever its root is
        _checked(root1)
    ours, whole = _roots_with(left, start, end, size, root1)
    if ours != root1 or whole != root2 or left.any:
        raise _fails(f"the tree from {start} to {end} is not shown to be part of that over {size}")
    return root2


class _Left:
    """What is left of a proof, taken from its top."""

    def __init__(self, proof: Sequence[bytes]) -> None:
        self._proof = [_checked(one) for one in proof]

    @property
    def any(self) -> bool:
        return bool(self._proof)

    def take(self) -> bytes:
        if not self._proof:
            raise _fails("the proof is too short")
        return self._proof.pop()


def _root_with(left: _Left, index: int, size: int, leaf: bytes) -> bytes:
    """Return the root over `size` entries that the proof leads to from this leaf."""
    if size == 1:
        return leaf
    other, middle = left.take(), _split(size)
    if index < middle:
        return node_hash(_root_with(left, index, middle, leaf), other)
    return node_hash(other, _root_with(left, index - middle, size - middle, leaf))


def _roots_with(left: _Left, start: int, end: int, size: int, known: bytes | None) -> tuple[bytes, bytes]:
    """Return the roots of the stretch and of the whole that the proof leads to; `known` is the stretch's, if it is."""
    if start == 0 and end == size:
        here = left.take() if known is None else known
        return here, here
    other, middle = left.take(), _split(size)
    if end <= middle:
        ours, whole = _roots_with(left, start, end, middle, known)
        return ours, node_hash(whole, other)
    if start >= middle:
        ours, whole = _roots_with(left, start - middle, end - middle, size - middle, known)
        return ours, node_hash(other, whole)
    ours, whole = _roots_with(left, 0, end - middle, size - middle, None)
    return node_hash(other, ours), node_hash(other, whole)


def _fold(parts: Sequence[bytes]) -> bytes:
    """Return the root over complete trees beside each other, the largest first."""
    if not parts:
        return EMPTY_ROOT
    root = parts[-1]
    for part in reversed(parts[:-1]):
        root = node_hash(part, root)
    return root


def _split(size: int) -> int:
    """Return the greatest power of two below `size`, of at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _is_subtree(start: int, end: int) -> bool:
    """Tell whether a stretch begins at a multiple of its size, rounded up to a power of two."""
    if not 0 <= start <= end <= MAX_SIZE:
        return False
    return start == end or start % (1 << (end - start - 1).bit_length()) == 0


def _checked(hashed: bytes) -> bytes:
    if len(hashed) != HASH_BYTES:
        raise _fails(f"a hash has {len(hashed)} bytes, and not {HASH_BYTES}")
    return hashed


def _fails(why: str) -> IntegrityFailure:
    return IntegrityFailure("merkle-proof-fails", why)
