from orders.pricing import subtotal, total


def test_subtotal_adds_prices():
    assert subtotal({"tea": 2, "mug": 1}) == 2100


def test_an_order_without_coupon_costs_its_subtotal():
    assert total({"pot": 1}) == 3900


def test_a_coupon_takes_its_percentage_off():
    assert total({"pot": 1}, "SPRING10") == 3510
