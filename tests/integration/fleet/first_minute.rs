//! The README's first minute, in a fleet.

use crate::first_minute::runs_as_it_says;
use crate::harness::Fleet;

#[test]
fn the_first_minute_runs_as_it_says() {
    let fleet = Fleet::new();
    let (server, other) = (fleet.server(), fleet.server());
    let worker = fleet.worker();
    let base = format!("http://{}", server.address());
    let secret = ("JWT_SECRET", fleet.launch.secret());
    runs_as_it_says(fleet.launch.home(), &base, &[secret]);
    fleet.drained();
    let titles = |todos: Vec<serde_json::Value>| {
        let titles = todos
            .iter()
            .map(|todo| todo["title"].as_str().unwrap().to_owned());
        titles.collect::<Vec<_>>()
    };
    assert_eq!(
        titles(server.anyone().todos()),
        ["Buy bread", "Buy tea", "Buy milk"]
    );
    assert_eq!(server.anyone().todos(), other.anyone().todos());
    worker.stop();
}
