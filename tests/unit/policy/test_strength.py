"""An assertion that says less is one that says less, in every way of writing it."""

import ast

import pytest

from homeostat.policy.strength import of_call, of_context, of_test


def step(text):
    if text.startswith("with "):
        return of_context(ast.parse(f"{text}: pass").body[0].items[0].context_expr)
    (node,) = ast.parse(text).body
    return of_test(node.test) if isinstance(node, ast.Assert) else of_call(node.value)


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ("assert total() == 3", "assert total()"),
        ("assert total() == 3", "assert total() is not None"),
        ("assert total() == 3", "assert total() > 0"),
        ("assert total() == 3", "assert total() != 4"),
        ("assert total() == 3", "assert total() == 3 or True"),
        ("assert total() == 3 and count() == 2", "assert total() == 3"),
        ("assert 'x' in text", "assert text"),
        ("assert text", "assert True"),
        ("assert 0 < total() < 5", "assert total() < 5"),
        ("self.assertEqual(total(), 3)", "self.assertTrue(total())"),
        ("self.assertEqual(total(), 3)", "self.assertIsNotNone(total())"),
        ("self.assertIn('x', text)", "self.assertTrue(text)"),
        ("self.assertTrue(total() == 3)", "self.assertTrue(total())"),
        ("self.assertRaises(KeyError, total)", "self.assertRaises(Exception, total)"),
        ("mock.assert_called_once_with(3)", "mock.assert_called_once()"),
        ("mock.assert_called_once()", "mock.assert_called()"),
        ("with pytest.raises(KeyError)", "with pytest.raises(Exception)"),
        ("with pytest.raises(KeyError, match='x')", "with pytest.raises(KeyError)"),
        ("with self.assertRaises(KeyError)", "with self.assertRaises(BaseException)"),
        ("with pytest.raises(KeyError)", "with open(path)"),
    ],
)
def test_what_says_less_counts_less(more, less):
    assert step(more) > step(less)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("assert total() == 3", "assert total() == 4"),
        ("assert total() == 3", "self.assertEqual(total(), 3)"),
        ("self.assertEqual(a, b)", "self.assertListEqual(a, b)"),
        ("assert not total()", "assert total()"),
    ],
)
def test_what_says_as_much_counts_as_much(one, other):
    assert step(one) == step(other)
