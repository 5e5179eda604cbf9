# SPDX-License-Identifier: AGPL-3.0-or-later
"""The box's figures for Prometheus, read from the running box at each scrape."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from detector.preview.view import BoxView, Glance


class BoxCollector(Collector):
    """Names begin with `straw1530_edge_`; times are seconds."""

    def __init__(self, glance: Glance) -> None:
        self._glance = glance
        self._process = ProcessCollector(registry=None)

    def collect(self) -> Iterable[Metric]:
        """One scrape."""
        view = self._glance.view()
        yield from self._process.collect()
        yield from _of_the_box(view)
        yield from _of_the_cameras(view)

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first scrape."""
        return []


def _of_the_box(view: BoxView) -> Iterable[Metric]:
    yield GaugeMetricFamily("straw1530_edge_connected", "1 while the broker is reached", value=view.connected)
    waiting = GaugeMetricFamily("straw1530_edge_outbox_waiting", "Parts still to be sent", labels=["part"])
    for part, count in view.waiting.items():
        waiting.add_metric([part], count)
    yield waiting
    yield GaugeMetricFamily("straw1530_edge_outbox_unwritten", "Alarms the disk does not take", value=view.unwritten)
    yield GaugeMetricFamily("straw1530_edge_outbox_refused", "Parts the server refused", value=view.parked)
    yield GaugeMetricFamily("straw1530_edge_look_seconds", "What the newest look took", value=view.look_seconds)
    if view.clock.offset_ms is not None and view.clock.error_ms is not None:
        offset, error = view.clock.offset_ms / 1000, view.clock.error_ms / 1000
        yield GaugeMetricFamily("straw1530_edge_clock_offset_seconds", "Server's clock less the box's", value=offset)
        yield GaugeMetricFamily("straw1530_edge_clock_error_seconds", "What the offset is right within", value=error)
    versions = GaugeMetricFamily("straw1530_edge_version", "Version in use; 0 is what is installed", labels=["kind"])
    for kind, report in view.versions.items():
        versions.add_metric([kind], report.using)
    yield versions


def _of_the_cameras(view: BoxView) -> Iterable[Metric]:
    looks = CounterMetricFamily("straw1530_edge_looks", "Pictures judged", labels=["camera"])
    sightings = CounterMetricFamily("straw1530_edge_sightings", "Sightings confirmed", labels=["camera"])
    age = GaugeMetricFamily("straw1530_edge_look_age_seconds", "Since the last look", labels=["camera"])
    state = GaugeMetricFamily("straw1530_edge_camera_state", "1 for the present state", labels=["camera", "state"])
    judgement = GaugeMetricFamily(
        "straw1530_edge_camera_judgement", "1 for the present judgement", labels=["camera", "judgement", "light"]
    )
    for camera in view.cameras:
        looks.add_metric([camera.id], camera.looks)
        sightings.add_metric([camera.id], camera.sightings)
        state.add_metric([camera.id, camera.state], 1)
        judgement.add_metric([camera.id, camera.judgement, camera.light], 1)
        if camera.look_age_s is not None:
            age.add_metric([camera.id], camera.look_age_s)
    yield from (looks, sightings, age, state, judgement)
