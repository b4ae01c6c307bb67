//! The `faultline` binary: turns a result into an exit status.

use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let files: Vec<PathBuf> = args.map(PathBuf::from).collect();
    let mut out = std::io::stdout().lock();
    let status = match command.as_str() {
        "check" => faultline::cli::check::run(&files, &mut out)?,
        "test" => faultline::cli::test::run(&files, &mut out)?,
        "schema" => faultline::cli::schema::run(&mut out)?,
        _ => 64,
    };
    std::process::exit(status.into());
}
