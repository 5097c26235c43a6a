//! The smaller tables, each with what it takes to read it, and what the fleet was made of.

use std::fmt::Write;

use super::markdown::{figure, thousands};
use crate::record::{Figure, FleetSetting, Raw, Table};
use crate::stats::Median;

/// Heading and explanation of each table, in their order.
const TABLES: &[(Table, &str, &str)] = &[
    (
        Table::WarmUp,
        "Fleet: warming",
        "A Kafka that has just been started is several times slower than one whose code is \
         compiled. So the fleet's users created todos, 2 s at a time, until two runs in a row \
         agreed within 10 %, at most twelve times.",
    ),
    (
        Table::CatchUp,
        "Fleet: the worker's share",
        "The servers acknowledged creates while no worker ran; then one worker started. The rate \
         is the rows applied by the time until the lag was 0, counted from the start of its \
         process, and again from its first commit. Beside it, in the same rounds, is the ceiling: \
         plain `unnest` upserts of as many rows of the same shape into the same PostgreSQL, over \
         the product's schema, in batches of 1,000 on one connection, each batch its own \
         transaction. A share of 0.6 is the goal. Servers that follow use the same cores; where \
         none does, only the worker and the services do.",
    ),
    (
        Table::Start,
        "Starts",
        "From the start of a server's process until `/ready` answers 200, on 100,000 todos; the page \
         cache and the database are warm.",
    ),
    (
        Table::Limiter,
        "The limiter",
        "`millpond limiter-check --bench` on one core, against a Redis of its own on another: \
         decisions a second through the batcher, for many keys and for one, beside a call for each \
         decision. What limits cost a read stands with the reads (limited-…) and the open loops.",
    ),
    (
        Table::Hot,
        "Mixed: reads that stayed hot",
        "By the product's own counters: reads that were answered without hyper, of all list reads, \
         with one request in ten a create on the same connections.",
    ),
    (
        Table::Gzip,
        "Beside writes: reads in gzip",
        "Beside the same reads and 1,000 creates a second, in a turn that is not measured, another \
         client asked for gzip. It is made beside the serving, and while somebody wants it: the \
         first to ask get identity, and while reads are measured none is made.",
    ),
    (
        Table::Calls,
        "System calls and allocations per request",
        "System calls were counted by strace, allocations by probes at the allocator's functions, in \
         runs of their own under a closed loop. What opens and closes connections is shared by all \
         requests; calls rarer than 0.01 are in the sum only.",
    ),
    (
        Table::Idle,
        "Idle connections",
        "Resident memory of the server's processes, with no connection but that of a check and with \
         connections that have each read limit=100 and then been idle for 5 s; MB are 1,000,000 \
         bytes, and what the kernel keeps for a socket is not among them. The limit on open files \
         may allow fewer than 50,000: \"MB at 50000\" is what they come to at the measured bytes a \
         connection. Under 200 is the goal.",
    ),
    (
        Table::Spread,
        "Spread over threads",
        "Eight serving threads, whatever the machine has, and a closed loop of limit=1 whose \
         connections are opened anew in each round: the CPU time of the busiest thread, by the mean \
         of all eight. 1 is even; at 2 the server is full when half of it is.",
    ),
];

/// All tables that there are figures of.
pub fn sections(raw: &Raw) -> String {
    let mut text = String::new();
    if let Some(fleet) = &raw.fleet {
        text += &of_fleet(fleet);
    }
    for (table, heading, reading) in TABLES {
        let figures = raw.figures.iter().filter(|figure| figure.table == *table);
        let figures: Vec<&Figure> = figures.collect();
        if !figures.is_empty() {
            let rows = pivot(&figures);
            write!(text, "\n## {heading}\n\n{reading}\n\n{rows}").expect("a string takes all");
        }
    }
    text
}

fn of_fleet(fleet: &FleetSetting) -> String {
    let FleetSetting {
        servers,
        workers,
        services,
        brokers,
        partitions,
        is_warm,
    } = fleet;
    let services = match services.join(", ") {
        none if none.is_empty() => "none".to_owned(),
        services => services,
    };
    let warm = if *is_warm {
        "It was warmed until two runs in a row were alike."
    } else {
        "**It was not warm**: no two runs in a row were alike."
    };
    format!(
        "\n## Fleet\n\n{servers} servers of one thread each and {workers} workers, on all the cores \
         that the bench uses, KAFKA_PARTITIONS={partitions}, brokers: {brokers} (so a write is \
         acknowledged by {brokers}), one PostgreSQL, one Redis. Services on this machine, whose CPU \
         time is counted: {services}. {warm} One fleet is started for all scenarios without limits, \
         on an empty database: later ones run over what earlier ones created.\n"
    )
}

/// Rows and columns in the order in which they first came; medians over what came more than once.
fn pivot(figures: &[&Figure]) -> String {
    let rows = distinct(figures, |figure| &figure.row);
    let columns = distinct(figures, |figure| &figure.column);
    let heads = columns.join(" | ");
    let mut text = format!("| | {heads} |\n|---{}|\n", "|---".repeat(columns.len()));
    for row in rows {
        write!(text, "| {row} |").expect("a string takes all");
        for column in &columns {
            let its = figures
                .iter()
                .filter(|figure| figure.row == row && figure.column == *column);
            let cell = Median::of(its.map(|figure| figure.value));
            let cell = cell.map_or_else(String::new, |median| cell_of(&median));
            write!(text, " {cell} |").expect("a string takes all");
        }
        text.push('\n');
    }
    text
}

fn cell_of(median: &Median) -> String {
    let Median {
        value, low, high, ..
    } = *median;
    if low < high {
        return format!("{} ({}–{})", number(value), number(low), number(high));
    }
    number(value)
}

fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value >= 1_000.0 => thousands(value),
        value => figure(value),
    }
}

fn distinct<'a>(figures: &[&'a Figure], of: fn(&Figure) -> &String) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for figure in figures {
        let name = of(figure).as_str();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_keep_their_order_and_medians_their_spread() {
        let of = |row, column, value| Figure::of(Table::CatchUp, row, column, value);
        let figures = [
            of("b", "rows/s", 3_000.0),
            of("b", "rows/s", 1_000.0),
            of("b", "share", 0.5),
            of("a", "rows/s", 7.0),
        ];
        let figures: Vec<&Figure> = figures.iter().collect();
        assert_eq!(
            pivot(&figures),
            "| | rows/s | share |\n|---|---|---|\n\
             | b | 2,000 (1,000–3,000) | 0.500 |\n| a | 7.00 |  |\n"
        );
    }
}
