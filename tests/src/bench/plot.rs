//! Throughput against latency, as an SVG picture: a point for each step of the ramp and each measured run.

use std::fmt::Write;

use super::campaign::Report;
use super::figures::Figures;
use super::report::time;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;
const P50: &str = "#1f6feb";
const P99: &str = "#c93c37";

/// From figures to places in the picture.
struct Scale {
    /// The right end: transactions a second.
    most: f64,
    /// Powers of ten, in ms, at the bottom and the top.
    decades: (i32, i32),
}

impl Scale {
    fn x(&self, rate: f64) -> f64 {
        LEFT + rate / self.most * (WIDTH - LEFT - RIGHT)
    }

    /// Latencies lie decades apart: logarithmic.
    fn y(&self, ms: f64) -> f64 {
        let (low, high) = self.decades;
        let part = (ms.max(1e-3).log10() - f64::from(low)) / f64::from(high - low);
        HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
    }
}

/// The picture of a report.
pub fn svg(report: &Report) -> String {
    let mut steps: Vec<&Figures> = report.ramp.iter().map(|step| &step.figures).collect();
    steps.sort_by_key(|figures| figures.offered_per_second);
    let parts = [&report.half, &report.saturation, &report.double];
    let measured: Vec<&Figures> = parts.into_iter().flat_map(|part| &part.runs).collect();
    let ceiling = report.ceiling();
    let mut text = String::new();
    draw(&mut text, &steps, &measured, ceiling, &title(report)).expect("a text can be written to");
    text
}

fn title(report: &Report) -> String {
    let setup = &report.setup;
    let links = setup.links.map(|links| format!(", links {links}")).unwrap_or_default();
    format!("{} validators, {} cores, {}{links}", setup.validators, report.ceilings.cores, setup.what())
}

fn draw(
    text: &mut String,
    steps: &[&Figures],
    measured: &[&Figures],
    (bound, ceiling): (&str, f64),
    title: &str,
) -> std::fmt::Result {
    let all = || steps.iter().chain(measured).map(|figures| &figures.summary);
    let most = all().map(|summary| summary.committed_per_second).fold(1.0, f64::max);
    // The ceiling is shown where it does not crush everything else against the left.
    let shows_ceiling = ceiling < 4.0 * most;
    let most = nice(if shows_ceiling { most.max(ceiling) } else { most } * 1.05);
    let least_ms = all().map(|summary| summary.p50_ms).fold(f64::MAX, f64::min).max(0.1);
    let most_ms = all().map(|summary| summary.p99_ms).fold(1.0, f64::max);
    let decades = (least_ms.log10().floor() as i32, (most_ms * 1.01).log10().ceil() as i32);
    let scale = Scale { most, decades: (decades.0, decades.1.max(decades.0 + 1)) };

    writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>"
    )?;
    label(text, LEFT, 22.0, "start", title)?;
    axes(text, &scale)?;
    if shows_ceiling {
        let x = scale.x(ceiling);
        let bottom = HEIGHT - BOTTOM;
        writeln!(
            text,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#888\" stroke-dasharray=\"5 4\"/>"
        )?;
        label(text, x - 4.0, TOP + 12.0, "end", bound)?;
    }
    type Latency = fn(&Figures) -> f64;
    let lines: [(&str, &str, Latency); 2] =
        [("p50", P50, |figures| figures.summary.p50_ms), ("p99", P99, |figures| figures.summary.p99_ms)];
    for (place, (name, colour, latency)) in lines.into_iter().enumerate() {
        let at =
            |figures: &Figures| (scale.x(figures.summary.committed_per_second), scale.y(latency(figures)));
        let points: Vec<_> = steps.iter().map(|figures| at(figures)).collect();
        let line: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            line.join(" ")
        )?;
        for (x, y) in points {
            writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>")?;
        }
        for (x, y) in measured.iter().map(|figures| at(figures)) {
            writeln!(
                text,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"none\" stroke=\"{colour}\"/>"
            )?;
        }
        let x = LEFT + 60.0 * place as f64;
        writeln!(text, "<circle cx=\"{:.1}\" cy=\"36\" r=\"4\" fill=\"{colour}\"/>", x + 4.0)?;
        label(text, x + 12.0, 40.0, "start", name)?;
    }
    label(text, LEFT + 120.0, 40.0, "start", "dots: the ramp · rings: measured runs")?;
    writeln!(text, "</svg>")
}

fn axes(text: &mut String, scale: &Scale) -> std::fmt::Result {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for part in 0..=5 {
        let rate = scale.most * f64::from(part) / 5.0;
        let x = scale.x(rate);
        writeln!(
            text,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#e5e5e5\"/>"
        )?;
        label(text, x, bottom + 18.0, "middle", &format!("{rate:.0}"))?;
    }
    for decade in scale.decades.0..=scale.decades.1 {
        let ms = 10_f64.powi(decade);
        let y = scale.y(ms);
        writeln!(
            text,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#e5e5e5\"/>"
        )?;
        label(text, LEFT - 6.0, y + 4.0, "end", &time(ms))?;
    }
    label(text, f64::midpoint(LEFT, right), HEIGHT - 14.0, "middle", "committed transactions a second")
}

fn label(text: &mut String, x: f64, y: f64, anchor: &str, label: &str) -> std::fmt::Result {
    let label = label.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(text, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#333\">{label}</text>")
}

/// The next of 1, 2 and 5 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|nice| *nice >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::{Counts, Summary, Used};
    use std::time::Duration;

    fn figures(rate: u64, p50_ms: f64, p99_ms: f64) -> Figures {
        let mut figures = Figures::new(rate, Duration::ZERO, Counts::default(), Vec::new(), &Used::default());
        let committed_per_second = rate as f64;
        figures.summary = Summary { committed_per_second, p50_ms, p99_ms, ..Summary::default() };
        figures
    }

    #[test]
    fn every_point_is_within_the_picture_and_more_latency_is_higher_up() {
        let (low, high) = (figures(100, 8.0, 20.0), figures(4_000, 300.0, 12_000.0));
        let mut text = String::new();
        draw(&mut text, &[&low, &high], &[&high], ("signature ceiling", 9_000.0), "a < b & c").unwrap();
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
        assert!(text.contains("a &lt; b &amp; c") && text.contains("signature ceiling"));
        let value = |line: &str, name: &str| -> f64 {
            line.split_once(name).and_then(|(_, rest)| rest.split('"').next()).unwrap().parse().unwrap()
        };
        let circles: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("<circle"))
            .map(|line| (value(line, "cx=\""), value(line, "cy=\"")))
            .collect();
        assert_eq!(circles.len(), 2 * 3 + 2, "dots, rings and the legend");
        for (x, y) in &circles {
            assert!((LEFT..=WIDTH).contains(x) && (0.0..=HEIGHT - BOTTOM).contains(y), "{x} {y}");
        }
        assert!(circles[1].1 < circles[0].1 && circles[1].0 > circles[0].0);
    }

    #[test]
    fn a_ceiling_far_off_does_not_crush_the_rest() {
        let step = figures(100, 8.0, 20.0);
        let mut text = String::new();
        draw(&mut text, &[&step], &[], ("signature ceiling", 100_000.0), "").unwrap();
        assert!(!text.contains("signature ceiling"));
    }

    #[test]
    fn scales_end_at_round_numbers() {
        assert_eq!([0.3, 1.0, 1.1, 4_830.0, 5_001.0].map(nice), [1.0, 1.0, 2.0, 5_000.0, 10_000.0]);
    }
}
