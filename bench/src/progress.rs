//! How far the run is, for whoever waits for it: a bar on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

pub struct Progress {
    bar: ProgressBar,
    is_seen: bool,
}

impl Progress {
    /// Of a run that measures for `seconds`; starting and stopping come on top.
    pub fn of(seconds: u64) -> Self {
        let style = "{bar:30} {percent:>3} % · {eta} left · {msg}";
        let style = ProgressStyle::with_template(style).expect("the template is right");
        let bar = ProgressBar::new(seconds).with_style(style);
        let is_seen = std::io::stderr().is_terminal();
        if is_seen {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, is_seen }
    }

    /// What is going on.
    pub fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    pub fn advance(&self, seconds: u32) {
        self.bar.inc(u64::from(seconds));
    }

    /// A part that begins: the only thing that is said where nobody watches a bar.
    pub fn part(&self, name: &str) {
        self.say(name);
        if !self.is_seen {
            let (at, of) = (self.bar.position(), self.bar.length().unwrap_or(0));
            eprintln!("{at:>5} of {of} s: {name}");
        }
    }

    /// Something that was left out, and why.
    pub fn note(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
