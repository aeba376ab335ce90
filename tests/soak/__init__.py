"""The real system at load for as long as is asked, with random kills, and an account of what was lost.

python -m soak --minutes 60 --seed 1 --report soak.json      (with `tests` on PYTHONPATH: `make soak`)
"""
