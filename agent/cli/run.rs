//! stub
use super::{Exit, Global};
#[derive(Debug, clap::Args)]
pub struct RunArgs {}
pub fn run(_: &Global, _: &RunArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("not yet")
}
