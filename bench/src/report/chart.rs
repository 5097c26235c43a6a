//! Charts as SVG: bars of CPU time per request, user and system apart, with the interval of the
//! whole.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::markdown::figure;
use super::{Summary, Sums};
use crate::stats::Median;

const WIDTH: u32 = 860;
const BAR_HEIGHT: u32 = 34;
/// Title, legend and axis.
const AROUND: u32 = 110;
/// Room for names at the left: of sides, and of scenarios with their sides.
const NAMES: u32 = 120;
const LONG_NAMES: u32 = 270;

const USER: RGBColor = RGBColor(31, 119, 180);
const SYSTEM: RGBColor = RGBColor(174, 199, 232);
const INK: RGBColor = RGBColor(40, 40, 40);
const GREY: RGBColor = RGBColor(225, 225, 225);
const FONT: &str = "sans-serif";

/// A file that was drawn.
#[derive(Debug)]
pub struct Chart {
    pub scenario: String,
    pub file: String,
}

/// One bar: a name, stacked parts, and what is written at its end.
pub struct Bar {
    name: String,
    parts: [f64; 2],
    low: f64,
    high: f64,
    note: String,
}

type Plot<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// What the parts of a bar are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    UserAndSystem,
    One,
}

impl Bar {
    /// A bar of one part, with the interval of its median.
    pub fn plain(name: String, median: Median, note: String) -> Self {
        Self {
            name,
            parts: [median.value, 0.0],
            low: median.low,
            high: median.high,
            note,
        }
    }
}

/// Draws bars of one part each.
pub fn draw_plain(path: &Path, title: &str, bars: &[Bar]) -> Result<()> {
    draw(path, title, bars, Parts::One)
}

/// Draws a chart per scenario.
pub fn draw_all(directory: &Path, summaries: &[Summary]) -> Result<Vec<Chart>> {
    let mut charts = Vec::new();
    for summary in summaries {
        let file = format!("{}.svg", summary.scenario);
        let bars: Vec<Bar> = summary
            .sides
            .iter()
            .map(|side| bar(side, &side.side))
            .collect();
        let title = format!("{}: CPU µs per request", title_of(&summary.about));
        draw(&directory.join(&file), &title, &bars, Parts::UserAndSystem)?;
        charts.push(Chart {
            scenario: summary.scenario.clone(),
            file,
        });
    }
    Ok(charts)
}

fn bar(side: &Sums, name: &str) -> Bar {
    // The whole is exact, the parts are sampled: they are shown in proportion.
    let parts = side.user.value + side.system.value;
    let scale = if parts > 0.0 {
        side.cpu.value / parts
    } else {
        0.0
    };
    let ratio = side.to_floor.filter(|_| name != "floor");
    let ratio = ratio.map_or_else(String::new, |ratio| {
        format!(" · {:.2} × floor", ratio.value)
    });
    Bar {
        name: name.to_owned(),
        parts: [side.user.value * scale, side.system.value * scale],
        low: side.cpu.low,
        high: side.cpu.high,
        note: format!("{}{ratio}", figure(side.cpu.value)),
    }
}

/// What fits above a chart: the first clause.
fn title_of(about: &str) -> &str {
    let clauses = about.split_once("; ").map_or(about, |(first, _)| first);
    clauses.split_once(". ").map_or(clauses, |(first, _)| first)
}

