//! Users: people who think between two requests, and an audit of what they were promised.

use anyhow::{Context, Result};
use load::job::Work;

use crate::deployment::Deployment;
use crate::loader;
use crate::progress::Progress;
use crate::record::{Line, LoadRun, Part, Writer};
use crate::session::Session;

/// How many they are, and for how long.
pub const CROWDS: [(u32, u32); 3] = [(10, 30), (100, 60), (1_000, 60)];
/// Between two requests of one.
const THINK_MS: (u32, u32) = (100, 500);

/// Runs one crowd on a deployment whose limits are as they are by default: what they refuse is no
/// good put, and no error.
pub fn run(
    session: &Session,
    deployment: &Deployment,
    (users, seconds): (u32, u32),
    raw: &mut Writer,
    progress: &Progress,
) -> Result<()> {
    let name = format!("users-{users}");
    let about = format!(
        "{users} people for {seconds} s, who think for 0.1 to 0.5 s and then list, create, update, \
         delete or claim (50, 25, 15, 5, 5)"
    );
    progress.say(&name);
    let work = Work::Users {
        users,
        think_ms: THINK_MS,
    };
    let loaded = loader::run(session, deployment, work, f64::from(seconds));
    let loaded = loaded.with_context(|| name.clone())?;
    let run = LoadRun::new(Part::Users, (&name, &about), loaded);
    raw.put(Line::Load(run.of(&deployment.name, 0)))?;
    progress.advance(seconds);
    Ok(())
}
