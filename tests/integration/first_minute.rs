//! The README's first minute: read from the page, run against a server, compared with what the page
//! says. `readme.rs` runs it alone, the integration tests in a fleet.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The numbers at the ends of the comments.
fn announced(script: &str) -> Vec<u16> {
    let comments = script.lines().filter_map(|line| line.strip_prefix("# "));
    comments
        .map(|comment| comment.rsplit_once(": ").unwrap().1.parse().unwrap())
        .collect()
}

/// The statuses of the answers that curl has shown.
fn shown(output: &str) -> Vec<u16> {
    let heads = output
        .split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|head| head.get(..3));
    heads.map(|status| status.parse().unwrap()).collect()
}

fn script() -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, after) = readme.split_once("<!-- first-minute -->\n```sh\n").unwrap();
    after.split("\n```\n").next().unwrap().to_owned()
}

/// Runs it in `home`, with the programs where the page says that they are, against `base`. The
/// rest of the environment is `env`: what makes the tokens good.
pub fn runs_as_it_says(home: &Path, base: &str, env: &[(&str, &str)]) {
    let built = home.join("target/release");
    fs::create_dir_all(&built).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_millpond"), built.join("millpond")).unwrap();
    let script = script();
    let run = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("BASE", base)
        .envs(env.iter().copied())
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .expect("the first minute needs bash and curl");
    let output = String::from_utf8_lossy(&run.stdout);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}\n{output}\n{errors}", run.status);
    assert_eq!(shown(&output), announced(&script), "{output}");
}
