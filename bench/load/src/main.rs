//! Usage: `load`, with a job as one line of JSON on standard input; see `load::job`.

fn main() -> anyhow::Result<()> {
    load::run(&mut std::io::stdin().lock(), &mut std::io::stdout().lock())
}
