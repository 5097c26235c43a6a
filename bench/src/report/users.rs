//! The crowds of users by kind of request: a CSV for programs, a page for people.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;
use load::job::Kind;

use super::markdown::{figure, thousands};
use crate::record::{LoadRun, Part, Raw};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;\
    padding:0 1rem;color:#222;background:#fff}table{border-collapse:collapse;margin:1rem 0}\
    th,td{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:right}\
    th:first-child,td:first-child{text-align:left}.bar{fill:#1f77b4}.warn{color:#b00}";
/// A bar of the slowest kind, in pixels.
const BAR: f64 = 200.0;

/// Writes `users.csv` and `users.html`, where there were users.
pub fn write(directory: &Path, raw: &Raw) -> Result<()> {
    let crowds = raw.loads.iter().filter(|load| load.part == Part::Users);
    let crowds: Vec<&LoadRun> = crowds.collect();
    if crowds.is_empty() {
        return Ok(());
    }
    fs::write(directory.join("users.csv"), csv(&crowds)?)?;
    fs::write(directory.join("users.html"), html(&crowds, raw)?)?;
    Ok(())
}

fn csv(crowds: &[&LoadRun]) -> Result<String> {
    let mut text = String::from(
        "crowd,on,kind,good,limited,failed,good_per_second,p50_ms,p90_ms,p99_ms,p999_ms,max_ms\n",
    );
    for crowd in crowds {
        for kind in &crowd.told.kinds {
            let latency = kind.latency;
            let per_second = kind.good as f64 / crowd.told.seconds;
            write!(
                text,
                "{},{},{},{},{},{},{per_second:.2}",
                crowd.scenario, crowd.side, kind.name, kind.good, kind.limited, kind.failed
            )?;
            for micros in [
                latency.p50,
                latency.p90,
                latency.p99,
                latency.p999,
                latency.max,
            ] {
                write!(text, ",{:.3}", micros / 1e3)?;
            }
            text.push('\n');
        }
    }
    Ok(text)
}

fn html(crowds: &[&LoadRun], raw: &Raw) -> Result<String> {
    let environment = &raw.environment;
    let mut text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Users of Millpond</title>\
         <style>{STYLE}</style><h1>Users of Millpond</h1><p>{}, {} cores, Linux {}, commit {}, {}\
         </p>\n",
        escaped(&environment.cpu),
        environment.cores,
        escaped(&environment.kernel),
        escaped(&environment.commit),
        escaped(&environment.started),
    );
    if !raw.is_quiet() {
        text +=
            "<p class=\"warn\">The machine was busy with other things: this is no result.</p>\n";
    }
    for crowd in crowds {
        text += &section(crowd)?;
    }
    Ok(text + "</html>\n")
}

fn section(crowd: &LoadRun) -> Result<String> {
    let mut text = format!(
        "<h2>{} ({})</h2><p>{}</p><table><tr><th>kind<th>good<th>429<th>failed<th>good/s<th>p50 ms\
         <th>p90 ms<th>p99 ms<th>max ms<th>p99\n",
        escaped(&crowd.scenario),
        escaped(&crowd.side),
        escaped(&crowd.about)
    );
    let slowest = crowd.told.kinds.iter().map(|kind| kind.latency.p99);
    let slowest = slowest.fold(1.0, f64::max);
    for kind in &crowd.told.kinds {
        text += &row(kind, crowd.told.seconds, slowest)?;
    }
    text += "</table>\n";
    if let Some(audit) = &crowd.audit {
        writeln!(
            text,
            "<p{}>Audit: {} receipts, of which {} were applied, {} rejected, {} dead and {} not \
             found; {} codes, {} of them given twice, {} users with two.</p>",
            if audit.is_clean() {
                ""
            } else {
                " class=\"warn\""
            },
            audit.acknowledged,
            audit.applied,
            audit.rejected,
            audit.dead,
            audit.unknown,
            audit.codes,
            audit.codes_twice,
            audit.users_twice
        )?;
    }
    Ok(text)
}

fn row(kind: &Kind, seconds: f64, slowest: f64) -> Result<String> {
    let latency = kind.latency;
    let mut text = format!(
        "<tr><td>{}<td>{}<td>{}<td>{}<td>{:.1}",
        kind.name,
        thousands(kind.good as f64),
        kind.limited,
        kind.failed,
        kind.good as f64 / seconds
    );
    for micros in [latency.p50, latency.p90, latency.p99, latency.max] {
        write!(text, "<td>{}", figure(micros / 1e3))?;
    }
    let width = latency.p99 / slowest * BAR;
    writeln!(
        text,
        "<td><svg width=\"{BAR}\" height=\"12\"><rect class=\"bar\" width=\"{width:.0}\" \
         height=\"12\"/></svg>"
    )?;
    Ok(text)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
