//! What the product says of itself, in Prometheus' text format.

use anyhow::{Context, Result};
use captured::Answer;

use crate::http::exchange;

pub struct Metrics(String);

/// List reads so far.
#[derive(Clone, Copy, Debug)]
pub struct Reads {
    all: f64,
    hot: f64,
}

/// Asks whoever answers on `port`.
pub fn of(port: u16) -> Result<Metrics> {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    let answer = exchange(port, &request)?;
    let answer = Answer::parse(&answer)?;
    let text = String::from_utf8(answer.body.to_vec()).context("metrics are text")?;
    Ok(Metrics(text))
}

impl Metrics {
    /// Over all samples whose name and labels begin so.
    pub fn sum(&self, begin: &str) -> f64 {
        let samples = self.0.lines().filter(|line| line.starts_with(begin));
        let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }
}

impl Reads {
    pub fn look(port: u16) -> Result<Self> {
        let metrics = of(port)?;
        Ok(Self {
            all: metrics.sum(r#"http_requests_total{handler="todos",method="GET""#),
            hot: metrics.sum("http_hot_requests_total"),
        })
    }

    /// The share of the reads since `before` that was answered hot.
    pub fn hot_since(self, before: Self) -> f64 {
        (self.hot - before.hot) / (self.all - before.all).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_their_beginning() {
        let text = "# HELP a_total of h: 9\na_total{b=\"c\",d=\"e\"} 2\na_total{b=\"c\",d=\"f\"} 3\n\
                    a_total{b=\"g\"} 5\nh 7\n";
        let metrics = Metrics(text.to_owned());
        assert!((metrics.sum("a_total{b=\"c\"") - 5.0).abs() < 1e-9);
        assert!((metrics.sum("h") - 7.0).abs() < 1e-9);
        assert!(metrics.sum("i").abs() < 1e-9);
    }
}
