//! A plan carried out: the order of what is measured, and who is started for it.

use anyhow::Result;

use crate::calls;
use crate::catch_up;
use crate::ceilings;
use crate::deployment::{Deployment, Limits};
use crate::fleet::Fleet;
use crate::idle;
use crate::limiter;
use crate::measure;
use crate::open;
use crate::people;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::record::Writer;
use crate::session::Session;
use crate::spread;
use crate::startup;
use crate::writes;

pub fn carry_out(
    plan: &Plan,
    session: &Session,
    raw: &mut Writer,
    progress: &Progress,
) -> Result<()> {
    for (scenario, sides) in &plan.reads {
        progress.part(scenario.name);
        measure::rounds(session, scenario, sides, plan.effort, raw, progress)?;
    }
    if plan.ceiling_seconds > 0 {
        ceilings::run(session, plan.ceiling_seconds, raw, progress)?;
    }
    let effort = plan.effort_of_load;
    for scenario in &plan.writes {
        progress.part(scenario.name);
        for product in &plan.products {
            // Each has the seeded todos and no others.
            let alone = Deployment::alone(session, product, Limits::None)?;
            writes::rounds(session, &alone, scenario, effort, raw, progress)?;
        }
    }
    if let Some((scenario, sides)) = &plan.open_reads {
        progress.part("open loops");
        let asked = (plan.open_rates, open::CONNECTIONS);
        open::reads(session, (scenario, sides), asked, effort, raw, progress)?;
    }
    if let Some((scenario, sides)) = &plan.tails {
        progress.part("tails beside the floor's");
        let asked = (open::TAIL, open::TAIL_CONNECTIONS);
        let effort = plan.effort_of_tails;
        open::reads(session, (scenario, sides), asked, effort, raw, progress)?;
    }
    if let Some((scenario, sides)) = &plan.limited {
        progress.part("limits");
        limiter::run(session, raw, progress)?;
        let asked = (open::LIMITED, open::CONNECTIONS);
        open::reads(session, (scenario, sides), asked, effort, raw, progress)?;
    }
    counts(plan, session, raw, progress)?;
    if let Some(rounds) = plan.starts {
        progress.part("starts");
        startup::alone(session, rounds, raw, progress)?;
        if session.stack.is_some() {
            startup::fleet(session, rounds, raw, progress)?;
        }
    }
    for product in &plan.products {
        if !plan.create_rates.is_empty() {
            let alone = Deployment::alone(session, product, Limits::None)?;
            open::creates(session, &alone, plan.create_rates, effort, raw, progress)?;
        }
        for crowd in plan.crowds {
            progress.part(&format!("{} users", crowd.0));
            let alone = Deployment::alone(session, product, Limits::Default)?;
            people::run(session, &alone, *crowd, raw, progress)?;
        }
    }
    if plan.has_fleet {
        fleet(plan, session, raw, progress)?;
    }
    Ok(())
}

/// What is counted and not timed.
fn counts(plan: &Plan, session: &Session, raw: &mut Writer, progress: &Progress) -> Result<()> {
    if let Some(sides) = &plan.calls {
        progress.part("system calls");
        calls::count(session, sides, raw, progress)?;
    }
    if let Some((scenario, sides)) = &plan.idle {
        progress.part("idle connections");
        idle::run(session, (scenario, sides), raw, progress)?;
    }
    if let Some(scenario) = plan.spread {
        progress.part("spread over threads");
        spread::run(session, (scenario, &plan.products), raw, progress)?;
    }
    Ok(())
}

/// The same on one fleet for all that goes without limits, since starting and warming takes longer
/// than measuring, and on another for the users, who are limited.
fn fleet(plan: &Plan, session: &Session, raw: &mut Writer, progress: &Progress) -> Result<()> {
    let product = &session.reference;
    let effort = plan.effort_of_load;
    progress.part("fleet");
    let fleet = Fleet::start(session, product, Limits::None)?;
    fleet.warm_up(raw, progress)?;
    let deployment = fleet.deployment();
    for scenario in &plan.writes {
        progress.part(&format!("fleet: {}", scenario.name));
        writes::rounds(session, &deployment, scenario, effort, raw, progress)?;
    }
    let rates = plan.create_rates;
    open::creates(session, &deployment, rates, effort, raw, progress)?;
    drop(fleet);
    if let Some(effort) = plan.catch_up {
        progress.part("fleet: a worker catches up");
        catch_up::rounds(session, product, effort, raw, progress)?;
    }
    if plan.crowds.is_empty() {
        return Ok(());
    }
    let fleet = Fleet::start(session, product, Limits::Default)?;
    let deployment = fleet.deployment();
    for crowd in plan.crowds {
        progress.part(&format!("fleet: {} users", crowd.0));
        people::run(session, &deployment, *crowd, raw, progress)?;
    }
    Ok(())
}
