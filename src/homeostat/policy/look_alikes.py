"""Letters of other alphabets that look like Latin ones, after the Unicode consortium's list of confusables (UTS 39).

Only those that a reader of code takes for the Latin letter in common fonts: Cyrillic, Greek, Armenian, Cherokee, and
the compatibility forms that NFKC folds anyway.
"""

import unicodedata

_LATIN = dict(
    zip(
        "асԁеɡһіјӏорԛѕυѵԝхуʏΑΒΕΖΗΙΚΜΝΟΡΤΥΧАВЕЅІЈКМНОРСТХУԌԚԜαιορνκтмнкгѡοհոսօցզԲՏՍՕᎪᎬᎫᎳᎻᏃᏚᏢᎢᏟ",
        "acdeghijlopqsuvwxyyABEZHIKMNOPTYXABESIJKMHOPCTXYGQWaiopvktmhkrwohnuogqPSUOAEJWHZSPTC",
        strict=True,
    )
)


def skeleton(text: str) -> str:
    """Return the text as a reader may take it, in lower case: letters that look Latin are made so."""
    folded = unicodedata.normalize("NFKC", text)
    return "".join(_LATIN.get(char, char) for char in folded).casefold()


def mixes_alphabets(word: str) -> bool:
    """Tell a word whose letters are taken for Latin ones and are not, all of them or some."""
    if word.isascii():
        return False
    foreign = [char for char in word if char.isalpha() and not char.isascii()]
    if any(
        unicodedata.normalize("NFKC", char) != char and unicodedata.normalize("NFKC", char).isascii()
        for char in foreign
    ):
        return True
    if not any(char in _LATIN for char in foreign):
        return False
    latin = any(char.isascii() and char.isalpha() for char in word)
    return latin or all(char in _LATIN for char in foreign)
