//! What `/proc` tells of processes: CPU time, user and system apart, and resident memory.
//!
//! The kernel counts a process's whole time exactly and reports it in ticks, mostly of 10 ms; how
//! it divides into user and system is sampled, so over short runs the parts are rougher than the
//! whole.

use std::collections::BTreeMap;
use std::fs;
use std::ops::{Add, Sub};

use anyhow::{Context, Result};

/// CPU time in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticks {
    pub user: u64,
    pub system: u64,
}

/// The part of `/proc/PID/stat` that is wanted here.
#[derive(Debug, PartialEq, Eq)]
pub struct Stat {
    pub pid: u32,
    pub parent: u32,
    pub own: Ticks,
    /// Of children that have ended and were waited for.
    pub reaped: Ticks,
}

/// What a process and its descendants have used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: Ticks,
    pub resident_bytes: u64,
}

impl Stat {
    /// Parses a line of `/proc/PID/stat`; `None` where it is no such line.
    pub fn parse(line: &str) -> Option<Self> {
        // The name is in parentheses and may hold anything, parentheses and spaces included.
        let (pid, rest) = line.split_once(" (")?;
        let (_, rest) = rest.rsplit_once(") ")?;
        // From here `rest` begins with field 3, the state (proc_pid_stat(5)).
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        let ticks = |user, system| {
            Some(Ticks {
                user: field(user)?,
                system: field(system)?,
            })
        };
        Some(Self {
            pid: pid.parse().ok()?,
            parent: u32::try_from(field(4)?).ok()?,
            own: ticks(14, 15)?,
            reaped: ticks(16, 17)?,
        })
    }

    fn of(pid: &str) -> Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let line = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&line).with_context(|| format!("cannot understand {path}"))
    }
}

/// The usage of `root` and everything that descends from it.
pub fn tree(root: u32) -> Result<Usage> {
    let all = processes()?;
    anyhow::ensure!(all.contains_key(&root), "process {root} has ended");
    let mut usage = Usage::default();
    for stat in all.values().filter(|stat| descends(&all, stat, root)) {
        usage.cpu = usage.cpu + stat.own + stat.reaped;
        usage.resident_bytes += resident_bytes(stat.pid).unwrap_or(0);
    }
    Ok(usage)
}

/// The usage of several trees, none of which is part of another.
pub fn trees(roots: &[u32]) -> Result<Usage> {
    let mut sum = Usage::default();
    for root in roots {
        let usage = tree(*root)?;
        sum.cpu = sum.cpu + usage.cpu;
        sum.resident_bytes += usage.resident_bytes;
    }
    Ok(sum)
}

/// Those of `pids` that descend from none of the others.
pub fn roots(pids: &[u32]) -> Result<Vec<u32>> {
    let all = processes()?;
    let is_below = |pid: &u32, root: &u32| {
        pid != root && all.get(pid).is_some_and(|stat| descends(&all, stat, *root))
    };
    let roots = pids
        .iter()
        .filter(|pid| !pids.iter().any(|root| is_below(pid, root)));
    Ok(roots.copied().collect())
}

/// Ticks of all cores together: those that were used, by whomever, and all that there were.
///
/// What the hypervisor gives to others counts as used (`/proc/stat`: user nice system idle iowait
/// irq softirq steal).
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    used: u64,
    all: u64,
}

impl Machine {
    pub fn look() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let ticks = line.split_ascii_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = ticks.map(|word| word.parse().unwrap_or(0)).collect();
        let all = ticks.iter().sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        Self {
            used: all - idle,
            all,
        }
    }

    /// Share of the machine that was used since `before` by others than those who used `own`.
    pub fn others_since(self, before: Self, own: Ticks) -> f64 {
        let used = self.used.saturating_sub(before.used);
        let all = self.all.saturating_sub(before.all);
        let others = used.saturating_sub(own.user + own.system);
        others as f64 / all.max(1) as f64
    }
}

/// The time of this process's children that were waited for.
pub fn reaped() -> Result<Ticks> {
    Ok(Stat::of("self")?.reaped)
}

/// Ticks in a second.
pub fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

fn processes() -> Result<BTreeMap<u32, Stat>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().filter(|name| name.parse::<u32>().is_ok());
        // One that ends while we look is none of ours.
        if let Some(Ok(stat)) = pid.map(Stat::of) {
            all.insert(stat.pid, stat);
        }
    }
    Ok(all)
}

fn descends(all: &BTreeMap<u32, Stat>, stat: &Stat, root: u32) -> bool {
    let mut at = stat;
    // A pid that was given anew while we read may close a circle: no more steps than processes.
    for _ in 0..all.len() {
        if at.pid == root {
            return true;
        }
        match all.get(&at.parent) {
            Some(parent) => at = parent,
            None => return false,
        }
    }
    false
}

fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

impl Ticks {
    pub fn micros(ticks: u64) -> f64 {
        ticks as f64 * 1e6 / ticks_per_second() as f64
    }

    pub fn seconds(self) -> f64 {
        (self.user + self.system) as f64 / ticks_per_second() as f64
    }
}

impl Add for Ticks {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            user: self.user + other.user,
            system: self.system + other.system,
        }
    }
}

impl Sub for Ticks {
    type Output = Self;

    /// Stops at zero: the kernel's division into user and system may step back by a tick.
    fn sub(self, other: Self) -> Self {
        Self {
            user: self.user.saturating_sub(other.user),
            system: self.system.saturating_sub(other.system),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "4242 (a (b) c) S 17 4242 4242 0 -1 4194560 1 2 3 4 \
        101 202 33 44 20 0 6 0 812 123456 789 18446744073709551615 1 1 0 0 0 0";

    #[test]
    fn a_name_may_hold_spaces_and_parentheses() {
        let stat = Stat::parse(LINE).unwrap();
        assert_eq!((stat.pid, stat.parent), (4242, 17));
        assert_eq!((stat.own.user, stat.own.system), (101, 202));
        assert_eq!((stat.reaped.user, stat.reaped.system), (33, 44));
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        assert_eq!(Stat::parse(&LINE[..40]), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn a_child_is_part_of_the_tree() {
        let mut child = std::process::Command::new("sleep")
            .arg("30")
            .spawn()
            .unwrap();
        let all = processes().unwrap();
        let me = std::process::id();
        assert!(descends(&all, &all[&child.id()], me));
        assert!(!descends(&all, &all[&me], child.id()));
        assert!(tree(me).unwrap().resident_bytes > 100_000);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree(child.id()).is_err());
    }

    #[test]
    fn what_others_use_is_what_is_not_ours() {
        let before = Machine { used: 10, all: 100 };
        let after = Machine { used: 90, all: 300 };
        let own = Ticks {
            user: 40,
            system: 20,
        };
        assert!((after.others_since(before, own) - 0.1).abs() < 1e-9);
    }

    #[test]
    fn time_spent_is_counted() {
        let before = tree(std::process::id()).unwrap().cpu;
        let start = std::time::Instant::now();
        let mut sum = 0_u64;
        while start.elapsed().as_millis() < 200 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = tree(std::process::id()).unwrap().cpu - before;
        // Another process may have had the core for most of it, and other tests run beside.
        assert!(used.seconds() > 0.02, "{used:?}");
    }
}
