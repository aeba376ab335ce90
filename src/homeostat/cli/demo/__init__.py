"""`homeostat demo`: the whole loop on a real service under load, step by step, each one observed."""
