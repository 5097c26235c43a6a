//! Writes: the table of scenarios, and the rounds of each on a deployment of its own.

use anyhow::{Context, Result, ensure};
use load::job::{Audit, Mix, Work};

use crate::deployment::Deployment;
use crate::loader;
use crate::progress::Progress;
use crate::record::{Line, LoadRun, Part, Writer};
use crate::session::Session;

/// Who writes.
const USERS: u32 = 1_000;
/// Connections that they share where the scenario says nothing else.
const CONNECTIONS: u32 = 250;

/// One line of the table.
pub struct Writes {
    pub name: &'static str,
    pub about: &'static str,
    pub work: Work,
    pub quick: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: u32,
    pub seconds: u32,
}

const fn writes(name: &'static str, about: &'static str, work: Work) -> Writes {
    Writes {
        name,
        about,
        work,
        quick: false,
    }
}

const fn closed(mix: Mix, wait: bool) -> Work {
    Work::Writes {
        mix,
        users: USERS,
        connections: CONNECTIONS,
        wait,
    }
}

/// What most is made of, and what a fleet is warmed with.
pub const CREATES: Work = closed(Mix::Creates, false);

pub const WRITES: &[Writes] = &[
    Writes {
        name: "creates",
        about: "1,000 users create todos over 250 connections, 202",
        work: CREATES,
        quick: true,
    },
    writes(
        "creates-waiting",
        "1,000 users create todos over 250 connections and wait for the outcome, 201",
        closed(Mix::Creates, true),
    ),
    writes(
        "updates",
        "1,000 users update their todos over 250 connections, 202",
        closed(Mix::Updates, false),
    ),
    writes(
        "updates-waiting",
        "1,000 users update their todos over 250 connections and wait for the outcome, 200",
        closed(Mix::Updates, true),
    ),
    writes(
        "mixed",
        "1,000 users create, update and delete (45, 45, 10) over 250 connections, 202",
        closed(Mix::Mixed, false),
    ),
    writes(
        "mixed-waiting",
        "1,000 users create, update and delete (45, 45, 10) over 250 connections and wait",
        closed(Mix::Mixed, true),
    ),
    Writes {
        name: "mixed-1000-connections",
        about: "1,000 users create, update and delete (45, 45, 10), each on a connection, 202",
        work: Work::Writes {
            mix: Mix::Mixed,
            users: USERS,
            connections: USERS,
            wait: false,
        },
        quick: false,
    },
    Writes {
        name: "gift-codes",
        about: "claims of gift codes by users who had none, 100 in flight",
        work: Work::Gifts { in_flight: 100 },
        quick: true,
    },
    Writes {
        name: "visible",
        about: "from a write to a read that shows it, one at a time, nothing else going on",
        work: Work::Visible { per_second: 0.0 },
        quick: true,
    },
    Writes {
        name: "visible-beside-writes",
        about: "from a write to a read that shows it, one at a time, beside 1,000 creates a second",
        work: Work::Visible {
            per_second: 1_000.0,
        },
        quick: false,
    },
    Writes {
        name: "visible-beside-2000",
        about: "from a write to a read that shows it, one at a time, beside 2,000 creates a second",
        work: Work::Visible {
            per_second: 2_000.0,
        },
        quick: false,
    },
];

/// Runs `scenario` in rounds.
pub fn rounds(
    session: &Session,
    deployment: &Deployment,
    scenario: &Writes,
    effort: Effort,
    raw: &mut Writer,
    progress: &Progress,
) -> Result<()> {
    let about = || format!("{} in {}", deployment.name, scenario.name);
    for round in 0..effort.rounds {
        progress.say(&format!(
            "{}: {}/{}",
            scenario.name,
            round + 1,
            effort.rounds
        ));
        let seconds = f64::from(effort.seconds);
        let loaded = loader::run(session, deployment, scenario.work.clone(), seconds);
        let loaded = loaded.with_context(about)?;
        let clean = loaded.audit.as_ref().is_none_or(Audit::is_clean);
        ensure!(
            clean,
            "{}: promises were broken: {:?}",
            about(),
            loaded.audit
        );
        let run = LoadRun::new(Part::Writes, (scenario.name, scenario.about), loaded);
        raw.put(Line::Load(run.of(&deployment.name, round)))?;
        progress.advance(effort.seconds);
    }
    Ok(())
}
