"""The HTTP interface."""

import logging
import os

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from orders.pricing import PRICES, total
from orders.store import OrderStore

log = logging.getLogger("orders")

app = FastAPI(title="orders")
store = OrderStore(os.environ.get("ORDERS_DATABASE", "orders.sqlite"))


class Order(BaseModel):
    customer: str
    items: dict[str, int]
    coupon: str = ""


@app.get("/healthz")
def healthz():
    return {"ok": True}


@app.get("/quote/{item}")
def quote(item: str, quantity: int = 1):
    if item not in PRICES:
        raise HTTPException(404, "no such item")
    return {"cents": total({item: quantity})}


@app.post("/orders", status_code=201)
def place_order(order: Order):
    try:
        cents = total(order.items, order.coupon)
    except KeyError:
        # Written for debugging, long ago: it names the customer.
        log.error("cannot price the order of %s", order.customer, exc_info=True)
        raise
    return {"id": store.add(order.customer, order.items, cents), "cents": cents}


@app.get("/orders/{order_id}")
def get_order(order_id: int):
    order = store.get(order_id)
    if order is None:
        raise HTTPException(404, "no such order")
    return order
