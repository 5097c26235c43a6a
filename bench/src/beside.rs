//! Beside writes: creates at a rate while reads are measured, and how many of the reads that ask for
//! gzip get it meanwhile.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

use anyhow::{Result, ensure};
use captured::Answer;
use load::job::{What, Work};

use crate::client::{self, Call};
use crate::http::exchange_on;
use crate::loader::Begun;
use crate::metrics;
use crate::record::{Figure, Line, Table, Writer};
use crate::scenario::{Form, Limit, Scenario};
use crate::session::Session;
use crate::sides::Running;

/// Creates a second.
const CREATES: f64 = 1_000.0;
/// Enough that none is late with a server whose core is full.
const CONNECTIONS: u32 = 64;
/// Seconds that writes go on after the reads, so that no end of a turn is without them.
const LONGER_SECONDS: u32 = 1;
/// Of the turn in which gzip is asked for.
pub const SAMPLE_SECONDS: u32 = 5;
/// Reads of each list in it, at most.
const SAMPLES: u32 = 200;
/// The lists that are asked for.
const LISTS: [Limit; 4] = [
    Limit::First(1),
    Limit::First(10),
    Limit::First(100),
    Limit::All,
];

/// Creates that are under way.
pub struct Writing {
    load: Begun,
    port: u16,
    applied: f64,
    since: Instant,
}

impl Writing {
    /// Begins creates that outlast `seconds` of reads.
    pub fn begin(session: &Session, side: &Running, seconds: u32) -> Result<Self> {
        let work = Work::Open {
            what: What::Create,
            per_second: CREATES,
            connections: CONNECTIONS,
        };
        let server = (Ipv4Addr::LOCALHOST, side.port).into();
        let seconds = f64::from(seconds + LONGER_SECONDS);
        Ok(Self {
            load: Begun::begin(session, &[server], work, seconds)?,
            port: side.port,
            applied: applied(side.port)?,
            since: Instant::now(),
        })
    }

    /// Who writes.
    pub fn pid(&self) -> u32 {
        self.load.pid()
    }

    /// Writes that the server says it has applied, a second, so far.
    pub fn applied_per_second(&self) -> Result<f64> {
        let applied = applied(self.port)? - self.applied;
        Ok(applied / self.since.elapsed().as_secs_f64())
    }

    /// Waits until all is written and applied.
    pub fn end(self) -> Result<()> {
        let told = self.load.end()?;
        let bad = told.kinds.iter().map(|kind| kind.failed + kind.limited);
        let bad = bad.sum::<u64>() + told.lost;
        ensure!(bad == 0, "{bad} writes were not acknowledged: {told:?}");
        Ok(())
    }
}

fn applied(port: u16) -> Result<f64> {
    Ok(metrics::of(port)?.sum("commands_applied_total"))
}

/// Asks for gzip while the reads of `call` and the writes go on, and puts on record how many of the
/// answers had it. It is a turn of its own: what it costs is not the reads'.
pub fn sample(
    session: &Session,
    scenario: &Scenario,
    side: &Running,
    call: Call<'_>,
    raw: &mut Writer,
) -> Result<()> {
    let writing = Writing::begin(session, side, call.seconds)?;
    let sampled = std::thread::scope(|scope| {
        let reads = scope.spawn(|| client::run(call));
        let sampled = ask(scenario, side.port, || reads.is_finished());
        let seen = reads.join().expect("the client does not panic");
        seen.and(sampled)
    })?;
    writing.end()?;
    for (limit, [asked, coded]) in LISTS.into_iter().zip(sampled) {
        let row = limit.path();
        let put = |column, value| Line::Figure(Figure::of(Table::Gzip, &row, column, value));
        let share = f64::from(coded) / f64::from(asked.max(1));
        raw.put(put("reads", asked.into()))?;
        raw.put(put("share in gzip", share))?;
    }
    Ok(())
}

/// Of each list: how often it was asked for, and how often it came as gzip.
fn ask(
    scenario: &Scenario,
    port: u16,
    is_over: impl Fn() -> bool,
) -> Result<[[u32; 2]; LISTS.len()]> {
    let scenario = Scenario {
        form: Form::Gzip,
        ..*scenario
    };
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let mut counts = [[0; 2]; LISTS.len()];
    for _ in 0..SAMPLES {
        for (limit, [asked, coded]) in LISTS.into_iter().zip(&mut counts) {
            if is_over() {
                return Ok(counts);
            }
            let answer = exchange_on(&mut stream, &scenario.request(port, limit, None))?;
            let answer = Answer::parse(&answer)?;
            ensure!(answer.status == 200, "a sample got {}", answer.status);
            *asked += 1;
            *coded += u32::from(answer.header("content-encoding") == Some("gzip"));
        }
    }
    Ok(counts)
}
