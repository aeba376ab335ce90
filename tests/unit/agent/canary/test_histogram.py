"""A bound that was sent leads back to its bucket; what else the buckets do, `tests/unit/rollout/canary` shows."""

from homeostat_agent.canary.histogram import LEAST_BUCKET, MOST_BUCKET, bucket_at, bucket_of, lower_bound_s

from homeostat.model import latency


def test_every_bound_leads_back_to_its_bucket():
    for bucket in range(LEAST_BUCKET, MOST_BUCKET + 2):
        assert bucket_at(lower_bound_s(bucket)) == bucket


def test_the_hub_reads_by_the_functions_that_the_agent_counts_by():
    assert latency.bucket_of is bucket_of
    assert latency.lower_bound_s is lower_bound_s