fn draw(path: &Path, title: &str, bars: &[Bar], parts: Parts) -> Result<()> {
    let count = u32::try_from(bars.len())?;
    let size = (WIDTH, AROUND + BAR_HEIGHT * count);
    let root = SVGBackend::new(path, size).into_drawing_area();
    let drawn = draw_on(&root, title, bars, parts).and_then(|()| root.present().map_err(told));
    drawn.map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn draw_on(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    bars: &[Bar],
    parts: Parts,
) -> Result<()> {
    root.fill(&WHITE).map_err(told)?;
    let most = bars.iter().map(|bar| bar.high).fold(f64::EPSILON, f64::max);
    let names = match parts {
        Parts::UserAndSystem => NAMES,
        Parts::One => LONG_NAMES,
    };
    // A third more than the longest bar, for what is written at its end.
    let (x, y) = (0.0..most * 1.35, 0.0..bars.len() as f64);
    let mut plot = ChartBuilder::on(root)
        .caption(title, (FONT, 17, &INK))
        .margin(12)
        .margin_left(names)
        .margin_right(28)
        .x_label_area_size(34)
        .build_cartesian_2d(x, y)
        .map_err(told)?;
    plot.configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_label_formatter(&|value| axis(*value))
        .light_line_style(WHITE)
        .bold_line_style(GREY)
        .axis_style(GREY)
        .label_style((FONT, 13, &INK))
        .draw()
        .map_err(told)?;
    for (nth, bar) in bars.iter().rev().enumerate() {
        draw_bar(&mut plot, nth as f64, bar)?;
    }
    match parts {
        Parts::UserAndSystem => legend(root),
        Parts::One => Ok(()),
    }
}

fn draw_bar(plot: &mut Plot<'_>, at: f64, bar: &Bar) -> Result<()> {
    let (low, middle, high) = (at + 0.18, at + 0.5, at + 0.82);
    let [user, system] = bar.parts;
    let whole = user + system;
    let rectangles = [
        Rectangle::new([(0.0, low), (user, high)], USER.filled()),
        Rectangle::new([(user, low), (whole, high)], SYSTEM.filled()),
    ];
    plot.draw_series(rectangles).map_err(told)?;
    let line = |from, to| PathElement::new([from, to], INK);
    let whiskers = [
        line((bar.low, middle), (bar.high, middle)),
        line((bar.low, middle - 0.12), (bar.low, middle + 0.12)),
        line((bar.high, middle - 0.12), (bar.high, middle + 0.12)),
    ];
    plot.draw_series(whiskers).map_err(told)?;
    let style = |side| {
        let style = (FONT, 14, &INK).into_text_style(plot.plotting_area());
        style.pos(Pos::new(side, VPos::Center))
    };
    let (name, note) = (style(HPos::Right), style(HPos::Left));
    let text = |x, offset, text: &str, style| {
        EmptyElement::at((x, middle)) + Text::new(text.to_owned(), (offset, 0), style)
    };
    let texts = [
        text(0.0, -8, &bar.name, name),
        text(bar.high.max(whole), 8, &bar.note, note),
    ];
    // Names stand outside the plotting area, so this is not a series of it.
    for element in texts {
        plot.plotting_area().draw(&element).map_err(told)?;
    }
    Ok(())
}

fn legend(root: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<()> {
    let (_, height) = root.dim_in_pixel();
    let bottom = i32::try_from(height)? - 16;
    let style = (FONT, 13, &INK).into_text_style(root);
    let entries = [(12, USER, "user"), (70, SYSTEM, "system")];
    for (left, colour, name) in entries {
        let square = Rectangle::new([(left, bottom), (left + 11, bottom + 11)], colour.filled());
        root.draw(&square).map_err(told)?;
        root.draw_text(name, &style, (left + 15, bottom + 1))
            .map_err(told)?;
    }
    Ok(())
}

fn axis(value: f64) -> String {
    if value >= 10.0 || value == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

fn told(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{summarise, tests::run};

    #[test]
    fn titles_end_with_the_first_clause() {
        assert_eq!(
            title_of("limit=1…100, depth 1; counted is it"),
            "limit=1…100, depth 1"
        );
        assert_eq!(
            title_of("a create (202). Counted is it; a"),
            "a create (202)"
        );
        assert_eq!(title_of("limit=1"), "limit=1");
    }

    #[test]
    fn a_chart_shows_every_side_and_its_figure() {
        let directory = tempfile::tempdir().unwrap();
        let summaries = summarise(&[run("millpond", 0, 8.0), run("floor", 0, 6.0)]);
        let charts = draw_all(directory.path(), &summaries).unwrap();
        let svg = std::fs::read_to_string(directory.path().join(&charts[0].file)).unwrap();
        for text in [
            "millpond",
            "floor",
            "8.00 · 1.33 × floor",
            "6.00",
            "user",
            "system",
        ] {
            assert!(svg.contains(text), "{text}");
        }
    }
}
