"""Figures for Prometheus."""

from __future__ import annotations

from edgeopt.generate.server.metrics import Metrics


def test_the_text_has_every_figure_with_its_kind() -> None:
    metrics = Metrics()
    metrics.requests["/v1/completions", 200] += 2
    metrics.prompt_tokens.add(5)
    metrics.made(30)
    for seconds in (0.004, 0.2, 100.0):
        metrics.first_token.observe(seconds)
    text = metrics.text({"edgeopt_running": ("Running.", 3)})
    assert 'edgeopt_requests_total{path="/v1/completions",status="200"} 2\n' in text
    assert "# TYPE edgeopt_running gauge\nedgeopt_running 3\n" in text
    assert "edgeopt_generated_tokens_total 30\n" in text
    assert "edgeopt_tokens_per_second 3\n" in text
    assert 'seconds_bucket{le="0.01"} 1\n' in text
    assert 'seconds_bucket{le="0.25"} 2\n' in text
    assert 'seconds_bucket{le="+Inf"} 3\n' in text
    assert "seconds_count 3\n" in text
