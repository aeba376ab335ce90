"""Trees, proofs and what they show; every proof that is altered in any bit, size or place fails."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.audit.merkle import (
    EMPTY_ROOT,
    GrowingTree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_hash,
    stretch_root,
    subtree_consistency_proof,
    verify_consistency,
    verify_inclusion,
    verify_subtree_consistency,
    verify_subtree_inclusion,
)
from homeostat.core.errors import Bug, IntegrityFailure

SIZES = st.integers(1, 70)


def entry(index):
    return b"entry %d" % index


def by_definition(entries):
    """Return the root as RFC 6962, section 2.1, defines it."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return leaf_hash(entries[0])
    split = 1
    while split * 2 < len(entries):
        split *= 2
    return node_hash(by_definition(entries[:split]), by_definition(entries[split:]))


def root(start, end):
    return by_definition([entry(index) for index in range(start, end)])


def complete(level, index):
    return root(index << level, (index + 1) << level)


def fails(check, *arguments):
    with pytest.raises(IntegrityFailure) as failed:
        check(*arguments)
    assert failed.value.code == "merkle-proof-fails"


@given(st.integers(0, 70))
def test_a_tree_that_grew_has_the_root_of_the_definition_at_each_size(size):
    growing, trees = GrowingTree(), {}
    for index in range(size):
        assert growing.root == root(0, index)
        growing.append(leaf_hash(entry(index)), lambda level, at, hashed: trees.__setitem__((level, at), hashed))
    assert growing.root == root_hash(entry(index) for index in range(size)) == root(0, size)
    assert all(hashed == complete(level, at) for (level, at), hashed in trees.items())
    assert len(trees) == sum(size >> level for level in range(8))
    again = GrowingTree(size, growing.edge)
    for tree in (growing, again):
        tree.append(leaf_hash(entry(size)))
        assert (tree.size, tree.root) == (size + 1, root(0, size + 1))


def test_the_empty_tree_has_the_hash_of_nothing_and_an_edge_that_makes_up_no_size_is_refused():
    assert GrowingTree().root == EMPTY_ROOT == root_hash([]) == stretch_root(0, 0, complete)
    with pytest.raises(Bug):
        GrowingTree(3, [EMPTY_ROOT])


@given(st.data())
def test_every_entry_is_shown_to_be_where_it_is_and_nowhere_else(data):
    size = data.draw(SIZES)
    index, other, bit = (
        data.draw(st.integers(0, size - 1)),
        data.draw(st.integers(-2, size + 2)),
        data.draw(st.integers(0, 255)),
    )
    proof = inclusion_proof(index, size, complete)
    leaf, whole = leaf_hash(entry(index)), root(0, size)
    assert verify_inclusion(index, size, leaf, proof, whole) == whole
    if other != index:
        fails(verify_inclusion, other, size, leaf, proof, whole)
    fails(verify_inclusion, index, size, leaf_hash(entry(size)), proof, whole)
    fails(verify_inclusion, index, size, leaf, [*proof, whole], whole)
    fails(verify_inclusion, index, size, leaf, [whole, *proof], whole)
    fails(verify_inclusion, index, size, leaf, proof, _flipped(whole, bit))
    for place in range(len(proof)):
        changed = [*proof]
        changed[place] = _flipped(changed[place], bit)
        fails(verify_inclusion, index, size, leaf, changed, whole)
        fails(verify_inclusion, index, size, leaf, proof[:place] + proof[place + 1 :], whole)


@given(st.data())
def test_every_subtree_is_shown_to_be_part_of_the_whole_and_no_other(data):
    size = data.draw(SIZES)
    end = data.draw(st.integers(1, size))
    start = data.draw(st.sampled_from([at for at in range(end) if at % (1 << (end - at - 1).bit_length()) == 0]))
    bit = data.draw(st.integers(0, 255))
    proof = subtree_consistency_proof(start, end, size, complete)
    ours, whole = root(start, end), root(0, size)
    check = verify_subtree_consistency
    assert check(start, end, size, proof, ours, whole) == whole
    fails(check, start, end, size, proof, _flipped(ours, bit), whole)
    fails(check, start, end, size, proof, ours, _flipped(whole, bit))
    fails(check, start, end, size, [*proof, whole], ours, whole)
    for place in range(len(proof)):
        changed = [*proof]
        changed[place] = _flipped(changed[place], bit)
        fails(check, start, end, size, changed, ours, whole)
        fails(check, start, end, size, proof[:place] + proof[place + 1 :], ours, whole)
    if start == 0:
        assert proof == consistency_proof(end, size, complete)
        assert verify_consistency(end, size, proof, ours, whole) == whole
    for index in range(start, end):
        inside = inclusion_proof(index - start, end - start, lambda level, at: complete(level, at + (start >> level)))
        assert verify_subtree_inclusion(index, start, end, leaf_hash(entry(index)), inside, ours) == ours


def test_what_is_no_subtree_or_no_size_is_refused_whatever_is_shown_for_it():
    for start, end, size in ((1, 3, 8), (2, 6, 8), (0, 9, 8), (4, 3, 8), (-1, 0, 8), (0, 1, 2**63), (0, 2**63, 2**63)):
        fails(verify_subtree_consistency, start, end, size, [], EMPTY_ROOT, EMPTY_ROOT)
    fails(verify_consistency, 0, 5, [], EMPTY_ROOT, root(0, 5))
    fails(verify_inclusion, 0, 2, leaf_hash(entry(0)), [b"short"], root(0, 2))
    fails(verify_inclusion, 0, 1, b"", [], b"")
    for start, end, size in ((1, 3, 8), (0, 0, 8), (0, 9, 8)):
        with pytest.raises(Bug):
            subtree_consistency_proof(start, end, size, complete)
    with pytest.raises(Bug):
        inclusion_proof(3, 3, complete)


def _flipped(hashed, bit):
    changed = bytearray(hashed)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
