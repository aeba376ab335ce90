"""Published vectors of transparency logs, signed notes and DSSE: each is held, or refused, as they say."""

import base64

from public_data import vectors

from homeostat.audit import open_note, pae, root_hash, verify_consistency, verify_inclusion
from homeostat.audit.merkle import verify_subtree_consistency, verify_subtree_inclusion
from homeostat.core.errors import HomeostatError


def read(text):
    return base64.b64decode(text)


def inclusion(it, proof):
    verify_inclusion(it["leafIdx"], it["treeSize"], read(it["leafHash"]), proof, read(it["root"]))


def consistency(it, proof):
    verify_consistency(it["size1"], it["size2"], proof, read(it["root1"]), read(it["root2"]))


def subtree_inclusion(it, proof):
    leaf, root = read(it["leafHash"]), read(it["root"])
    verify_subtree_inclusion(it["leafIdx"], it["start"], it["end"], leaf, proof, root)


def subtree_consistency(it, proof):
    roots = read(it["root1"]), read(it["root2"])
    verify_subtree_consistency(it["start"], it["end"], it["size"], proof, *roots)


CHECKS = {
    "inclusion": inclusion,
    "consistency": consistency,
    "subtreeinclusion": subtree_inclusion,
    "subtreeconsistency": subtree_consistency,
    "note": lambda it, _: open_note(it["note"], it["vkey"]),
}
MADE = {
    "root": lambda it: root_hash(bytes.fromhex(leaf) for leaf in it["leaves"]).hex(),
    "dsse_pae": lambda it: pae(it["type"], it["payload"].encode()).decode(),
}


def refused(it):
    try:
        CHECKS[it["op"]](it, [read(one) for one in it.get("proof") or ()])
    except HomeostatError:
        return True
    return False


def test_every_vector_comes_out_as_it_says():
    found = vectors("merkle/vectors.json")
    assert len(found) > 500
    wrong = [it["name"] for it in found if it["op"] in MADE and MADE[it["op"]](it) != it["want"]]
    wrong += [it["name"] for it in found if it["op"] not in MADE and refused(it) != it["wantErr"]]
    assert wrong == []
