//! How a figure is made: named, explained, registered. Names start with `realdid_`.
//!
//! All fail only where two figures share a name: a mistake in the caller.

use ledger::governance::RULES;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

type Result<T> = std::result::Result<T, prometheus::Error>;

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("realdid_{name}"), help)
}

/// Which build this is: always 1.
pub(super) fn build_info(registry: &Registry) -> Result<()> {
    let rules = RULES.to_string();
    let options = options("build_info", "1; the build's version, and that of the rules which it executes")
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("rules", rules);
    let info = IntGauge::with_opts(options)?;
    info.set(1);
    registry.register(Box::new(info))
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge> {
    let gauge = IntGauge::with_opts(options(name, help))?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

pub(super) fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
    let gauges = IntGaugeVec::new(options(name, help), labels)?;
    registry.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

/// One that is no whole number.
pub(super) fn plain_gauge(registry: &Registry, name: &str, help: &str) -> Result<Gauge> {
    let gauge = Gauge::with_opts(options(name, help))?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

pub(super) fn plain_gauges(registry: &Registry, name: &str, help: &str, label: &str) -> Result<GaugeVec> {
    let gauges = GaugeVec::new(options(name, help), &[label])?;
    registry.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter> {
    let counter = IntCounter::with_opts(options(name, help))?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec> {
    let counters = IntCounterVec::new(options(name, help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

/// From 50 µs to 6.5 s, each bound twice the last.
pub(super) fn seconds(registry: &Registry, name: &str, help: &str) -> Result<Histogram> {
    let buckets = prometheus::exponential_buckets(0.000_05, 2.0, 18)?;
    let histogram = Histogram::with_opts(HistogramOpts::from(options(name, help)).buckets(buckets))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

/// From 500 µs to 8 s, each bound twice the last.
pub(super) fn seconds_by(registry: &Registry, name: &str, help: &str, label: &str) -> Result<HistogramVec> {
    histograms(registry, name, help, label, prometheus::exponential_buckets(0.000_5, 2.0, 15)?)
}

/// From 1 ms to a minute, each bound four times the last: many series share them.
pub(super) fn slow_seconds_by(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<HistogramVec> {
    histograms(registry, name, help, label, prometheus::exponential_buckets(0.001, 4.0, 9)?)
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
    buckets: Vec<f64>,
) -> Result<HistogramVec> {
    let histograms = HistogramVec::new(HistogramOpts::from(options(name, help)).buckets(buckets), &[label])?;
    registry.register(Box::new(histograms.clone()))?;
    Ok(histograms)
}
