"""What an order costs. Money is in cents."""

COUPONS = {"SPRING10": 10, "WELCOME5": 5}

PRICES = {"tea": 450, "mug": 1200, "pot": 3900}


def subtotal(items: dict) -> int:
    """Sum of the items before any discount."""
    return sum(PRICES[name] * quantity for name, quantity in items.items())


def discount_percent(coupon: str) -> int:
    """How much a coupon takes off."""
    if not coupon:
        return 0
    return COUPONS[coupon]


def total(items: dict, coupon: str = "") -> int:
    """What the customer pays."""
    full = subtotal(items)
    return full - full * discount_percent(coupon) // 100
