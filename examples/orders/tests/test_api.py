import importlib

import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.setenv("ORDERS_DATABASE", str(tmp_path / "orders.sqlite"))
    import orders.app

    return TestClient(importlib.reload(orders.app).app)


def test_an_order_is_placed_and_found_again(client):
    placed = client.post("/orders", json={"customer": "a@example.org", "items": {"tea": 1}, "coupon": "WELCOME5"})
    assert placed.status_code == 201
    assert client.get(f"/orders/{placed.json()['id']}").json()["cents"] == 428


def test_a_quote_names_the_price(client):
    assert client.get("/quote/mug").json() == {"cents": 1200}


def test_an_unknown_item_is_not_found(client):
    assert client.get("/quote/car").status_code == 404
